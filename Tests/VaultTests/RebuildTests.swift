import Core
import Foundation
import TestKit
import Testing

@testable import Vault

/// A vault that has seen everything: two cameras, several days, a salvaged clip, gaps, deletions, a hold, a shredded day; closed.
struct BusyVault {
    static let other = CameraID.random()
    static let day: Int64 = 86_400_000_000
    let temporary: TemporaryVault

    init() async throws {
        temporary = try await TemporaryVault()
        let time = temporary.time
        time.setSynchronised(true)
        var vault = try await temporary.open()
        var policy = RetentionPolicy()
        policy.rules = [RetentionPolicy.Rule(keep: 3 * Self.day)]
        vault.setRetention(policy)
        for day in 0..<4 {
            for camera in [RecordingTests.camera, Self.other] {
                let start = time.wallNow()
                _ = try await RecordingTests.record(vault, patternBytes(70_000), at: start, camera: camera)
                _ = try await RecordingTests.record(vault, patternBytes(10), at: start + 60_000_000, camera: camera)
                try await vault.recordGap(
                    camera: camera, range: TimeRange(start + 120_000_000, start + 130_000_000), reason: .paused)
            }
            time.advance(microseconds: Self.day)
            // Day by day, so that the clock is believed.
            try await vault.confirmTime()
            if day == 1 {
                let from = time.wallNow() - Self.day
                _ = try await vault.hold(camera: Self.other, range: TimeRange(from, from + 1000), note: "a note")
            }
        }
        let report = try await vault.applyRetention()
        try #require(!report.deletions.isEmpty)
        _ = try await vault.shred(camera: RecordingTests.camera, day: (time.wallNow() - 2 * Self.day).utcDay)
        let open = try await vault.beginClip(camera: RecordingTests.camera, run: .random(), start: time.wallNow())
        try await open.append(patternBytes(200_000))
        await vault.close()
        vault = try await temporary.open()
        await vault.close()
    }

    func dump() throws -> [String] {
        let index = try Index.writing(temporary.path + "/index.sqlite")
        defer { index.close() }
        return try index.dump()
    }
    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: temporary.path + "/" + name) }
}

@Suite struct IndexRebuildTests {
    @Test func `S7: the index made anew from the ledger equals the old one row for row`() async throws {
        let busy = try await BusyVault()
        let before = try busy.dump()
        for table in ["meta", "camera", "epoch", "clip", "gap", "deleted", "hold"] {
            #expect(before.contains { $0.hasPrefix(table) }, "nothing of \(table) to compare")
        }
        let rebuilt = try await Vault.rebuildIndex(at: busy.temporary.path)
        #expect(rebuilt.matchesCheckpoint == true)
        #expect(rebuilt.malformed == 0)
        #expect(rebuilt.clips == before.count { $0.hasPrefix("clip") })
        #expect(try busy.dump() == before)
        // The same where it is gone, or noise.
        try busy.remove("index.sqlite")
        _ = try await Vault.rebuildIndex(at: busy.temporary.path)
        #expect(try busy.dump() == before)
        try busy.temporary.folder.write(patternBytes(50_000), to: "vault/index.sqlite")
        _ = try await Vault.rebuildIndex(at: busy.temporary.path)
        #expect(try busy.dump() == before)
        let vault = try await busy.temporary.open(.read)
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test func `a start without an index makes a long ledger's as it was, and so does a reader`() async throws {
        let busy = try await BusyVault()
        var vault = try await busy.temporary.open()
        let from = busy.temporary.time.wallNow()
        let gaps = (0..<5000).map { second in
            let range = TimeRange(from + Int64(2 * second) * 1_000_000, from + Int64(2 * second + 1) * 1_000_000)
            return LedgerEntry(at: from, .gap(GapRecord(camera: BusyVault.other, range: range, reason: .unknown)))
        }
        try vault.committer().commit(gaps)
        await vault.close()
        let before = try busy.dump()
        try #require(before.count > 5000)
        try busy.remove("index.sqlite")
        let reading = try await busy.temporary.open(.read)
        // Whether a deleted object's file is gone it does not ask.
        #expect(
            try reading.index.dump().filter { !$0.hasPrefix("deleted") } == before.filter { !$0.hasPrefix("deleted") })
        await reading.close()
        vault = try await busy.temporary.open()
        #expect(vault.openingAlarms == ["The index was missing and is made anew from the ledger."])
        await vault.close()
        // A start is an entry more.
        let after = try busy.dump()
        #expect(after.filter { !$0.hasPrefix("meta") } == before.filter { !$0.hasPrefix("meta") })
        _ = try await Vault.rebuildIndex(at: busy.temporary.path)
        #expect(try busy.dump() == after)
    }

    @Test func `a log of the old index beside it does not get into the new one`() async throws {
        let busy = try await BusyVault()
        let before = try busy.dump()
        // As after a crash: the database, and a log with changes that were never taken in.
        let old = try Index.writing(busy.temporary.path + "/index.sqlite")
        let gap = GapRecord(camera: .random(), range: TimeRange(.init(seconds: 1), .init(seconds: 2)), reason: .unknown)
        try old.apply([LedgerEntry(at: .init(seconds: 3), .gap(gap))], from: try old.position())
        let log = try busy.temporary.folder.contents("vault/index.sqlite-wal")
        let database = try busy.temporary.folder.contents("vault/index.sqlite")
        old.close()
        try #require(!log.isEmpty)
        try busy.temporary.folder.write(database, to: "vault/index.sqlite")
        try busy.temporary.folder.write(log, to: "vault/index.sqlite-wal")
        _ = try await Vault.rebuildIndex(at: busy.temporary.path)
        #expect(try busy.dump() == before)
    }

    @Test func `cut off at any file operation, an index or none is there, and the next start has every row`()
        async throws
    {
        let busy = try await BusyVault()
        let before = try busy.dump()
        for limit in 0..<50 {
            let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: limit, with: .io)
            _ = try? await Vault.rebuildIndex(at: busy.temporary.path, files: files)
            let vault = try await busy.temporary.copy().open()
            let rows = try vault.index.dump()
            await vault.close()
            // The start's own `open` entry moved these two on.
            func stable(_ rows: [String]) -> [String] { rows.filter { !$0.hasPrefix("meta") } }
            #expect(stable(rows) == stable(before), "cut at call \(limit)")
            if !files.hasFailed { return }
        }
        Issue.record("it never got through")
    }

    @Test func `a ledger without entries is not rebuilt from, opened or written to`() async throws {
        let busy = try await BusyVault()
        try busy.remove("ledger/entries")
        let files = try busy.temporary.folder.everyFile()
        await #expect(throws: VaultError(.damaged, "")) {
            _ = try await Vault.rebuildIndex(at: busy.temporary.path)
        }
        await #expect(throws: VaultError(.damaged, "")) { _ = try await busy.temporary.open() }
        #expect(try busy.temporary.folder.everyFile() == files)
    }

    @Test func `nothing is rebuilt while somebody writes`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        await #expect(throws: VaultError(.inUse, "")) { _ = try await Vault.rebuildIndex(at: temporary.path) }
        await vault.close()
    }
}
