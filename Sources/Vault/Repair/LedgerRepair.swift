import Core

/// Puts right what the ledger's own signature vouches for: tiles that are missing or damaged, an entry or its length with one
/// flipped bit, a lost checkpoint over entries that nothing contradicts. Never signs over what a good signature contradicts.
///
/// ```
/// checkpoint     entries give its root   tiles give its root   then
/// good           yes                     any                   tiles that differ are computed again
/// good           no                      yes                   entries are mended where one bit does it, else left
/// good           no                      no                    the last bundle, which no tile covers, is mended where one bit gives
///                                                              the root; else contradicted: nothing else is written
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
        /// Hashes are there that were signed, and some entries are others; what is known of how they were.
        case damagedEntries([EntryMend])
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
        var differing: Set<Int> = []
        let walked = try walk(signed: checkpoint?.count) { (tile) throws(VaultError) in
            let isMissing = try ledger.files.attributes(ledger.tilePath(tile.level, tile.index)) == nil
            // A writer signs when the tiles stand; one that is owed comes with the next start.
            if isMissing, let checkpoint, tile.end > checkpoint.count { return }
            let stored = try? ledger.tile(tile.level, tile.index)
            guard stored != tile.hashes else { return }
            examination.tiles.append((tile.level, tile.index, isMissing))
            if tile.level == 0, stored != nil { differing.insert(tile.index) }
        }
        examination.count = walked.count
        guard let checkpoint else {
            let damaged = examination.tiles.contains { !$0.isMissing } || !walked.cut.isEmpty
            examination.verdict =
                damaged
                ? .contradicted("\(trouble) Entries and tiles differ, and no signature tells which are right.")
                : .unsigned(trouble)
            return examination
        }
        if walked.root == checkpoint.root {
            if !walked.cut.isEmpty { examination.verdict = .damagedEntries(try mends(walked.cut)) }
            return examination
        }
        examination.tiles = []
        if let signed = try? ledger.tree(count: checkpoint.count), signed.root == checkpoint.root {
            examination.verdict = .damagedEntries(try mends(differing.union(walked.cut)))
        } else if let last = try lastMend(checkpoint) {
            examination.verdict = .damagedEntries(try mends(differing.union(walked.cut)) + [last])
        } else {
            examination.verdict = .contradicted(
                walked.count < checkpoint.count
                    ? "\(walked.count) entries of the ledger can be read; its signed checkpoint covers \(checkpoint.count)."
                    : "The ledger's entries are not those that its checkpoint signs.")
        }
        return examination
    }

    /// By the bundles' tiles, of which the signature is known to vouch.
    private func mends(_ bundles: Set<Int>) throws(VaultError) -> [EntryMend] {
        var mends: [EntryMend] = []
        for index in bundles.sorted() {
            guard let hashes = try? ledger.tile(0, index) else { continue }
            var mending = EntryMending(bundle: index, bytes: try ledger.files.contents(ledger.bundlePath(index)))
            if let mend = mending.byTile(hashes) { mends.append(mend) }
        }
        return mends
    }

    /// Of the last bundle that is signed, by the checkpoint's root and the tiles.
    private func lastMend(_ checkpoint: Checkpoint) throws(VaultError) -> EntryMend? {
        let index = checkpoint.count / MerkleTree.tileWidth
        guard try ledger.files.attributes(ledger.bundlePath(index)) != nil,
            let before = try? ledger.tree(count: index * MerkleTree.tileWidth)
        else { return nil }
        var mending = EntryMending(bundle: index, bytes: try ledger.files.contents(ledger.bundlePath(index)))
        return mending.bySignedRoot(checkpoint.root, count: checkpoint.count % MerkleTree.tileWidth, behind: before)
    }

    /// Mends all entries that can be, one bundle after another.
    /// - Returns: their positions.
    func mend() throws(VaultError) -> [Int] {
        var positions: [Int] = []
        // A mended bundle may show that the next is damaged too.
        while case .damagedEntries(let mends) = try examine().verdict, !mends.isEmpty {
            for mend in mends {
                try ledger.files.replace(ledger.bundlePath(mend.bundle), with: mend.bytes)
                positions += mend.positions
            }
        }
        return positions
    }
    /// An alarm.
    static func told(_ mended: [Int]) -> String {
        "A bit was flipped in the ledger's entry \(mended.map(String.init).joined(separator: ", ")), and was put right by its signed hash. Is the disk failing?"
    }

    /// Writes the tiles of `examination` from the entries. The verdict is `.vouched`, or `.unsigned` (then they are missing).
    func rewriteTiles(_ examination: Examination) throws(VaultError) {
        let wanted = Set(examination.tiles.map { [$0.level, $0.index] })
        guard !wanted.isEmpty else { return }
        _ = try walk(signed: nil) { (tile) throws(VaultError) in
            if wanted.contains([tile.level, tile.index]) { try LedgerWriter.write(tile, ledger) }
        }
    }

    /// Every full tile in order, as the entries give it; how many entries there are, and the root of the first `signed`.
    ///
    /// Bundles that cannot be read to their end, though the ledger goes on or was signed beyond them, are `cut`: their tile stands
    /// for them.
    private func walk(
        signed: Int?, _ body: (MerkleTree.Tile) throws(VaultError) -> Void
    ) throws(VaultError) -> (count: Int, root: MerkleTree.Hash?, cut: Set<Int>) {
        var tree = MerkleTree()
        var root = signed == 0 ? tree.root : nil
        var cut: Set<Int> = []
        var index = 0
        while let bundle = try ledger.bundle(index) {
            var leaves = bundle.entries.map(MerkleTree.leafHash)
            if try isCut(bundle, index, signed), let stored = try? ledger.tile(0, index) {
                cut.insert(index)
                leaves = stored
            }
            for leaf in leaves {
                for tile in tree.append(leaf: leaf) { try body(tile) }
                if tree.count == signed { root = tree.root }
            }
            if leaves.count < MerkleTree.tileWidth { break }
            index += 1
        }
        return (tree.count, root, cut)
    }
    private func isCut(_ bundle: LedgerReader.Bundle, _ index: Int, _ signed: Int?) throws(VaultError) -> Bool {
        guard bundle.entries.count < MerkleTree.tileWidth else { return false }
        if let signed, signed >= (index + 1) * MerkleTree.tileWidth { return true }
        guard try ledger.files.attributes(ledger.bundlePath(index + 1)) != nil else { return false }
        // A writer may have filled it since.
        return try (ledger.bundle(index)?.entries.count ?? 0) < MerkleTree.tileWidth
    }
}
