import Core

/// A bundle of the ledger as it was signed, found by trying what one flipped bit may have been.
struct EntryMend: Sendable, Hashable {
    /// The bundle's number.
    var bundle: Int
    /// Entries that are put right.
    var positions: [Int]
    /// The whole file.
    var bytes: [UInt8]
}

/// Looks for the damage in one bundle's file: a bit of an entry, or of the two bytes before it that say how long it is.
///
/// A start waits for it, so it ends after a certain work whatever the bundle holds. 255 entries of 600 bytes, more than a clip has,
/// take 2 GB when it is none of their bits; 255 holds with long notes, of 6 kB each, would take 85 GB.
struct EntryMending: Hashable {
    private let bundle: Int
    private var bytes: [UInt8]
    /// Bytes that may still be hashed.
    private(set) var budget: Int

    /// Ten seconds of a core that has instructions for SHA-256.
    static let wholeBudget = 4_000_000_000
    /// Entries longer than this are not tried bit by bit: only policies are, and the work grows with the square of it.
    private static let longest = 8192

    init(bundle: Int, bytes: [UInt8], budget: Int = wholeBudget) {
        self.bundle = bundle
        self.bytes = bytes
        self.budget = budget
    }

    /// Whether so many bytes more may be hashed.
    private mutating func spend(_ count: Int) -> Bool {
        budget -= count
        return budget >= 0
    }

    private func length(at offset: Int) -> Int? {
        guard offset + 2 <= bytes.count else { return nil }
        return Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
    }
    private mutating func setLength(_ length: Int, at offset: Int) {
        bytes[offset] = UInt8(truncatingIfNeeded: length >> 8)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: length)
    }
    /// The line of that length behind the two bytes at `offset`; nil when the file has no such.
    private func line(_ offset: Int, _ length: Int) -> ArraySlice<UInt8>? {
        guard length > 0, offset + 2 + length <= bytes.count else { return nil }
        return bytes[offset + 2..<offset + 2 + length]
    }
    private func mend(_ places: [Int]) -> EntryMend {
        EntryMend(bundle: bundle, positions: places.map { bundle * MerkleTree.tileWidth + $0 }, bytes: bytes)
    }

    // MARK: By a tile

    /// Puts right what the hashes of the bundle's tile tell, entry by entry; nil when that is nothing.
    mutating func byTile(_ hashes: [MerkleTree.Hash]) -> EntryMend? {
        var places: [Int] = []
        var offset = 0
        for (place, hash) in hashes.enumerated() {
            guard let length = length(at: offset) else { break }
            if line(offset, length).map(MerkleTree.leafHash) == hash {
                offset += 2 + length
            } else if let right = rightLength(offset, like: length, hash) {
                setLength(right, at: offset)
                places.append(place)
                offset += 2 + right
            } else {
                // Else the next entry is where it ought to be, or nothing behind this one can be found.
                guard line(offset, length) != nil else { break }
                if flip(offset, length, cost: length, until: { MerkleTree.leafHash($0) == hash }) {
                    places.append(place)
                }
                offset += 2 + length
            }
        }
        return places.isEmpty ? nil : mend(places)
    }

    /// The line's right length: those that one bit tells from `length` first, then all that ordinary entries have.
    private mutating func rightLength(_ offset: Int, like length: Int, _ hash: MerkleTree.Hash) -> Int? {
        for other in (0..<16).map({ length ^ 1 << $0 }) + Array(1...4096) {
            guard let line = line(offset, other) else { continue }
            guard spend(other) else { return nil }
            if MerkleTree.leafHash(line) == hash { return other }
        }
        return nil
    }

    /// Flips each bit of the line in turn until it `fits`, and leaves it so; false when none does.
    /// - Parameter cost: bytes that are hashed for one of them.
    private mutating func flip(
        _ offset: Int, _ length: Int, cost: Int, until fits: (ArraySlice<UInt8>) -> Bool
    ) -> Bool {
        guard length <= Self.longest else { return false }
        let range = offset + 2..<offset + 2 + length
        for place in range {
            for bit in 0..<8 {
                guard spend(cost) else { return false }
                bytes[place] ^= 1 << UInt8(bit)
                if fits(bytes[range]) { return true }
                bytes[place] ^= 1 << UInt8(bit)
            }
        }
        return false
    }

    // MARK: By the signed root

    /// The same for the last bundle, which no tile covers yet: its first `count` entries, behind those of `before`, have to give `root`.
    mutating func bySignedRoot(_ root: MerkleTree.Hash, count: Int, behind before: MerkleTree) -> EntryMend? {
        guard count > 0, count < MerkleTree.tileWidth else { return nil }
        var offsets: [Int] = []
        var offset = 0
        while offsets.count <= count, offset < bytes.count {
            offsets.append(offset)
            guard let length = length(at: offset), line(offset, length) != nil else { break }
            offset += 2 + length
        }
        // A wrong length makes what follows it unreadable: hardly one of another length fits the rest of the file.
        for (place, offset) in offsets.enumerated() {
            guard let length = length(at: offset) else { continue }
            for bit in 0..<16 {
                let other = length ^ 1 << bit
                guard let line = line(offset, other), line.first == UInt8(ascii: "{"), line.last == UInt8(ascii: "}")
                else { continue }
                setLength(other, at: offset)
                if let leaves = leaves(count), Self.tree(before, leaves).root == root { return mend([place]) }
                setLength(length, at: offset)
            }
        }
        guard let leaves = leaves(count) else { return nil }
        let paths = RootPaths(before, leaves)
        // Most flipped bits leave no entry behind: those lines first.
        // And the short before the long: one long line costs as much as many short ones, and is one.
        let lines = (0..<count).map { (place: $0, offset: offsets[$0]) }
            .sorted { (length(at: $0.offset) ?? 0, $0.place) < (length(at: $1.offset) ?? 0, $1.place) }
        let suspects = lines.filter { line in
            guard let length = length(at: line.offset), let text = self.line(line.offset, length) else { return true }
            return (try? LedgerEntry(parsing: text))?.encoded() != Array(text)
        }
        let others = lines.filter { line in !suspects.contains { $0.place == line.place } }
        for (place, offset) in suspects + others {
            guard let length = length(at: offset) else { continue }
            var path = paths[place]
            if flip(offset, length, cost: length + path.cost, until: { path.leads(from: $0, to: root) }) {
                return mend([place])
            }
        }
        return nil
    }

    /// Hashes of the first `count` lines; nil when there are fewer.
    private func leaves(_ count: Int) -> [MerkleTree.Hash]? {
        var leaves: [MerkleTree.Hash] = []
        var offset = 0
        while leaves.count < count {
            guard let length = length(at: offset), let line = line(offset, length) else { return nil }
            leaves.append(MerkleTree.leafHash(line))
            offset += 2 + length
        }
        return leaves
    }
    private static func tree(_ before: MerkleTree, _ leaves: [MerkleTree.Hash]) -> MerkleTree {
        var tree = before
        for leaf in leaves { _ = tree.append(leaf: leaf) }
        return tree
    }
}

/// The ways from the leaves of a tree's last, unfinished tile up to its root.
private struct RootPaths {
    /// One leaf's: what it is hashed with, from below, and whether that stands to its right.
    struct Path {
        var siblings: [(hash: MerkleTree.Hash, isRight: Bool)] = []
        /// Bytes hashed on the way.
        var cost: Int { siblings.count * (2 * MerkleTree.hashSize + 1) }
        /// Two hashes side by side, and the one that comes of them.
        private var buffer = [UInt8](repeating: 0, count: 2 * MerkleTree.hashSize)

        mutating func leads(from line: ArraySlice<UInt8>, to root: MerkleTree.Hash) -> Bool {
            func place(_ step: Int) -> Int {
                step < siblings.count && !siblings[step].isRight ? MerkleTree.hashSize : 0
            }
            Digest.sha256(0, line, to: place(0), in: &buffer)
            for step in siblings.indices {
                let start = MerkleTree.hashSize - place(step)
                for byte in 0..<MerkleTree.hashSize { buffer[start + byte] = siblings[step].hash[byte] }
                Digest.sha256(1, pairAt: 0, in: &buffer, to: place(step + 1))
            }
            let end = place(siblings.count)
            return buffer[end..<end + MerkleTree.hashSize].elementsEqual(root)
        }
    }
    private var paths: [Path] = []

    /// - Parameter before: the tree in front of the leaves: full tiles.
    init(_ before: MerkleTree, _ leaves: [MerkleTree.Hash]) {
        paths = Array(repeating: Path(), count: leaves.count)
        // As `MerkleTree.root` folds: complete subtrees, the smallest on the right.
        var right: MerkleTree.Hash?
        var end = leaves.count
        while end > 0 {
            let size = end & -end
            let range = end - size..<end
            var row = Array(leaves[range])
            var width = 1
            while row.count > 1 {
                for place in range {
                    let node = (place - range.lowerBound) / width
                    paths[place].siblings.append((row[node ^ 1], node % 2 == 0))
                }
                row = stride(from: 0, to: row.count, by: 2).map { MerkleTree.nodeHash(row[$0], row[$0 + 1]) }
                width *= 2
            }
            if let right {
                for place in range { paths[place].siblings.append((right, true)) }
            }
            for place in end..<leaves.count { paths[place].siblings.append((row[0], false)) }
            right = right.map { MerkleTree.nodeHash(row[0], $0) } ?? row[0]
            end -= size
        }
        for edge in before.edges.dropFirst() {
            var end = edge.count
            while end > 0 {
                let size = end & -end
                let subtree = MerkleTree.root(of: Array(edge[end - size..<end]))
                for place in paths.indices { paths[place].siblings.append((subtree, false)) }
                end -= size
            }
        }
    }
    subscript(place: Int) -> Path { paths[place] }
}
