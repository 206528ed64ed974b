import Synchronization
public import Vault

/// Another file system whose n-th changing call fails: once, or from then on.
///
/// Counted are create, write, sync, truncate, rename, link, unlink, mkdir and fsync of a folder. Reading works, but of files
/// that are named: they open, and a read of them ends with EIO as a dying disk's does.
/// `EINTR` and short writes below this protocol are `PosixFileSystem`'s own business; a short write is seen here as one that
/// leaves some of its bytes and fails.
public final class FailingFileSystem: FileSystem {
    public enum Fault: String, Sendable, CaseIterable {
        case io, noSpace, quota, readOnly, interrupted
        /// Half of the bytes are written; then there is no space.
        case short

        var error: VaultError {
            switch self {
            // PosixFileSystem says EINTR only of calls it may not repeat.
            case .io, .interrupted: VaultError(.io, "failed with \(rawValue), as the test asked.")
            case .noSpace, .quota, .short: VaultError(.noSpace, "failed with \(rawValue), as the test asked.")
            case .readOnly: VaultError(.readOnly, "failed with \(rawValue), as the test asked.")
            }
        }
    }
    public enum Failures: Sendable, CaseIterable { case one, all }

    private let base: any FileSystem
    private let plan: Plan
    private let unreadable: Set<String>
    private let refused = Atomic(0)

    /// Another one on which every change works, and these files cannot be read (EIO).
    public init(_ base: any FileSystem, unreadable: Set<String>) {
        self.base = base
        self.unreadable = unreadable
        plan = Plan(.all, .max, .io)
    }

    /// - Parameter after: so many calls succeed first.
    public init(_ base: any FileSystem, failures: Failures, after: Int, with fault: Fault) {
        self.base = base
        unreadable = []
        plan = Plan(failures, after, fault)
    }
    public var hasFailed: Bool { plan.hasFailed }
    public var calls: Int { plan.calls }
    /// Reads of unreadable files so far.
    public var refusedReads: Int { refused.load(ordering: .relaxed) }
    /// From now on everything works.
    public func heal() { plan.heal() }
    /// From now on every change fails.
    public func fail() { plan.fail() }

    public func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile {
        if case .read = mode {} else { try plan.step() }
        let file = try base.open(path, mode)
        guard unreadable.contains(path) else { return FailingFile(file, plan) }
        return FailingFile(file, plan) { [self] in refused.add(1, ordering: .relaxed) }
    }
    public func attributes(_ path: String) throws(VaultError) -> FileAttributes? { try base.attributes(path) }
    public func list(_ path: String) throws(VaultError) -> [String] { try base.list(path) }
    public func makeDirectory(_ path: String) throws(VaultError) {
        try plan.step()
        try base.makeDirectory(path)
    }
    public func rename(_ from: String, to: String) throws(VaultError) {
        try plan.step()
        try base.rename(from, to: to)
    }
    public func link(_ from: String, to: String) throws(VaultError) {
        try plan.step()
        try base.link(from, to: to)
    }
    public func remove(_ path: String) throws(VaultError) {
        try plan.step()
        try base.remove(path)
    }
    public func syncDirectory(_ path: String) throws(VaultError) {
        try plan.step()
        try base.syncDirectory(path)
    }
    public func isNetwork(_ path: String) throws(VaultError) -> Bool { try base.isNetwork(path) }
    public func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) { try base.space(path) }
    public func lock(_ path: String) throws(VaultError) -> (any OpenFile)? { try base.lock(path) }
}

private final class Plan: Sendable {
    private let state: Mutex<(calls: Int, failed: Bool, isHealed: Bool, isBroken: Bool)>
    private let failures: FailingFileSystem.Failures
    private let after: Int
    let fault: FailingFileSystem.Fault

    init(_ failures: FailingFileSystem.Failures, _ after: Int, _ fault: FailingFileSystem.Fault) {
        (self.failures, self.after, self.fault) = (failures, after, fault)
        state = Mutex((0, false, false, false))
    }
    var hasFailed: Bool { state.withLock { $0.failed } }
    var calls: Int { state.withLock { $0.calls } }
    func heal() { state.withLock { $0.isHealed = true } }
    func fail() { state.withLock { $0.isBroken = true } }
    func step() throws(VaultError) {
        let fails = state.withLock { state in
            state.calls += 1
            let isDue = state.isBroken || (failures == .one ? state.calls == after + 1 : state.calls > after)
            let fails = !state.isHealed && isDue
            state.failed = state.failed || fails
            return fails
        }
        if fails { throw fault.error }
    }
}

private final class FailingFile: OpenFile {
    private let base: any OpenFile
    private let plan: Plan
    private let refuse: (@Sendable () -> Void)?
    /// - Parameter refuse: called for each read, which then fails.
    init(_ base: any OpenFile, _ plan: Plan, refuse: (@Sendable () -> Void)? = nil) {
        self.base = base
        self.plan = plan
        self.refuse = refuse
    }
    var path: String { base.path }
    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
        if let refuse {
            refuse()
            throw VaultError(.io, "pread failed on \(path): Input/output error.")
        }
        return try base.read(at: offset, into: &buffer)
    }
    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) {
        do throws(VaultError) { try plan.step() } catch {
            if plan.fault == .short {
                try base.write(bytes, range.lowerBound..<range.lowerBound + range.count / 2, at: offset)
            }
            throw error
        }
        try base.write(bytes, range, at: offset)
    }
    func count() throws(VaultError) -> Int { try base.count() }
    func truncate(to count: Int) throws(VaultError) {
        try plan.step()
        try base.truncate(to: count)
    }
    func allocate(_ count: Int) throws(VaultError) { try base.allocate(count) }
    func sync() throws(VaultError) {
        try plan.step()
        try base.sync()
    }
}
