public import Core

/// A ledger that was begun anew from what the objects say of themselves.
public struct LedgerRebuild: Sendable {
    public var clips = 0
    public var epochs = 0
    /// Files that belong to no epoch, camera or vault that is known here: they lie in `quarantine/` now.
    public var quarantined: [String] = []
    /// Objects that the disk did not give: while there are any, nothing is written, for the new ledger would not name them.
    public var unreadable: [String] = []
    /// Entries of the newest head that was still there; nil when there was none.
    public var sizeBefore: Int?
    public var isApplied = false
}

extension Vault {
    /// The ledger's entries are gone and no copy has them: begins a new one from the headers of the objects and the epochs'
    /// files, without a key. Its first entry says so. What a header does not tell is lost: gaps, events, holds, policies, receipts of
    /// deletions, classes of clips; a clip's end is where the next one of its run begins, else when it was last written.
    ///
    /// The new ledger is whole before it takes the old one's place, whose remains go to `quarantine/`; then the index is made
    /// anew. Without `isApplied` it only counts.
    ///
    /// Errors: `.exists` while the ledger has entries; `.io` for objects that cannot be read; `.inUse`, `.networkFileSystem`, `.keys`, the disk's.
    /// - Parameters:
    ///   - pin: what was seen of the lost ledger; another vault is refused (`.otherVault`), and the new ledger names the head.
    ///   - progress: objects read.
    public static func rebuildLedger(
        at path: String, expecting pin: CheckpointPin? = nil, isApplied: Bool,
        files: any FileSystem = PosixFileSystem(), time: any TimeSource,
        progress: @escaping @Sendable (_ objects: Int) -> Void = { _ in }
    ) async throws(VaultError) -> LedgerRebuild {
        try await Lane.serial("vault.rebuild").run { () throws(VaultError) in
            let layout = Layout(path)
            let file = try vaultFile(layout, files)
            if let pin, pin.vault != file.id {
                throw VaultError(
                    .otherVault, "\(layout.root) holds vault \(file.id); it held \(pin.vault).",
                    hint: "Is another disk mounted there? Nothing was written.")
            }
            guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
            var lock: (any OpenFile)?
            if isApplied {
                lock = try files.lock(layout.lock)
                guard lock != nil else { throw inUse(layout) }
            }
            defer { withExtendedLifetime(lock) {} }
            guard try LedgerReader(files: files, path: layout.ledger).isLost() else {
                throw VaultError(
                    .exists, "The ledger has entries: nothing but them may tell what was recorded.",
                    hint: "`sudocam rebuild` makes the index anew from them; `sudocam repair` mends what is damaged.")
            }
            let key = try ledgerKey(layout, file, files)
            return try LedgerRebuilder(
                layout: layout, files: files, file: file, key: key, pin: pin, now: time.wallNow()
            )
            .run(isApplied: isApplied, progress)
        }
    }
}

/// One run of `rebuildLedger`.
private struct LedgerRebuilder {
    let layout: Layout
    let files: any FileSystem
    let file: VaultFile
    let key: LedgerKey
    let pin: CheckpointPin?
    let now: WallTime
    /// Entries that one sync makes durable: nothing depends on them before all are.
    private static let batch = 4096

    func run(
        isApplied: Bool, _ progress: @escaping @Sendable (Int) -> Void
    ) throws(VaultError) -> LedgerRebuild {
        let (scan, others, unreadable) = try HeaderReading.run(layout, files, vault: file.id, progress: progress)
        var strangers = others
        let found = scan.epochs()
        var epochs: [EpochRecord] = []
        for name in try files.list(layout.epochs).sorted() where !name.hasSuffix(".tmp") {
            guard name.hasSuffix(".age"), let epoch = EpochID(String(name.dropLast(4))), let place = found[epoch],
                let digest = ObjectID(digest: Digest.sha256(try files.contents(layout.epoch(epoch))))
            else {
                strangers.append(layout.epochs + "/" + name)
                continue
            }
            epochs.append(
                EpochRecord(epoch: epoch, camera: place.camera, day: place.day, recipient: nil, file: digest))
        }
        let cameras = Dictionary(epochs.map { ($0.epoch, $0.camera) }) { first, _ in first }
        strangers += try scan.strangers(cameras).map(layout.object)
        let clips = scan.clips(cameras)
        let before = oldHead()
        let rebuild = LedgerRebuild(
            clips: clips, epochs: epochs.count, quarantined: strangers.map(layout.relative),
            unreadable: unreadable.map(layout.relative), sizeBefore: before?.count, isApplied: isApplied)
        guard isApplied else { return rebuild }
        if let first = unreadable.first {
            let what = unreadable.count == 1 ? first : "\(first) and \(unreadable.count - 1) more"
            throw VaultError(
                .io, "\(what) cannot be read; the new ledger would not name what lies there. Nothing was written.",
                hint: """
                    Copy the disk to a good one (ddrescue) and rebuild there, or move what cannot be read out of the vault: \
                    without --apply all of it is listed.
                    """)
        }

        let ordered = try scan.ordered(to: now)
        let new = layout.root + "/ledger.new"
        try Quarantine.move(new, layout, files)
        let record = RebuiltRecord(
            why: .ledgerLost, entries: clips + epochs.count, clips: clips, quarantined: strangers.count,
            since: ordered.since, before: before)
        try write(record, ordered, epochs, cameras, to: new)
        for path in strangers { try Quarantine.move(path, layout, files) }
        try Quarantine.move(layout.ledger, layout, files)
        try files.rename(new, to: layout.ledger)
        try files.syncDirectory(layout.root)
        let ledger = LedgerReader(files: files, path: layout.ledger)
        _ = try Index.rebuild(layout, files, ledger, checkpoint: nil)
        return rebuild
    }

    /// The newest head that was signed, as far as its file survived or somebody saw it.
    private func oldHead() -> RebuiltRecord.Head? {
        let seen = pin.flatMap { pin in
            Base64.decode(Array(pin.root.utf8), padded: true).map { RebuiltRecord.Head(count: pin.size, root: $0) }
        }
        let path = layout.ledger + "/checkpoint"
        guard
            let head = try? Checkpoint(
                verifying: try files.contents(path, limit: 1 << 16), vault: file.id, key: file.ledger)
        else { return seen }
        if let seen, seen.count > head.count { return seen }
        return RebuiltRecord.Head(count: head.count, root: head.root)
    }

    private func write(
        _ record: RebuiltRecord, _ clips: ObjectScan.Ordered, _ epochs: [EpochRecord], _ cameras: [EpochID: CameraID],
        to path: String
    ) throws(VaultError) {
        try LedgerWriter.prepare(files, path: path)
        var writer = try LedgerWriter(LedgerReader(files: files, path: path), vault: file.id, key: key)
        var batch = [LedgerEntry(at: now, .rebuilt(record))]
        batch += epochs.sorted { ($0.day, $0.epoch) < ($1.day, $1.epoch) }.map { LedgerEntry(at: now, .epoch($0)) }
        try clips.each(epochs: cameras) { (clip) throws(VaultError) in
            batch.append(LedgerEntry(at: now, .clip(clip)))
            guard batch.count >= Self.batch else { return }
            if let owed = try writer.append(batch) { throw owed }
            batch = []
        }
        if !batch.isEmpty, let owed = try writer.append(batch) { throw owed }
    }
}
