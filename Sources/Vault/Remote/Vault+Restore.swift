public import Core
import Synchronization

/// How a vault comes back from a remote.
public struct RestoreOptions: Sendable {
    /// The ledger's public key as text, noted down beside the recovery identity; nil: whatever the remote says.
    public var key: String?
    /// A ledger that is shorter than the witnesses left with it is taken all the same.
    public var acceptsOlder = false
    /// Where the epochs' keys are, if not in the remote itself.
    public var epochKeys: RemoteDescription?

    public init() {}
}

extension Vault {
    /// The first step of a restore, and of a reading node: ledger, keys and index of a remote into a folder that is empty, or where
    /// this was begun. Seconds, whatever lies there; afterwards everything can be played, from the remote.
    ///
    /// Errors: `.notFound`, `.otherVault`, `.olderCopy`, `.damaged`, `.exists`, `.inUse`, the store's.
    public static func mirror(
        _ description: RemoteDescription, to path: String, _ options: RestoreOptions = RestoreOptions(),
        files: any FileSystem = PosixFileSystem(), time: any TimeSource,
        progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws(VaultError) -> MirrorReport {
        let layout = Layout(path)
        let lane = Lane.serial("vault.mirror")
        let lock = try await lane.run { () throws(VaultError) in
            try files.makeDirectory(layout.root)
            guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
            guard let lock = try files.lock(layout.lock) else { throw inUse(layout) }
            return lock
        }
        defer { withExtendedLifetime(lock) {} }
        let mirror = RemoteMirror(
            layout: layout, files: files, store: try description.store(time: time),
            epochStore: try options.epochKeys?.store(time: time), name: description.name, lane: lane)
        let report = try await mirror.fetch(
            key: options.key, acceptsOlder: options.acceptsOlder, progress: progress)
        try await lane.run { () throws(VaultError) in
            try files.replace(layout.remote(description.name), with: try description.encoded)
            if let epochKeys = options.epochKeys {
                try files.replace(layout.remote(epochKeys.name), with: try epochKeys.encoded)
            }
        }
        return report
    }

    /// Takes the owner's identity into a mirrored vault, so that a passphrase opens it here; and the ledger's signing key with it, so
    /// that recording can go on where the lost machine ended.
    ///
    /// Errors: `.keys` when the identity opens nothing of this vault, `.noMatch`.
    /// - Returns: whether the signing key came too.
    public static func adoptKeys(
        at path: String, identity text: SecretBytes, passphrase: SecretBytes?, from description: RemoteDescription,
        scryptWorkFactor: Int = 18, files: any FileSystem = PosixFileSystem(), time: any TimeSource
    ) async throws(VaultError) -> Bool {
        let layout = Layout(path)
        let store = try description.store(time: time)
        let sealedKey: [UInt8]?
        do throws(VaultError) {
            sealedKey = try await store.contents(RemoteLayout.ledgerKey, limit: 1 << 20)
        } catch {
            guard error.code == .notFound || error.code == .refused else { throw error }
            sealedKey = nil
        }
        return try await Lane.serial("vault.mirror").run { () throws(VaultError) in
            let file = try vaultFile(layout, files)
            let identity = try AgeIdentity(text: text)
            defer { identity.secret.wipe() }
            guard file.recipients.contains(identity.recipient) else {
                throw VaultError(
                    .keys, "This identity is not one of the vault's.",
                    hint: "It is the recovery identity, or the owner's own: `age -d keys/owner.age` shows that.")
            }
            // Another recipient's identity under keys/owner.age would unlock, and then be in the way of every change of keys.
            if let passphrase, file.recipients.first == identity.recipient {
                try files.replace(layout.owner, with: try sealOwner(identity, passphrase, scryptWorkFactor))
            }
            guard let sealedKey else { return false }
            let seed = try AgeFile.openSecret(sealedKey) { (header) throws(VaultError) in
                try AgeWrapping.unwrap(header, identities: [identity])
            }
            defer { seed.wipe() }
            let key = try LedgerKey(seed: seed, vault: file.id)
            guard key.verifier == file.ledger else {
                throw VaultError(.keys, "The signing key in remote \(description.name) is not this vault's.")
            }
            var bytes = try unsafe seed.withBytes { (bytes) throws(VaultError) in unsafe Array(bytes) }
            defer { wipeBytes(&bytes) }
            try files.replace(layout.ledgerKey, with: bytes)
            try files.syncDirectory(layout.root)
            return true
        }
    }

    /// Takes `keys/owner.age` as it is: a copy of the file that the owner kept, or the remote's where he had it put there.
    /// Errors: `.headerFailure` for another kind of file.
    public static func adoptOwnerFile(
        _ sealed: [UInt8], at path: String, files: any FileSystem = PosixFileSystem()
    ) async throws(VaultError) {
        try await Lane.serial("vault.mirror").run { () throws(VaultError) in
            _ = try AgeHeader(parsing: sealed)
            try files.replace(Layout(path).owner, with: sealed)
        }
    }
    /// `keys/owner.age` of a remote; nil when its owner did not put it there.
    public static func ownerFile(
        in description: RemoteDescription, time: any TimeSource
    ) async throws(VaultError) -> [UInt8]? {
        do throws(VaultError) {
            return try await description.store(time: time).contents(RemoteLayout.owner, limit: 1 << 20)
        } catch {
            guard error.code == .notFound || error.code == .refused else { throw error }
            return nil
        }
    }
    /// The owner's identity as text from a sealed `owner.age`. Errors: `.wrongPassphrase`, age's.
    public static func openOwnerFile(_ sealed: [UInt8], passphrase: SecretBytes) async throws(VaultError) -> SecretBytes
    {
        try await Lane.serial("vault.mirror").run { () throws(VaultError) in try openOwner(sealed, passphrase) }
    }
}

/// What a back-fill has done.
public struct BackfillReport: Sendable, Hashable, Codable {
    public var objects = 0
    public var bytes = 0
    /// Of all that is to come, this included.
    public var totalObjects = 0
    public var totalBytes = 0
    /// What lies there under an object's name and is not it.
    public var damaged: [String] = []

    public init() {}
}

extension Remote {
    private static let downloads = 4

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

    /// Brings back what does not lie here, newest first; each object is compared with its name before it gets it. Cut off anywhere, the
    /// next call goes on.
    ///
    /// Errors: the store's, the disk's. What is damaged there is named in the report, and costs nothing else.
    /// - Parameter range: only clips that end in it; nil: all.
    public func backfill(
        _ range: TimeRange? = nil, limit: Int = .max,
        progress: @escaping @Sendable (BackfillReport) -> Void = { _ in }
    ) async throws(VaultError) -> BackfillReport {
        var report = BackfillReport()
        let total = try await on { (state) throws(VaultError) in try state.absentTotal() }
        (report.totalObjects, report.totalBytes) = (total.objects, total.bytes)
        try await removeHalves()
        var before = Int64.max
        while report.objects < limit {
            if Task.isCancelled { throw VaultError(.closed, "The restore was interrupted.", hint: "Run it again.") }
            let from = before
            let rows = try await on { (state) throws(VaultError) in
                try state.absent(before: from, limit: EvictionRecord.limit)
            }
            guard let last = rows.last else { break }
            before = last.entry
            let wanted = rows.map(\.row).filter { row in range.map { $0.contains(row.clipEnd) } ?? true }
            if wanted.isEmpty { continue }
            let (fetched, bad) = try await fetch(Array(wanted.prefix(limit - report.objects)))
            try await enter(fetched)
            report.objects += fetched.count
            report.bytes += fetched.reduce(0) { $0 + $1.bytes }
            report.damaged += bad.map(\.description)
            progress(report)
        }
        return report
    }

    private func fetch(
        _ rows: [RemoteState.Row]
    ) async throws(VaultError) -> (fetched: [RemoteState.Row], damaged: [ObjectID]) {
        var fetched: [RemoteState.Row] = []
        var damaged: [ObjectID] = []
        var failure: VaultError?
        let results = await withTaskGroup(of: (RemoteState.Row, Result<Bool, VaultError>).self) { group in
            var results: [(RemoteState.Row, Result<Bool, VaultError>)] = []
            var rest = rows[...]
            var isBroken = false
            for _ in 0..<Self.downloads {
                if let row = rest.popFirst() { group.addTask { await self.fetchOne(row) } }
            }
            while let result = await group.next() {
                results.append(result)
                if case .failure = result.1 { isBroken = true }
                if !isBroken, let row = rest.popFirst() { group.addTask { await self.fetchOne(row) } }
            }
            return results
        }
        for (row, result) in results {
            switch result {
            case .success(true): fetched.append(row)
            case .success(false): damaged.append(row.object)
            case .failure(let error): failure = failure ?? error
            }
        }
        // What came is kept, whatever became of the rest.
        if let failure {
            try await enter(fetched)
            throw failure
        }
        return (fetched, damaged)
    }

    private func fetchOne(_ row: RemoteState.Row) async -> (RemoteState.Row, Result<Bool, VaultError>) {
        do throws(VaultError) { return (row, .success(try await download(row))) } catch {
            return (row, .failure(error))
        }
    }

    private func half(_ object: ObjectID) -> String { vault.layout.open + "/\(object).fetch" }

    /// False when what lies there is not the object, twice: once it may have been the way here.
    private func download(_ row: RemoteState.Row) async throws(VaultError) -> Bool {
        var isGood = try await downloadsAsNamed(row)
        if !isGood { isGood = try await downloadsAsNamed(row) }
        if !isGood || row.isBad {
            let isRead = isGood
            try await on { (state) throws(VaultError) in try state.read(row.object, isGood: isRead) }
        }
        return isGood
    }

    private func downloadsAsNamed(_ row: RemoteState.Row) async throws(VaultError) -> Bool {
        let (files, layout, half) = (vault.files, vault.layout, half(row.object))
        let lane = vault.reads
        let file = try await lane.run { () throws(VaultError) in
            try files.remove(half)
            return try files.open(half, .create)
        }
        do throws(VaultError) {
            try await store.part(
                RemoteLayout.object(row.object), 0..<row.bytes, into: file, at: 0, progress: nil)
            let isWhole = try await lane.run { () throws(VaultError) in
                guard try HTTPBody.file(file, count: row.bytes).hash(into: Digest.sha256()) == row.object.digest else {
                    return false
                }
                try file.sync()
                let path = layout.object(row.object)
                if try files.attributes(path) == nil { try files.rename(half, to: path) }
                try files.syncDirectory(parent(of: path))
                return true
            }
            if !isWhole { try? files.remove(half) }
            return isWhole
        } catch {
            try? files.remove(half)
            switch error.code {
            case .notFound, .remoteFault: return false
            default: throw error
            }
        }
    }

    private func removeHalves() async throws(VaultError) {
        let (files, folder) = (vault.files, vault.layout.open)
        try await lane.run { () throws(VaultError) in
            for name in try files.list(folder) where name.hasSuffix(".fetch") { try files.remove(folder + "/" + name) }
        }
    }

    /// They lie here again, says the ledger; then nothing takes them for given up.
    private func enter(_ rows: [RemoteState.Row]) async throws(VaultError) {
        guard !rows.isEmpty else { return }
        let objects = rows.map(\.object)
        let vault = vault
        if vault.mode != .mirror {
            let entry = LedgerEntry(
                at: vault.time.wallNow(), .fetch(EvictionRecord(remote: description.id, objects: objects)))
            try await vault.retentionLane.run { () throws(VaultError) in try vault.committer().commit([entry]) }
        }
        try await on { (state) throws(VaultError) in try state.evicted(objects, .here) }
        for object in objects { cache.forget(object) }
    }
}

extension Remote {
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
                default: break
                }
            }
        }
        return report.newEntries
    }
}
