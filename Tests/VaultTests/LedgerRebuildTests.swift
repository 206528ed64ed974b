import Core
import Foundation
import TestKit
import Testing

@testable import Vault

@Suite struct LedgerRebuildTests {
    /// The index's clips as text, without the numbers that the ledger's order gives.
    static func clips(_ busy: BusyVault) throws -> [String] {
        try busy.dump().filter { $0.hasPrefix("clip") }.map { row in
            row.replacing(#/(entry|camera|epoch):\d+ /#, with: "")
        }.sorted()
    }
    /// Files say when they were last written, as on a machine whose clock is the test's.
    static func stamp(_ temporary: TemporaryVault, _ clips: [ClipRecord], late: TimeInterval = 0) throws {
        for clip in clips {
            let end = Date(timeIntervalSince1970: Double(clip.end.microseconds) / 1e6 + late)
            try FileManager.default.setAttributes(
                [.modificationDate: end], ofItemAtPath: Layout(temporary.path).object(clip.object))
        }
    }
    static func everyClip(_ temporary: TemporaryVault) async throws -> [ClipRecord] {
        let vault = try await temporary.open(.read)
        var clips: [ClipRecord] = []
        for camera in [RecordingTests.camera, BusyVault.other] {
            clips += try await vault.clips(
                camera: camera, overlapping: TimeRange(.init(microseconds: 0), .init(seconds: 3_000_000_000)),
                limit: 1000)
        }
        await vault.close()
        return clips
    }
    static func rebuild(
        _ temporary: TemporaryVault, apply: Bool = true, files: any FileSystem = PosixFileSystem()
    ) async throws -> LedgerRebuild {
        try await Vault.rebuildLedger(at: temporary.path, isApplied: apply, files: files, time: temporary.time)
    }

    @Test
    func `S7: with ledger and index gone, the clips come back from headers alone, row for row, with the right cameras`()
        async throws
    {
        let busy = try await BusyVault()
        let clips = try await Self.everyClip(busy.temporary)
        try Self.stamp(busy.temporary, clips)
        let before = try Self.clips(busy)
        try #require(before.contains { $0.contains("salvaged:1") })
        try busy.remove("ledger/entries")
        try busy.remove("index.sqlite")
        let dry = try await Self.rebuild(busy.temporary, apply: false)
        #expect(dry.clips == before.count && !dry.isApplied)
        await #expect(throws: VaultError(.damaged, "")) { _ = try await busy.temporary.open() }
        let rebuilt = try await Self.rebuild(busy.temporary)
        #expect(rebuilt.clips == before.count)
        #expect(rebuilt.quarantined == [])
        #expect((rebuilt.sizeBefore ?? 0) > before.count)
        #expect(try Self.clips(busy) == before)
        #expect(try await Self.everyClip(busy.temporary) == clips)
        let vault = try await busy.temporary.open()
        #expect(try await vault.verify().findings == [])
        // What remained of the old one is kept.
        #expect(try busy.temporary.folder.everyFile().contains("vault/quarantine/ledger/checkpoint"))
        // And it goes on: playing, recording on the same day, counting from where it was.
        try await TemporaryVault.unlock(vault)
        let last = try #require(clips.max { $0.start < $1.start })
        _ = try await vault.openObject(last).read(at: 0, count: 10)
        let next = try await RecordingTests.record(vault, patternBytes(10), at: last.start, camera: last.camera)
        #expect(next.identity.sequence > last.identity.sequence)
        #expect(try await vault.openObject(next).read(at: 0, count: 10) == patternBytes(10))
        #expect(try await vault.verify(VerificationOptions(opensObjects: true)).findings == [])
        await vault.close()
        let entry = try #require(
            try LedgerReader(files: PosixFileSystem(), path: busy.temporary.path + "/ledger").entry(0))
        guard case .rebuilt(let record) = try LedgerEntry(parsing: entry).body else {
            Issue.record("the new ledger does not say that it is one")
            return
        }
        #expect(record.why == .ledgerLost)
        #expect(record.clips == before.count)
        #expect(record.before?.count == rebuilt.sizeBefore)
    }

    @Test func `a clip ends where the next one of its run begins, else when it was last written`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let run = RunID.random()
        let start = temporary.time.wallNow()
        var clips: [ClipRecord] = []
        for index in 0..<3 {
            let begin = start + Int64(index) * 60_000_000
            let writer = try await vault.beginClip(camera: RecordingTests.camera, run: run, start: begin)
            try await writer.append(patternBytes(100))
            clips.append(try await writer.finish(end: begin + 60_000_000))
        }
        await vault.close()
        // Written two seconds later than its last picture: the cameras' way.
        try Self.stamp(temporary, clips, late: 2)
        try FileManager.default.removeItem(atPath: temporary.path + "/ledger")
        _ = try await Self.rebuild(temporary)
        let found = try await Self.everyClip(temporary)
        #expect(found.map(\.end) == [clips[0].end, clips[1].end, clips[2].end + 2_000_000])
        #expect(found.map(\.identity) == clips.map(\.identity))
    }

    @Test func `S7: what belongs to no epoch, camera or vault known here is quarantined, not attributed`() async throws
    {
        let (temporary, clips) = try await RepairTests.recorded()
        let (stranger, strange) = try await RepairTests.recorded()
        let foreign = RepairTests.object(strange[0])
        try temporary.folder.write(try stranger.folder.contents(foreign), to: foreign)
        try temporary.folder.write(patternBytes(900), to: RepairTests.object(clips[4]))
        let vault = try await temporary.open()
        let lonely = try await RecordingTests.record(
            vault, patternBytes(10), at: temporary.time.wallNow(), camera: BusyVault.other)
        await vault.close()
        try RepairTests.remove(temporary, "vault/epochs/\(lonely.identity.epoch).age")
        try RepairTests.remove(temporary, "vault/ledger")
        let rebuilt = try await Self.rebuild(temporary)
        #expect(rebuilt.clips == 8)
        #expect(rebuilt.sizeBefore == nil)
        let names = [strange[0].object, clips[4].object, lonely.object].map(\.description)
        #expect(Set(rebuilt.quarantined.map { String($0.suffix(64)) }) == Set(names))
        for name in names { #expect(try temporary.folder.everyFile().contains("vault/quarantine/\(name)")) }
        #expect(Set(try await Self.everyClip(temporary).map(\.camera)) == [RecordingTests.camera])
        #expect(try await RepairTests.findings(temporary).findings == [])
    }

    @Test func `S7: an object that the disk does not give is named and stays, and nothing is written without it`()
        async throws
    {
        let (temporary, clips) = try await RepairTests.recorded()
        try RepairTests.remove(temporary, "vault/ledger")
        let before = try temporary.folder.everyFile()
        let bad = Layout(temporary.path).object(clips[2].object)
        let files = FailingFileSystem(PosixFileSystem(), unreadable: [bad])
        let dry = try await Self.rebuild(temporary, apply: false, files: files)
        #expect(dry.unreadable == [Layout(temporary.path).relative(bad)])
        #expect(dry.quarantined == [] && dry.clips == clips.count - 1)
        let error = await #expect(throws: VaultError(.io, "")) {
            _ = try await Self.rebuild(temporary, files: files)
        }
        #expect("\(try #require(error))".contains(bad))
        #expect(try temporary.folder.everyFile() == before)
        // Once the disk gives it, it is a clip like any other.
        #expect(try await Self.rebuild(temporary).clips == clips.count)
        #expect(try await RepairTests.findings(temporary).findings == [])
    }

    @Test func `V19: a clip from a clock that nobody vouches for stays doubtful, the others are believed`() async throws
    {
        let (temporary, clips) = try await RepairTests.recorded()
        let vault = try await temporary.open()
        let odd = try await RecordingTests.record(vault, patternBytes(10), at: WallTime(seconds: 1_000_000))
        await vault.close()
        try RepairTests.remove(temporary, "vault/ledger")
        _ = try await Self.rebuild(temporary)
        let again = try await temporary.open()
        #expect(try again.index.isDoubtful(odd.object))
        for clip in clips { #expect(try !again.index.isDoubtful(clip.object)) }
        await again.close()
        _ = try await Vault.rebuildIndex(at: temporary.path)
        let index = try Index.writing(temporary.path + "/index.sqlite")
        #expect(try index.isDoubtful(odd.object))
        #expect(try !index.isDoubtful(clips[0].object))
        index.close()
    }

    @Test func `a ledger that has entries is never begun anew`() async throws {
        let (temporary, _) = try await RepairTests.recorded()
        let before = try temporary.folder.everyFile()
        await #expect(throws: VaultError(.exists, "")) { _ = try await Self.rebuild(temporary) }
        try RepairTests.remove(temporary, "vault/ledger/checkpoint")
        await #expect(throws: VaultError(.exists, "")) { _ = try await Self.rebuild(temporary) }
        #expect(try temporary.folder.everyFile() == before.filter { $0 != "vault/ledger/checkpoint" })
    }

    @Test func `cut off at any file operation, running it again gives every clip`() async throws {
        let (whole, clips) = try await RepairTests.recorded()
        try Self.stamp(whole, clips)
        try RepairTests.remove(whole, "vault/ledger")
        try whole.folder.write(patternBytes(900), to: "vault/objects/00/stray")
        for limit in 0..<100 {
            let temporary = try whole.copy()
            try Self.stamp(temporary, clips)
            let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: limit, with: .io)
            _ = try? await Self.rebuild(temporary, files: files)
            if try LedgerReader(files: PosixFileSystem(), path: temporary.path + "/ledger").isLost() {
                _ = try await Self.rebuild(temporary)
            }
            let vault = try await temporary.open()
            await vault.close()
            #expect(try await Self.everyClip(temporary) == clips, "cut at call \(limit)")
            #expect(try await RepairTests.findings(temporary).findings == [], "cut at call \(limit)")
            #expect(try temporary.folder.everyFile().contains("vault/quarantine/stray"), "cut at call \(limit)")
            if !files.hasFailed { return }
        }
        Issue.record("it never got through")
    }
}
