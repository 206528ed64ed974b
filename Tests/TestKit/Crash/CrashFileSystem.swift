import Core
import Foundation
import Synchronization
public import Vault

/// A disk in memory that remembers every change and every sync, so that `CrashStates` can say what a power cut leaves.
///
/// The SQLite index does not go through the protocol. It lies in a real folder at the same path, and its files are copied
/// whenever they have changed.
public final class CrashFileSystem: FileSystem {
    /// Where the vault stands: a real folder, in memory too, which holds the index only.
    public let root: String
    private let folder: TemporaryFolder
    private let base = PosixFileSystem()
    private let state: Mutex<State>

    struct State {
        var image: DiskImage
        var nextFile = 1
        /// Ticks with each change.
        var clock: Int64
        var locked: Set<String> = []
        var log: CrashLog?
        var indexStamp = ""
    }

    public init(_ image: DiskImage = DiskImage(), index: [String: [UInt8]] = [:], clock: Int64 = 1_764_000_000_000_000)
        throws
    {
        folder = try TemporaryFolder(in: FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : nil)
        root = folder.path + "/vault"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
        for (name, bytes) in index { try folder.write(bytes, to: "vault/" + name) }
        var state = State(image: image, clock: clock)
        state.nextFile = (image.files.keys.max() ?? 0) + 1
        self.state = Mutex(state)
    }

    /// From now on everything is written down. What was done so far counts as durable.
    public func startLog() {
        state.withLock { state in
            state.image = state.image.reachable()
            state.log = CrashLog(start: state.image)
            copyIndex(&state)
        }
    }
    public func promise(_ promise: CrashPromise) {
        state.withLock { state in log(&state, .promise(promise), "a promise") }
    }
    public func endLog() -> CrashLog {
        state.withLock { state in
            defer { state.log = nil }
            return state.log ?? CrashLog()
        }
    }
    /// The process is killed: its locks go, and what it wrote stays with the operating system, unsynced as it is.
    public func kill() { state.withLock { $0.locked = [] } }
    public var image: DiskImage { state.withLock { $0.image } }

    private func log(_ state: inout State, _ kind: CrashLog.Entry.Kind, _ what: String) {
        guard state.log != nil else { return }
        copyIndex(&state)
        state.log?.entries.append(CrashLog.Entry(kind: kind, what: what))
    }

    private static let indexNames = ["index.sqlite", "index.sqlite-wal"]

    private func copyIndex(_ state: inout State) {
        var stamp = ""
        for name in Self.indexNames {
            if let found = try? base.attributes(root + "/" + name) { stamp += "\(found.count) \(found.modified) " }
        }
        guard stamp != state.indexStamp, let count = state.log?.entries.count else { return }
        state.indexStamp = stamp
        var files: [String: [UInt8]] = [:]
        for name in Self.indexNames { files[name] = try? folder.contents("vault/" + name) }
        state.log?.indexes.append((count, files))
    }

    // MARK: Names

    /// Relative to the vault's parent.
    private func split(_ path: String) throws(VaultError) -> (folder: String, name: String) {
        guard path.hasPrefix(folder.path + "/") else { throw VaultError(.notFound, "\(path) is not on this disk.") }
        let relative = path.dropFirst(folder.path.count + 1)
        guard let slash = relative.lastIndex(of: "/") else { return ("", String(relative)) }
        return (String(relative[..<slash]), String(relative[relative.index(after: slash)...]))
    }
    private func isIndex(_ path: String) -> Bool { path.hasPrefix(root + "/index.sqlite") }

    private static func node(_ state: borrowing State, _ at: (folder: String, name: String)) -> DiskImage.Node? {
        state.image.folders[at.folder]?[at.name]
    }
    private func change(_ state: inout State, _ changes: [DiskImage.Change], _ what: String) {
        for change in changes { state.image.apply(change) }
        log(&state, .change(changes), what)
    }
    private func missing(_ path: String) -> VaultError { VaultError(.notFound, "There is no \(path).") }

    public func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile {
        let at = try split(path)
        return try state.withLock { (state) throws(VaultError) in
            switch (Self.node(state, at), mode) {
            case (.folder?, _): throw VaultError(.io, "\(path) is a folder.")
            case (.file?, .create): throw VaultError(.exists, "\(path) exists.")
            case (.file(let file)?, _): return CrashFile(self, file, path)
            case (nil, .read): throw missing(path)
            case (nil, _):
                guard state.image.folders[at.folder] != nil else { throw missing(path) }
                let file = state.nextFile
                state.nextFile += 1
                change(
                    &state, [.add(folder: at.folder, name: at.name, .file(file))], "create \(join(at.folder, at.name))")
                touch(&state, file)
                return CrashFile(self, file, path)
            }
        }
    }

    public func attributes(_ path: String) throws(VaultError) -> FileAttributes? {
        if isIndex(path) { return try base.attributes(path) }
        if path == folder.path { return FileAttributes(count: 0, modified: 0, isDirectory: true, rights: 0o700) }
        let at = try split(path)
        return state.withLock { state in
            switch Self.node(state, at) {
            case .file(let file)?:
                FileAttributes(
                    count: state.image.files[file]?.count ?? 0, modified: state.image.modified[file] ?? 0,
                    isDirectory: false, rights: 0o600)
            case .folder?: FileAttributes(count: 0, modified: 0, isDirectory: true, rights: 0o700)
            case nil: nil
            }
        }
    }

    public func list(_ path: String) throws(VaultError) -> [String] {
        let at = try split(path)
        return try state.withLock { (state) throws(VaultError) in
            guard let names = state.image.folders[join(at.folder, at.name)] else { throw missing(path) }
            return Array(names.keys)
        }
    }

    public func makeDirectory(_ path: String) throws(VaultError) {
        let at = try split(path)
        try state.withLock { (state) throws(VaultError) in
            guard Self.node(state, at) == nil else { return }
            guard state.image.folders[at.folder] != nil else { throw missing(path) }
            change(&state, [.add(folder: at.folder, name: at.name, .folder)], "mkdir \(join(at.folder, at.name))")
        }
    }

    public func rename(_ from: String, to: String) throws(VaultError) {
        let (source, target) = (try split(from), try split(to))
        try state.withLock { (state) throws(VaultError) in
            guard let node = Self.node(state, source) else { throw missing(from) }
            guard state.image.folders[target.folder] != nil else { throw missing(to) }
            guard source != target, Self.node(state, target) != node else { return }
            change(
                &state,
                [
                    .remove(folder: source.folder, name: source.name, node),
                    .add(folder: target.folder, name: target.name, node),
                ], "rename \(join(source.folder, source.name)) to \(join(target.folder, target.name))")
        }
    }

    public func link(_ from: String, to: String) throws(VaultError) {
        let (source, target) = (try split(from), try split(to))
        try state.withLock { (state) throws(VaultError) in
            guard let node = Self.node(state, source) else { throw missing(from) }
            guard state.image.folders[target.folder] != nil else { throw missing(to) }
            guard Self.node(state, target) == nil else { throw VaultError(.exists, "\(to) exists.") }
            change(
                &state, [.add(folder: target.folder, name: target.name, node)],
                "link \(join(source.folder, source.name)) to \(join(target.folder, target.name))")
        }
    }

    public func remove(_ path: String) throws(VaultError) {
        if isIndex(path) { return try base.remove(path) }
        let at = try split(path)
        state.withLock { state in
            guard let node = Self.node(state, at) else { return }
            change(&state, [.remove(folder: at.folder, name: at.name, node)], "unlink \(join(at.folder, at.name))")
        }
    }

    public func syncDirectory(_ path: String) throws(VaultError) {
        let name = path == folder.path ? "" : join(try split(path).folder, try split(path).name)
        state.withLock { state in log(&state, .syncFolder(name), "fsync of folder \(name)") }
    }

    public func isNetwork(_ path: String) throws(VaultError) -> Bool { false }
    public func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) { (1 << 40, 1 << 40) }

    public func lock(_ path: String) throws(VaultError) -> (any OpenFile)? {
        let file = try open(path, .readWrite)
        let isFree = state.withLock { $0.locked.insert(path).inserted }
        return isFree ? CrashLock(file, self) : nil
    }
    fileprivate func unlock(_ path: String) { state.withLock { _ = $0.locked.remove(path) } }

    // MARK: Bytes

    private func touch(_ state: inout State, _ file: Int) {
        state.clock += 1
        state.image.modified[file] = state.clock
        log(&state, .modified(file, state.clock), "a time")
    }
    fileprivate func content(_ file: Int) -> [UInt8] { state.withLock { $0.image.files[file] ?? [] } }
    fileprivate func write(_ file: Int, _ bytes: [UInt8], at offset: Int, _ path: String) {
        state.withLock { state in
            change(&state, [.write(file, offset: offset, bytes)], "write \(offset)+\(bytes.count) to \(short(path))")
            touch(&state, file)
        }
    }
    fileprivate func truncate(_ file: Int, to count: Int, _ path: String) {
        state.withLock { state in
            change(&state, [.resize(file, count)], "truncate \(short(path)) to \(count)")
            touch(&state, file)
        }
    }
    fileprivate func sync(_ file: Int, _ path: String) {
        state.withLock { state in log(&state, .syncFile(file), "fdatasync of \(short(path))") }
    }
    private func short(_ path: String) -> String { String(path.dropFirst(folder.path.count + 1)) }
}

private final class CrashFile: OpenFile {
    let path: String
    private let disk: CrashFileSystem
    private let file: Int

    init(_ disk: CrashFileSystem, _ file: Int, _ path: String) {
        self.disk = disk
        self.file = file
        self.path = path
    }
    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
        let content = disk.content(file)
        guard offset < content.count else { return 0 }
        let count = min(buffer.count, content.count - offset)
        buffer.replaceSubrange(0..<count, with: content[offset..<offset + count])
        return count
    }
    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) {
        guard !range.isEmpty else { return }
        disk.write(file, Array(bytes[range]), at: offset, path)
    }
    func count() throws(VaultError) -> Int { disk.content(file).count }
    func truncate(to count: Int) throws(VaultError) { disk.truncate(file, to: count, path) }
    func allocate(_ count: Int) throws(VaultError) {}
    func sync() throws(VaultError) { disk.sync(file, path) }
}

private final class CrashLock: OpenFile {
    private let base: any OpenFile
    private let disk: CrashFileSystem
    init(_ base: any OpenFile, _ disk: CrashFileSystem) {
        self.base = base
        self.disk = disk
    }
    deinit { disk.unlock(base.path) }
    var path: String { base.path }
    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
        try base.read(at: offset, into: &buffer)
    }
    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) {
        try base.write(bytes, range, at: offset)
    }
    func count() throws(VaultError) -> Int { try base.count() }
    func truncate(to count: Int) throws(VaultError) { try base.truncate(to: count) }
    func allocate(_ count: Int) throws(VaultError) {}
    func sync() throws(VaultError) { try base.sync() }
}
