/// The right edge of an RFC 6962 Merkle tree in tiles of 256 (c2sp.org/tlog-tiles): all an appender needs.
///
/// `edges[l]` holds the hashes of complete subtrees of 256^l leaves that do not yet fill a tile; when the 256th comes,
/// `append` hands the tile out and its root moves up one level.
struct MerkleTree: Sendable, Hashable {
    typealias Hash = [UInt8]
    static let tileWidth = 256
    static let hashSize = 32

    struct Tile: Sendable, Hashable {
        var level: Int
        var index: Int
        var hashes: [Hash]
        /// The number of the first entry behind those it covers.
        var end: Int { (index + 1) << (8 * (level + 1)) }
    }

    private(set) var count = 0
    private(set) var edges: [[Hash]] = []

    init() {}
    /// A tree whose edges were read from tiles.
    init(count: Int, edges: [[Hash]]) {
        self.count = count
        self.edges = edges
    }

    static func leafHash(_ entry: ArraySlice<UInt8>) -> Hash { Digest.sha256(0, entry) }
    static func leafHash(_ entry: [UInt8]) -> Hash { leafHash(entry[...]) }
    static func nodeHash(_ left: Hash, _ right: Hash) -> Hash { Digest.sha256(1, left[...], right[...]) }

    /// Tiles that this leaf completes, lowest first.
    mutating func append(leaf: Hash) -> [Tile] {
        defer { count += 1 }
        return append(leaf, at: 0, index: count)
    }

    /// As many leaves as fill a tile, known by their root alone. Only where the last tile is full.
    mutating func append(rootOfTile root: Hash) {
        assert(count % Self.tileWidth == 0)
        if edges.isEmpty { edges.append([]) }
        _ = append(root, at: 1, index: count / Self.tileWidth)
        count += Self.tileWidth
    }

    /// - Parameter index: of the hash in its level.
    private mutating func append(_ hash: Hash, at level: Int, index: Int) -> [Tile] {
        var tiles: [Tile] = []
        var hash = hash
        var level = level
        var index = index
        while true {
            if edges.count <= level { edges.append([]) }
            edges[level].append(hash)
            guard edges[level].count == Self.tileWidth else { break }
            index /= Self.tileWidth
            tiles.append(Tile(level: level, index: index, hashes: edges[level]))
            hash = Self.root(of: edges[level])
            edges[level] = []
            level += 1
        }
        return tiles
    }

    /// RFC 6962 section 2.1: the hash of nothing for an empty tree.
    var root: Hash {
        var hash: Hash?
        for edge in edges {
            // Complete subtrees within an edge: one per set bit of its count, largest on the left.
            var end = edge.count
            while end > 0 {
                let size = end & -end
                let subtree = Self.root(of: Array(edge[(end - size)..<end]))
                hash = hash.map { Self.nodeHash(subtree, $0) } ?? subtree
                end -= size
            }
        }
        return hash ?? Digest.sha256([])
    }

    /// Of a power of two of hashes.
    static func root(of hashes: [Hash]) -> Hash {
        var row = hashes
        while row.count > 1 {
            row = stride(from: 0, to: row.count - 1, by: 2).map { nodeHash(row[$0], row[$0 + 1]) }
        }
        return row.first ?? Digest.sha256([])
    }

    /// Of a power of two of leaves, in memory that is taken once.
    static func root(ofLeaves entries: [ArraySlice<UInt8>]) -> Hash {
        var hashes = [UInt8](repeating: 0, count: max(entries.count, 1) * hashSize)
        for (place, entry) in entries.enumerated() { Digest.sha256(0, entry, to: place * hashSize, in: &hashes) }
        var count = entries.count
        while count > 1 {
            count /= 2
            for place in 0..<count {
                Digest.sha256(1, pairAt: 2 * place * hashSize, in: &hashes, to: place * hashSize)
            }
        }
        return Array(hashes.prefix(hashSize))
    }

    /// `x001/x234/067`: three digits a folder, so that no folder grows beyond a thousand entries.
    static func path(_ index: Int) -> String {
        func digits(_ value: Int) -> String { String(String(1000 + value % 1000).dropFirst()) }
        var path = digits(index)
        var rest = index / 1000
        while rest > 0 {
            path = "x" + digits(rest) + "/" + path
            rest /= 1000
        }
        return path
    }
}
