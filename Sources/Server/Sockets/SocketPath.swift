import Foundation
import Glibc

/// A path as a Unix socket's address can hold it: 107 bytes. A longer one goes by a descriptor of its folder, which the kernel follows
/// (proc(5), `/proc/self/fd`). Valid as long as this value lives.
final class SocketPath: Sendable {
    let path: String
    private let folder: Int32

    init(_ long: String) {
        let url = URL(fileURLWithPath: long)
        // sun_path of sockaddr_un has 108 bytes, the last one a zero.
        folder =
            long.utf8.count < 108 ? -1 : open(url.deletingLastPathComponent().path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        path = folder < 0 ? long : "/proc/self/fd/\(folder)/\(url.lastPathComponent)"
    }
    deinit { if folder >= 0 { close(folder) } }
}
