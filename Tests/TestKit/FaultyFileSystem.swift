import Synchronization
public import Vault

/// The machine's files, of which every call from the n-th on fails, as after a power cut: the rest never happens.
public final class FaultyFileSystem: FileSystem {
    private let base = PosixFileSystem()
    private let counter: Counter

    /// - Parameter limit: changing calls (create, write, sync, truncate, rename, remove, folder) that succeed.
    public init(limit: Int) { counter = Counter(limit) }
    public var isExhausted: Bool { counter.isExhausted }

    public func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile {
        if case .read = mode {} else { try counter.step("open", path) }
        return FaultyFile(try base.open(path, mode), counter)
    }
    public func attributes(_ path: String) throws(VaultError) -> FileAttributes? { try base.attributes(path) }
    public func list(_ path: String) throws(VaultError) -> [String] { try base.list(path) }
    public func makeDirectory(_ path: String) throws(VaultError) {
        try counter.step("mkdir", path)
        try base.makeDirectory(path)
    }
    public func rename(_ from: String, to: String) throws(VaultError) {
        try counter.step("rename", to)
        try base.rename(from, to: to)
    }
    public func link(_ from: String, to: String) throws(VaultError) {
        try counter.step("link", to)
        try base.link(from, to: to)
    }
    public func remove(_ path: String) throws(VaultError) {
        try counter.step("unlink", path)
        try base.remove(path)
    }
    public func syncDirectory(_ path: String) throws(VaultError) {
        try counter.step("fsync", path)
        try base.syncDirectory(path)
    }
    public func isNetwork(_ path: String) throws(VaultError) -> Bool { false }
    public func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) { try base.space(path) }
    public func lock(_ path: String) throws(VaultError) -> (any OpenFile)? { try base.lock(path) }
}

private final class Counter: Sendable {
    private let left: Mutex<Int>
    init(_ limit: Int) { left = Mutex(limit) }
    var isExhausted: Bool { left.withLock { $0 < 0 } }
    func step(_ call: String, _ path: String) throws(VaultError) {
        let isGood = left.withLock { left in
            left -= left >= 0 ? 1 : 0
            return left >= 0
        }
        if !isGood { throw VaultError(.io, "\(call) failed on \(path), as the test asked.") }
    }
}

private final class FaultyFile: OpenFile {
    private let base: any OpenFile
    private let counter: Counter
    init(_ base: any OpenFile, _ counter: Counter) {
        self.base = base
        self.counter = counter
    }
    var path: String { base.path }
    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
        try base.read(at: offset, into: &buffer)
    }
    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) {
        try counter.step("pwrite", path)
        try base.write(bytes, range, at: offset)
    }
    func count() throws(VaultError) -> Int { try base.count() }
    func truncate(to count: Int) throws(VaultError) {
        try counter.step("ftruncate", path)
        try base.truncate(to: count)
    }
    func allocate(_ count: Int) throws(VaultError) { try base.allocate(count) }
    func sync() throws(VaultError) {
        try counter.step("fdatasync", path)
        try base.sync()
    }
}
