import CFiles
import Core
import Glibc

/// The machine's own files.
public struct PosixFileSystem: FileSystem {
    public init() {}

    public func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile {
        let flags =
            switch mode {
            // A pipe that stands where a file should is not waited for; of files it changes nothing.
            case .read: O_RDONLY | O_NONBLOCK | O_NOCTTY
            case .create: O_RDWR | O_CREAT | O_EXCL
            case .readWrite: O_RDWR | O_CREAT
            }
        let descriptor = retrying { unsafe Glibc.open(path, flags | O_CLOEXEC, 0o600) }
        guard descriptor >= 0 else { throw failure("open", path) }
        return PosixFile(owning: descriptor, path: path)
    }

    public func attributes(_ path: String) throws(VaultError) -> FileAttributes? {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw failure("stat", path)
        }
        return FileAttributes(status)
    }

    public func head(
        _ path: String, into buffer: inout [UInt8]
    ) throws(VaultError) -> (count: Int, attributes: FileAttributes) {
        let descriptor = retrying { unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw failure("fstat", path) }
        return (try fill(&buffer, from: descriptor, at: 0, upTo: Int(status.st_size), path), FileAttributes(status))
    }

    public func list(_ path: String) throws(VaultError) -> [String] {
        guard let folder = unsafe opendir(path) else { throw failure("opendir", path) }
        defer { unsafe closedir(folder) }
        var names: [String] = []
        errno = 0
        while let entry = unsafe readdir(folder) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
            errno = 0
        }
        guard errno == 0 else { throw failure("readdir", path) }
        return names
    }

    public func makeDirectory(_ path: String) throws(VaultError) {
        guard unsafe mkdir(path, 0o700) != 0 else { return }
        if errno == EEXIST { return }
        throw failure("mkdir", path)
    }

    public func rename(_ from: String, to: String) throws(VaultError) {
        guard unsafe Glibc.rename(from, to) == 0 else { throw failure("rename", to) }
    }

    public func link(_ from: String, to: String) throws(VaultError) {
        guard unsafe Glibc.link(from, to) != 0 else { return }
        switch errno {
        // link(2): EPERM is said of a file system without hard links, the others by those that know no such call.
        case EPERM, EOPNOTSUPP, ENOSYS, EXDEV:
            throw VaultError(
                .unsupported, "link failed on \(to): this file system gives a file one name only.",
                hint: "Keep the vault on ext4, xfs, btrfs, f2fs or tmpfs, not on FAT or exFAT.")
        default: throw failure("link", to)
        }
    }

    public func remove(_ path: String) throws(VaultError) {
        guard unsafe unlink(path) != 0, errno != ENOENT else { return }
        throw failure("unlink", path)
    }

    public func syncDirectory(_ path: String) throws(VaultError) {
        let descriptor = retrying { unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard retrying({ fsync(descriptor) }) == 0 else { throw failure("fsync", path) }
    }

    public func isNetwork(_ path: String) throws(VaultError) -> Bool {
        var status = statfs()
        guard unsafe statfs(path, &status) == 0 else { throw failure("statfs", path) }
        // linux/magic.h: NFS, SMB, CIFS, SMB2, 9P, Ceph, AFS, Coda, OCFS2, GFS2.
        let magics: [UInt32] = [
            0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x00C3_6400, 0x5346_414F, 0x7375_7245, 0x7461_636F,
            0x0116_1970,
        ]
        let type = UInt32(truncatingIfNeeded: status.f_type)
        // FUSE says no more by itself.
        return type == 0x6573_5546 ? try MountTable.isNetwork(path) : magics.contains(type)
    }

    public func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) {
        var status = statvfs()
        guard unsafe statvfs(path, &status) == 0 else { throw failure("statvfs", path) }
        let block = Int(status.f_frsize)
        return (Int(status.f_bavail) * block, Int(status.f_blocks) * block)
    }

    public func lock(_ path: String) throws(VaultError) -> (any OpenFile)? {
        let descriptor = retrying { unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
        guard descriptor >= 0 else { throw failure("open", path) }
        let file = PosixFile(owning: descriptor, path: path)
        guard retrying({ flock(descriptor, LOCK_EX | LOCK_NB) }) != 0 else { return file }
        if errno == EWOULDBLOCK { return nil }
        throw failure("flock", path)
    }
}

/// Owns one file descriptor; all calls are positional, so it is safe from any thread.
private final class PosixFile: OpenFile {
    let path: String
    private let descriptor: Int32

    init(owning descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }
    deinit { close(descriptor) }

    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
        try fill(&buffer, from: descriptor, at: offset, upTo: .max, path)
    }

    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) {
        guard range.upperBound <= bytes.count else { throw VaultError(.invalid, "A write beyond its buffer.") }
        var done = 0
        while done < range.count {
            let count = unsafe bytes.withUnsafeBytes { bytes in
                retrying {
                    unsafe pwrite(
                        descriptor, bytes.baseAddress.map { unsafe $0 + range.lowerBound + done }, range.count - done,
                        off_t(offset + done))
                }
            }
            guard count > 0 else { throw failure("pwrite", path) }
            done += count
        }
    }

    func count() throws(VaultError) -> Int {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw failure("fstat", path) }
        return Int(status.st_size)
    }

    func truncate(to count: Int) throws(VaultError) {
        guard retrying({ ftruncate(descriptor, off_t(count)) }) == 0 else { throw failure("ftruncate", path) }
    }

    func allocate(_ count: Int) throws(VaultError) {
        guard retrying({ sudocam_allocate(descriptor, Int64(count)) }) != 0 else { return }
        if errno == EOPNOTSUPP || errno == ENOSYS { return }
        throw failure("fallocate", path)
    }

    /// EINTR says that the wait was broken off, not that anything was lost, so it alone is asked again.
    func sync() throws(VaultError) {
        guard retrying({ fdatasync(descriptor) }) == 0 else { throw failure("fdatasync", path) }
    }

    func beginWriting(_ range: Range<Int>) {
        sudocam_begin_writing(descriptor, Int64(range.lowerBound), Int64(range.count))
    }
}

/// Bytes read: `buffer.count`, or fewer when the file ends. The call that would only say so is spared where `end`, the file's
/// size, is known and reached.
private func fill(
    _ buffer: inout [UInt8], from descriptor: Int32, at offset: Int, upTo end: Int, _ path: String
) throws(VaultError) -> Int {
    var done = 0
    while done < buffer.count {
        let count = unsafe buffer.withUnsafeMutableBytes { buffer in
            retrying {
                unsafe pread(
                    descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done, off_t(offset + done))
            }
        }
        guard count >= 0 else { throw failure("pread", path) }
        if count == 0 { break }
        done += count
        if offset + done >= end { break }
    }
    return done
}

extension FileAttributes {
    fileprivate init(_ status: stat) {
        self.init(
            count: Int(status.st_size),
            modified: Int64(status.st_mtim.tv_sec) &* 1_000_000 &+ Int64(status.st_mtim.tv_nsec) / 1000,
            isDirectory: status.st_mode & S_IFMT == S_IFDIR,
            isRegular: status.st_mode & S_IFMT == S_IFREG,
            rights: UInt16(truncatingIfNeeded: status.st_mode & 0o777))
    }
}

private func retrying<Value: SignedInteger>(_ call: () -> Value) -> Value {
    while true {
        let value = call()
        if value >= 0 || errno != EINTR { return value }
    }
}

/// What `errno` says, as the vault's error.
private func failure(_ call: String, _ path: String) -> VaultError {
    let number = errno
    let text = unsafe String(cString: strerror(number))
    let reason = "\(call) failed on \(path): \(text)."
    return switch number {
    case ENOENT: VaultError(.notFound, reason)
    case EEXIST: VaultError(.exists, reason)
    case EROFS: VaultError(.readOnly, reason, hint: "The medium is read-only; mount it writable to record.")
    case EACCES, EPERM: VaultError(.readOnly, reason, hint: "Give the folder to the user who runs SudoCam.")
    case ENOSPC, EDQUOT: VaultError(.noSpace, reason, hint: "Free space or shorten retention.")
    case EMFILE, ENFILE:
        VaultError(
            .io, reason, hint: "Let SudoCam open more files: LimitNOFILE= in its systemd unit, or `ulimit -n`.")
    default: VaultError(.io, reason, hint: "Look at the kernel's log for errors of this disk.")
    }
}
