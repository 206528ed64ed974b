import Glibc

/// A file descriptor and nothing else.
final class BareFile: Sendable {
    private let descriptor: Int32

    init(_ path: String, _ flags: Int32) throws {
        descriptor = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Bare.failure("open of \(path)") }
    }
    static func create(_ path: String) throws -> BareFile { try BareFile(path, O_RDWR | O_CREAT | O_TRUNC) }
    static func read(_ path: String) throws -> BareFile { try BareFile(path, O_RDONLY) }
    deinit { close(descriptor) }

    func write(_ bytes: [UInt8], count: Int, at offset: Int) throws {
        guard unsafe pwrite(descriptor, bytes, count, off_t(offset)) == count else { throw Bare.failure("pwrite") }
    }
    /// Bytes read.
    func read(into buffer: inout [UInt8], at offset: Int) throws -> Int {
        let count = buffer.count
        let read = unsafe pread(descriptor, &buffer, count, off_t(offset))
        guard read >= 0 else { throw Bare.failure("pread") }
        return read
    }
    func sync() throws { guard fdatasync(descriptor) == 0 else { throw Bare.failure("fdatasync") } }

    static func rename(_ from: String, _ to: String) throws {
        guard unsafe Glibc.rename(from, to) == 0 else { throw Bare.failure("rename") }
    }
    static func link(_ from: String, _ to: String) throws {
        guard unsafe Glibc.link(from, to) == 0 else { throw Bare.failure("link") }
    }
    static func remove(_ path: String) throws {
        guard unsafe unlink(path) == 0 else { throw Bare.failure("unlink") }
    }
    static func syncFolder(_ path: String) throws {
        let folder = try BareFile(path, O_RDONLY | O_DIRECTORY)
        guard fsync(folder.descriptor) == 0 else { throw Bare.failure("fsync of a folder") }
    }
    static func makeFolder(_ path: String) throws {
        guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else { throw Bare.failure("mkdir") }
    }
}
