import Core
import Synchronization

/// Whom the vault is sealed to, and how far its epochs are.
public struct RecipientList: Sendable {
    public enum Role: String, Sendable {
        /// Opens with the passphrase.
        case owner
        /// Its identity is written down somewhere safe.
        case recovery
        case other
    }
    public var recipients: [(recipient: AgeRecipient, role: Role)]
    /// Days of cameras that have a key.
    public var epochs: Int
    /// Those not sealed to these recipients yet.
    public var staleEpochs: Int
}

extension Vault {
    /// A header with more would be slow to open.
    static let recipientLimit = 32

    public func recipients() async throws(VaultError) -> RecipientList {
        let file = file
        let counts = try await reads.run { [index] () throws(VaultError) in try index.epochCounts() }
        let recipients = file.recipients.enumerated().map { place, recipient in
            let role: RecipientList.Role = place == 0 ? .owner : recipient == file.recovery ? .recovery : .other
            return (recipient, role)
        }
        return RecipientList(recipients: recipients, epochs: counts.all, staleEpochs: counts.stale)
    }

    /// New epochs are sealed to it too from now on; `rewrap` makes the old ones follow.
    ///
    /// Errors: `.exists`, `.invalid` when there are too many, `.readOnly`, the disk's and the ledger's.
    public func addRecipient(_ recipient: AgeRecipient, _ authority: KeyAuthority) async throws(VaultError) {
        try await changeRecipients(.add, authority) { (file) throws(VaultError) in
            guard !file.recipients.contains(recipient) else {
                throw VaultError(.exists, "\(recipient) is a recipient already.")
            }
            file.recipients.append(recipient)
        }
    }

    /// What is recorded from the next clip on has keys it never sees; `rewrap` takes it out of the old epochs' files. A copy of
    /// an epoch's file from before still opens for it.
    ///
    /// Errors: `.notFound`, `.invalid` for the owner's and, unless forced, for the one that authorises it and for recovery's.
    public func removeRecipient(
        _ recipient: AgeRecipient, isForced: Bool, _ authority: KeyAuthority
    ) async throws(VaultError) {
        try await changeRecipients(.remove, authority) { (file) throws(VaultError) in
            guard let place = file.recipients.firstIndex(of: recipient) else {
                throw VaultError(
                    .notFound, "\(recipient) is no recipient.", hint: "`sudocam key list` shows who is.")
            }
            guard place > 0 else {
                throw VaultError(
                    .invalid, "\(recipient) is the owner's: without it the passphrase opens nothing.",
                    hint: "`sudocam key change-passphrase --new-key` puts another in its place.")
            }
            guard isForced || recipient != authority.recipient else {
                throw VaultError(
                    .invalid, "\(recipient) is the identity you authorise this with.",
                    hint: "Use the passphrase, or --force if it shall go.")
            }
            guard isForced || recipient != file.recovery else {
                throw VaultError(
                    .invalid, "\(recipient) is the recovery identity's: without it a lost passphrase loses everything.",
                    hint: "`sudocam key recover --new-recovery` replaces it; --force removes it.")
            }
            file.recipients.remove(at: place)
            if recipient == file.recovery { file.recovery = nil }
        }
    }

    /// A new owner's identity under a new passphrase takes the old one's place, and so leaves copies of `keys/owner.age` behind
    /// with nothing to open that is sealed from now on. `rewrap` makes the old epochs follow.
    ///
    /// - Parameters:
    ///   - recovery: takes the recovery identity's place, if not nil; its owner has seen it already.
    ///   - isRecovery: the passphrase is lost.
    public func replaceOwner(
        passphrase: SecretBytes, recovery: AgeRecipient?, isRecovery: Bool, _ authority: KeyAuthority,
        scryptWorkFactor: Int = 18
    ) async throws(VaultError) {
        guard passphrase.count > 0 else { throw VaultError(.invalid, "The new passphrase is empty.") }
        let (owner, sealed) = try await keyLane.run { () throws(VaultError) -> (AgeRecipient, [UInt8]) in
            let identity = try AgeIdentity.random()
            defer { identity.secret.wipe() }
            return (identity.recipient, try Self.sealOwner(identity, passphrase, scryptWorkFactor))
        }
        try await changeRecipients(isRecovery ? .recover : .newOwner, authority, owner: sealed) {
            (file) throws(VaultError) in
            file.recipients[0] = owner
            guard let recovery else { return }
            guard !file.recipients.contains(recovery) else {
                throw VaultError(.exists, "\(recovery) is a recipient already.")
            }
            if let place = file.recovery.flatMap({ file.recipients.firstIndex(of: $0) }) {
                file.recipients[place] = recovery
            } else {
                file.recipients.insert(recovery, at: 1)
            }
            file.recovery = recovery
        }
    }

    /// On the lane where epochs are made, so that each is sealed to those the ledger named last before it. On return new epochs
    /// follow; a cut is finished by the next start.
    private func changeRecipients(
        _ cause: RecipientsRecord.Cause, _ authority: KeyAuthority, owner: [UInt8]? = nil,
        _ change: @escaping @Sendable (inout VaultFile) throws(VaultError) -> Void
    ) async throws(VaultError) {
        try await beginLane.run { [self] () throws(VaultError) in
            let committer = try committer()
            try settleRecipients(committer)
            let old = file
            guard old.recipients.contains(authority.recipient) else {
                throw VaultError(.keys, "This identity is not one of the vault's any more.")
            }
            var new = old
            try change(&new)
            guard new.recipients.count <= Self.recipientLimit else {
                throw VaultError(.invalid, "A vault has at most \(Self.recipientLimit) recipients.")
            }
            // A point of low order, to which nothing can be sealed, is refused here and not at the next epoch.
            _ = try AgeFile.seal(SecretBytes(text: "-"), to: new.recipients)
            let bytes = new.encoded
            let digest = try ObjectID(hashing: bytes)
            let record = RecipientsRecord(
                vaultFile: digest, recipients: new.recipients,
                added: new.recipients.filter { !old.recipients.contains($0) },
                removed: old.recipients.filter { !new.recipients.contains($0) }, cause: cause)
            let changes = KeyChanges(layout: layout, files: files, index: index)
            sealing.withLock { $0.isUnsettled = true }
            if let owner {
                try changes.write(owner, for: layout.owner)
                try files.syncDirectory(layout.keys)
            }
            try changes.write(bytes, for: layout.vaultFile)
            try files.syncDirectory(layout.root)
            try committer.commit([LedgerEntry(at: time.wallNow(), .recipients(record))])
            try settleRecipients(committer)
        }
    }

    /// Finishes or takes back a change that an error interrupted. On the lane `begin`.
    func settleRecipients(_ committer: Committer) throws(VaultError) {
        guard sealing.withLock({ $0.isUnsettled }) else { return }
        try committer.settleWhole()
        let changes = KeyChanges(layout: layout, files: files, index: index)
        try changes.settleRecipients()
        let new = try changes.sealing()
        let hasRemoved = sealing.withLock { sealing in
            let hasRemoved = !sealing.file.recipients.allSatisfy { new.file.recipients.contains($0) }
            sealing.file = new.file
            sealing.digest = new.digest
            sealing.isUnsettled = false
            return hasRemoved
        }
        // Who is gone may know the day's key: the next clip gets a new one.
        if hasRemoved { recording.withLock { $0.epochs = [:] } }
    }
}
