import Core
import TestKit
import Testing

@testable import Vault

/// RFC 6962, 2.1 to 2.1.2, word by word and slow: an implementation of its own to compare with.
private enum Naive {
    static func split(_ count: Int) -> Int {
        var power = 1
        while power * 2 < count { power *= 2 }
        return power
    }
    static func root(_ leaves: ArraySlice<[UInt8]>) -> [UInt8] {
        if leaves.isEmpty { return Digest.sha256([]) }
        if leaves.count == 1 { return Digest.sha256([0] + leaves[leaves.startIndex]) }
        let middle = leaves.startIndex + split(leaves.count)
        return Digest.sha256([1] + root(leaves[..<middle]) + root(leaves[middle...]))
    }
    static func path(_ index: Int, _ leaves: ArraySlice<[UInt8]>) -> [[UInt8]] {
        if leaves.count == 1 { return [] }
        let half = split(leaves.count)
        let middle = leaves.startIndex + half
        return index < half
            ? path(index, leaves[..<middle]) + [root(leaves[middle...])]
            : path(index - half, leaves[middle...]) + [root(leaves[..<middle])]
    }
    static func subproof(_ count: Int, _ leaves: ArraySlice<[UInt8]>, isWhole: Bool) -> [[UInt8]] {
        if count == leaves.count { return isWhole ? [] : [root(leaves)] }
        let half = split(leaves.count)
        let middle = leaves.startIndex + half
        return count <= half
            ? subproof(count, leaves[..<middle], isWhole: isWhole) + [root(leaves[middle...])]
            : subproof(count - half, leaves[middle...], isWhole: false) + [root(leaves[..<middle])]
    }
}

@Suite struct MerkleProofTests {
    /// A real ledger of so many entries, and their bytes.
    private func ledger(_ count: Int) async throws -> (TemporaryVault, LedgerReader, [[UInt8]]) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let committer = try vault.committer()
        var left = count - 1
        while left > 0 {
            let batch = min(left, 400)
            try committer.commit(
                (0..<batch).map { index in
                    let from = start + Int64(left - index) * 1000
                    return LedgerEntry(
                        at: start,
                        .gap(
                            GapRecord(
                                camera: RecordingTests.camera, range: TimeRange(from, from + 500), reason: .paused)))
                })
            left -= batch
        }
        await vault.close()
        let reader = vault.ledger
        var entries: [[UInt8]] = []
        for position in 0..<count { entries.append(try #require(try reader.entry(position))) }
        return (temporary, reader, entries)
    }

    @Test(arguments: [0, 1, 255, 256])
    func `a tile entered by its root is its leaves one by one`(before: Int) {
        let tiles = 258
        var single = MerkleTree()
        var whole = MerkleTree()
        for tile in 0..<tiles {
            let entries = (0..<256).map {
                [UInt8(truncatingIfNeeded: tile), UInt8(truncatingIfNeeded: tile >> 8), UInt8($0)][...]
            }
            for entry in entries { _ = single.append(leaf: MerkleTree.leafHash(entry)) }
            if tile >= before {
                whole.append(rootOfTile: MerkleTree.root(ofLeaves: entries))
            } else {
                for entry in entries { _ = whole.append(leaf: MerkleTree.leafHash(entry)) }
            }
            #expect(whole == single)
        }
        #expect(whole.root == single.root)
        let last: [UInt8] = [1, 2, 3]
        #expect(
            single.append(leaf: MerkleTree.leafHash(last)) == whole.append(leaf: MerkleTree.leafHash(last))
                && whole == single)
    }

    @Test func `inclusion is what RFC 6962 says, for every entry of small trees and across tiles`() async throws {
        let (temporary, reader, entries) = try await ledger(700)
        for count in Array(1...40) + [255, 256, 257, 511, 512, 513, 600, 700] {
            let root = Naive.root(entries[..<count])
            for index in count <= 40 ? Array(0..<count) : [0, 1, 127, 254, count / 2, count - 1] {
                let path = try MerkleProof.inclusion(of: index, in: count, reader)
                #expect(path == Naive.path(index, entries[..<count]))
                let leaf = MerkleTree.leafHash(entries[index])
                #expect(MerkleProof.includes(leaf, at: index, in: count, root: root, path: path))
                #expect(!MerkleProof.includes(leaf, at: index + 1, in: count, root: root, path: path))
                #expect(!MerkleProof.includes(leaf, at: index, in: count, root: root, path: path + [root]))
                if !path.isEmpty {
                    #expect(!MerkleProof.includes(leaf, at: index, in: count, root: root, path: Array(path.dropLast())))
                }
            }
        }
        withExtendedLifetime(temporary) {}
    }

    @Test func `consistency is what RFC 6962 says, and no other past fits`() async throws {
        let (temporary, reader, entries) = try await ledger(700)
        let sizes = Array(1...40) + [255, 256, 257, 511, 512, 513, 700]
        for count in sizes {
            let root = Naive.root(entries[..<count])
            for before in sizes where before <= count {
                let proof = try MerkleProof.consistency(from: before, to: count, reader)
                #expect(proof == Naive.subproof(before, entries[..<count], isWhole: true))
                let old = Naive.root(entries[..<before])
                #expect(MerkleProof.continues(from: before, old, to: count, root, proof: proof))
                var forged = Array(entries[..<before])
                forged[before - 1].append(0)
                #expect(!MerkleProof.continues(from: before, Naive.root(forged[...]), to: count, root, proof: proof))
                if !proof.isEmpty {
                    #expect(!MerkleProof.continues(from: before, old, to: count, root, proof: Array(proof.dropLast())))
                }
                if before < count { #expect(!MerkleProof.continues(from: count, root, to: before, old, proof: proof)) }
            }
        }
        withExtendedLifetime(temporary) {}
    }

    @Test func `a proof is a text that reads back, and nothing else does`() throws {
        let proof = TlogProof(
            index: 73894, path: [Digest.sha256([1]), Digest.sha256([2])], checkpoint: Array("a\n1\n\n\n".utf8))
        #expect(try TlogProof(parsing: proof.encoded) == proof)
        let text = String(decoding: proof.encoded, as: UTF8.self)
        let withExtra = text.replacing("index", with: "extra AAAA\nindex")
        #expect(try TlogProof(parsing: Array(withExtra.utf8)) == proof)
        for (old, new) in [("@v1", "@v2"), ("index 7", "index 07"), ("index 7", "index -7"), ("=\n", "\n")] {
            #expect(throws: VaultError.self) { try TlogProof(parsing: Array(text.replacing(old, with: new).utf8)) }
        }
        for count in 0..<text.utf8.count - 8 {
            #expect(throws: VaultError.self) { try TlogProof(parsing: Array(text.utf8.prefix(count))) }
        }
    }
}
