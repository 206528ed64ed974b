import Core
import GRDB

/// How far the ledger itself says what time it is. Nothing is deleted by a clock that nobody vouches for (V19, V20).
///
/// Entries follow one another within days, so their times form a chain; an entry far off the chain (a clock at 1970, a step
/// of years) does not move it. A time server's word at a start, or the owner's, moves it anywhere.
struct ClockTrust: Equatable {
    /// A recorder that was off for a weekend, and a bit: 72 h, in µs.
    static let reach: Int64 = 72 * 3_600_000_000

    /// What a ledger that was begun anew says of the clips it was made of: up to this position their times may lie as far
    /// back as `since`. What is entered later gains nothing by it.
    struct Rebuilt: Equatable {
        var since: WallTime
        var at: WallTime
        var lastPosition: Int
    }

    /// The end of the chain; nil before the first entry.
    var last: WallTime?
    var rebuilt: Rebuilt?

    init(last: WallTime?) { self.last = last }

    init(_ db: Database) throws {
        last = try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'clock'").map {
            WallTime(microseconds: $0)
        }
        let words = try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'rebuilt'")
        let numbers = (words ?? "").split(separator: " ").compactMap { Int64($0) }
        if numbers.count == 3 {
            rebuilt = Rebuilt(
                since: WallTime(microseconds: numbers[0]), at: WallTime(microseconds: numbers[1]),
                lastPosition: Int(numbers[2]))
        }
    }
    func saveRebuilt(_ db: Database) throws {
        guard let rebuilt else { return }
        try db.execute(
            sql: "INSERT OR REPLACE INTO meta (key, value) VALUES ('rebuilt', ?)",
            arguments: ["\(rebuilt.since.microseconds) \(rebuilt.at.microseconds) \(rebuilt.lastPosition)"])
    }

    /// Where the chain ends after an entry of this time; nil when it stays.
    func following(_ time: WallTime, isConfirmed: Bool) -> WallTime? {
        guard let last, !isConfirmed else { return time }
        return (0...Self.reach).contains(time - last) ? time : nil
    }

    /// Whether the start of the clip that was entered at `position` can be believed.
    func vouches(for start: WallTime, at position: Int) -> Bool {
        if let rebuilt, position <= rebuilt.lastPosition, start >= rebuilt.since, start <= rebuilt.at { return true }
        return vouches(for: start)
    }
    /// Whether a wall time lies where the chain can reach.
    func vouches(for time: WallTime) -> Bool { last.map { (time - $0).magnitude <= Self.reach } ?? true }
}
