public import Core

/// What is wrong, of which thing, and where in it.
public struct VerificationFinding: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// Bytes are not what they were.
        case damaged
        /// The ledger lists it; it is not there.
        case missing
        /// It is there; the ledger does not list it.
        case extra
        /// A sequence number comes twice, or two entries name one object.
        case outOfOrder
        /// Signed by nobody who may, or its inside contradicts its outside.
        case forged
        /// It is there although the ledger says it was removed.
        case notDeleted
        /// Removed although the policy in force, or a hold, kept it.
        case deletedEarly
        /// A clip's times cannot be.
        case implausible
    }
    public enum Subject: Sendable, Hashable, CustomStringConvertible {
        case vaultFile
        case checkpoint
        /// Level and index.
        case tile(Int, Int)
        /// Entries of one bundle, by position.
        case entries(Range<Int>)
        case epoch(EpochID)
        case object(ObjectID)
        /// A path relative to the vault.
        case file(String)

        public var description: String {
            switch self {
            case .vaultFile: "vault.json"
            case .checkpoint: "ledger/checkpoint"
            case .tile(let level, let index): "ledger/tile/\(level)/\(MerkleTree.path(index))"
            case .entries(let range):
                range.count == 1
                    ? "ledger entry \(range.lowerBound)" : "ledger entries \(range.lowerBound)..<\(range.upperBound)"
            case .epoch(let epoch): "epochs/\(epoch).age"
            case .object(let object): "object \(object)"
            case .file(let path): path
            }
        }
    }
    public var kind: Kind
    public var subject: Subject
    /// Chunk of an object, when the key told which.
    public var chunk: Int?
    public var detail: String

    public init(_ kind: Kind, _ subject: Subject, chunk: Int? = nil, _ detail: String) {
        self.kind = kind
        self.subject = subject
        self.chunk = chunk
        self.detail = detail
    }

    static let removedByEntry = "the ledger says it was removed"
    /// The detail of a contradiction that stays for ever, though recording went on over it.
    static let signedEarlier =
        "differ from a checkpoint that was signed earlier and is kept as ledger/checkpoint.contradicted"

    public var description: String {
        "\(kind.rawValue): \(subject)" + (chunk.map { ", chunk \($0)" } ?? "") + ": \(detail)"
    }
}

public struct VerificationOptions: Sendable {
    /// Reads every object and compares its digest; without, only its presence and size.
    public var readsObjects = true
    /// Opens every chunk and compares the inner identity; the vault must be unlocked.
    public var opensObjects = false
    /// Finds the identity inside a clip, given the beginning of its plaintext; nil when there is none.
    public var innerIdentity: (@Sendable ([UInt8]) -> ClipIdentity?)?
    /// What an earlier run that was interrupted found clean: only what was entered since is read there.
    public var done: [VerifiedShard] = []

    public init(
        readsObjects: Bool = true, opensObjects: Bool = false,
        innerIdentity: (@Sendable ([UInt8]) -> ClipIdentity?)? = nil
    ) {
        self.readsObjects = readsObjects
        self.opensObjects = opensObjects
        self.innerIdentity = innerIdentity
    }
}

/// One of the 256 folders of `objects/`, found clean.
public struct VerifiedShard: Sendable, Hashable, Codable {
    public var shard: Int
    /// Entries that the ledger had when it was checked.
    public var entries: Int

    public init(shard: Int, entries: Int) {
        self.shard = shard
        self.entries = entries
    }
}

public struct VerificationProgress: Sendable, Hashable {
    public var objectsDone = 0
    public var objectsTotal: Int
    /// Of sealed objects, those included that an earlier run read.
    public var bytesDone = 0
    public var bytesTotal: Int
    /// In this run.
    public var bytesRead = 0
}

public struct VerificationReport: Sendable {
    public var findings: [VerificationFinding] = []
    public var entries = 0
    public var objects = 0
    public var bytes = 0
    /// Objects whose copy here was given up because a remote was proven to have them; `sudocam remote verify` looks at those.
    public var evicted = 0
    /// Numbers no clip of a camera has: clips that failed or were discarded while a later one ran. Not a finding: every
    /// entry stands in the signed tree.
    public var sequenceHoles = 0
    /// Entries behind the signed checkpoint: a crash came between them, or a writer is at work.
    public var unsignedEntries = 0

    /// Findings beyond the first `findingLimit`.
    public var omittedFindings = 0
    public static let findingLimit = 10_000
    /// Clips that `repair` entered as lost, or as moved to quarantine: not found again, and not forgotten either.
    public var knownLost = 0
    public var knownQuarantined = 0

    public var isClean: Bool { findings.isEmpty && omittedFindings == 0 }

    mutating func add(_ new: [VerificationFinding]) {
        let room = max(0, Self.findingLimit - findings.count)
        findings += new.prefix(room)
        omittedFindings += max(0, new.count - room)
    }
}
