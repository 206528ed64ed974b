import Foundation
import Glibc

/// SeaweedFS on the loopback, as the tests start it (`Tests/PeerTests/s3_server.py`): every PUT is synced. Ends with its owner.
final class S3Server: Sendable {
    /// Of a bucket that owner/owner-secret may do everything in.
    let bucket: String
    let credentials: String
    private let program: Program
    private let end: String
    private let folder: ScratchFolder

    /// `http://127.0.0.1:port`
    var server: String { bucket.components(separatedBy: "/").prefix(3).joined(separator: "/") }

    init(_ folder: ScratchFolder) async throws {
        let python: String
        do { python = try BenchFiles.path("../.build/test-venv/bin/python") } catch {
            throw BenchError(
                .toolMissing, "SeaweedFS is not there.", hint: "scripts/setup --bench puts it into .build/test-venv.")
        }
        let (said, end) = (folder.path + "/bucket", folder.path + "/end")
        credentials = folder.path + "/credentials"
        try Data("[default]\naws_access_key_id = owner\naws_secret_access_key = owner-secret\n".utf8).write(
            to: URL(fileURLWithPath: credentials))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: credentials)
        // The server lives for as long as the command that it is started for: until it is told to end, or we are gone.
        let wait =
            "echo \"$SUDOCAM_S3_URL\" > '\(said).new'; mv '\(said).new' '\(said)'; "
            + "while [ ! -e '\(end)' ] && kill -0 \(getpid()) 2>/dev/null; do sleep 0.2; done"
        let program = try Program(
            "TMPDIR=\(folder.path)",
            [python, try BenchFiles.path("../Tests/PeerTests/s3_server.py"), "/bin/sh", "-c", wait],
            folder: folder.path, log: folder.path + "/server.log")
        try await CameraBenchmark.wait(90, for: "SeaweedFS") {
            FileManager.default.fileExists(atPath: said) || !program.isRunning
        }
        guard program.isRunning else {
            throw BenchError(.programFailed, "SeaweedFS does not start: \(program.lastWords)")
        }
        bucket = try Machine.text(said).trimmingCharacters(in: .whitespacesAndNewlines)
        self.program = program
        self.end = end
        self.folder = folder
    }

    deinit {
        _ = FileManager.default.createFile(atPath: end, contents: nil)
        for _ in 0..<600 where program.isRunning { usleep(50_000) }
    }
}
