import Core

/// Lines in the very form in which this version writes them, read by a scan over their bytes: what a ledger consists of is
/// clips and their deletions, and a tree of JSON values for each costs several times what it says.
///
/// A line that deviates by a single byte is none of these, and the general parser decides.
extension LedgerEntry {
    /// Nil unless it is a `clip` or `delete` entry in our own form. What is taken here the general parser takes too, with the
    /// same result.
    init?(fixedForm line: ArraySlice<UInt8>) {
        if let clip = Self.clip(fixedForm: line) {
            self.init(at: clip.at, .clip(clip.record))
        } else if let deletion = Self.deletion(fixedForm: line) {
            self = deletion
        } else {
            return nil
        }
    }

    /// Whether a line can be nothing else than a clip: no key comes twice in what a parser takes.
    static func isClip(_ line: ArraySlice<UInt8>) -> Bool { FixedScan.begins(line, with: FixedScan.clip) }

    /// A `clip` entry in our own form.
    static func clip(fixedForm line: ArraySlice<UInt8>) -> (at: WallTime, record: ClipRecord)? {
        guard isClip(line) else { return nil }
        var scan = FixedScan(line)
        guard scan.take(FixedScan.clip), let at = scan.integer(), scan.take(FixedScan.object),
            let object = scan.digest(),
            scan.take(FixedScan.vault), let vault = scan.uuid(), scan.take(FixedScan.camera),
            let camera = scan.uuid(), scan.take(FixedScan.epoch), let epoch = scan.uuid(),
            scan.take(FixedScan.run), let run = scan.uuid(), scan.take(FixedScan.sequence),
            let sequence = scan.integer(), ClipIdentity.sequences.contains(sequence), scan.take(FixedScan.start), let start = scan.integer(),
            scan.take(FixedScan.end), let end = scan.integer(), scan.take(FixedScan.bytes),
            let bytes = scan.integer(), ClipRecord.sizes.contains(bytes), scan.take(FixedScan.kind), let kind = scan.kind()
        else { return nil }
        let isSalvaged = scan.take(FixedScan.salvaged)
        guard scan.take(FixedScan.close), scan.isAtEnd else { return nil }
        let identity = ClipIdentity(
            vault: VaultID(vault), camera: CameraID(camera), epoch: EpochID(epoch), run: RunID(run),
            sequence: UInt64(sequence), start: WallTime(microseconds: start))
        return (
            WallTime(microseconds: at),
            ClipRecord(
                object: object, identity: identity, end: WallTime(microseconds: end), byteCount: Int(bytes),
                kind: kind, isSalvaged: isSalvaged)
        )
    }

    private static func deletion(fixedForm line: ArraySlice<UInt8>) -> LedgerEntry? {
        var scan = FixedScan(line)
        guard scan.take(FixedScan.deletion), let at = scan.integer(), scan.take(FixedScan.object),
            let object = scan.digest(),
            scan.take(FixedScan.camera), let camera = scan.uuid(), scan.take(FixedScan.firstStart),
            let start = scan.integer(), scan.take(FixedScan.end), let end = scan.integer(),
            scan.take(FixedScan.bytes), let bytes = scan.integer(), ClipRecord.sizes.contains(bytes), scan.take(FixedScan.rule),
            let cause = scan.word().flatMap({ RetentionCause($0) }), scan.take(FixedScan.policy),
            let policy = scan.digest(), scan.take(FixedScan.quotedClose), scan.isAtEnd
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

extension FixedScan {
    // What stands between the values.
    fileprivate static let clip: StaticString = #"{"type":"clip","at":"#
    fileprivate static let deletion: StaticString = #"{"type":"delete","at":"#
    fileprivate static let object: StaticString = #","object":""#
    fileprivate static let vault: StaticString = #"","vault":""#
    fileprivate static let camera: StaticString = #"","camera":""#
    fileprivate static let epoch: StaticString = #"","epoch":""#
    fileprivate static let run: StaticString = #"","run":""#
    fileprivate static let sequence: StaticString = #"","seq":"#
    fileprivate static let start: StaticString = #","start":"#
    fileprivate static let firstStart: StaticString = #"","start":"#
    fileprivate static let end: StaticString = #","end":"#
    fileprivate static let bytes: StaticString = #","bytes":"#
    fileprivate static let kind: StaticString = #","kind":""#
    fileprivate static let rule: StaticString = #","rule":""#
    fileprivate static let policy: StaticString = #"","policy":""#
    fileprivate static let salvaged: StaticString = #","salvaged":true"#
    fileprivate static let quotedClose: StaticString = #""}"#
    fileprivate static let close: StaticString = "}"

    /// With the quote that ends it.
    fileprivate mutating func kind() -> RetentionClass? {
        if take("continuous\"") { return .continuous }
        if take("motion\"") { return .motion }
        if take("event\"") { return .event }
        return take("labelled\"") ? .labelled : nil
    }
}
