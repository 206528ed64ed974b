import Core

/// Appends to the ledger. `append` returns when the entries are durable: the commit. Tiles and checkpoint follow from them.
///
/// A full disk must not stop the ledger, or nothing could be deleted. So the space for a whole bundle is taken when the
/// bundle is begun, and `ledger/next` is the one after it, taken beforehand. Tiles and checkpoint need space of their own;
/// without it they wait (`owed`), which a crash at that moment would leave behind too.
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
    /// Bytes of it that cannot meet a full disk.
    private var allocated = 0
    private var isNextReady = false
    /// What the checkpoint may not cover before it stands.
    private var owedTiles: [MerkleTree.Tile] = []
    private var isUnsigned = false
    /// Entries were found that are not those that were signed, or no signature that is good.
    let isContradicted: Bool
    /// What recovery found odd; shown as alarms.
    private(set) var alarms: [String] = []

    enum Condition {
        case good
        /// Part of a batch stands in the files: make a new writer, which takes it in.
        case unread
        /// A sync failed: the last bundle has to go into a new file.
        case unsynced
    }
    private(set) var condition = Condition.good

    /// Room for 256 ordinary entries of 300 to 500 bytes.
    private static let bundleSpace = 160 << 10
    private static let entrySpace = 512

    var count: Int { tree.count }

    /// Makes an empty ledger's folders; fine when they are there.
    static func prepare(_ files: any FileSystem, path: String) throws(VaultError) {
        var isChanged = false
        for folder in [path, path + "/entries", path + "/tile"] where try files.attributes(folder) == nil {
            try files.makeDirectory(folder)
            isChanged = true
        }
        if isChanged { try files.syncDirectory(path) }
    }

    /// Recovers: cuts a torn entry off, checks the signed tree, puts right what its hashes vouch for, takes in what was written behind
    /// it, signs anew.
    ///
    /// Errors: `.damaged` when entries that were signed cannot be told from one another: to go on they would have to be cut off.
    /// - Parameters:
    ///   - isRewritingLast: after a failed sync: the last bundle goes into a new file, because what the old
    ///     one's pages hold may never have reached the disk.
    ///   - givesUpDamage: the owner wants them cut off; the file as it was stays in quarantine.
    init(
        _ reader: LedgerReader, vault: VaultID, key: LedgerKey, isRewritingLast: Bool = false,
        givesUpDamage: Bool = false
    ) throws(VaultError) {
        self.reader = reader
        self.vault = vault
        self.key = key
        var alarms: [String] = []
        var tree = MerkleTree()
        var signed: Checkpoint?
        var isContradicted = false
        if try reader.files.attributes(reader.checkpointPath) != nil {
            do throws(VaultError) {
                signed = try Checkpoint(
                    verifying: reader.files.contents(reader.checkpointPath), vault: vault, key: key.verifier)
            } catch {
                alarms.append(error.reason + " A new one is signed over the entries found.")
                try Self.keepContradicted(reader)
            }
        } else if try reader.countEntries() > 0 {
            alarms.append(
                "The ledger's checkpoint was missing. A new one is signed over the entries found; whoever kept an older head can check them."
            )
        }
        if let signed {
            let repair = LedgerRepair(ledger: reader, vault: vault, verifier: key.verifier)
            if let known = try Self.tree(signedBy: signed, repair, &alarms) {
                tree = known
            } else {
                isContradicted = true
                try Self.checkCut(reader, signed, givesUpDamage: givesUpDamage)
                alarms.append("The ledger differs from its signed checkpoint. Run verify.")
                try Self.keepContradicted(reader)
                tree = try Self.treeFound(reader, upTo: signed.count)
            }
        }
        bundleCount = 0
        file = nil
        var tiles: [MerkleTree.Tile] = []
        var index = tree.count / MerkleTree.tileWidth
        while let bundle = try reader.bundleInOrder(index) {
            let first = index * MerkleTree.tileWidth
            let known = max(0, tree.count - first)
            for entry in bundle.entries.dropFirst(known) { tiles += tree.append(leaf: MerkleTree.leafHash(entry)) }
            if bundle.entries.count < MerkleTree.tileWidth {
                // What a crash tore lies behind a checkpoint that fits.
                if bundle.fileCount > bundle.wholeCount, signed == nil || isContradicted {
                    try Self.keep(reader, index, &alarms)
                }
                if isRewritingLast {
                    let bytes = try reader.files.contents(reader.bundlePath(index))
                    try reader.files.replace(reader.bundlePath(index), with: Array(bytes.prefix(bundle.wholeCount)))
                }
                let open = try reader.files.open(reader.bundlePath(index), .readWrite)
                if try open.count() > bundle.wholeCount { try open.truncate(to: bundle.wholeCount) }
                // Also when nothing is cut off: what was read may stand in the cache only, and is signed below.
                try open.sync()
                file = open
                bundleCount = bundle.wholeCount
                break
            }
            index += 1
        }
        self.isContradicted = isContradicted
        self.tree = tree
        self.alarms = alarms
        owedTiles = tiles
        isUnsigned = signed?.count != tree.count && tree.count > 0
        do throws(VaultError) { try settle() } catch { if error.code != .noSpace { throw error } }
        takeSpace(for: 0)
        prepareNext()
    }

    /// The tree that was signed, once its tiles, and entries of which a bit was flipped, are put right; nil when the entries are others.
    private static func tree(
        signedBy checkpoint: Checkpoint, _ repair: LedgerRepair, _ alarms: inout [String]
    ) throws(VaultError) -> MerkleTree? {
        if let tree = try signedTree(checkpoint, repair.ledger) { return tree }
        let mended = try repair.mend()
        if !mended.isEmpty { alarms.append(LedgerRepair.told(mended)) }
        let examination = try repair.examine()
        guard examination.verdict == .vouched else { return nil }
        if !examination.tiles.isEmpty {
            try repair.rewriteTiles(examination)
            alarms.append("\(examination.tiles.count) tile(s) of the ledger were damaged and were computed anew.")
        }
        return try signedTree(checkpoint, repair.ledger)
    }
    private static func signedTree(
        _ checkpoint: Checkpoint, _ reader: LedgerReader
    ) throws(VaultError) -> MerkleTree? {
        do throws(VaultError) {
            let tree = try reader.tree(count: checkpoint.count)
            return tree.root == checkpoint.root ? tree : nil
        } catch {
            guard error.code == .damaged else { throw error }
            return nil
        }
    }
    /// Of the entries that are there, at most `count`; empty where not even that can be told.
    private static func treeFound(_ reader: LedgerReader, upTo count: Int) throws(VaultError) -> MerkleTree {
        let found = try reader.countEntries()
        do throws(VaultError) { return try reader.tree(count: min(count, found)) } catch {
            guard error.code == .damaged else { throw error }
            return MerkleTree()
        }
    }

    /// Whether to go on would cut off bytes of entries that were signed, or write a bundle before one that is there. Errors: `.damaged`.
    private static func checkCut(
        _ reader: LedgerReader, _ signed: Checkpoint, givesUpDamage: Bool
    ) throws(VaultError) {
        let found = try reader.countEntries()
        guard found < signed.count else { return }
        let (index, last) = (found / MerkleTree.tileWidth, (signed.count - 1) / MerkleTree.tileWidth)
        let isWithin = index < last ? try reader.files.attributes(reader.bundlePath(last)) != nil : false
        let isCut = try reader.bundle(index).map { $0.fileCount > $0.wholeCount } ?? false
        guard isWithin || isCut && !givesUpDamage else { return }
        throw VaultError(
            .damaged,
            "The ledger's last entries are damaged: \(found) can be read, and its checkpoint signs \(signed.count).",
            hint: """
                Nothing was cut off. \(LedgerReader.damageHint) Without a copy, `sudocam serve --accept-older-copy` goes on with \
                the entries that can be read, and keeps the damaged file in quarantine.
                """)
    }
    private static func keep(_ reader: LedgerReader, _ index: Int, _ alarms: inout [String]) throws(VaultError) {
        let path = reader.bundlePath(index)
        let name = "entries-" + String(MerkleTree.path(index).map { $0 == "/" ? "-" : $0 })
        try Quarantine.keep(
            try reader.files.contents(path), named: name, Layout(parent(of: reader.path)), reader.files)
        alarms.append("\(path) ends in what is no entry, and is cut there; as it was it lies in quarantine.")
    }

    /// Recording goes on over entries that a signature contradicts, or one flipped bit would end it; but what was signed first is
    /// never signed away: `verify` compares with it for ever.
    private static func keepContradicted(_ reader: LedgerReader) throws(VaultError) {
        guard try reader.files.attributes(reader.contradictedPath) == nil else { return }
        try reader.files.replace(
            reader.contradictedPath, with: try reader.files.contents(reader.checkpointPath, limit: 1 << 16))
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

    /// After an error see `condition`.
    /// - Returns: why tiles or checkpoint have to wait, though the entries are committed.
    mutating func append(_ entries: [LedgerEntry]) throws(VaultError) -> VaultError? {
        var pending: [UInt8] = []
        var next = tree
        var tiles: [MerkleTree.Tile] = []
        var isFirst = true
        for entry in entries {
            guard let bytes = entry.encoded(), let count = UInt16(exactly: bytes.count) else {
                if !isFirst { condition = .unread }
                throw VaultError(.invalid, "An entry cannot be written to the ledger.")
            }
            pending += [UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)] + bytes
            tiles += next.append(leaf: MerkleTree.leafHash(bytes))
            if next.count % MerkleTree.tileWidth == 0 {
                try write(pending, startingAt: next.count - 1, isFirst)
                isFirst = false
                file = nil
                bundleCount = 0
                pending = []
            }
        }
        if !pending.isEmpty { try write(pending, startingAt: next.count - 1, isFirst) }
        tree = next
        owedTiles += tiles
        isUnsigned = true
        if !isNextReady { prepareNext() }
        do throws(VaultError) { try settle() } catch { return error }
        return nil
    }

    /// Appends to the bundle that holds entry `position`, durably.
    private mutating func write(
        _ bytes: [UInt8], startingAt position: Int, _ isFirst: Bool
    ) throws(VaultError) {
        let path = reader.bundlePath(position / MerkleTree.tileWidth)
        if file == nil {
            if !isFirst { condition = .unread }
            file = try beginBundle(path)
            condition = .good
        }
        guard let open = file else { return }
        takeSpace(for: bytes.count, entriesLeft: MerkleTree.tileWidth - 1 - position % MerkleTree.tileWidth)
        do throws(VaultError) {
            try open.write(bytes, 0..<bytes.count, at: bundleCount)
        } catch {
            // Nothing is promised yet: what was written of it is taken back.
            condition = isFirst && (try? open.truncate(to: bundleCount)) != nil ? .good : .unread
            allocated = 0
            throw error
        }
        do throws(VaultError) {
            try open.sync()
        } catch {
            condition = .unsynced
            throw error
        }
        bundleCount += bytes.count
    }

    /// The bundle prepared beforehand, or a new one; its name is durable.
    private mutating func beginBundle(_ path: String) throws(VaultError) -> any OpenFile {
        allocated = 0
        try Self.makeFolders(parent(of: path), reader)
        // A bundle that is there already is not ours: another disk was mounted in this one's place.
        guard try reader.files.attributes(path) == nil else {
            throw VaultError(
                .notFound, "The ledger in \(reader.path) is not the one that was written to.",
                hint: "Is its disk still mounted?")
        }
        if isNextReady {
            isNextReady = false
            // Whatever is not empty is not what was prepared.
            if try reader.files.attributes(reader.nextPath)?.count == 0 {
                try reader.files.rename(reader.nextPath, to: path)
                allocated = Self.bundleSpace
            }
        }
        let open = try reader.files.open(path, .readWrite)
        try reader.files.syncDirectory(parent(of: path))
        return open
    }

    /// For bytes about to be written and the bundle's further entries. On a full disk the write itself will tell.
    private mutating func takeSpace(for count: Int, entriesLeft: Int = 0) {
        guard let file else { return }
        let needed = max(bundleCount + count + entriesLeft * Self.entrySpace, allocated == 0 ? Self.bundleSpace : 0)
        guard needed > allocated, (try? file.allocate(needed)) != nil else { return }
        allocated = needed
    }

    private mutating func prepareNext() {
        do throws(VaultError) {
            if let left = try reader.files.attributes(reader.nextPath), left.count > 0 {
                try reader.files.remove(reader.nextPath)
            }
            try reader.files.open(reader.nextPath, .readWrite).allocate(Self.bundleSpace)
            isNextReady = true
        } catch {
            // Tried again with the next entry: it is for the day when there is no space.
            try? reader.files.remove(reader.nextPath)
        }
    }

    /// Brings tiles and checkpoint after the entries. Errors: then the rest is still owed.
    private mutating func settle() throws(VaultError) {
        while let tile = owedTiles.first {
            try Self.write(tile, reader)
            owedTiles.removeFirst()
        }
        guard isUnsigned else { return }
        try sign()
        isUnsigned = false
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
