import Core

/// An index that was made anew from the ledger.
public struct IndexRebuild: Sendable {
    public var entries: Int
    public var clips: Int
    /// Lines of the ledger that are no entries.
    public var malformed: Int
    /// Whether the entries are those of the signed checkpoint; nil when there is none with a good signature.
    public var matchesCheckpoint: Bool?
}

extension Vault {
    /// Makes the index anew from the ledger, while no recorder runs. Touches nothing else; the old index stays until the new one
    /// is whole.
    ///
    /// Errors: `.inUse`, `.networkFileSystem`, `.damaged` when the ledger has no entries although it was used, the disk's.
    public static func rebuildIndex(
        at path: String, files: any FileSystem = PosixFileSystem(),
        progress: @escaping @Sendable (_ entries: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws(VaultError) -> IndexRebuild {
        try await Lane.serial("vault.rebuild").run { () throws(VaultError) in
            let layout = Layout(path)
            let file = try vaultFile(layout, files)
            guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
            guard let lock = try files.lock(layout.lock) else { throw inUse(layout) }
            defer { withExtendedLifetime(lock) {} }
            let ledger = LedgerReader(files: files, path: layout.ledger)
            try checkPresence(ledger)
            let checkpoint = try? Checkpoint(
                verifying: files.contents(ledger.checkpointPath), vault: file.id, key: file.ledger)
            let replayed = try Index.rebuild(layout, files, ledger, checkpoint: checkpoint) { entries in
                progress(entries, max(entries, checkpoint?.count ?? 0))
            }
            let index = try Index.writing(layout.index)
            defer { index.close() }
            return IndexRebuild(
                entries: replayed.entries, clips: try index.usage().reduce(0) { $0 + $1.clips },
                malformed: replayed.malformed, matchesCheckpoint: replayed.matchesCheckpoint)
        }
    }

    /// A vault that was only just made has a checkpoint over nothing; any other without entries has lost them.
    static func checkPresence(_ ledger: LedgerReader) throws(VaultError) {
        guard try ledger.isLost() else { return }
        throw VaultError(
            .damaged, "The ledger in \(ledger.path) has no entries, although the vault was used.",
            hint: """
                Restore the folder from a backup or a remote; if there is none, `sudocam rebuild --from-objects` begins a new \
                ledger that says so.
                """)
    }
}

extension LedgerReader {
    /// Whether its entries are gone, and not just none written yet. A checkpoint that cannot be read counts as a sign of use.
    func isLost() throws(VaultError) -> Bool {
        guard try files.attributes(bundlePath(0)) == nil else { return false }
        guard try files.attributes(checkpointPath) != nil else { return true }
        let lines = try files.contents(checkpointPath, limit: 1 << 16).split(
            separator: 10, omittingEmptySubsequences: false)
        return lines.count < 2 || String(decoding: lines[1], as: UTF8.self) != "0"
    }
}
