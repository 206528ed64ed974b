import Core

/// Who may change keys or give them out proves it with an identity, which is held for that one operation; viewers stay locked out.
public struct KeyAuthority: Sendable {
    let identity: AgeIdentity
    public var recipient: AgeRecipient { identity.recipient }

    /// Forgets the identity; later uses fail.
    public func wipe() { identity.secret.wipe() }
}

extension Vault {
    /// With the owner's passphrase. Errors: `.wrongPassphrase`, `.keys`, `.noSpace` (scrypt's memory).
    public func authorise(passphrase: SecretBytes) async throws(VaultError) -> KeyAuthority {
        try await keyLane.run { [self] () throws(VaultError) in
            let text = try Self.openOwner(try files.contents(layout.owner), passphrase)
            defer { text.wipe() }
            return try authority(text, mayBeFormer: false)
        }
    }

    /// With an identity as text: the recovery identity, the owner's own, or another recipient's. Errors: `.keys`.
    ///
    /// - Parameter mayBeFormer: one that was replaced is fine too: it may help re-wrapping, for the recipients of now.
    public func authorise(identity text: SecretBytes, mayBeFormer: Bool = false) async throws(VaultError)
        -> KeyAuthority
    {
        try await keyLane.run { [self] () throws(VaultError) in
            defer { text.wipe() }
            return try authority(text, mayBeFormer: mayBeFormer)
        }
    }

    private func authority(_ text: SecretBytes, mayBeFormer: Bool) throws(VaultError) -> KeyAuthority {
        let identity = try AgeIdentity(text: text)
        guard mayBeFormer || file.recipients.contains(identity.recipient) else {
            identity.secret.wipe()
            throw VaultError(
                .keys, "This identity is not one of the vault's.", hint: "`sudocam key list` shows whose it is.")
        }
        return KeyAuthority(identity: identity)
    }

    /// The owner's identity as text. Errors: `.wrongPassphrase`.
    static func openOwner(_ sealed: [UInt8], _ passphrase: SecretBytes) throws(VaultError) -> SecretBytes {
        do throws(VaultError) {
            return try AgeFile.openSecret(sealed) { (header) throws(VaultError) in
                try AgeWrapping.unwrap(header, passphrase: passphrase)
            }
        } catch {
            guard error.code == .noMatch else { throw error }
            throw VaultError(.wrongPassphrase, "The passphrase does not open the vault.")
        }
    }

    /// An epoch's identity by an authority, which the keyring learns nothing of. Errors: `.noMatch`, `.notFound`, `.damaged`.
    func epochIdentity(_ epoch: EpochID, _ authority: KeyAuthority) throws(VaultError) -> AgeIdentity {
        let text = try AgeFile.openSecret(try files.contents(layout.epoch(epoch))) { (header) throws(VaultError) in
            try AgeWrapping.unwrap(header, identities: [authority.identity])
        }
        defer { text.wipe() }
        return try AgeIdentity(text: text)
    }

    // MARK: The owner's passphrase

    /// Seals the owner's identity under another passphrase: either the old or the new one opens the vault after a cut. A copy of
    /// `keys/owner.age` from before opens with the old passphrase for ever; `replaceOwner` ends that.
    ///
    /// Errors: `.wrongPassphrase`, `.invalid` for an empty one, `.readOnly`, `.closed`, the disk's.
    public func changePassphrase(
        from old: SecretBytes, to new: SecretBytes, scryptWorkFactor: Int = 18
    ) async throws(VaultError) {
        _ = try committer()
        guard new.count > 0 else { throw VaultError(.invalid, "The new passphrase is empty.") }
        let (owner, sealed) = try await keyLane.run { [self] () throws(VaultError) -> (AgeRecipient, [UInt8]) in
            let text = try Self.openOwner(try files.contents(layout.owner), old)
            defer { text.wipe() }
            let identity = try AgeIdentity(text: text)
            defer { identity.secret.wipe() }
            return (identity.recipient, try Self.sealOwner(identity, new, scryptWorkFactor))
        }
        // On the lane where the owner may have been replaced meanwhile: the new one's file is not overwritten by the old one's.
        try await beginLane.run { [self] () throws(VaultError) in
            try settleRecipients(try committer())
            guard file.recipients.first == owner else {
                throw VaultError(.keys, "The identity in keys/owner.age is not the owner's any more.")
            }
            try files.replace(layout.owner, with: sealed)
        }
    }

    /// Opened once before it may take the place of the old one.
    static func sealOwner(
        _ identity: AgeIdentity, _ passphrase: SecretBytes, _ workFactor: Int
    ) throws(VaultError) -> [UInt8] {
        let sealed = try identity.sealed(passphrase, workFactor: workFactor)
        let again = try openOwner(sealed, passphrase)
        defer { again.wipe() }
        let reread = try AgeIdentity(text: again)
        defer { reread.secret.wipe() }
        guard reread.recipient == identity.recipient else {
            throw VaultError(
                .damaged, "The sealed owner's identity does not open again.", hint: "Check this machine's memory.")
        }
        return sealed
    }
}
