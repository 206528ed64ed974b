import Foundation
import Glibc

/// Files that hold passwords or keys.
package enum SecretFile {
    /// Rights 0600 from the beginning; what stood there is replaced; durable on return.
    package static func write(_ text: String, to path: String) throws(ServerError) {
        func refused() -> ServerError {
            ServerError(.refused, "\(path) cannot be written: \(String(cString: strerror(errno))).")
        }
        guard unlink(path) == 0 || errno == ENOENT else { throw refused() }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw refused() }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        var done = 0
        // A write may be interrupted, and may take less than it was given.
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                buffer.baseAddress.map { Glibc.write(descriptor, $0 + done, bytes.count - done) } ?? 0
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw refused() }
            done += count
        }
        while fsync(descriptor) != 0 { guard errno == EINTR else { throw refused() } }
    }

    /// A secret that every user of the machine can read is none: refused rather than used.
    static func check(_ path: String, holds what: String) throws(ServerError) {
        let rights = try? FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
        guard let rights, rights.intValue & 0o004 != 0 else { return }
        throw ServerError(
            .configuration, "\(path) holds \(what) and can be read by every user of this machine.",
            hint: "chmod 600 \(path)")
    }
}
