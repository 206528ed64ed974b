/// Everything the vault asks of the operating system's files, so that tests can fail, reorder and cut each of it.
///
/// Paths are absolute. Errors: `.notFound`, `.exists`, `.readOnly`, `.noSpace`, `.unsupported`, else `.io` with the call and the path.
public protocol FileSystem: Sendable {
    func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile
    /// Nil when nothing stands there.
    func attributes(_ path: String) throws(VaultError) -> FileAttributes?
    /// Fills `buffer` from a file's beginning as far as the file goes: bytes read, and what the file then is. What a walk over
    /// very many files asks of each.
    func head(_ path: String, into buffer: inout [UInt8]) throws(VaultError) -> (count: Int, attributes: FileAttributes)
    /// Names within a folder, without `.` and `..`, in no order.
    func list(_ path: String) throws(VaultError) -> [String]
    /// Fine when it is there already. Rights 0700.
    func makeDirectory(_ path: String) throws(VaultError)
    /// Atomic; what stood at `to` is replaced.
    func rename(_ from: String, to: String) throws(VaultError)
    /// A second name for the same file. Errors: `.exists`; `.unsupported` where files can have one name only.
    func link(_ from: String, to: String) throws(VaultError)
    /// Fine when it is gone already.
    func remove(_ path: String) throws(VaultError)
    /// Makes a folder's entries durable (`fsync` of the folder).
    func syncDirectory(_ path: String) throws(VaultError)
    /// Whether other machines may write here too (NFS, SMB and the like), by `statfs`.
    func isNetwork(_ path: String) throws(VaultError) -> Bool
    /// Bytes of the file system under `path`: what is free for us, and all there are, by `statvfs`.
    func space(_ path: String) throws(VaultError) -> (free: Int, total: Int)
    /// An exclusive `flock`, held until the result is released; nil when another process holds it.
    func lock(_ path: String) throws(VaultError) -> (any OpenFile)?
}

public enum FileMode: Sendable {
    case read
    /// Fails when it exists (`O_EXCL`), rights 0600.
    case create
    /// Made when missing, rights 0600.
    case readWrite
}

public struct FileAttributes: Sendable, Hashable {
    public var count: Int
    /// Microseconds since the Unix epoch.
    public var modified: Int64
    public var isDirectory: Bool
    /// No folder, and nothing that is waited for or never ends: a pipe, a socket, a device.
    public var isRegular: Bool
    /// The rights' low nine bits.
    public var rights: UInt16

    public init(count: Int, modified: Int64, isDirectory: Bool, isRegular: Bool? = nil, rights: UInt16) {
        self.count = count
        self.modified = modified
        self.isDirectory = isDirectory
        self.isRegular = isRegular ?? !isDirectory
        self.rights = rights
    }
}

/// An open file; closed when released.
public protocol OpenFile: AnyObject, Sendable {
    var path: String { get }
    /// Fills `buffer` from its beginning as far as the file goes; bytes read.
    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int
    /// All of `bytes[range]`, or an error.
    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError)
    func count() throws(VaultError) -> Int
    /// Also gives back what `allocate` took.
    func truncate(to count: Int) throws(VaultError)
    /// Takes the space for the first `count` bytes, so that writing them cannot meet a full disk; the file's size stays. Does
    /// nothing where the file system cannot. Errors: `.noSpace`.
    func allocate(_ count: Int) throws(VaultError)
    /// `fdatasync`. After an error the file's unsynced bytes count as lost; never asked again on the same file.
    func sync() throws(VaultError)
    /// What was written there may go to the disk now, so that `sync` has less to wait for. Promises nothing, and fails at nothing.
    func beginWriting(_ range: Range<Int>)
}

extension OpenFile {
    public func beginWriting(_ range: Range<Int>) {}

    /// All of it, refused above `limit` bytes.
    func contents(limit: Int) throws(VaultError) -> [UInt8] {
        let count = try count()
        guard count <= limit else { throw VaultError(.damaged, "\(path) is implausibly large (\(count) bytes).") }
        var bytes = [UInt8](repeating: 0, count: count)
        let read = try read(at: 0, into: &bytes)
        bytes.removeLast(count - read)
        return bytes
    }
}

extension FileSystem {
    /// In three calls, for those that have no shorter way.
    public func head(
        _ path: String, into buffer: inout [UInt8]
    ) throws(VaultError) -> (count: Int, attributes: FileAttributes) {
        let count = try open(path, .read).read(at: 0, into: &buffer)
        guard let attributes = try attributes(path) else { throw VaultError(.notFound, "\(path) is gone.") }
        return (count, attributes)
    }

    /// A whole file, refused above `limit` bytes.
    func contents(_ path: String, limit: Int = 1 << 24) throws(VaultError) -> [UInt8] {
        try open(path, .read).contents(limit: limit)
    }

    /// Writes a small file so that either the old or the new one stands at `path` after a crash; durable on return.
    func replace(_ path: String, with bytes: [UInt8], isFolderSynced: Bool = true) throws(VaultError) {
        let temporary = path + ".tmp"
        try remove(temporary)
        do throws(VaultError) {
            let file = try open(temporary, .create)
            try file.write(bytes, 0..<bytes.count, at: 0)
            try file.sync()
            try rename(temporary, to: path)
            if isFolderSynced { try syncDirectory(parent(of: path)) }
        } catch {
            try? remove(temporary)
            throw error
        }
    }
}

/// The folder a path stands in.
func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
    return String(path[..<slash])
}
