import Core
import Synchronization

/// A verification's knowledge of the ledger, which goes on while somebody writes: what is missing may have been removed by rule
/// since, and what is extra may have been recorded.
///
/// It asks the ledger, not the index: whoever can change one cannot change the other unnoticed.
final class FollowedLedger: Sendable {
    private struct State {
        var verification: LedgerVerification
        /// Of its findings, those that the first reading told.
        var knownFindings: Int
        /// What shards' entries were found to do that no rule allowed, when they were read again.
        var doubts: Set<VerificationFinding> = []
    }
    private let state: Mutex<State>

    init(_ verification: LedgerVerification) {
        state = Mutex(State(verification: verification, knownFindings: verification.report.findings.count))
    }

    /// Takes in what was written since. Errors: the disk's.
    func catchUp() throws(VaultError) {
        try state.withLock { (state) throws(VaultError) in
            let wasVouched = state.verification.isVouched
            try state.verification.follow()
            guard wasVouched, !state.verification.isVouched else { return }
            // A writer takes back a batch that could not be made durable: what was read of it is not in the ledger.
            let (ledger, file) = (state.verification.ledger, state.verification.file)
            var again = LedgerVerification(ledger, file)
            try again.run(vaultFile: try ledger.files.contents(Layout(parent(of: ledger.path)).vaultFile))
            guard again.isVouched else { return }
            state.verification = again
            state.knownFindings = again.report.findings.count
        }
    }

    /// As far as the ledger was taken in.
    func shard(_ number: Int, recentFrom recent: Int = 0) throws(VaultError) -> LedgerVerification.Shard {
        try state.withLock { (state) throws(VaultError) in
            try state.verification.shard(number, recentFrom: recent)
        }
    }
    /// The same for who only looks something up; what is doubtful of it is kept for `findings`.
    func shardAgain(_ number: Int) throws(VaultError) -> LedgerVerification.Shard {
        try state.withLock { (state) throws(VaultError) in
            let shard = try state.verification.shard(number)
            if state.doubts.count < VerificationReport.findingLimit { state.doubts.formUnion(shard.findings) }
            return shard
        }
    }
    /// The newest signature fits what it covers.
    var isVouched: Bool { state.withLock { $0.verification.isVouched } }
    /// Entries behind that signature.
    var unsignedEntries: Int { state.withLock { $0.verification.report.unsignedEntries } }
    func lists(_ epoch: EpochID) -> Bool { state.withLock { $0.verification.epochs[epoch] != nil } }
    /// SHA-256 of an epoch's file; nil for one that is unknown or shredded.
    func epochFile(_ epoch: EpochID) -> ObjectID? {
        state.withLock { state in
            state.verification.shredded[epoch] == nil ? state.verification.epochs[epoch]?.file : nil
        }
    }
    /// SHA-256 of `vault.json`.
    var vaultFile: ObjectID? { state.withLock { $0.verification.lastVaultFile } }
    /// What was found of the entries that came since; of a shard that was read again, some that are known too.
    var findings: [VerificationFinding] {
        state.withLock { state in
            state.verification.report.findings.dropFirst(state.knownFindings)
                + state.doubts.sorted { $0.description < $1.description }
        }
    }
}
