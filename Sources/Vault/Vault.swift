public import Core
import Synchronization

public enum VaultMode: Sendable, Hashable {
    /// The one process that records. The version goes into the ledger's `open` entry.
    case write(softwareVersion: String)
    /// Writes nothing, works beside a writer and on a read-only medium.
    case read
}

public enum VaultEvent: Sendable, Hashable {
    case committed(ClipRecord)
    case gap(GapRecord)
    case deleted(ClipRecord, RetentionCause)
    case locked
    case unlocked
    /// Something the owner must hear of.
    case alarm(String)
}

/// A sealed store of clips. Records while locked; reads when unlocked; loses nothing that it has confirmed.
///
/// Invariants: an object under its final name is whole, durable and named by its SHA-256. A clip exists once its ledger
/// entry is synced. The index follows the ledger and is never the only place that knows something. Nothing is deleted
/// because something else does not know it.
///
/// Safe from any thread. Blocking work runs on lanes, never on the cooperative pool.
public final class Vault: Sendable {
    public let id: VaultID
    public let mode: VaultMode
    /// What the start found odd; each was also sent as an alarm.
    public let openingAlarms: [String]

    let layout: Layout
    let files: any FileSystem
    let time: any TimeSource
    let file: VaultFile
    let index: Index
    let ledger: LedgerReader
    let keyring = Keyring()
    let hub: EventHub
    let reads = Lane.concurrent("vault.read")
    let keyLane = Lane.serial("vault.keys")
    let beginLane = Lane.serial("vault.begin")
    let syncLane = Lane.serial("vault.sync")
    let retentionLane = Lane.serial("vault.retention")
    let recording = Mutex(Recording())
    let retention = Mutex(RetentionState())
    /// Nil when only reading, or closed.
    let writing: Mutex<Writing?>

    /// What the writing process owns.
    struct Writing: Sendable {
        let committer: Committer
        let lock: any OpenFile
    }
    struct Recording {
        struct Epoch {
            var day: Int64
            var record: EpochRecord
        }
        var epochs: [CameraID: Epoch] = [:]
        var sequences: [CameraID: UInt64] = [:]
        var parts: [ObjectIdentifier: SealedPart] = [:]
        /// What viewers may read before it is committed.
        var open: [ObjectIdentifier: OpenClip] = [:]
        var isClosed = false
        /// The folder does not hold this vault now; said once.
        var isGone = false
    }

    init(
        layout: Layout, files: any FileSystem, time: any TimeSource, mode: VaultMode, file: VaultFile, index: Index,
        ledger: LedgerReader, writing: Writing?, hub: EventHub, alarms: [String]
    ) {
        id = file.id
        self.mode = mode
        self.layout = layout
        self.files = files
        self.time = time
        self.file = file
        self.index = index
        self.ledger = ledger
        self.writing = Mutex(writing)
        self.hub = hub
        openingAlarms = alarms
    }

    /// Ends recording: clips still open stay as parts, which the next start salvages. Locks, and lets the files go.
    public func close() async {
        recording.withLock { $0.isClosed = true }
        lock()
        _ = try? await syncLane.run { [self] in
            let parts = recording.withLock { recording in
                defer { recording.parts = [:] }
                return Array(recording.parts.values)
            }
            for part in parts { _ = try? part.sync() }
            writing.withLock { $0 = nil }
            index.close()
        }
        hub.finish()
    }

    /// From now on. A slow listener loses the oldest of more than 1024 waiting events.
    public var events: AsyncStream<VaultEvent> { hub.subscribe() }

    func committer() throws(VaultError) -> Committer {
        if let writing = writing.withLock({ $0 }) { return writing.committer }
        throw mode == .read
            ? VaultError(.readOnly, "The vault was opened for reading.")
            : VaultError(.closed, "The vault is closed.")
    }

    // MARK: Keys

    public var isUnlocked: Bool { keyring.isUnlocked }

    /// Brings the owner's identity into locked memory. Errors: `.wrongPassphrase`, `.keys`, `.noSpace` (scrypt's memory).
    public func unlock(passphrase: SecretBytes) async throws(VaultError) {
        try await keyLane.run { [self] () throws(VaultError) in
            let text: SecretBytes
            do throws(VaultError) {
                text = try AgeFile.openSecret(try files.contents(layout.owner)) { (header) throws(VaultError) in
                    try AgeWrapping.unwrap(header, passphrase: passphrase)
                }
            } catch {
                guard error.code == .noMatch else { throw error }
                throw VaultError(.wrongPassphrase, "The passphrase does not open the vault.")
            }
            try unlockBlocking(text)
        }
    }

    /// With an identity as text: the recovery identity, or the owner's own. Errors: `.keys`.
    public func unlock(identity: SecretBytes) async throws(VaultError) {
        try await keyLane.run { [self] () throws(VaultError) in try unlockBlocking(identity) }
    }

    private func unlockBlocking(_ text: SecretBytes) throws(VaultError) {
        let identity = try AgeIdentity(text: text)
        text.wipe()
        guard file.recipients.contains(identity.recipient) else {
            throw VaultError(.keys, "This identity is not one of the vault's.")
        }
        keyring.unlock(identity)
        hub.send(.unlocked)
    }

    /// Wipes every key and every plain chunk of closed clips; recording goes on.
    public func lock() {
        let wasUnlocked = keyring.isUnlocked
        keyring.lock()
        if wasUnlocked { hub.send(.locked) }
    }

    /// An epoch's identity as text, for `age -d`. Errors: `.locked`, `.notFound`.
    package func epochIdentityText(_ epoch: EpochID) throws(VaultError) -> SecretBytes {
        try epochIdentity(epoch).text()
    }
    func epochIdentity(_ epoch: EpochID) throws(VaultError) -> AgeIdentity {
        try keyring.epoch(epoch) { () throws(VaultError) in try files.contents(layout.epoch(epoch)) }
    }
}
