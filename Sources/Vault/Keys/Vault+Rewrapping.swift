public import Core
import Synchronization

public struct RewrapProgress: Sendable, Hashable {
    public var done: Int
    public var total: Int
}

public struct RewrapReport: Sendable {
    /// Epochs sealed to the present recipients by this call.
    public var rewrapped = 0
    /// Epochs left as they are, and why.
    public var failures: [(epoch: EpochID, reason: String)] = []
    /// Epochs still not sealed to the present recipients.
    public var remaining = 0
}

extension Vault {
    /// Epochs that share one ledger sync; retention waits for no more than that.
    private static let rewrapBatch = 32

    /// Epochs not yet sealed to the present recipients: a re-wrapping was interrupted, or has just become due.
    public func staleEpochs() async throws(VaultError) -> Int {
        try await reads.run { [index] () throws(VaultError) in try index.epochCounts().stale }
    }

    /// Seals every epoch's file to the present recipients. What is done stays done after a cut; calling again goes on. Recording
    /// and retention go on meanwhile.
    ///
    /// - Parameter authority: nil: with the unlocked owner's identity.
    /// Errors: `.locked`, `.readOnly`, the disk's and the ledger's. An epoch that does not open is left alone and reported.
    public func rewrap(
        _ authority: KeyAuthority? = nil, progress: @Sendable (RewrapProgress) -> Void = { _ in }
    ) async throws(VaultError) -> RewrapReport {
        let authority = if let authority { authority } else { KeyAuthority(identity: try keyring.owner()) }
        // A change of the recipients that is on its way comes first.
        try await beginLane.run { [self] () throws(VaultError) in try settleRecipients(try committer()) }
        var report = RewrapReport()
        var last: EpochID?
        let total = try await staleEpochs()
        while true {
            guard !Task.isCancelled else { throw VaultError(.closed, "The re-wrapping was cancelled.") }
            let after = last
            let step = try await retentionLane.run { [self] () throws(VaultError) in
                try rewrapStep(authority, after: after)
            }
            report.rewrapped += step.done
            report.failures += step.failures
            progress(RewrapProgress(done: min(report.rewrapped, total), total: total))
            guard let next = step.last else { break }
            last = next
        }
        report.remaining = try await staleEpochs()
        return report
    }

    private struct RewrapStep: Sendable {
        var done = 0
        var failures: [(epoch: EpochID, reason: String)] = []
        /// Nil: there was none.
        var last: EpochID?
    }

    private func rewrapStep(_ authority: KeyAuthority, after: EpochID?) throws(VaultError) -> RewrapStep {
        let committer = try committer()
        try committer.settleWhole()
        try settleEpochs()
        let (recipients, digest) = sealing.withLock { ($0.file.recipients, $0.digest) }
        let stale = try index.staleEpochs(after: after, limit: Self.rewrapBatch)
        var step = RewrapStep(last: stale.last?.epoch)
        guard !stale.isEmpty else { return step }
        // A vault.json that somebody else changed is not what the owner wanted every day to be sealed to.
        let (known, changed) = (try index.vaultFileDigest(), try index.recipientsDigest())
        let isOurs = known == digest && changed == digest
        guard isOurs || sealing.withLock({ $0.isUnsettled }) else {
            throw VaultError(
                .damaged, "vault.json is not the one that the ledger knows: no epoch is sealed to its recipients.",
                hint: "Put back the one of a backup, or change the recipients with `sudocam key`.")
        }
        let changes = KeyChanges(layout: layout, files: files, index: index)
        sealing.withLock { $0.areEpochsUnsettled = true }
        var entries: [LedgerEntry] = []
        var written: [EpochID] = []
        for (epoch, recipient) in stale {
            let sealed: [UInt8]
            do throws(VaultError) {
                sealed = try resealed(epoch, recipient, authority, recipients)
            } catch {
                guard Self.isFileFault(error.code) else { throw error }
                step.failures.append((epoch, error.reason))
                continue
            }
            try changes.write(sealed, for: layout.epoch(epoch))
            written.append(epoch)
            entries.append(
                LedgerEntry(
                    at: time.wallNow(), .rewrap(epoch, file: try ObjectID(hashing: sealed), vaultFile: digest)))
        }
        if !written.isEmpty {
            try files.syncDirectory(layout.epochs)
            try committer.commit(entries)
            for epoch in written { try changes.publish(layout.epoch(epoch)) }
            try files.syncDirectory(layout.epochs)
        }
        sealing.withLock { $0.areEpochsUnsettled = false }
        step.done = written.count
        return step
    }

    /// After an error in between; on the lane `retention`, where nobody shreds meanwhile.
    private func settleEpochs() throws(VaultError) {
        guard sealing.withLock({ $0.areEpochsUnsettled }) else { return }
        try KeyChanges(layout: layout, files: files, index: index).settleEpochs()
        sealing.withLock { $0.areEpochsUnsettled = false }
    }

    private func resealed(
        _ epoch: EpochID, _ recipient: AgeRecipient, _ authority: KeyAuthority, _ recipients: [AgeRecipient]
    ) throws(VaultError) -> [UInt8] {
        let identity = try epochIdentity(epoch, authority)
        defer { identity.secret.wipe() }
        guard identity.recipient == recipient else {
            throw VaultError(.damaged, "epochs/\(epoch).age holds the key of another epoch.")
        }
        let text = try identity.text()
        defer { text.wipe() }
        let sealed = try AgeFile.seal(text, to: recipients)
        // The old file goes: where we are able to, we open the new one first.
        if recipients.contains(authority.recipient) {
            let again = try AgeFile.openSecret(sealed) { (header) throws(VaultError) in
                try AgeWrapping.unwrap(header, identities: [authority.identity])
            }
            defer { again.wipe() }
            let reread = try AgeIdentity(text: again)
            defer { reread.secret.wipe() }
            guard reread.recipient == recipient else {
                throw VaultError(
                    .damaged, "The new epochs/\(epoch).age does not open.", hint: "Check this machine's memory.")
            }
        }
        return sealed
    }

    /// The fault of one epoch's file, which must not keep the others from being done.
    private static func isFileFault(_ code: VaultError.Code) -> Bool {
        switch code {
        case .noMatch, .notFound, .damaged, .headerFailure, .macFailure, .payloadFailure, .armorFailure, .keys: true
        default: false
        }
    }
}
