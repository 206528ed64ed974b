import Core

/// Lines in the very form in which this version writes them, read by a scan over their bytes: what a ledger consists of is
/// clips and their deletions, and a tree of JSON values for each costs several times what it says.
///
/// A line that deviates by a single byte is none of these, and the general parser decides.
extension LedgerEntry {
    /// Nil unless it is a `clip` or `delete` entry in our own form. What is taken here the general parser takes too, with the
    /// same result.
    init?(fixedForm line: [UInt8]) {
        var scan = FixedScan(line)
        let entry: LedgerEntry?
        if scan.take(FixedScan.clip) {
            entry = Self.clip(&scan)
        } else if scan.take(FixedScan.deletion) {
            entry = Self.deletion(&scan)
        } else {
            return nil
        }
        guard let entry, scan.isAtEnd else { return nil }
        self = entry
    }

    private static func clip(_ scan: inout FixedScan) -> LedgerEntry? {
        guard let at = scan.integer(), scan.take(FixedScan.object), let object = scan.digest(),
            scan.take(FixedScan.vault), let vault = scan.uuid(), scan.take(FixedScan.camera),
            let camera = scan.uuid(), scan.take(FixedScan.epoch), let epoch = scan.uuid(),
            scan.take(FixedScan.run), let run = scan.uuid(), scan.take(FixedScan.sequence),
            let sequence = scan.integer(), sequence >= 0, scan.take(FixedScan.start), let start = scan.integer(),
            scan.take(FixedScan.end), let end = scan.integer(), scan.take(FixedScan.bytes),
            let bytes = scan.integer(), bytes >= 0, scan.take(FixedScan.kind), let kind = scan.kind()
        else { return nil }
        let isSalvaged = scan.take(FixedScan.salvaged)
        guard scan.take(FixedScan.close) else { return nil }
        let identity = ClipIdentity(
            vault: VaultID(vault), camera: CameraID(camera), epoch: EpochID(epoch), run: RunID(run),
            sequence: UInt64(sequence), start: WallTime(microseconds: start))
        return LedgerEntry(
            at: WallTime(microseconds: at),
            .clip(
                ClipRecord(
                    object: object, identity: identity, end: WallTime(microseconds: end), byteCount: Int(bytes),
                    kind: kind, isSalvaged: isSalvaged)))
    }

    private static func deletion(_ scan: inout FixedScan) -> LedgerEntry? {
        guard let at = scan.integer(), scan.take(FixedScan.object), let object = scan.digest(),
            scan.take(FixedScan.camera), let camera = scan.uuid(), scan.take(FixedScan.firstStart),
            let start = scan.integer(), scan.take(FixedScan.end), let end = scan.integer(),
            scan.take(FixedScan.bytes), let bytes = scan.integer(), bytes >= 0, scan.take(FixedScan.rule),
            let cause = scan.word().flatMap({ RetentionCause($0) }), scan.take(FixedScan.policy),
            let policy = scan.digest(), scan.take(FixedScan.quotedClose)
        else { return nil }
        return LedgerEntry(
            at: WallTime(microseconds: at),
            .delete(
                DeletionRecord(
                    object: object, camera: CameraID(camera),
                    range: TimeRange(WallTime(microseconds: start), WallTime(microseconds: end)),
                    byteCount: Int(bytes), cause: cause, policy: policy)))
    }
}

/// A place in a line. What does not stand there leaves the place as it is, or ends the scan with nil.
private struct FixedScan {
    // What stands between the values.
    static let clip = Array(#"{"type":"clip","at":"#.utf8)
    static let deletion = Array(#"{"type":"delete","at":"#.utf8)
    static let object = Array(#","object":""#.utf8)
    static let vault = Array(#"","vault":""#.utf8)
    static let camera = Array(#"","camera":""#.utf8)
    static let epoch = Array(#"","epoch":""#.utf8)
    static let run = Array(#"","run":""#.utf8)
    static let sequence = Array(#"","seq":"#.utf8)
    static let start = Array(#","start":"#.utf8)
    static let firstStart = Array(#"","start":"#.utf8)
    static let end = Array(#","end":"#.utf8)
    static let bytes = Array(#","bytes":"#.utf8)
    static let kind = Array(#","kind":""#.utf8)
    static let rule = Array(#","rule":""#.utf8)
    static let policy = Array(#"","policy":""#.utf8)
    static let salvaged = Array(#","salvaged":true"#.utf8)
    static let quotedClose = Array(#""}"#.utf8)
    static let close = Array("}".utf8)
    private static let kinds = RetentionClass.allCases.map { (kind: $0, text: Array("\($0.rawValue)\"".utf8)) }

    /// A digit's value, or 255: the lower-case ones that we write and no others.
    private static let nibbles: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, digit) in "0123456789abcdef".utf8.enumerated() { values[Int(digit)] = UInt8(value) }
        return values
    }()

    private let line: [UInt8]
    private let nibbles: [UInt8]
    private var position = 0

    init(_ line: [UInt8]) {
        self.line = line
        nibbles = Self.nibbles
    }
    var isAtEnd: Bool { position == line.count }

    mutating func take(_ text: [UInt8]) -> Bool {
        guard line.count - position >= text.count else { return false }
        for index in 0..<text.count where line[position + index] != text[index] { return false }
        position += text.count
        return true
    }

    /// As we write it: no leading zero, no `-0`. Those of more than 18 digits are left to the general parser.
    mutating func integer() -> Int64? {
        let isNegative = position < line.count && line[position] == UInt8(ascii: "-")
        if isNegative { position += 1 }
        let first = position
        var value: Int64 = 0
        while position < line.count, case let digit = line[position] &- 48, digit < 10 {
            guard position - first < 18 else { return nil }
            value = value * 10 + Int64(digit)
            position += 1
        }
        guard position > first, line[first] != 48 || position == first + 1 && !isNegative else { return nil }
        return isNegative ? -value : value
    }

    mutating func digest() -> ObjectID? {
        guard line.count - position >= 64 else { return nil }
        var digest = [UInt8](repeating: 0, count: 32)
        var stray: UInt8 = 0
        for index in 0..<32 {
            let high = nibbles[Int(line[position + 2 * index])]
            let low = nibbles[Int(line[position + 2 * index + 1])]
            stray |= high | low
            digest[index] = high << 4 | low
        }
        guard stray < 16 else { return nil }
        position += 64
        return ObjectID(digest: digest)
    }

    mutating func uuid() -> Core.UUID? {
        guard line.count - position >= 36, let first = hex(8), hyphen(), let second = hex(4), hyphen(),
            let third = hex(4), hyphen(), let fourth = hex(4), hyphen(), let fifth = hex(12)
        else { return nil }
        return Core.UUID(high: first << 32 | second << 16 | third, low: fourth << 48 | fifth)
    }
    private mutating func hyphen() -> Bool {
        guard line[position] == UInt8(ascii: "-") else { return false }
        position += 1
        return true
    }
    /// `uuid` has seen that so many digits are there.
    private mutating func hex(_ count: Int) -> UInt64? {
        var value: UInt64 = 0
        var stray: UInt8 = 0
        for index in position..<position + count {
            let nibble = nibbles[Int(line[index])]
            stray |= nibble
            value = value << 4 | UInt64(nibble & 15)
        }
        guard stray < 16 else { return nil }
        position += count
        return value
    }

    /// With the quote that ends it.
    mutating func kind() -> RetentionClass? { Self.kinds.first { take($0.text) }?.kind }

    /// Up to the next quote, which stays: a few lower-case letters, digits, hyphens and colons.
    mutating func word() -> String? {
        let first = position
        while position < line.count, line[position] != UInt8(ascii: "\"") {
            switch line[position] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: ":"):
                position += 1
            default: return nil
            }
        }
        return String(decoding: line[first..<position], as: UTF8.self)
    }
}
