public import Core

/// What retention makes of a clip.
public enum RetentionClass: String, Sendable, Hashable, BitwiseCopyable, Codable, CaseIterable {
    case continuous
    /// Something moved while it ran.
    case motion
    /// Something was detected while it ran.
    case event
    /// A person named what is seen in it.
    case labelled
}

/// Why there is no recording.
public enum GapReason: String, Sendable, Hashable, Codable, CaseIterable {
    /// The camera could not be reached, or went away.
    case disconnected
    /// Connected, but nothing usable came.
    case noSignal
    /// The owner switched recording off.
    case paused
    /// The recorder was not running.
    case stopped
    case diskFull
    case diskError
    /// The wall clock jumped ahead.
    case clockStep
    /// Frames were dropped because the machine was too slow.
    case overload
    /// A clip was there and is gone; nobody removed it.
    case lost
    /// A clip was there and does not open any more; it lies in quarantine.
    case damaged
    case unknown
}

extension ClipIdentity {
    /// What a ledger may say of a clip's number: as far as JSON's numbers are exact everywhere (RFC 8259, section 6).
    static let sequences: ClosedRange<Int64> = 0...1 << 53
}

/// A clip the ledger has committed.
public struct ClipRecord: Sendable, Hashable, BitwiseCopyable {
    public var object: ObjectID
    public var identity: ClipIdentity
    public var end: WallTime
    /// Of the sealed object.
    public var byteCount: Int
    public var kind: RetentionClass
    /// Cut short by a crash: ends at its last whole chunk, and `end` is an estimate.
    public var isSalvaged: Bool

    public init(
        object: ObjectID, identity: ClipIdentity, end: WallTime, byteCount: Int, kind: RetentionClass = .continuous,
        isSalvaged: Bool = false
    ) {
        self.object = object
        self.identity = identity
        self.end = end
        self.byteCount = byteCount
        self.kind = kind
        self.isSalvaged = isSalvaged
    }
    /// What a ledger may say of an object's size, in bytes: sums of millions of them stay within 63 bits, whoever wrote it.
    static let sizes: ClosedRange<Int64> = 0...1 << 40
    public var camera: CameraID { identity.camera }
    public var start: WallTime { identity.start }
    public var range: TimeRange { TimeRange(identity.start, end) }
}

/// A stretch of a camera's time without a recording.
public struct GapRecord: Sendable, Hashable {
    public var camera: CameraID
    public var range: TimeRange
    public var reason: GapReason

    public init(camera: CameraID, range: TimeRange, reason: GapReason) {
        self.camera = camera
        self.range = range
        self.reason = reason
    }
}

/// What was noticed in a camera's footage.
public enum EventLabel: String, Sendable, Hashable, Codable, CaseIterable {
    /// The camera delivers, and its picture does not change (case I13).
    case frozen
    /// What a newer version noticed.
    case unknown
}

/// Something noticed in a stretch of a camera's footage. A later entry with the same identity makes it longer: one that goes on is
/// entered when it is noticed, now and then while it lasts, and when it is over.
public struct EventRecord: Sendable, Hashable {
    public var event: EventID
    public var camera: CameraID
    public var range: TimeRange
    public var label: EventLabel

    public init(event: EventID, camera: CameraID, range: TimeRange, label: EventLabel) {
        self.event = event
        self.camera = camera
        self.range = range
        self.label = label
    }
}

/// One camera's UTC day: who its objects are sealed to.
struct EpochRecord: Sendable, Hashable {
    var epoch: EpochID
    var camera: CameraID
    /// Days since 1970-01-01.
    var day: Int64
    /// Nil after a lost ledger was begun anew without the key: nothing more can be sealed to it.
    var recipient: AgeRecipient?
    /// SHA-256 of `epochs/<uuid>.age`: as it was first written, or as the last re-wrapping left it.
    var file: ObjectID
}

/// Who every epoch is sealed to from here on, and who that was not before.
struct RecipientsRecord: Sendable, Hashable {
    enum Cause: String, Sendable, Hashable {
        case add, remove
        /// The owner's identity was replaced under a new passphrase, by somebody who knew the old one.
        case newOwner = "new-owner"
        /// The same, with the recovery identity.
        case recover
    }
    /// SHA-256 of the new `vault.json`.
    var vaultFile: ObjectID
    var recipients: [AgeRecipient]
    var added: [AgeRecipient]
    var removed: [AgeRecipient]
    var cause: Cause
}

/// What became of a camera; its name never stands here.
public enum CameraChange: String, Sendable, Hashable, Codable {
    case added, removed
}

/// A stretch of time that retention leaves alone until it is released.
public struct HoldRecord: Sendable, Hashable {
    public var hold: HoldID
    /// Nil: every camera.
    public var camera: CameraID?
    public var range: TimeRange
    /// Why, sealed to the vault's recipients: an age file. Nil when nothing was noted.
    var note: [UInt8]?

    init(hold: HoldID, camera: CameraID?, range: TimeRange, note: [UInt8]?) {
        self.hold = hold
        self.camera = camera
        self.range = range
        self.note = note
    }
    public var hasNote: Bool { note != nil }
    public func covers(_ clip: ClipRecord) -> Bool {
        (camera == nil || camera == clip.camera)
            && (range.overlaps(clip.range) || clip.range.isEmpty && range.contains(clip.start))
    }
}

/// A clip that is gone, and why: the receipt that stays.
public struct DeletionRecord: Sendable, Hashable {
    public var object: ObjectID
    public var camera: CameraID
    public var range: TimeRange
    /// Of the sealed object.
    public var byteCount: Int
    public var cause: RetentionCause
    /// The policy in force: SHA-256 of its text in the ledger's `policy` entry.
    public var policy: ObjectID
}

/// An object that is no longer among the clips, though no rule removed it.
struct WithdrawalRecord: Sendable, Hashable {
    struct Place: Sendable, Hashable {
        var camera: CameraID
        var range: TimeRange
    }
    var object: ObjectID
    /// In words; no names of people or places.
    var why: String
    /// Nil for an object that the ledger never listed.
    var place: Place?
}

/// Objects that lie in a remote only from here on, or here again.
struct EvictionRecord: Sendable, Hashable {
    /// The remote's identifier, `RemoteDescription.id`.
    var remote: UUID
    /// At most `limit`, so that the entry fits a bundle.
    var objects: [ObjectID]
    static let limit = 64
}

/// Why the ledger does not simply go on from what was signed before.
struct RebuiltRecord: Sendable, Hashable {
    enum Reason: String, Sendable, Hashable {
        /// Its entries were gone; these were made from the objects' headers.
        case ledgerLost = "ledger-lost"
        /// The owner put an older copy of the vault back on purpose.
        case olderCopy = "older-copy"
    }
    struct Head: Sendable, Hashable {
        var count: Int
        var root: MerkleTree.Hash
    }
    var why: Reason
    /// Entries of clips and epochs that follow this one and were made from objects.
    var entries = 0
    var clips = 0
    var quarantined = 0
    /// From here to the time of this entry the clips follow one another without a break that a clock could hide in.
    var since: WallTime?
    /// The newest tree that was known to have been signed.
    var before: Head?
}
