import Core
import Synchronization

/// A verification's knowledge of the ledger, which goes on while somebody writes: what is missing may have been removed by rule
/// since, and what is extra may have been recorded.
///
/// It asks the ledger, not the index: whoever can change one cannot change the other unnoticed.
final class FollowedLedger: Sendable {
    private let state: Mutex<LedgerVerification>
    /// Those the verification knows already.
    private let knownFindings: Int

    init(_ verification: LedgerVerification) {
        state = Mutex(verification)
        knownFindings = verification.report.findings.count
    }

    /// Takes in what was written since. Errors: the disk's.
    func catchUp() throws(VaultError) {
        try state.withLock { (state) throws(VaultError) in try state.follow() }
    }

    /// As far as the ledger was taken in.
    func shard(_ number: Int, recentFrom recent: Int = 0) throws(VaultError) -> LedgerVerification.Shard {
        try state.withLock { (state) throws(VaultError) in try state.shard(number, recentFrom: recent) }
    }
    /// Its newest signature covers what can be read of it.
    var isVouched: Bool { state.withLock { $0.isVouched } }
    func lists(_ epoch: EpochID) -> Bool { state.withLock { $0.epochs[epoch] != nil } }
    func isShredded(_ epoch: EpochID) -> Bool { state.withLock { $0.shredded[epoch] != nil } }
    /// SHA-256 of an epoch's file; nil for one that is unknown or shredded.
    func epochFile(_ epoch: EpochID) -> ObjectID? {
        state.withLock { $0.shredded[epoch] == nil ? $0.epochs[epoch]?.file : nil }
    }
    /// SHA-256 of `vault.json`.
    var vaultFile: ObjectID? { state.withLock { $0.lastVaultFile } }
    /// What was found in the entries that came since.
    var findings: [VerificationFinding] { state.withLock { Array($0.report.findings.dropFirst(knownFindings)) } }
}
