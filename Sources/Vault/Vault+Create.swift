public import Core

/// A vault that was just made.
public struct VaultCreation: Sendable {
    public let id: VaultID
    /// `AGE-SECRET-KEY-1…`: opens everything, as the owner's passphrase does. Shown once, stored nowhere.
    public let recoveryIdentity: SecretBytes
    /// Who signs the ledger, as c2sp.org/signed-note writes it down; no secret.
    public let ledgerKey: String
}

extension Vault {
    /// 64 MiB, given up first when the disk is full.
    public static let ballastSize = 64 << 20

    /// Makes a vault in an empty or half-made folder. `vault.json` comes last: with it the vault is whole.
    ///
    /// Errors: `.exists`, `.networkFileSystem`, `.noSpace`, `.readOnly`, `.io`.
    /// - Parameters:
    ///   - scryptWorkFactor: log2 of scrypt's N: 18 costs 256 MiB and about a second per attempt.
    ///   - ballast: bytes kept in reserve for a full disk.
    public static func create(
        at path: String, passphrase: SecretBytes, files: any FileSystem = PosixFileSystem(), time: any TimeSource,
        scryptWorkFactor: Int = 18, ballast: Int = ballastSize
    ) async throws(VaultError) -> VaultCreation {
        try await Lane.serial("vault.create").run { () throws(VaultError) in
            try createBlocking(Layout(path), passphrase, files, scryptWorkFactor, ballast)
        }
    }

    private static func createBlocking(
        _ layout: Layout, _ passphrase: SecretBytes, _ files: any FileSystem, _ workFactor: Int, _ ballast: Int
    ) throws(VaultError) -> VaultCreation {
        guard passphrase.count > 0 else { throw VaultError(.invalid, "The passphrase is empty.") }
        if try files.attributes(layout.vaultFile) != nil {
            throw VaultError(.exists, "A vault stands in \(layout.root) already.")
        }
        try files.makeDirectory(layout.root)
        try checkIsOurs(layout, files)
        guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
        guard let lock = try files.lock(layout.lock) else { throw inUse(layout) }
        defer { withExtendedLifetime(lock) {} }

        let folders = [
            layout.keys, layout.epochs, layout.objects, layout.open, layout.quarantine, layout.ledger,
        ]
        for folder in folders { try files.makeDirectory(folder) }
        try Publishing.probe(layout, files)
        for shard in Layout.shards { try files.makeDirectory(layout.shard(shard)) }
        try files.syncDirectory(layout.objects)
        try LedgerWriter.prepare(files, path: layout.ledger)

        // A half-made vault's keys opened nothing yet: new ones take their place.
        let id = VaultID.random()
        let owner = try AgeIdentity.random()
        let recovery = try AgeIdentity.random()
        try files.replace(layout.owner, with: try owner.sealed(passphrase, workFactor: workFactor))
        let seed = SecretBytes.random(count: 32)
        let ledgerKey = try LedgerKey(seed: seed, vault: id)
        var bytes = try unsafe seed.withBytes { (bytes) throws(VaultError) in unsafe Array(bytes) }
        defer { wipeBytes(&bytes) }
        try files.replace(layout.ledgerKey, with: bytes)
        if ballast > 0 { try fillBallast(layout, files, ballast) }
        // From the first moment on a ledger without a checkpoint is one that lost it.
        let checkpoint = Checkpoint(vault: id, count: 0, root: MerkleTree().root)
        try files.replace(layout.ledger + "/checkpoint", with: try checkpoint.signed(by: ledgerKey))

        // vault.json says that all else is there, so all else has to be durable before it.
        try files.syncDirectory(layout.root)
        let file = VaultFile(
            id: id, recipients: [owner.recipient, recovery.recipient], recovery: recovery.recipient,
            ledger: ledgerKey.verifier)
        try files.replace(layout.vaultFile, with: file.encoded)
        try files.syncDirectory(parent(of: layout.root))
        return VaultCreation(
            id: id, recoveryIdentity: try recovery.text(), ledgerKey: file.ledger.text(of: id))
    }

    /// An empty folder, or one where `create` was interrupted: a folder of somebody else's files is left alone.
    private static func checkIsOurs(_ layout: Layout, _ files: any FileSystem) throws(VaultError) {
        guard try !isHeadless(layout, files) else { throw headless(layout) }
        let ours: Set<String> = [
            "lock", "keys", "epochs", "objects", "open", "quarantine", "ledger", "ballast", "vault.json.tmp",
            "lost+found",
        ]
        guard try files.list(layout.root).allSatisfy({ ours.contains($0) }) else {
            throw VaultError(.invalid, "\(layout.root) holds other files.", hint: "Name an empty folder.")
        }
    }

    /// A vault that was used and lost its `vault.json`; an interrupted `create` leaves no entries.
    static func isHeadless(_ layout: Layout, _ files: any FileSystem) throws(VaultError) -> Bool {
        try files.attributes(LedgerReader(files: files, path: layout.ledger).bundlePath(0)) != nil
    }
    static func headless(_ layout: Layout) -> VaultError {
        VaultError(
            .damaged, "\(layout.root) holds a ledger, but vault.json is missing.",
            hint: "Restore vault.json from a backup or a remote; nothing was changed.")
    }

    static func fillBallast(_ layout: Layout, _ files: any FileSystem, _ count: Int) throws(VaultError) {
        guard try files.attributes(layout.ballast)?.count != count else { return }
        let file = try files.open(layout.ballast, .readWrite)
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        for offset in stride(from: 0, to: count, by: zeros.count) {
            try file.write(zeros, 0..<min(zeros.count, count - offset), at: offset)
        }
        try file.truncate(to: count)
    }

    static func networkFileSystem(_ layout: Layout) -> VaultError {
        VaultError(
            .networkFileSystem, "\(layout.root) is on a network file system, where SQLite and locks are not safe.",
            hint: "Keep the vault on a local disk and add a remote for the copy.")
    }
    static func inUse(_ layout: Layout) -> VaultError {
        VaultError(
            .inUse, "Another process writes to \(layout.root).", hint: "Stop it, or speak to it over its socket.")
    }
}
