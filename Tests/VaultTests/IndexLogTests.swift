import Core
import Foundation
import TestKit
import Testing

@testable import Vault

@Suite struct IndexLogTests {
    /// Another process that begins to read the index and never ends.
    private static func reader(_ path: String) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "python3", "-c",
            """
            import sqlite3, sys, time
            base = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True, isolation_level=None)
            base.execute("BEGIN")
            base.execute("SELECT count(*) FROM clip").fetchone()
            open(sys.argv[1] + ".read", "w").close()
            time.sleep(120)
            """, path,
        ]
        try process.run()
        for _ in 0..<200 where !FileManager.default.fileExists(atPath: path + ".read") { usleep(50_000) }
        return process
    }

    @Test(.enabled(if: hasProgram("python3"), "python3 is not installed"))
    func `V26: with a reader that never ends the log keeps to its limit, and is made up for afterwards`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/index.sqlite"
        let limit = 1 << 20
        let index = try Index.writing(path, logLimit: limit)
        let process = try Self.reader(path)
        defer { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
        #expect(FileManager.default.fileExists(atPath: path + ".read"), "nobody reads")
        let start = WallTime(seconds: 1_764_000_000)
        func gaps(_ first: Int) -> [LedgerEntry] {
            (first..<first + 50).map { number in
                LedgerEntry(
                    at: start,
                    .gap(
                        GapRecord(
                            camera: .random(), range: TimeRange(start + Int64(number), start + Int64(number) + 1),
                            reason: .stopped)))
            }
        }
        var position = 0
        var isRefused = false
        for _ in 0..<400 {
            do throws(VaultError) {
                try index.apply(gaps(position), from: position)
                position += 50
            } catch {
                isRefused = error.code == .index
            }
        }
        let size = try #require(try PosixFileSystem().attributes(path + "-wal")?.count)
        #expect(isRefused && size < limit + 400_000, "\(size) bytes")
        // Reading goes on all the while.
        #expect(try index.position() == position)
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try index.apply(gaps(position), from: position)
        #expect(try index.position() == position + 50)
        let after = try #require(try PosixFileSystem().attributes(path + "-wal")?.count)
        #expect(after < limit, "\(after) bytes")
        index.close()
    }
}
