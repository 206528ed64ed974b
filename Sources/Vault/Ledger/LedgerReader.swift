import Core

/// Reading of the ledger's files; writes nothing.
///
/// `entries/<path>` is a bundle: up to 256 entries, each behind its length in two bytes (tlog-tiles, "Log Entries");
/// only the last bundle is short, and it grows by appending. `tile/<level>/<path>` is a full tile: 256 hashes.
/// Partial tiles are not stored: they follow from the last bundle.
struct LedgerReader: Sendable {
    let files: any FileSystem
    /// `…/ledger`
    let path: String

    func bundlePath(_ index: Int) -> String { path + "/entries/" + MerkleTree.path(index) }
    func tilePath(_ level: Int, _ index: Int) -> String { path + "/tile/\(level)/" + MerkleTree.path(index) }
    /// The bundle to come: empty, its space taken.
    var nextPath: String { path + "/next" }
    var checkpointPath: String { path + "/checkpoint" }
    /// The checkpoint that the entries did not fit at a start: recording went on over them, and this stays as the witness.
    var contradictedPath: String { path + "/checkpoint.contradicted" }

    struct Bundle: Sendable {
        /// Parts of the file's bytes, without a copy of each.
        var entries: [ArraySlice<UInt8>] = []
        /// Bytes that whole entries take; what follows is a torn write.
        var wholeCount = 0
        var fileCount = 0
    }

    /// Nil when there is no such bundle. A torn entry at the end is left out.
    func bundle(_ index: Int) throws(VaultError) -> Bundle? {
        guard try files.attributes(bundlePath(index)) != nil else { return nil }
        let bytes = try files.contents(bundlePath(index))
        var bundle = Bundle(fileCount: bytes.count)
        bundle.entries.reserveCapacity(MerkleTree.tileWidth)
        bundle.wholeCount = Self.eachLine(of: bytes[...]) { bundle.entries.append($0) }
        return bundle
    }

    /// The same for who reads one bundle after another: only the last may be short. Errors: `.damaged` for another one that is.
    func bundleInOrder(_ index: Int) throws(VaultError) -> Bundle? {
        guard let bundle = try bundle(index) else { return nil }
        guard bundle.entries.count < MerkleTree.tileWidth, try files.attributes(bundlePath(index + 1)) != nil else {
            return bundle
        }
        // A writer may have filled it since.
        let again = try self.bundle(index) ?? Bundle()
        guard again.entries.count == MerkleTree.tileWidth else {
            throw VaultError(
                .damaged,
                "\(bundlePath(index)) can be read up to its entry \(again.entries.count) only, and the ledger goes on behind it.",
                hint: Self.damageHint)
        }
        return again
    }
    static let damageHint = """
        `sudocam repair` mends it where the signature tells what stood there; else restore the file from any copy of the vault.
        """

    /// The lines of a bundle one after another, for who keeps hardly any of them: `buffer` serves every bundle that fits into it.
    /// Returns their number; nil when there is no such bundle.
    func eachLine(
        ofBundle index: Int, through buffer: inout [UInt8], _ body: (_ offset: Int, ArraySlice<UInt8>) -> Void
    ) throws(VaultError) -> Int? {
        var offset = 0
        func pass(_ line: ArraySlice<UInt8>) {
            body(offset, line)
            offset += 1
        }
        let count: Int
        do throws(VaultError) {
            let head = try files.head(bundlePath(index), into: &buffer)
            guard head.attributes.count <= buffer.count else {
                try bundle(index)?.entries.forEach(pass)
                return offset
            }
            count = head.count
        } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
        _ = Self.eachLine(of: buffer[..<count], pass)
        return offset
    }

    /// At most as many as a bundle holds. Returns the bytes that they take.
    private static func eachLine(of bytes: ArraySlice<UInt8>, _ body: (ArraySlice<UInt8>) -> Void) -> Int {
        var reader = ByteReader(bytes)
        var wholeCount = 0
        for _ in 0..<MerkleTree.tileWidth {
            guard let count = try? reader.u16(), count > 0, let line = try? reader.take(Int(count)) else { break }
            body(line)
            wholeCount = reader.offset
        }
        return wholeCount
    }

    /// How many whole entries there are, by the names of its bundles; only the last one is read.
    func countEntries() throws(VaultError) -> Int {
        // Bundles are numbered without holes: a search for the first that is not there.
        guard try files.attributes(bundlePath(0)) != nil else { return 0 }
        var low = 0
        var step = 1
        while try files.attributes(bundlePath(low + step)) != nil {
            low += step
            step *= 2
        }
        var high = low + step
        while high - low > 1 {
            let middle = (low + high) / 2
            if try files.attributes(bundlePath(middle)) != nil { low = middle } else { high = middle }
        }
        return low * MerkleTree.tileWidth + (try bundle(low)?.entries.count ?? 0)
    }

    /// An entry's bytes; nil when there is none at `position`.
    func entry(_ position: Int) throws(VaultError) -> [UInt8]? {
        guard let bundle = try bundle(position / MerkleTree.tileWidth) else { return nil }
        let offset = position % MerkleTree.tileWidth
        return offset < bundle.entries.count ? Array(bundle.entries[offset]) : nil
    }

    /// Nil when missing. Errors: `.damaged` for a wrong size.
    func tile(_ level: Int, _ index: Int) throws(VaultError) -> [MerkleTree.Hash]? {
        guard try files.attributes(tilePath(level, index)) != nil else { return nil }
        let bytes = try files.contents(tilePath(level, index))
        guard bytes.count == MerkleTree.tileWidth * MerkleTree.hashSize else {
            throw VaultError(.damaged, "The ledger tile \(level)/\(MerkleTree.path(index)) has \(bytes.count) bytes.")
        }
        return stride(from: 0, to: bytes.count, by: MerkleTree.hashSize).map {
            Array(bytes[$0..<$0 + MerkleTree.hashSize])
        }
    }

    /// The hashes of a full tile: from its file, else computed from what lies below it.
    func tileOrBelow(_ level: Int, _ index: Int) throws(VaultError) -> [MerkleTree.Hash] {
        if let tile = try? tile(level, index) { return tile }
        var hashes: [MerkleTree.Hash] = []
        if level == 0 {
            hashes = try bundle(index)?.entries.map(MerkleTree.leafHash) ?? []
        } else {
            let first = index * MerkleTree.tileWidth
            for below in first..<first + MerkleTree.tileWidth {
                hashes.append(MerkleTree.root(of: try tileOrBelow(level - 1, below)))
            }
        }
        guard hashes.count == MerkleTree.tileWidth else {
            throw VaultError(
                .damaged, "The ledger bundle \(MerkleTree.path(index)) is incomplete.", hint: "Run verify.")
        }
        return hashes
    }

    /// The tree of the first `count` entries, reading at most 255 tiles a level.
    func tree(count: Int) throws(VaultError) -> MerkleTree {
        var edges: [[MerkleTree.Hash]] = []
        let leaves = count % MerkleTree.tileWidth
        let last = leaves == 0 ? [] : try bundle(count / MerkleTree.tileWidth)?.entries ?? []
        guard last.count >= leaves else {
            throw VaultError(.damaged, "The ledger has fewer entries than its checkpoint says.", hint: "Run verify.")
        }
        edges.append(last.prefix(leaves).map(MerkleTree.leafHash))
        var nodes = count / MerkleTree.tileWidth
        var level = 1
        while nodes > 0 {
            var edge: [MerkleTree.Hash] = []
            for index in (nodes / MerkleTree.tileWidth * MerkleTree.tileWidth)..<nodes {
                edge.append(MerkleTree.root(of: try tileOrBelow(level - 1, index)))
            }
            edges.append(edge)
            nodes /= MerkleTree.tileWidth
            level += 1
        }
        return MerkleTree(count: count, edges: edges)
    }

    /// What the entries from `first` on say of deletions, for a while in which the index cannot be written.
    func tail(from first: Int) throws(VaultError) -> Tail {
        var tail = Tail()
        try replay(from: first) { (_, entry) throws(VaultError) in
            switch entry?.body {
            case .clip(let clip):
                tail.clips.insert(clip.object)
                tail.sequences[clip.camera] = max(tail.sequences[clip.camera] ?? 0, clip.identity.sequence)
            case .delete(let deletion): tail.deleted.insert(deletion.object)
            case .evict(let record): tail.evicted.formUnion(record.objects)
            case .fetch(let record): tail.evicted.subtract(record.objects)
            case .hold(let hold): tail.holds.append(hold)
            case .policy(let digest, _): tail.policy = digest
            default: break
            }
        }
        return tail
    }
    struct Tail: Sendable {
        var clips: Set<ObjectID> = []
        /// The highest number of each camera.
        var sequences: [CameraID: UInt64] = [:]
        var deleted: Set<ObjectID> = []
        /// Copies here that were given up, a remote having them.
        var evicted: Set<ObjectID> = []
        var holds: [HoldRecord] = []
        var policy: ObjectID?
    }

    /// Entries from `first` on, bundle by bundle; malformed ones come as nil.
    ///
    /// - Parameter skipsDamage: what follows a damaged length up to its bundle's end comes as nil too. Without, it throws `.damaged`.
    func replay(
        from first: Int, skipsDamage: Bool = false, _ body: (Int, LedgerEntry?) throws(VaultError) -> Void
    ) throws(VaultError) {
        var index = first / MerkleTree.tileWidth
        while true {
            let bundle: Bundle
            var isCut = false
            do throws(VaultError) {
                guard let next = try bundleInOrder(index) else { return }
                bundle = next
            } catch {
                guard skipsDamage, error.code == .damaged, let cut = try self.bundle(index) else { throw error }
                bundle = cut
                isCut = true
            }
            for offset in 0..<(isCut ? MerkleTree.tileWidth : bundle.entries.count) {
                let position = index * MerkleTree.tileWidth + offset
                guard position >= first else { continue }
                let entry =
                    offset < bundle.entries.count ? try? LedgerEntry(parsing: bundle.entries[offset]) : nil
                try body(position, entry)
            }
            if !isCut, bundle.entries.count < MerkleTree.tileWidth { return }
            index += 1
        }
    }
}
