import Core
import Foundation
import GRDB
import TestKit
import Testing

@testable import Vault

/// SQLite's WAL-reset bug (https://sqlite.org/wal.html#walresetbug): while one connection begins a checkpoint, another commits and
/// begins the log anew; a later checkpoint then leaves out pages, and the database is corrupt. Two connections that checkpoint
/// are what it takes. In 3.7.0 to 3.51.2; mended in 3.51.3 (https://sqlite.org/releaselog/3_51_3.html), and in 3.44.6 and 3.50.7.
/// Debian 12 ships 3.40.1 and its changelog up to 3.40.1-2+deb12u2 names no patch for it.
@Suite struct CheckpointTests {
    private static func hasResetBug(_ version: String) throws -> Bool {
        let numbers = version.split(separator: ".").compactMap { Int($0) }
        try #require(numbers.count == 3, "SQLite calls itself \(version)")
        let (minor, patch) = (numbers[1], numbers[2])
        guard numbers[0] == 3 else { return false }
        switch minor {
        case ..<7: return false
        case 44: return patch < 6
        case 50: return patch < 7
        case 51: return patch < 3
        default: return minor < 51
        }
    }

    /// How many descriptors of this process could write to a file. SQLite checkpoints after a commit, so only who can write does.
    private static func writableDescriptors(_ path: String) throws -> Int {
        let all = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        return all.count { number in
            guard (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)")) == path,
                let text = try? String(contentsOfFile: "/proc/self/fdinfo/\(number)", encoding: .utf8),
                let flags = text.split(separator: "\n").first(where: { $0.hasPrefix("flags:") })?.split(separator: "\t")
                    .last
            else { return false }
            return (Int32(flags, radix: 8) ?? O_RDWR) & O_ACCMODE != O_RDONLY
        }
    }

    @Test(arguments: [
        ("3.6.23", false), ("3.7.0", true), ("3.40.1", true), ("3.44.5", true), ("3.44.6", false), ("3.45.0", true),
        ("3.50.6", true), ("3.50.7", false), ("3.51.2", true), ("3.51.3", false), ("3.52.0", false), ("4.0.0", false),
    ])
    func `V28: it is known which versions of SQLite have the bug`(version: String, isBad: Bool) throws {
        #expect(try Self.hasResetBug(version) == isBad)
    }

    @Test func `V28: the linked SQLite has no WAL-reset bug, or one connection alone writes and checkpoints`()
        async throws
    {
        let version = try #require(
            try await DatabaseQueue().read { db in try String.fetchOne(db, sql: "SELECT sqlite_version()") })
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let camera = CameraID.random()
        // Everything that reads the index at once, and commands beside it: as many connections as there ever are.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<8 {
                group.addTask {
                    for turn in 0..<10 {
                        let start = temporary.time.wallNow() + Int64(index * 10 + turn) * 1_000_000
                        _ = try await RecordingTests.record(
                            vault, [1], at: start, camera: index == 0 ? camera : .random())
                        _ = try await vault.clip(at: start, camera: camera)
                        // By a lane: who blocks the pool's threads may keep GRDB's readers from giving their connections back.
                        _ = try await vault.recordedCameras()
                    }
                }
            }
            group.addTask {
                for _ in 0..<4 {
                    let reader = try await temporary.open(.read)
                    #expect(try Self.writableDescriptors(temporary.path + "/index.sqlite") == 1)
                    await reader.close()
                }
            }
            try await group.waitForAll()
        }
        let writable = try Self.writableDescriptors(temporary.path + "/index.sqlite")
        let isBad = try Self.hasResetBug(version)
        #expect(!isBad || writable == 1, "SQLite \(version) has the bug, and \(writable) connections can commit")
        await vault.close()
        #expect(try Self.writableDescriptors(temporary.path + "/index.sqlite") == 0)
    }

    /// Another process that reads the index as our commands do, and asks for checkpoints.
    private static func reader(_ path: String) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "python3", "-c",
            """
            import os, sqlite3, sys, time
            path, end = sys.argv[1], time.monotonic() + 30
            rounds = refused = allowed = 0
            while not os.path.exists(path + ".stop") and time.monotonic() < end:
                base = sqlite3.connect("file:" + path + "?" + sys.argv[2], uri=True, timeout=1, isolation_level=None)
                base.execute("SELECT count(*), max(entry) FROM gap").fetchone()
                for kind in ("PASSIVE", "RESTART", "TRUNCATE"):
                    try:
                        base.execute("PRAGMA wal_checkpoint(" + kind + ")").fetchone()
                        allowed += 1
                    except sqlite3.OperationalError:
                        refused += 1
                base.close()
                rounds += 1
                with open(path + ".told.new", "w") as file:
                    file.write(f"{rounds} {refused} {allowed}")
                os.rename(path + ".told.new", path + ".told")
            """, path, Index.readingOptions[0],
        ]
        try process.run()
        return process
    }

    /// Rounds, refused and allowed checkpoints.
    private static func told(_ path: String) -> [Int] {
        let text = (try? String(contentsOfFile: path + ".told", encoding: .utf8)) ?? ""
        let numbers = text.split(separator: " ").compactMap { Int($0) }
        return numbers.count == 3 ? numbers : [0, 0, 0]
    }

    /// How often the log was begun anew: https://sqlite.org/fileformat2.html#walformat, offset 12.
    private static func resets(_ path: String) throws -> Int {
        var head = [UInt8](repeating: 0, count: 16)
        guard try PosixFileSystem().head(path + "-wal", into: &head).count == 16 else { return 0 }
        return head[12...].reduce(0) { $0 << 8 | Int($1) }
    }

    @Test(.enabled(if: hasProgram("python3"), "python3 is not installed"))
    func `V28: one process commits and checkpoints, another reads and asks for checkpoints: nothing is harmed`() throws
    {
        let folder = try TemporaryFolder()
        let path = folder.path + "/index.sqlite"
        let index = try Index.writing(path)
        let process = try Self.reader(path)
        defer {
            try? folder.write([], to: "index.sqlite.stop")
            process.waitUntilExit()
        }
        let start = WallTime(seconds: 1_764_000_000)
        var position = 0
        for _ in 0..<20_000 {
            let gaps = (position..<position + 50).map { number in
                let range = TimeRange(start + Int64(number), start + Int64(number) + 1)
                return LedgerEntry(at: start, .gap(GapRecord(camera: .random(), range: range, reason: .stopped)))
            }
            try index.apply(gaps, from: position)
            position += gaps.count
            // What the recorder does by itself after 256 pages, and before it writes when the log is long.
            if position % 1000 == 0 {
                index.database.writeWithoutTransaction { db in _ = try? db.checkpoint(.truncate) }
            }
            if Self.told(path)[0] >= 60, try Self.resets(path) >= 20 { break }
        }
        let (told, resets) = (Self.told(path), try Self.resets(path))
        #expect(
            told[0] >= 60 && resets >= 20, "\(told[0]) rounds of the reader, the log was begun anew \(resets) times")
        #expect(told[1] == 3 * told[0] && told[2] == 0, "\(told[2]) checkpoints of a reader were let through")
        let (found, count) = try index.database.read { db in
            (
                try String.fetchAll(db, sql: "PRAGMA integrity_check"),
                try Int.fetchOne(db, sql: "SELECT count(*) FROM gap")
            )
        }
        #expect(found == ["ok"] && count == position)
        #expect(try index.position() == position)
        index.close()
        let copy = Index.snapshot(path)
        #expect(try copy?.position() == position)
    }
}
