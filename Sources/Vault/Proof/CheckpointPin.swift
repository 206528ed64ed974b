public import Core

/// The newest signed head of a ledger that somebody saw, kept outside of the vault: by it he knows the vault again, and knows
/// whether its ledger only grew.
public struct CheckpointPin: Sendable, Hashable, Codable {
    public var vault: VaultID
    /// The ledger's public key as text, c2sp.org/signed-note.
    public var key: String
    /// Entries.
    public var size: Int
    /// Base64.
    public var root: String
    /// When it was first seen, and when this head was.
    public var since: WallTime
    public var seen: WallTime

    /// What a look makes of the one before.
    public enum Verdict: String, Sendable, Hashable, Codable, CaseIterable {
        /// There was none before.
        case first
        case continues
        /// Fewer entries than were seen: an older copy was put back, or what came since is gone.
        case rollback
        /// Another past than was seen.
        case fork
        /// Signed by another key.
        case key
        /// Another vault.
        case otherVault
        /// Not signed rightly.
        case forged

        public var isGood: Bool { self == .first || self == .continues }
    }

    /// What somebody shows of a ledger: its signed head, its key, and the proof that it continues the pinned one.
    public struct Shown: Sendable {
        public var checkpoint: [UInt8]
        public var key: String
        public var proof: [[UInt8]]

        public init(checkpoint: [UInt8], key: String, proof: [[UInt8]]) {
            self.checkpoint = checkpoint
            self.key = key
            self.proof = proof
        }
    }

    /// Judges what is shown by what was pinned. Only a good verdict comes with a pin to keep from now on.
    public static func judge(
        _ shown: Shown, after pin: CheckpointPin?, at now: WallTime
    ) -> (verdict: Verdict, pin: CheckpointPin?, size: Int) {
        guard let (vault, key) = LedgerVerifier.parse(shown.key),
            let head = try? Checkpoint(verifying: shown.checkpoint, vault: vault, key: key)
        else { return (.forged, nil, 0) }
        var next = CheckpointPin(
            vault: vault, key: shown.key, size: head.count, root: Base64.encode(head.root, padded: true), since: now,
            seen: now)
        guard let pin else { return (.first, next, head.count) }
        guard pin.vault == vault else { return (.otherVault, nil, head.count) }
        guard pin.key == shown.key else { return (.key, nil, head.count) }
        guard pin.size <= head.count else { return (.rollback, nil, head.count) }
        guard let root = Base64.decode(Array(pin.root.utf8), padded: true),
            MerkleProof.continues(from: pin.size, root, to: head.count, head.root, proof: shown.proof)
        else { return (.fork, nil, head.count) }
        next.since = pin.since
        return (.continues, next, head.count)
    }

    /// What lies in the folder of a vault, or of its copy; the vault is not opened. Errors: `.notFound`, `.damaged`, the disk's.
    public static func shown(
        inFolder path: String, continuing size: Int, files: any FileSystem = PosixFileSystem()
    ) async throws(VaultError) -> Shown {
        try await Lane.serial("vault.witness").run { () throws(VaultError) in
            let layout = Layout(path)
            let file = try Vault.vaultFile(layout, files)
            let ledger = LedgerReader(files: files, path: layout.ledger)
            let note = try files.contents(ledger.checkpointPath, limit: 1 << 16)
            let head = try? Checkpoint(verifying: note, vault: file.id, key: file.ledger)
            var proof: [[UInt8]] = []
            if let head, size > 0, size < head.count {
                proof = try MerkleProof.consistency(from: size, to: head.count, ledger)
            }
            return Shown(checkpoint: note, key: file.ledger.text(of: file.id), proof: proof)
        }
    }

    /// Whether the vault in a folder is the pinned one, by its entries, which a crash leaves ahead of the signed head but never
    /// behind it. Reads only. Errors: the disk's.
    static func judge(
        _ file: VaultFile, _ ledger: LedgerReader, after pin: CheckpointPin
    ) throws(VaultError) -> (verdict: Verdict, size: Int) {
        let size = try ledger.countEntries()
        guard file.id == pin.vault else { return (.otherVault, size) }
        guard file.ledger.text(of: file.id) == pin.key else { return (.key, size) }
        guard size >= pin.size else { return (.rollback, size) }
        guard let root = Base64.decode(Array(pin.root.utf8), padded: true) else { return (.fork, size) }
        return (try ledger.hasRoot(root, count: pin.size) ? .continues : .fork, size)
    }
}

extension LedgerReader {
    /// From the tiles; a damaged one is no other past, so all entries are asked before that is said.
    fileprivate func hasRoot(_ root: MerkleTree.Hash, count: Int) throws(VaultError) -> Bool {
        if let tree = try? tree(count: count), tree.root == root { return true }
        return try self.root(count: count) == root
    }

    /// The root of the first `count` entries, from the entries alone; nil when there are fewer.
    func root(count: Int) throws(VaultError) -> MerkleTree.Hash? {
        var tree = MerkleTree()
        var index = 0
        while tree.count < count, let bundle = try bundle(index) {
            for entry in bundle.entries.prefix(count - tree.count) { _ = tree.append(leaf: MerkleTree.leafHash(entry)) }
            if bundle.entries.count < MerkleTree.tileWidth { break }
            index += 1
        }
        return tree.count == count ? tree.root : nil
    }
}

extension Vault {
    /// The head of the ledger as it is now, to be kept outside of the vault.
    public func pin(after pin: CheckpointPin? = nil) async throws(VaultError) -> CheckpointPin {
        let head = try await ledgerHead(continuing: pin?.size ?? 0)
        let shown = CheckpointPin.Shown(checkpoint: head.checkpoint, key: head.key, proof: head.proof)
        let judged = CheckpointPin.judge(shown, after: pin, at: time.wallNow())
        guard let next = judged.pin else {
            throw VaultError(
                .otherHistory, "The ledger does not continue what was seen of it (\(judged.verdict.rawValue)).")
        }
        return next
    }

    /// Refuses a vault that is not the pinned one as it was last seen. Reads only, so that nothing is written to a folder under
    /// an empty mount point or to another disk.
    ///
    /// Errors: `.notFound`, `.otherVault`, `.olderCopy`, `.otherHistory`; `.damaged` when the ledger's entries are gone, or when damage
    /// explains why they are not those that were seen.
    /// - Parameter acceptsDamage: for whoever mends it.
    public static func recognise(
        at path: String, as pin: CheckpointPin, acceptsOlderCopy: Bool = false, acceptsDamage: Bool = false,
        files: any FileSystem = PosixFileSystem()
    ) async throws(VaultError) {
        try await Lane.serial("vault.recognise").run { () throws(VaultError) in
            let layout = Layout(path)
            let file: VaultFile
            do throws(VaultError) { file = try vaultFile(layout, files) } catch {
                guard error.code == .notFound || error.code == .halfMade else { throw error }
                throw VaultError(
                    .notFound, "\(layout.root) held vault \(pin.vault), and holds none now.",
                    hint: "Is its disk mounted? Nothing was written.")
            }
            try recognise(
                file, layout, files, as: pin, acceptsOlderCopy: acceptsOlderCopy, acceptsDamage: acceptsDamage)
        }
    }

    private static func recognise(
        _ file: VaultFile, _ layout: Layout, _ files: any FileSystem, as pin: CheckpointPin, acceptsOlderCopy: Bool,
        acceptsDamage: Bool
    ) throws(VaultError) {
        let ledger = LedgerReader(files: files, path: layout.ledger)
        let (verdict, size) = try CheckpointPin.judge(file, ledger, after: pin)
        if verdict == .rollback || verdict == .fork {
            // An older copy has its entries, and a good signature of them.
            try checkPresence(ledger)
            if !acceptsOlderCopy, let damage = try damage(ledger, file) {
                if acceptsDamage { return }
                throw VaultError(
                    .damaged, "The last entries of the ledger in \(layout.root) are damaged: \(damage).",
                    hint: "Nothing was written. \(LedgerReader.damageHint)")
            }
        }
        switch verdict {
        case .first, .continues: return
        case .otherVault:
            throw VaultError(
                .otherVault, "\(layout.root) holds vault \(file.id); it held \(pin.vault).",
                hint: "Is another disk mounted there? Nothing was written.")
        case .key, .forged:
            throw VaultError(
                .otherHistory, "The ledger in \(layout.root) is signed with another key than before.",
                hint: "vault.json was changed, or this is not the vault it was. Nothing was written.")
        case .rollback:
            if acceptsOlderCopy { return }
            throw VaultError(
                .olderCopy,
                "\(layout.root) is an older copy of the vault: its ledger has \(size) entries, \(pin.size) were seen.",
                hint: """
                    Nothing was written. If the newer one is lost and you restored this on purpose, start once with \
                    --accept-older-copy: the ledger will say so.
                    """)
        case .fork:
            if acceptsOlderCopy { return }
            throw VaultError(
                .otherHistory,
                "The ledger in \(layout.root) has another past than the one seen here: entries before the \(pin.size)th differ.",
                hint: """
                    Nothing was written. Run verify. If this is a copy that recorded on its own, and you want it, start once \
                    with --accept-older-copy: the ledger will say so.
                    """)
        }
    }

    /// In what the entries of a ledger are not those that its own checkpoint signs, or end in none; nil when they are whole.
    private static func damage(_ ledger: LedgerReader, _ file: VaultFile) throws(VaultError) -> String? {
        let count = try ledger.countEntries()
        if let note = try? ledger.files.contents(ledger.checkpointPath, limit: 1 << 16),
            let signed = try? Checkpoint(verifying: note, vault: file.id, key: file.ledger)
        {
            if count < signed.count { return "\(count) can be read, and its checkpoint signs \(signed.count)" }
            if try !ledger.hasRoot(signed.root, count: signed.count) {
                return "they are not those that its checkpoint signs"
            }
        }
        let last = try ledger.bundle(max(0, count - 1) / MerkleTree.tileWidth)
        guard let last, last.fileCount > last.wholeCount else { return nil }
        return "what follows the first \(count) is none"
    }

    /// Enters that an older copy goes on from here on purpose, when `pin` is ahead of this vault or beside it. Called before
    /// anything is recorded.
    func enterOlderCopy(_ pin: CheckpointPin) throws(VaultError) {
        guard try CheckpointPin.judge(file, ledger, after: pin).verdict != .continues,
            let root = Base64.decode(Array(pin.root.utf8), padded: true)
        else { return }
        let record = RebuiltRecord(why: .olderCopy, before: RebuiltRecord.Head(count: pin.size, root: root))
        try committer().commit([LedgerEntry(at: time.wallNow(), .rebuilt(record))])
    }
}
