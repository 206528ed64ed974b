import Glibc

/// `/proc/self/mountinfo`, for what `statfs` does not tell: which FUSE file system lies under a path.
enum MountTable {
    /// FUSE file systems whose files lie on other machines.
    private static let networked: Set<Substring> = [
        "fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.s3fs", "fuse.davfs", "fuse.davfs2", "fuse.curlftpfs",
        "fuse.smbnetfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.juicefs", "fuse.goofys", "fuse.mount-s3", "fuse.gcsfuse",
        "fuse.blobfuse2", "fuse.moosefs", "fuse.seaweedfs", "fuse.weed", "fuse.lizardfs", "fuse.nfs",
    ]

    /// The type of the file system that `path` lies on: of the longest mount point above it, the one mounted last.
    static func type(of path: String, in table: String) -> Substring? {
        var best: (length: Int, type: Substring)?
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.endIndex else { continue }
            let point = unescaped(fields[4])
            let isAbove = point == "/" || path == point || path.hasPrefix(point + "/")
            if isAbove, point.count >= best?.length ?? 0 { best = (point.count, fields[dash + 1]) }
        }
        return best?.type
    }

    static func isNetwork(_ path: String, in table: String) -> Bool {
        type(of: path, in: table).map { networked.contains($0) } ?? false
    }

    /// proc(5): space, tab, newline and backslash stand there in octal.
    private static func unescaped(_ field: Substring) -> String {
        var text = ""
        var rest = field
        while let slash = rest.firstIndex(of: "\\") {
            text += rest[..<slash]
            rest = rest[rest.index(after: slash)...]
            guard let code = UInt8(rest.prefix(3), radix: 8) else {
                text += "\\"
                continue
            }
            text.unicodeScalars.append(Unicode.Scalar(code))
            rest = rest.dropFirst(3)
        }
        return text + rest
    }

    /// For the path as the kernel sees it, links followed.
    static func isNetwork(_ path: String) throws(VaultError) -> Bool {
        guard let resolved = unsafe realpath(path, nil) else { return false }
        defer { unsafe free(resolved) }
        let file = try PosixFileSystem().open("/proc/self/mountinfo", .read)
        // Files in /proc have no size to ask for.
        var table = [UInt8](repeating: 0, count: 1 << 20)
        let count = try file.read(at: 0, into: &table)
        return isNetwork(unsafe String(cString: resolved), in: String(decoding: table.prefix(count), as: UTF8.self))
    }
}
