public import Core

/// When each of the 256 folders of `objects/` was last read whole, and what was found: `scrub.json`, so that a restart goes on
/// where it was.
public struct ScrubState: Sendable, Hashable {
    static let format = 1

    /// When this vault was first scrubbed: as old as what was never read can be called.
    public var begun: WallTime
    /// Of each folder; nil: not yet.
    public var shards: [WallTime?]
    /// The ledger and the epochs.
    public var ledger: WallTime?
    /// What the last reading of a folder found, by folder; those of the ledger under 256.
    public var findings: [Int: [String]] = [:]

    init(begun: WallTime) {
        self.begun = begun
        shards = Array(repeating: nil, count: Layout.shards.count)
    }

    /// Everything was read since then; nil while something never was.
    public var verifiedSince: WallTime? {
        let times = shards.compactMap { $0 }
        return times.count == shards.count ? times.min() : nil
    }
    /// Since when the folder that waits longest waits.
    public var waitingSince: WallTime { shards.map { $0 ?? begun }.min() ?? begun }
    /// The folder that waits longest: one never read, or the one read first.
    public var next: Int {
        if let unread = shards.firstIndex(of: nil) { return unread }
        return shards.firstIndex(of: waitingSince) ?? 0
    }
    /// When a folder was last finished.
    public var latest: WallTime? { shards.compactMap { $0 }.max() }
    static let ledgerPlace = 256

    var encoded: [UInt8] {
        let times = shards.map { String($0?.microseconds ?? 0) }.joined(separator: ",")
        let found = findings.sorted { $0.key < $1.key }.map { place, texts in
            "{\"place\":\(place),\"findings\":[\(texts.map(JSON.quote).joined(separator: ","))]}"
        }.joined(separator: ",")
        return Array(
            """
            {"format":\(Self.format),"begun":\(begun.microseconds),"ledger":\(ledger?.microseconds ?? 0),
            "shards":[\(times)],
            "findings":[\(found)]}

            """.utf8)
    }

    /// Nil when it is damaged, or another version's: then everything counts as not read yet.
    init?(parsing bytes: [UInt8]) {
        guard let json = JSON(bytes), json["format"]?.integer == Int64(Self.format),
            let begun = json["begun"]?.integer, let times = json["shards"]?.array, times.count == Layout.shards.count
        else { return nil }
        self.init(begun: WallTime(microseconds: begun))
        for (place, time) in times.enumerated() {
            guard let time = time.integer else { return nil }
            shards[place] = time == 0 ? nil : WallTime(microseconds: time)
        }
        if let time = json["ledger"]?.integer, time != 0 { ledger = WallTime(microseconds: time) }
        for found in json["findings"]?.array ?? [] {
            guard let place = found["place"]?.integer.flatMap({ Int(exactly: $0) }),
                let texts = found["findings"]?.array
            else { return nil }
            findings[place] = texts.compactMap(\.string)
        }
    }
}
