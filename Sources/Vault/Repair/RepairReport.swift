/// What `repair` does about one thing that `verify` found.
public enum RepairAction: String, Sendable, Hashable, CaseIterable {
    /// Renamed into `quarantine/`; viewers see a gap, the ledger says why.
    case quarantine
    /// A good object that the ledger does not list is entered.
    case adopt
    /// An object that is nowhere any more is entered as lost.
    case lost
    /// A good copy takes its place.
    case fetch
    /// Computed anew from what vouches for it: a tile from the entries, an entry by its signed hash.
    case recompute
    /// The ledger's head is signed anew over entries that nothing contradicts.
    case sign
    /// The ledger has it removed already; the file goes, as at every start of the recorder.
    case finish
    /// Nothing that repair can or may do; the detail says what you can.
    case leave
}

public struct RepairStep: Sendable, Hashable, CustomStringConvertible {
    public var action: RepairAction
    public var subject: VerificationFinding.Subject
    public var detail: String

    init(_ action: RepairAction, _ subject: VerificationFinding.Subject, _ detail: String) {
        self.action = action
        self.subject = subject
        self.detail = detail
    }
    public var description: String { "\(action.rawValue): \(subject): \(detail)" }

    /// What a dry run would mend `verify` still finds: entries of a bundle of which some are put right.
    func isSettled(by mending: [RepairStep]) -> Bool {
        guard action == .leave, case .entries(let range) = subject else { return false }
        return mending.contains { step in
            guard step.action == .recompute, case .entries(let mended) = step.subject else { return false }
            return mended.lowerBound / MerkleTree.tileWidth == range.lowerBound / MerkleTree.tileWidth
        }
    }
}

public struct RepairOptions: Sendable {
    /// False: only says what it would do, and writes nothing.
    public var isApplied = false
    /// Quarantines every damaged object, also those that still play in part.
    public var quarantinesPlayable = false
    /// Enters objects as lost even when more than half of all are missing.
    public var isForced = false
    /// Where good copies may be.
    public var source: (any ObjectSource)?

    public init() {}
}

public struct RepairReport: Sendable {
    public var steps: [RepairStep] = []
    public var isApplied = false
    /// More is missing than a damaged disk explains: nothing was entered as lost.
    public var isBraked = false
    public var objects = 0

    /// Whether something is left that repair does nothing about.
    public var isComplete: Bool { !isBraked && steps.allSatisfy { $0.action != .leave } }
}

/// Where copies of a vault's objects and epoch files may be had: a copy of the vault, later a remote.
public protocol ObjectSource: Sendable {
    /// Bytes of `path`, relative to the vault's folder (`objects/ab/…`, `epochs/….age`); nil when it has no such file. What
    /// comes is checked against its digest by the caller.
    func contents(_ path: String) throws(VaultError) -> [UInt8]?
}

/// A copy of the vault in a folder, as `rsync` or `cp` make it.
public struct FolderSource: ObjectSource {
    let root: String
    let files: any FileSystem

    public init(_ path: String, files: any FileSystem = PosixFileSystem()) {
        root = Layout(path).root
        self.files = files
    }
    public func contents(_ path: String) throws(VaultError) -> [UInt8]? {
        guard try files.attributes(root + "/" + path) != nil else { return nil }
        return try files.contents(root + "/" + path, limit: 1 << 30)
    }
}
