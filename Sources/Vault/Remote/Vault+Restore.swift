public import Core
import Synchronization

/// How a vault comes back from a remote.
public struct RestoreOptions: Sendable {
    /// The ledger's public key as text, noted down beside the recovery identity; nil: whatever the remote says.
    public var key: String?
    /// A ledger that is shorter than the witnesses left with it is taken all the same.
    public var acceptsOlder = false
    /// Where the epochs' keys are, if not in the remote itself.
    public var epochKeys: RemoteDescription?

    public init() {}
}

extension Vault {
    /// The first step of a restore, and of a reading node: ledger, keys and index of a remote into a folder that is empty, or where
    /// this was begun. Seconds, whatever lies there; afterwards everything can be played, from the remote.
    ///
    /// Errors: `.notFound`, `.otherVault`, `.olderCopy`, `.damaged`, `.exists`, `.inUse`, the store's.
    public static func mirror(
        _ description: RemoteDescription, to path: String, _ options: RestoreOptions = RestoreOptions(),
        files: any FileSystem = PosixFileSystem(), time: any TimeSource,
        progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws(VaultError) -> MirrorReport {
        let layout = Layout(path)
        let lane = Lane.serial("vault.mirror")
        let lock = try await lane.run { () throws(VaultError) in
            try files.makeDirectory(layout.root)
            guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
            guard let lock = try files.lock(layout.lock) else { throw inUse(layout) }
            return lock
        }
        defer { withExtendedLifetime(lock) {} }
        let mirror = RemoteMirror(
            layout: layout, files: files, store: try description.store(time: time),
            epochStore: try options.epochKeys?.store(time: time), name: description.name, lane: lane)
        let report = try await mirror.fetch(
            key: options.key, acceptsOlder: options.acceptsOlder, progress: progress)
        try await lane.run { () throws(VaultError) in
            try files.replace(layout.remote(description.name), with: try description.encoded)
            if let epochKeys = options.epochKeys {
                try files.replace(layout.remote(epochKeys.name), with: try epochKeys.encoded)
            }
        }
        return report
    }

    /// Takes the owner's identity into a mirrored vault, so that a passphrase opens it here; and the ledger's signing key with it, so
    /// that recording can go on where the lost machine ended.
    ///
    /// Errors: `.keys` when the identity opens nothing of this vault, `.noMatch`.
    /// - Returns: whether the signing key came too.
    public static func adoptKeys(
        at path: String, identity text: SecretBytes, passphrase: SecretBytes?, from description: RemoteDescription,
        scryptWorkFactor: Int = 18, files: any FileSystem = PosixFileSystem(), time: any TimeSource
    ) async throws(VaultError) -> Bool {
        let layout = Layout(path)
        let store = try description.store(time: time)
        let sealedKey: [UInt8]?
        do throws(VaultError) {
            sealedKey = try await store.contents(RemoteLayout.ledgerKey, limit: 1 << 20)
        } catch {
            guard error.code == .notFound || error.code == .refused else { throw error }
            sealedKey = nil
        }
        return try await Lane.serial("vault.mirror").run { () throws(VaultError) in
            let file = try vaultFile(layout, files)
            let identity = try AgeIdentity(text: text)
            defer { identity.secret.wipe() }
            guard file.recipients.contains(identity.recipient) else {
                throw VaultError(
                    .keys, "This identity is not one of the vault's.",
                    hint: "It is the recovery identity, or the owner's own: `age -d keys/owner.age` shows that.")
            }
            // Another recipient's identity under keys/owner.age would unlock, and then be in the way of every change of keys.
            if let passphrase, file.recipients.first == identity.recipient {
                try files.replace(layout.owner, with: try sealOwner(identity, passphrase, scryptWorkFactor))
            }
            guard let sealedKey else { return false }
            let seed = try AgeFile.openSecret(sealedKey) { (header) throws(VaultError) in
                try AgeWrapping.unwrap(header, identities: [identity])
            }
            defer { seed.wipe() }
            let key = try LedgerKey(seed: seed, vault: file.id)
            guard key.verifier == file.ledger else {
                throw VaultError(.keys, "The signing key in remote \(description.name) is not this vault's.")
            }
            var bytes = try unsafe seed.withBytes { (bytes) throws(VaultError) in unsafe Array(bytes) }
            defer { wipeBytes(&bytes) }
            try files.replace(layout.ledgerKey, with: bytes)
            try files.syncDirectory(layout.root)
            return true
        }
    }

    /// Takes `keys/owner.age` as it is: a copy of the file that the owner kept, or the remote's where he had it put there.
    /// Errors: `.headerFailure` for another kind of file.
    public static func adoptOwnerFile(
        _ sealed: [UInt8], at path: String, files: any FileSystem = PosixFileSystem()
    ) async throws(VaultError) {
        try await Lane.serial("vault.mirror").run { () throws(VaultError) in
            _ = try AgeHeader(parsing: sealed)
            try files.replace(Layout(path).owner, with: sealed)
        }
    }
    /// `keys/owner.age` of a remote; nil when its owner did not put it there.
    public static func ownerFile(
        in description: RemoteDescription, time: any TimeSource
    ) async throws(VaultError) -> [UInt8]? {
        do throws(VaultError) {
            return try await description.store(time: time).contents(RemoteLayout.owner, limit: 1 << 20)
        } catch {
            guard error.code == .notFound || error.code == .refused else { throw error }
            return nil
        }
    }
    /// The owner's identity as text from a sealed `owner.age`. Errors: `.wrongPassphrase`, age's.
    public static func openOwnerFile(_ sealed: [UInt8], passphrase: SecretBytes) async throws(VaultError) -> SecretBytes
    {
        try await Lane.serial("vault.mirror").run { () throws(VaultError) in try openOwner(sealed, passphrase) }
    }
}
