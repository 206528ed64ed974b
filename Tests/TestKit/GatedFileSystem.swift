import Foundation
public import Vault

/// The machine's files behind a gate: while it is shut, whatever changes something waits, as for a disk that spins up.
public final class GatedFileSystem: FileSystem {
    private let base = PosixFileSystem()
    fileprivate let gate = Gate()
    private let beforeRemoving: @Sendable (String) -> Void
    private let beforeReading: @Sendable (String) -> Void

    /// - Parameters:
    ///   - beforeRemoving: called on the thread that is about to take a file away.
    ///   - beforeReading: on the one that is about to open a file to read it.
    public init(
        beforeRemoving: @escaping @Sendable (String) -> Void = { _ in },
        beforeReading: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.beforeRemoving = beforeRemoving
        self.beforeReading = beforeReading
    }
    public func shut() { gate.set(false) }
    public func open() { gate.set(true) }
    /// Threads that wait before the gate.
    public var waiting: Int { gate.count }

    public func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile {
        if case .read = mode { beforeReading(path) } else { gate.pass() }
        return GatedFile(try base.open(path, mode), gate)
    }
    public func attributes(_ path: String) throws(VaultError) -> FileAttributes? { try base.attributes(path) }
    public func list(_ path: String) throws(VaultError) -> [String] { try base.list(path) }
    public func makeDirectory(_ path: String) throws(VaultError) { try base.makeDirectory(path) }
    public func rename(_ from: String, to: String) throws(VaultError) {
        gate.pass()
        try base.rename(from, to: to)
    }
    public func link(_ from: String, to: String) throws(VaultError) {
        gate.pass()
        try base.link(from, to: to)
    }
    public func remove(_ path: String) throws(VaultError) {
        beforeRemoving(path)
        gate.pass()
        try base.remove(path)
    }
    public func syncDirectory(_ path: String) throws(VaultError) {
        gate.pass()
        try base.syncDirectory(path)
    }
    public func isNetwork(_ path: String) throws(VaultError) -> Bool { try base.isNetwork(path) }
    public func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) { try base.space(path) }
    public func lock(_ path: String) throws(VaultError) -> (any OpenFile)? { try base.lock(path) }
}

/// `@unchecked`: the condition guards its flag and count.
private final class Gate: @unchecked Sendable {
    private let condition = NSCondition()
    private var isOpen = true
    private var waiting = 0
    func set(_ isOpen: Bool) {
        condition.withLock {
            self.isOpen = isOpen
            condition.broadcast()
        }
    }
    func pass() {
        condition.withLock {
            waiting += 1
            while !isOpen { condition.wait() }
            waiting -= 1
        }
    }
    var count: Int { condition.withLock { waiting } }
}

private final class GatedFile: OpenFile {
    private let base: any OpenFile
    private let gate: Gate
    init(_ base: any OpenFile, _ gate: Gate) {
        self.base = base
        self.gate = gate
    }
    var path: String { base.path }
    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
        try base.read(at: offset, into: &buffer)
    }
    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) {
        gate.pass()
        try base.write(bytes, range, at: offset)
    }
    func count() throws(VaultError) -> Int { try base.count() }
    func truncate(to count: Int) throws(VaultError) {
        gate.pass()
        try base.truncate(to: count)
    }
    func allocate(_ count: Int) throws(VaultError) { try base.allocate(count) }
    func sync() throws(VaultError) {
        gate.pass()
        try base.sync()
    }
}
