import Core
import GRDB

/// How far the ledger itself says what time it is. Nothing is deleted by a clock that nobody vouches for (V19, V20).
///
/// Entries follow one another within days, so their times form a chain; an entry far off the chain (a clock at 1970, a step
/// of years) does not move it. A time server's word at a start, or the owner's, moves it anywhere.
struct ClockTrust: Equatable {
    /// A recorder that was off for a weekend, and a bit: 72 h, in µs.
    static let reach: Int64 = 72 * 3_600_000_000

    /// The end of the chain; nil before the first entry.
    var last: WallTime?

    init(last: WallTime?) { self.last = last }

    init(_ db: Database) throws {
        last = try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'clock'").map {
            WallTime(microseconds: $0)
        }
    }

    /// Where the chain ends after an entry of this time; nil when it stays.
    func following(_ time: WallTime, isConfirmed: Bool) -> WallTime? {
        guard let last, !isConfirmed else { return time }
        return (0...Self.reach).contains(time - last) ? time : nil
    }

    /// Whether a wall time lies where the chain can reach.
    func vouches(for time: WallTime) -> Bool { last.map { (time - $0).magnitude <= Self.reach } ?? true }
}
