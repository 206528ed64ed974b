import Core

extension Remote {
    /// Begins to follow the remote with a vault that was mirrored from it: what the remote has is known, and what does not lie here is
    /// entered as lying there only. To be called once after a mirror; harmless again.
    public func adoptMirrored() async throws(VaultError) {
        await turn.take()
        do throws(VaultError) {
            try await follow()
            _ = try await list()
            let vault = vault
            let identifier = description.id
            let absent = try await on { (state) throws(VaultError) -> [ObjectID] in
                let (files, layout) = (vault.files, vault.layout)
                var absent: [ObjectID] = []
                var before = Int64.max
                while true {
                    let rows = try state.present(before: before, limit: 1000)
                    guard let last = rows.last else { break }
                    before = last.entry
                    for (row, _) in rows where try files.attributes(layout.object(row.object)) == nil {
                        absent.append(row.object)
                    }
                }
                try state.evicted(absent, .gone)
                return absent
            }
            if vault.mode != .mirror, !absent.isEmpty {
                let now = vault.time.wallNow()
                let entries = stride(from: 0, to: absent.count, by: EvictionRecord.limit).map { start in
                    LedgerEntry(
                        at: now,
                        .evict(
                            EvictionRecord(
                                remote: identifier,
                                objects: Array(absent[start..<min(absent.count, start + EvictionRecord.limit)]))))
                }
                try await vault.retentionLane.run { () throws(VaultError) in
                    for start in stride(from: 0, to: entries.count, by: 256) {
                        try vault.committer().commit(Array(entries[start..<min(entries.count, start + 256)]))
                    }
                }
            }
        } catch {
            await turn.give()
            throw error
        }
        await turn.give()
    }

    /// For a vault that follows this remote: takes in what its ledger has gained. Errors: as `RemoteMirror.follow`.
    /// - Returns: entries that are new.
    @discardableResult
    public func followLedger() async throws(VaultError) -> Int {
        let epochStore = vault.remotes.first { $0.description.contents == .onlyEpochKeys }?.store
        let mirror = RemoteMirror(
            layout: vault.layout, files: vault.files, store: store, epochStore: epochStore, name: name, lane: lane)
        guard let report = try await mirror.follow(vault.index, vault.file) else { return 0 }
        for epoch in report.changedEpochs { vault.keyring.forget(epoch) }
        let (ledger, contents, vault) = (vault.ledger, description.contents, vault)
        try await on { (state) throws(VaultError) in
            let from = Int(try state.number(.position) ?? 0)
            try state.follow(ledger, contents)
            try ledger.replay(from: from) { (_, entry) throws(VaultError) in
                switch entry?.body {
                // What the recorder has listed is on its way, or there: a reader tries.
                case .clip(let clip):
                    try state.assumed(clip.object)
                    vault.hub.send(.committed(clip))
                case .gap(let gap): vault.hub.send(.gap(gap))
                case .event(let event): vault.hub.send(.event(event))
                default: break
                }
            }
        }
        return report.newEntries
    }
}
