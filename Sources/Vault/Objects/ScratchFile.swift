import Glibc

/// Bytes that one process needs for a while and that shall not fill its memory: a file without a name, in a folder for such files.
/// Where none can be made, memory.
///
/// Not thread-safe while it is written: whoever shares it before all is written has a lock around it. Reading changes nothing.
final class ScratchFile: @unchecked Sendable {
    private var descriptor: Int32 = -1
    private var memory: [UInt8] = []
    private(set) var count = 0

    init() {
        var folders = ["/var/tmp", "/tmp"]
        if let wanted = unsafe getenv("TMPDIR") { folders.insert(unsafe String(cString: wanted), at: 0) }
        for folder in folders {
            var template = Array("\(folder)/sudocam-XXXXXX".utf8CString)
            descriptor = unsafe mkstemp(&template)
            if descriptor >= 0 {
                unsafe unlink(template)
                return
            }
        }
    }
    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Behind what is there; where it begins. Errors: `.noSpace`, `.io`.
    func append(_ bytes: [UInt8]) throws(VaultError) -> Int {
        let start = count
        if descriptor < 0 {
            memory += bytes
        } else {
            var done = 0
            while done < bytes.count {
                let written = unsafe bytes.withUnsafeBytes { buffer in
                    guard let base = buffer.baseAddress else { return 0 }
                    return unsafe pwrite(descriptor, base + done, buffer.count - done, off_t(start + done))
                }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else {
                    throw VaultError(
                        errno == ENOSPC ? .noSpace : .io, "A temporary file could not be written.",
                        hint: "Set TMPDIR to a folder with space.")
                }
                done += written
            }
        }
        count += bytes.count
        return start
    }

    /// Errors: `.io`.
    func read(at offset: Int, count: Int) throws(VaultError) -> [UInt8] {
        guard offset >= 0, count >= 0, offset + count <= self.count else {
            throw VaultError(.io, "A temporary file is shorter than it was.")
        }
        if descriptor < 0 { return Array(memory[offset..<offset + count]) }
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let read = unsafe bytes.withUnsafeMutableBytes { buffer in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe pread(descriptor, base + done, count - done, off_t(offset + done))
            }
            if read < 0, errno == EINTR { continue }
            guard read > 0 else { throw VaultError(.io, "A temporary file could not be read.") }
            done += read
        }
        return bytes
    }
}
