import Core

/// Proofs over the ledger's tree: that it has an entry, and that it only grew (RFC 6962, 2.1.1 and 2.1.2; checking as RFC 9162,
/// 2.1.3.2 and 2.1.4.2).
enum MerkleProof {
    // MARK: Making

    /// The audit path of entry `index` in the tree of the first `count` entries, leaf first.
    ///
    /// Errors: `.invalid` when there is no such entry; the ledger's when tiles and bundles are damaged.
    static func inclusion(of index: Int, in count: Int, _ ledger: LedgerReader) throws(VaultError) -> [MerkleTree.Hash]
    {
        guard index >= 0, index < count else { throw VaultError(.invalid, "The ledger has no entry \(index).") }
        var nodes = Nodes(ledger: ledger)
        var path: [MerkleTree.Hash] = []
        var range = 0..<count
        while range.count > 1 {
            let middle = range.lowerBound + split(range.count)
            let (kept, other) =
                index < middle
                ? (range.lowerBound..<middle, middle..<range.upperBound)
                : (middle..<range.upperBound, range.lowerBound..<middle)
            path.append(try nodes.hash(other))
            range = kept
        }
        return path.reversed()
    }

    /// What proves that the tree of `count` entries begins with the tree of `before`; empty when they are the same or `before` is 0.
    static func consistency(
        from before: Int, to count: Int, _ ledger: LedgerReader
    ) throws(VaultError) -> [MerkleTree.Hash] {
        guard before >= 0, before <= count else {
            throw VaultError(.invalid, "A tree of \(count) entries does not begin with one of \(before).")
        }
        guard before > 0, before < count else { return [] }
        var nodes = Nodes(ledger: ledger)
        var proof: [MerkleTree.Hash] = []
        var range = 0..<count
        // Whether the old tree is a whole subtree of the new one from its left edge: whoever checks knows its root already.
        var isWhole = true
        while range.upperBound != before {
            let middle = range.lowerBound + split(range.count)
            if before <= middle {
                proof.append(try nodes.hash(middle..<range.upperBound))
                range = range.lowerBound..<middle
            } else {
                proof.append(try nodes.hash(range.lowerBound..<middle))
                range = middle..<range.upperBound
                isWhole = false
            }
        }
        if !isWhole { proof.append(try nodes.hash(range)) }
        return proof.reversed()
    }

    /// The largest power of two below `count`.
    private static func split(_ count: Int) -> Int { 1 << (Int.bitWidth - 1 - (count - 1).leadingZeroBitCount) }

    /// Hashes of stretches of the tree, from tiles where they are whole, with what was read last kept.
    private struct Nodes {
        let ledger: LedgerReader
        private var tiles: [[Int]: [MerkleTree.Hash]] = [:]
        private var bundles: [Int: [MerkleTree.Hash]] = [:]

        init(ledger: LedgerReader) { self.ledger = ledger }

        mutating func hash(_ range: Range<Int>) throws(VaultError) -> MerkleTree.Hash {
            let count = range.count
            if count & (count - 1) == 0, range.lowerBound % count == 0 {
                return try complete(count.trailingZeroBitCount, range.lowerBound / count)
            }
            let middle = range.lowerBound + MerkleProof.split(count)
            return MerkleTree.nodeHash(
                try hash(range.lowerBound..<middle), try hash(middle..<range.upperBound))
        }

        /// Of 2^`level` leaves, the `index`-th such subtree.
        private mutating func complete(_ level: Int, _ index: Int) throws(VaultError) -> MerkleTree.Hash {
            let (row, rest) = (level / 8, level % 8)
            guard rest > 0 || row == 0 else { return MerkleTree.root(of: try tile(row - 1, index)) }
            let places = (index << rest)..<((index + 1) << rest)
            if row == 0 {
                let leaves = try leaves(places.lowerBound / MerkleTree.tileWidth)
                let first = places.lowerBound % MerkleTree.tileWidth
                guard first + places.count <= leaves.count else {
                    throw VaultError(
                        .damaged, "The ledger has fewer entries than its checkpoint says.", hint: "Run verify.")
                }
                return MerkleTree.root(of: Array(leaves[first..<first + places.count]))
            }
            var hashes: [MerkleTree.Hash] = []
            for place in places { hashes.append(MerkleTree.root(of: try tile(row - 1, place))) }
            return MerkleTree.root(of: hashes)
        }

        private mutating func tile(_ level: Int, _ index: Int) throws(VaultError) -> [MerkleTree.Hash] {
            if let known = tiles[[level, index]] { return known }
            let tile = try ledger.tileOrBelow(level, index)
            if tiles.count >= 64 { tiles = [:] }
            tiles[[level, index]] = tile
            return tile
        }
        private mutating func leaves(_ bundle: Int) throws(VaultError) -> [MerkleTree.Hash] {
            if let known = bundles[bundle] { return known }
            let leaves = try ledger.bundle(bundle)?.entries.map(MerkleTree.leafHash) ?? []
            if bundles.count >= 8 { bundles = [:] }
            bundles[bundle] = leaves
            return leaves
        }
    }

    // MARK: Checking

    /// Whether the tree of `count` leaves with `root` has `leaf` (its hash) at `index`.
    static func includes(
        _ leaf: MerkleTree.Hash, at index: Int, in count: Int, root: MerkleTree.Hash, path: [MerkleTree.Hash]
    ) -> Bool {
        guard index >= 0, index < count, path.allSatisfy({ $0.count == MerkleTree.hashSize }) else { return false }
        var (place, last) = (index, count - 1)
        var hash = leaf
        for other in path {
            guard last > 0 else { return false }
            if place & 1 == 1 || place == last {
                hash = MerkleTree.nodeHash(other, hash)
                while place != 0, place & 1 == 0 { (place, last) = (place >> 1, last >> 1) }
            } else {
                hash = MerkleTree.nodeHash(hash, other)
            }
            (place, last) = (place >> 1, last >> 1)
        }
        return last == 0 && hash == root
    }

    /// Whether the tree of `count` leaves with `root` begins with the one of `before` leaves and `rootBefore`.
    static func continues(
        from before: Int, _ rootBefore: MerkleTree.Hash, to count: Int, _ root: MerkleTree.Hash,
        proof: [MerkleTree.Hash]
    ) -> Bool {
        guard before >= 0, before <= count, proof.allSatisfy({ $0.count == MerkleTree.hashSize }) else { return false }
        if before == 0 { return proof.isEmpty }
        if before == count { return proof.isEmpty && rootBefore == root }
        var path = proof[...]
        var old = rootBefore
        if before & (before - 1) != 0 {
            guard let first = path.popFirst() else { return false }
            old = first
        }
        guard !path.isEmpty else { return false }
        var now = old
        var (place, last) = (before - 1, count - 1)
        while place & 1 == 1 { (place, last) = (place >> 1, last >> 1) }
        for other in path {
            guard last > 0 else { return false }
            if place & 1 == 1 || place == last {
                old = MerkleTree.nodeHash(other, old)
                now = MerkleTree.nodeHash(other, now)
                while place != 0, place & 1 == 0 { (place, last) = (place >> 1, last >> 1) }
            } else {
                now = MerkleTree.nodeHash(now, other)
            }
            (place, last) = (place >> 1, last >> 1)
        }
        return last == 0 && old == rootBefore && now == root
    }
}
