import Core

/// Appends to the ledger. `append` returns when the entries are durable and a checkpoint over them is: the commit.
///
/// Not thread-safe; the committer owns it.
struct LedgerWriter {
    let reader: LedgerReader
    private let vault: VaultID
    private let key: LedgerKey
    private var tree: MerkleTree
    private var file: (any OpenFile)?
    /// Bytes in the bundle being filled.
    private var bundleCount: Int
    /// What recovery found odd; shown as alarms.
    private(set) var alarms: [String] = []

    var count: Int { tree.count }

    /// Makes an empty ledger's folders; fine when they are there.
    static func prepare(_ files: any FileSystem, path: String) throws(VaultError) {
        for folder in [path, path + "/entries", path + "/tile"] { try files.makeDirectory(folder) }
        try files.syncDirectory(path)
    }

    /// Recovers: cuts a torn entry off, checks the signed tree, takes in what was written behind it, signs anew.
    ///
    /// - Parameter isRewritingLast: after a failed sync: the last bundle goes into a new file, because what the old
    ///   one's pages hold may never have reached the disk.
    init(
        _ reader: LedgerReader, vault: VaultID, key: LedgerKey, isRewritingLast: Bool = false
    ) throws(VaultError) {
        self.reader = reader
        self.vault = vault
        self.key = key
        var alarms: [String] = []
        var tree = MerkleTree()
        var signed: Checkpoint?
        if try reader.files.attributes(reader.checkpointPath) != nil {
            do throws(VaultError) {
                signed = try Checkpoint(
                    verifying: reader.files.contents(reader.checkpointPath), vault: vault, key: key.verifier)
            } catch {
                alarms.append(error.reason + " A new one is signed over the entries found.")
            }
        }
        if let signed {
            do throws(VaultError) {
                tree = try reader.tree(count: signed.count)
                if tree.root != signed.root {
                    // A tile may be what is damaged: the entries, all read, tell.
                    let repair = LedgerRepair(ledger: reader, vault: vault, verifier: key.verifier)
                    let examination = try repair.examine()
                    if examination.verdict == .vouched {
                        try repair.rewriteTiles(examination)
                        tree = try reader.tree(count: signed.count)
                        alarms.append(
                            "\(examination.tiles.count) tile(s) of the ledger were damaged and were computed anew.")
                    } else {
                        alarms.append("The ledger differs from its signed checkpoint. Run verify.")
                    }
                }
            } catch {
                alarms.append(error.reason)
                tree = MerkleTree()
            }
        }
        bundleCount = 0
        file = nil
        var tiles: [MerkleTree.Tile] = []
        var index = tree.count / MerkleTree.tileWidth
        while let bundle = try reader.bundle(index) {
            let known = max(0, tree.count - index * MerkleTree.tileWidth)
            for entry in bundle.entries.dropFirst(known) { tiles += tree.append(leaf: MerkleTree.leafHash(entry)) }
            if bundle.entries.count < MerkleTree.tileWidth {
                if isRewritingLast {
                    let bytes = try reader.files.contents(reader.bundlePath(index))
                    try reader.files.replace(reader.bundlePath(index), with: Array(bytes.prefix(bundle.wholeCount)))
                }
                let open = try reader.files.open(reader.bundlePath(index), .readWrite)
                if try open.count() > bundle.wholeCount {
                    try open.truncate(to: bundle.wholeCount)
                    try open.sync()
                }
                file = open
                bundleCount = bundle.wholeCount
                break
            }
            index += 1
        }
        self.tree = tree
        self.alarms = alarms
        for tile in tiles { try Self.write(tile, reader) }
        if signed?.count != tree.count, tree.count > 0 { try sign() }
    }

    /// That the files are still those this writer wrote: after a disk was pulled, an empty folder under its mount point must not be
    /// taken for a ledger that begins, nor another vault's for this one. Errors: `.notFound`.
    func checkIsThere() throws(VaultError) {
        if try reader.countEntries() >= count {
            if let there = try? reader.tree(count: count), there.root == tree.root { return }
            if try reader.root(count: count) == tree.root { return }
        }
        throw VaultError(
            .notFound, "The ledger in \(reader.path) is not the one that was written to.",
            hint: "Is its disk still mounted? Recording goes on when it is back.")
    }

    /// After an error this writer is used up: make a new one, which takes in what reached the disk.
    mutating func append(_ entries: [LedgerEntry]) throws(VaultError) {
        var pending: [UInt8] = []
        var next = tree
        var tiles: [MerkleTree.Tile] = []
        for entry in entries {
            guard let bytes = entry.encoded(), let count = UInt16(exactly: bytes.count) else {
                throw VaultError(.invalid, "An entry cannot be written to the ledger.")
            }
            pending += [UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)] + bytes
            tiles += next.append(leaf: MerkleTree.leafHash(bytes))
            if next.count % MerkleTree.tileWidth == 0 {
                try write(pending, startingAt: next.count - 1)
                file = nil
                bundleCount = 0
                pending = []
            }
        }
        if !pending.isEmpty { try write(pending, startingAt: next.count - 1) }
        tree = next
        for tile in tiles { try Self.write(tile, reader) }
        try sign()
    }

    /// Appends to the bundle that holds entry `position`, durably.
    private mutating func write(_ bytes: [UInt8], startingAt position: Int) throws(VaultError) {
        let path = reader.bundlePath(position / MerkleTree.tileWidth)
        if file == nil {
            try Self.makeFolders(parent(of: path), reader)
            // A bundle that is there already is not ours: another disk was mounted in this one's place.
            file = try reader.files.open(path, .create)
            try reader.files.syncDirectory(parent(of: path))
        }
        guard let open = file else { return }
        try open.write(bytes, 0..<bytes.count, at: bundleCount)
        try open.sync()
        bundleCount += bytes.count
    }

    static func write(_ tile: MerkleTree.Tile, _ reader: LedgerReader) throws(VaultError) {
        let path = reader.tilePath(tile.level, tile.index)
        try makeFolders(parent(of: path), reader)
        try reader.files.replace(path, with: tile.hashes.flatMap { $0 })
    }

    /// Never above the ledger's own folder: where that is gone, its disk is, and what lies under its mount point is not ours.
    private static func makeFolders(_ path: String, _ reader: LedgerReader) throws(VaultError) {
        guard try reader.files.attributes(path) == nil else { return }
        guard path.hasPrefix(reader.path + "/") else {
            throw VaultError(.notFound, "\(reader.path) is gone.", hint: "Is its disk still mounted?")
        }
        try makeFolders(parent(of: path), reader)
        try reader.files.makeDirectory(path)
        try reader.files.syncDirectory(parent(of: path))
    }

    private func sign() throws(VaultError) {
        let checkpoint = Checkpoint(vault: vault, count: tree.count, root: tree.root)
        // An older checkpoint after a crash is fine: it covers a prefix. So its folder needs no sync.
        try reader.files.replace(reader.checkpointPath, with: try checkpoint.signed(by: key), isFolderSynced: false)
    }
}
