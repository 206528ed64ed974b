import Core
import TestKit
import Testing

@testable import Vault

/// The search for a flipped bit, as far as it may go.
@Suite struct EntryMendingTests {
    /// Lines of these lengths as a bundle, and the root they give.
    private func bundle(_ lengths: [Int]) -> (bytes: [UInt8], leaves: [MerkleTree.Hash], root: MerkleTree.Hash) {
        var (bytes, leaves, tree) = ([UInt8](), [MerkleTree.Hash](), MerkleTree())
        for (seed, length) in lengths.enumerated() {
            let line = patternBytes(length, seed: UInt64(seed + 1))
            bytes += [UInt8(length >> 8), UInt8(truncatingIfNeeded: length)] + line
            leaves.append(MerkleTree.leafHash(line))
            _ = tree.append(leaf: leaves[seed])
        }
        return (bytes, leaves, tree.root)
    }

    @Test func `the search in a last bundle ends when its work is spent, and leaves the bundle as it was`() {
        let (good, _, root) = bundle([90, 90, 90, 90])
        var bad = good
        bad[good.count - 1] ^= 1
        // All bits of all four: the last bit of the last one is found last.
        let whole = 4 * 90 * 8 * (90 + 3 * 65)
        var full = EntryMending(bundle: 0, bytes: bad, budget: whole)
        #expect((full.bySignedRoot(root, count: 4, behind: MerkleTree())?.bytes == good) as Bool)
        var short = EntryMending(bundle: 0, bytes: bad, budget: whole / 2)
        #expect(short.bySignedRoot(root, count: 4, behind: MerkleTree()) == nil)
        #expect(short == EntryMending(bundle: 0, bytes: bad, budget: short.budget) && short.budget < 0)
    }

    @Test func `a long entry does not use up what the short ones need`() {
        let (good, _, root) = bundle([5000, 90, 90])
        var bad = good
        bad[good.count - 30] ^= 4
        // A tenth of what the long one would take.
        var mending = EntryMending(bundle: 0, bytes: bad, budget: 5000 * 8 * 500)
        #expect((mending.bySignedRoot(root, count: 3, behind: MerkleTree())?.bytes == good) as Bool)
    }

    @Test func `the search by a tile ends as well`() {
        let (good, leaves, _) = bundle([300, 300])
        var bad = good
        bad[good.count - 1] ^= 1
        var full = EntryMending(bundle: 0, bytes: bad)
        #expect(full.byTile(leaves)?.bytes == good)
        var short = EntryMending(bundle: 0, bytes: bad, budget: 100_000)
        #expect(short.byTile(leaves) == nil && short.budget < 0)
    }

    @Test func `a last bundle of entries as long as clips have is searched to its end`() {
        // Behind the longest way up that a ledger of a hundred million entries has.
        let path = (8 + 3 * 8) * 65
        #expect(255 * 600 * 8 * (600 + path) < EntryMending.wholeBudget)
    }
}
