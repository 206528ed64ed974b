public import Core
import Synchronization

public enum VaultMode: Sendable, Hashable {
    /// The one process that records. The version goes into the ledger's `open` entry.
    case write(softwareVersion: String)
    /// Writes nothing, works beside a writer and on a read-only medium.
    case read
    /// Follows a remote's ledger and signs nothing: a reading node, or a restored vault without its signing key.
    case mirror
}

public enum VaultEvent: Sendable, Hashable {
    case committed(ClipRecord)
    case gap(GapRecord)
    case event(EventRecord)
    case deleted(ClipRecord, RetentionCause)
    case locked
    case unlocked
    /// Something the owner must hear of.
    case alarm(String)
    /// An alarm that began with these words, up to its colon, is over.
    case calm(String)
    case disk(DiskPressure)
}

/// How a full disk bears on recording.
public enum DiskPressure: Int, Sendable, Hashable {
    case none
    /// The disk is full; the oldest footage goes, and recording goes on.
    case full
    /// The disk is full and nothing may be deleted: recording stops until there is space.
    case stopped
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
    let index: Index
    let ledger: LedgerReader
    let keyring = Keyring()
    let hub: EventHub
    let reads = Lane.concurrent("vault.read")
    /// Opening of objects, which may wait for a remote: whoever asks what there is does not wait behind it.
    let opens = Lane.concurrent("vault.object.open")
    let keyLane = Lane.serial("vault.keys")
    let beginLane = Lane.serial("vault.begin")
    let syncLane = Lane.serial("vault.sync")
    let retentionLane = Lane.serial("vault.retention")
    let scrubLane = Lane.serial("vault.scrub")
    let recording = Mutex(Recording())
    /// In use since `openRemotes`.
    let openedRemotes = Mutex<[Remote]>([])
    /// Of those that could not be used when `openRemotes` last looked, by name: the alarm.
    let refusedRemotes = Mutex<[String: String]>([:])
    let retention = Mutex(RetentionState())
    /// What was deleted since the vault was opened, by cause without a rule's number: by rules, for space, by order.
    let deletedSoFar = Mutex<[String: DeletedSoFar]>([:])
    /// Taken while some clips are looked at once more and their deletion is entered, and while a hold is: none comes in between.
    let protection = Mutex(())
    private let pressure = Mutex(DiskPressure.none)
    /// `vault.json` as it stands, and so who new epochs are sealed to.
    let sealing: Mutex<Sealing>
    /// Who signs the ledger, as c2sp.org/signed-note writes it down; no secret.
    public var ledgerKey: String { file.ledger.text(of: id) }
    var file: VaultFile { sealing.withLock { $0.file } }
    /// Nil when only reading, or closed.
    let writing: Mutex<Writing?>
    /// A mirror's: one process follows.
    private let mirrorLock: Mutex<(any OpenFile)?>

    /// What the writing process owns.
    struct Writing: Sendable {
        let committer: Committer
        let lock: any OpenFile
    }
    struct Recording {
        struct LateEpoch {
            var record: EpochRecord
            var sealed: [UInt8]
        }
        struct Late {
            var identity: ClipIdentity
            var part: SealedPart
            var end: WallTime
            var kind: RetentionClass
        }
        struct Epoch {
            var day: Int64
            var record: EpochRecord
        }
        var epochs: [CameraID: Epoch] = [:]
        var sequences: [CameraID: UInt64] = [:]
        var parts: [ObjectIdentifier: SealedPart] = [:]
        /// What viewers may read before it is committed.
        var open: [ObjectIdentifier: OpenClip] = [:]
        /// Ended, and not committed because of the disk: tried again once a second.
        var late: [ObjectIdentifier: Late] = [:]
        /// Made, and not in the ledger because of the disk: the next clip enters it instead of leaving it behind.
        var lateEpochs: [CameraID: LateEpoch] = [:]
        var isClosed = false
        /// The folder does not hold this vault now; said once.
        var isGone = false
    }

    init(
        layout: Layout, files: any FileSystem, time: any TimeSource, mode: VaultMode, sealing: Sealing, index: Index,
        ledger: LedgerReader, writing: Writing?, hub: EventHub, alarms: [String], mirrorLock: (any OpenFile)? = nil
    ) {
        id = sealing.file.id
        self.mode = mode
        self.layout = layout
        self.files = files
        self.time = time
        self.sealing = Mutex(sealing)
        self.index = index
        self.ledger = ledger
        self.writing = Mutex(writing)
        self.hub = hub
        self.mirrorLock = Mutex(mirrorLock)
        openingAlarms = alarms
    }

    /// Ends recording: clips still open stay as parts, which the next start salvages. Locks, and lets the files go.
    public func close() async {
        recording.withLock { $0.isClosed = true }
        lock()
        _ = try? await syncLane.run { [self] in
            let parts = recording.withLock { recording in
                defer { (recording.parts, recording.late) = ([:], [:]) }
                return Array(recording.parts.values)
            }
            for part in parts { _ = try? part.sync() }
            writing.withLock { $0 = nil }
            mirrorLock.withLock { $0 = nil }
            index.close()
            let remotes = openedRemotes.withLock { remotes in
                defer { remotes = [] }
                return remotes
            }
            for remote in remotes { remote.close() }
        }
        hub.finish()
    }

    /// From now on. A slow listener loses the oldest of more than 1024 waiting events.
    public var events: AsyncStream<VaultEvent> { hub.subscribe() }

    func committer() throws(VaultError) -> Committer {
        if let writing = writing.withLock({ $0 }) { return writing.committer }
        switch mode {
        case .read: throw VaultError(.readOnly, "The vault was opened for reading.")
        case .mirror:
            throw VaultError(
                .readOnly, "This vault follows a remote and cannot be written to.",
                hint: "Do it on the recorder. If that is gone, `sudocam remote restore` makes a new one.")
        case .write: throw VaultError(.closed, "The vault is closed.")
        }
    }

    /// Cleared by the retention pass that finds space again.
    public var diskPressure: DiskPressure { pressure.withLock { $0 } }

    func note(_ pressure: DiskPressure) {
        let isNew = self.pressure.withLock { known in
            defer { known = pressure }
            return known != pressure
        }
        if isNew { hub.send(.disk(pressure)) }
    }

    /// What is free on the vault's file system.
    public func freeBytes() throws(VaultError) -> Int { try files.space(layout.root).free }

    // MARK: Keys

    public var isUnlocked: Bool { keyring.isUnlocked }

    /// Brings the owner's identity into locked memory. Errors: `.wrongPassphrase`, `.keys`, `.noSpace` (scrypt's memory).
    public func unlock(passphrase: SecretBytes) async throws(VaultError) {
        let authority = try await authorise(passphrase: passphrase)
        unlock(authority)
    }

    /// With an identity as text: the recovery identity, or the owner's own. Errors: `.keys`.
    public func unlock(identity: SecretBytes) async throws(VaultError) {
        let authority = try await authorise(identity: identity)
        unlock(authority)
    }

    private func unlock(_ authority: KeyAuthority) {
        keyring.unlock(authority.identity)
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
