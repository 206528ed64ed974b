import Core

/// Puts right what the ledger's own signature vouches for: tiles that are missing or damaged, an entry with one flipped bit,
/// a lost checkpoint over entries that nothing contradicts. Never signs over what a good signature contradicts.
///
/// ```
/// checkpoint     entries give its root   tiles give its root   then
/// good           yes                     any                   tiles that differ are computed again
/// good           no                      yes                   an entry is mended where one bit does it, else left
/// good           no                      no                    contradicted: left alone, and nothing else is written
/// missing, bad   –                       as the entries        signed anew
/// missing, bad   –                       otherwise             contradicted
/// ```
struct LedgerRepair {
    let ledger: LedgerReader
    let vault: VaultID
    let verifier: LedgerVerifier

    enum Verdict: Sendable, Hashable {
        /// Entries and signature agree.
        case vouched
        /// No good signature, and nothing that speaks against the entries.
        case unsigned(String)
        /// The tiles are those that were signed; these entries are not.
        case damagedEntries([Int])
        case contradicted(String)
    }
    struct Examination: Sendable {
        var verdict = Verdict.vouched
        /// Entries found.
        var count = 0
        /// Full tiles whose file is missing or differs from the entries: level, index and whether it is missing.
        var tiles: [(level: Int, index: Int, isMissing: Bool)] = []
    }

    func examine() throws(VaultError) -> Examination {
        var checkpoint: Checkpoint?
        var trouble = ""
        do throws(VaultError) {
            checkpoint = try Checkpoint(
                verifying: try ledger.files.contents(ledger.checkpointPath, limit: 1 << 16), vault: vault, key: verifier
            )
        } catch {
            trouble = error.reason
        }
        var examination = Examination()
        var differing: [Int] = []
        let (count, root) = try walk(rootOf: checkpoint?.count) { (tile) throws(VaultError) in
            let stored = try? ledger.tile(tile.level, tile.index)
            guard stored != tile.hashes else { return }
            let isMissing = try ledger.files.attributes(ledger.tilePath(tile.level, tile.index)) == nil
            examination.tiles.append((tile.level, tile.index, isMissing))
            guard tile.level == 0, let stored else { return }
            let first = tile.index * MerkleTree.tileWidth
            differing += stored.indices.filter { stored[$0] != tile.hashes[$0] }.map { first + $0 }
        }
        examination.count = count
        guard let checkpoint else {
            let damaged = examination.tiles.contains { !$0.isMissing }
            examination.verdict =
                damaged
                ? .contradicted("\(trouble) Entries and tiles differ, and no signature tells which are right.")
                : .unsigned(trouble)
            return examination
        }
        if root == checkpoint.root { return examination }
        examination.tiles = []
        if let signed = try? ledger.tree(count: checkpoint.count), signed.root == checkpoint.root {
            examination.verdict = .damagedEntries(differing + (count < checkpoint.count ? [count] : []))
        } else {
            examination.verdict = .contradicted(
                count < checkpoint.count
                    ? "The ledger has \(count) entries; its signed checkpoint covers \(checkpoint.count)."
                    : "The ledger's entries are not those that its checkpoint signs.")
        }
        return examination
    }

    /// Writes the tiles of `examination` from the entries. The verdict is `.vouched`, or `.unsigned` (then they are missing).
    func rewriteTiles(_ examination: Examination) throws(VaultError) {
        let wanted = Set(examination.tiles.map { [$0.level, $0.index] })
        guard !wanted.isEmpty else { return }
        _ = try walk(rootOf: nil) { (tile) throws(VaultError) in
            if wanted.contains([tile.level, tile.index]) { try LedgerWriter.write(tile, ledger) }
        }
    }

    /// Flips one bit of an entry where that gives the signed hash; false when no single bit does.
    func mend(_ position: Int, isApplied: Bool) throws(VaultError) -> Bool {
        let index = position / MerkleTree.tileWidth
        let place = position % MerkleTree.tileWidth
        guard let bundle = try ledger.bundle(index), place < bundle.entries.count,
            let hash = try ledger.tile(0, index)?[place]
        else { return false }
        var entry = Array(bundle.entries[place])
        for bit in 0..<8 * entry.count {
            entry[bit / 8] ^= 1 << UInt8(bit % 8)
            if MerkleTree.leafHash(entry) == hash {
                guard isApplied else { return true }
                var bytes = try ledger.files.contents(ledger.bundlePath(index))
                let offset = bundle.entries[..<place].reduce(2 + 2 * place) { $0 + $1.count }
                bytes.replaceSubrange(offset..<offset + entry.count, with: entry)
                try ledger.files.replace(ledger.bundlePath(index), with: bytes)
                return true
            }
            entry[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        return false
    }

    /// Every full tile in order, as the entries give it; how many entries there are, and the root of the first `size`.
    private func walk(
        rootOf size: Int?, _ body: (MerkleTree.Tile) throws(VaultError) -> Void
    ) throws(VaultError) -> (count: Int, root: MerkleTree.Hash?) {
        var tree = MerkleTree()
        var root = size == 0 ? tree.root : nil
        var index = 0
        while let bundle = try ledger.bundle(index) {
            for entry in bundle.entries {
                for tile in tree.append(leaf: MerkleTree.leafHash(entry)) { try body(tile) }
                if tree.count == size { root = tree.root }
            }
            if bundle.entries.count < MerkleTree.tileWidth { break }
            index += 1
        }
        return (tree.count, root)
    }
}
