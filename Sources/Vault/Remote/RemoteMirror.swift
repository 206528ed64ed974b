public import Core
import Foundation
import GRDB
import Synchronization

/// What a remote's ledger, keys and index bring to a folder: enough to play everything from there.
public struct MirrorReport: Sendable, Hashable {
    public var vault: VaultID
    /// The ledger's public key (c2sp.org/signed-note), to compare with what the owner noted down.
    public var key: String
    public var entries = 0
    public var clips = 0
    public var epochs = 0
    /// Days whose key the remote does not have.
    public var missingEpochs = 0
    /// Entries behind what was there before.
    public var newEntries = 0
    /// Camera, day or vault keys changed in what was new.
    public var changedEpochs: [EpochID] = []
}

/// A remote's ledger, kept in a folder of this machine's: the first step of a restore, and what a reading node follows.
///
/// Nothing of the remote is believed that the ledger's signature does not cover; `vault.json`, which names the signing key, is
/// believed as it is unless the caller knows the key. Written so that it can be cut off anywhere: `vault.json` comes last.
struct RemoteMirror: Sendable {
    let layout: Layout
    let files: any FileSystem
    let store: any RemoteStore
    /// Where the epochs' keys are; nil: in the same remote.
    let epochStore: (any RemoteStore)?
    let name: String
    let lane: Lane

    private static let requests = 8

    // MARK: First time

    /// - Parameters:
    ///   - key: the ledger's key as text, when the caller knows it.
    ///   - acceptsOlder: a ledger that is shorter than its own witnesses is taken all the same.
    func fetch(
        key expected: String?, acceptsOlder: Bool, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws(VaultError) -> MirrorReport {
        let vaultBytes = try await vaultFile()
        let identity = try VaultFile(parsing: vaultBytes, path: "\(name):\(RemoteLayout.vaultFile)")
        let key = identity.ledger.text(of: identity.id)
        if let expected, expected != key {
            throw VaultError(
                .otherVault, "The ledger in remote \(name) is signed by another key than the one you gave.",
                hint: "Is it the right bucket? If it is, somebody has replaced what lies there.")
        }
        let (note, checkpoint) = try await checkpoint(identity)
        let highest = try await highestWitness()
        guard highest <= checkpoint.count || acceptsOlder else {
            throw VaultError(
                .olderCopy,
                "The ledger in remote \(name) ends after \(checkpoint.count) entries, but a checkpoint over \(highest) was left there: it was rolled back, or its newest part is gone.",
                hint: "--accept-older takes what is left.")
        }
        try await prepare(identity)
        var report = MirrorReport(vault: identity.id, key: key)
        report.entries = checkpoint.count
        _ = try await fetchEntries(to: checkpoint, from: MerkleTree(), progress)
        try await lane.run { () throws(VaultError) in
            try files.replace(ledger.checkpointPath, with: note)
            _ = try Index.rebuild(layout, files, ledger, checkpoint: checkpoint)
        }
        let index = try Index.writing(layout.index)
        defer { index.close() }
        (report.epochs, report.missingEpochs) = try await fetchEpochs(index)
        report.clips = try index.usage().reduce(0) { $0 + $1.clips }
        try await lane.run { () throws(VaultError) in try files.replace(layout.vaultFile, with: vaultBytes) }
        return report
    }

    private func vaultFile() async throws(VaultError) -> [UInt8] {
        do throws(VaultError) {
            return try await store.contents(RemoteLayout.vaultFile, limit: 1 << 20)
        } catch {
            guard error.code == .notFound else { throw error }
            throw VaultError(
                .notFound, "There is no vault in remote \(name).", hint: "Is the bucket right, and the prefix in it?")
        }
    }
    private func checkpoint(_ identity: VaultFile) async throws(VaultError) -> ([UInt8], Checkpoint) {
        let note = try await store.contents(RemoteLayout.checkpoint, limit: 1 << 16)
        return (note, try Checkpoint(verifying: note, vault: identity.id, key: identity.ledger))
    }

    /// Entries of the longest ledger that was ever witnessed there.
    func highestWitness(after entries: Int = 0) async throws(VaultError) -> Int {
        let highest = Mutex(0)
        try await store.list(
            RemoteLayout.witnesses, after: entries > 0 ? RemoteLayout.witness(entries) : nil, pageSize: 1000
        ) { (page) throws(VaultError) in
            for object in page {
                guard let count = RemoteLayout.witness(named: object.key) else { continue }
                highest.withLock { $0 = max($0, count) }
            }
        }
        return highest.withLock { $0 }
    }

    private var ledger: LedgerReader { LedgerReader(files: files, path: layout.ledger) }

    private func prepare(_ identity: VaultFile) async throws(VaultError) {
        try await lane.run { () throws(VaultError) in
            if try files.attributes(layout.vaultFile) != nil {
                let known = try Vault.vaultFile(layout, files)
                guard known.id == identity.id else {
                    throw VaultError(
                        .exists, "Another vault (\(known.id)) stands in \(layout.root).", hint: "Name an empty folder.")
                }
            }
            let folders = [
                layout.keys, layout.epochs, layout.objects, layout.open, layout.quarantine, layout.ledger,
                layout.remotes,
            ]
            for folder in folders { try files.makeDirectory(folder) }
            for shard in Layout.shards { try files.makeDirectory(layout.shard(shard)) }
            try files.syncDirectory(layout.objects)
            try LedgerWriter.prepare(files, path: layout.ledger)
            try files.syncDirectory(layout.root)
        }
    }

    /// Bundles from where `tree` ends up to the checkpoint, checked as a whole against its root before the checkpoint is written.
    ///
    /// Errors: `.damaged` when the entries are not the signed ones, `.otherHistory` when they do not continue `tree`.
    private func fetchEntries(
        to checkpoint: Checkpoint, from known: MerkleTree, _ progress: @Sendable (Int, Int) -> Void
    ) async throws(VaultError) -> MerkleTree {
        var tree = known
        let width = MerkleTree.tileWidth
        guard checkpoint.count > tree.count else { return tree }
        let first = tree.count / width
        let last = (checkpoint.count - 1) / width
        var tiles: [MerkleTree.Tile] = []
        var next = first
        while next <= last {
            let batch = next...min(last, next + Self.requests - 1)
            let bundles = try await bundles(batch)
            for (index, bytes) in zip(batch, bundles) {
                let wanted = min(width, checkpoint.count - index * width)
                var reader = ByteReader(bytes)
                var entries = 0
                var end = 0
                while entries < wanted {
                    guard let count = try? reader.u16(), count > 0, let entry = try? reader.take(Int(count)) else {
                        break
                    }
                    let leaf = MerkleTree.leafHash(Array(entry))
                    if index * width + entries >= known.count {
                        tiles += tree.append(leaf: leaf)
                    } else if known.edges.first.map({ $0.indices.contains(entries) && $0[entries] == leaf }) != true {
                        throw VaultError(
                            .otherHistory,
                            "Entry \(index * width + entries) in remote \(name) is another one than before.",
                            hint: "What was seen before stays readable here.")
                    }
                    entries += 1
                    end = reader.offset
                }
                guard entries == wanted else {
                    throw VaultError(
                        .damaged, "Bundle \(index) of the ledger in remote \(name) is cut off or malformed.",
                        hint: "Run `sudocam remote verify` on the recorder.")
                }
                try await write(bundle: index, Array(bytes.prefix(end)), tiles)
                tiles = []
            }
            next = batch.upperBound + 1
            progress(min(checkpoint.count, next * width), checkpoint.count)
        }
        guard tree.count == checkpoint.count, tree.root == checkpoint.root else {
            throw VaultError(
                known.count == 0 ? .damaged : .otherHistory,
                "The ledger's entries in remote \(name) are not those that its checkpoint signs.",
                hint: "Somebody altered them, or they were damaged there: nothing of them is used.")
        }
        return tree
    }

    private func bundles(_ range: ClosedRange<Int>) async throws(VaultError) -> [[UInt8]] {
        let store = store
        let results = await withTaskGroup(of: (Int, Result<[UInt8], VaultError>).self) { group in
            for index in range {
                group.addTask {
                    do throws(VaultError) {
                        return (index, .success(try await store.contents(RemoteLayout.bundle(index), limit: 1 << 25)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            return await group.reduce(into: [Int: Result<[UInt8], VaultError>]()) { $0[$1.0] = $1.1 }
        }
        var bundles: [[UInt8]] = []
        for index in range { if let result = results[index] { bundles.append(try result.get()) } }
        return bundles
    }

    private func write(bundle index: Int, _ bytes: [UInt8], _ tiles: [MerkleTree.Tile]) async throws(VaultError) {
        try await lane.run { () throws(VaultError) in
            let path = ledger.bundlePath(index)
            try makeFolders(parent(of: path))
            try files.replace(path, with: bytes)
            for tile in tiles {
                let path = ledger.tilePath(tile.level, tile.index)
                try makeFolders(parent(of: path))
                try files.replace(path, with: tile.hashes.flatMap { $0 })
            }
        }
    }
    private func makeFolders(_ path: String) throws(VaultError) {
        guard try files.attributes(path) == nil else { return }
        try makeFolders(parent(of: path))
        try files.makeDirectory(path)
        try files.syncDirectory(parent(of: path))
    }

    /// Keys of days that the ledger has and that were not shredded, where ours is missing or another one.
    private func fetchEpochs(_ index: Index) async throws(VaultError) -> (there: Int, missing: Int) {
        let wanted = try await lane.run { () throws(VaultError) in try index.epochFiles() }
        var there = 0
        var missing = 0
        var rest = wanted[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.requests))
            rest = rest.dropFirst(batch.count)
            let results = await withTaskGroup(of: Result<Bool, VaultError>.self) { group in
                for (epoch, file) in batch {
                    group.addTask {
                        do throws(VaultError) { return .success(try await fetch(epoch, file)) } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            for result in results { if try result.get() { there += 1 } else { missing += 1 } }
        }
        try await lane.run { () throws(VaultError) in try files.syncDirectory(layout.epochs) }
        return (there, missing)
    }

    /// False when the remote does not have it as the ledger says.
    func fetch(_ epoch: EpochID, _ file: ObjectID) async throws(VaultError) -> Bool {
        let path = layout.epoch(epoch)
        let isHere = try await lane.run { () throws(VaultError) in
            guard try files.attributes(path) != nil else { return false }
            return try ObjectID(hashing: try files.contents(path, limit: 1 << 20)) == file
        }
        if isHere { return true }
        let bytes: [UInt8]
        do throws(VaultError) {
            bytes = try await (epochStore ?? store).contents(RemoteLayout.epoch(epoch), limit: 1 << 20)
        } catch {
            if error.code == .notFound { return false }
            throw error
        }
        guard try ObjectID(hashing: bytes) == file else { return false }
        try await lane.run { () throws(VaultError) in
            try files.replace(path, with: bytes, isFolderSynced: false)
        }
        return true
    }

    // MARK: From then on

    /// Takes away what was fetched and never found to be signed.
    static func trim(_ ledger: LedgerReader, to count: Int) throws(VaultError) {
        let files = ledger.files
        let width = MerkleTree.tileWidth
        var index = count / width
        if count % width > 0, let bundle = try ledger.bundle(index) {
            let kept = bundle.entries.prefix(count % width).reduce(0) { $0 + 2 + $1.count }
            if bundle.fileCount > kept {
                let bytes = try files.contents(ledger.bundlePath(index), limit: 1 << 25)
                try files.replace(ledger.bundlePath(index), with: Array(bytes.prefix(kept)))
            }
            index += 1
        }
        while try files.attributes(ledger.bundlePath(index)) != nil {
            try files.remove(ledger.bundlePath(index))
            try files.remove(ledger.tilePath(0, index))
            index += 1
        }
    }

    /// What the remote's ledger has gained since. Errors: `.olderCopy` when it has become shorter, `.otherHistory`, the store's.
    func follow(_ index: Index, _ identity: VaultFile) async throws(VaultError) -> MirrorReport? {
        let ours = try await lane.run { () throws(VaultError) in
            try Checkpoint(
                verifying: files.contents(ledger.checkpointPath, limit: 1 << 16), vault: identity.id,
                key: identity.ledger)
        }
        let (note, theirs) = try await checkpoint(identity)
        guard theirs != ours else { return nil }
        guard theirs.count > ours.count else {
            throw VaultError(
                theirs.count < ours.count ? .olderCopy : .otherHistory,
                "The ledger in remote \(name) has \(theirs.count) entries; \(ours.count) were seen here before.",
                hint: "It was rolled back, or written by two recorders. What was seen before stays readable here.")
        }
        let known = try await lane.run { () throws(VaultError) in try ledger.tree(count: ours.count) }
        guard known.root == ours.root else {
            throw VaultError(.damaged, "The ledger in \(layout.root) is damaged.", hint: "Mirror it anew.")
        }
        do throws(VaultError) { _ = try await fetchEntries(to: theirs, from: known) { _, _ in } } catch {
            try await lane.run { () throws(VaultError) in try Self.trim(ledger, to: ours.count) }
            throw error
        }
        var report = MirrorReport(vault: identity.id, key: identity.ledger.text(of: identity.id))
        report.entries = theirs.count
        report.newEntries = theirs.count - ours.count
        let changed = try await lane.run { () throws(VaultError) -> [EpochID: ObjectID?] in
            try files.replace(ledger.checkpointPath, with: note)
            var changed: [EpochID: ObjectID?] = [:]
            try ledger.replay(from: ours.count) { (_, entry) throws(VaultError) in
                switch entry?.body {
                case .epoch(let epoch): changed[epoch.epoch] = epoch.file
                case .rewrap(let epoch, let file, _): changed[epoch] = file
                case .shred(let epoch, _): changed[epoch] = .some(nil)
                default: break
                }
            }
            try index.catchUp(ledger)
            return changed
        }
        for (epoch, file) in changed {
            if let file {
                if try await !fetch(epoch, file) { report.missingEpochs += 1 }
            } else {
                try await lane.run { () throws(VaultError) in try files.remove(layout.epoch(epoch)) }
            }
            report.changedEpochs.append(epoch)
        }
        return report
    }
}

extension Index {
    /// Keys of days that are not shredded, and what their files hash to.
    func epochFiles() throws(VaultError) -> [(epoch: EpochID, file: ObjectID)] {
        try Self.wrapping {
            try database.read { db in
                try Row.fetchAll(db, sql: "SELECT uuid, file FROM epoch WHERE shredded = 0 AND file IS NOT NULL").map {
                    row in
                    guard let file = ObjectID(digest: Array(row["file"] as Data)) else {
                        throw VaultError(.index, "The index holds a malformed digest.")
                    }
                    return (try EpochID(blob: row["uuid"]), file)
                }
            }
        }
    }
}
