import Core
import Foundation
import TestKit
import Testing

@testable import Vault

@Suite struct RepairTests {
    /// What `verify` says now.
    static func findings(_ temporary: TemporaryVault) async throws -> VerificationReport {
        let vault = try await temporary.open(.read)
        let report = try await vault.verify()
        await vault.close()
        return report
    }
    static func repair(
        _ temporary: TemporaryVault, apply: Bool = true, files: any FileSystem = PosixFileSystem(),
        _ change: (inout RepairOptions) -> Void = { _ in }
    ) async throws -> RepairReport {
        var options = RepairOptions()
        options.isApplied = apply
        change(&options)
        return try await Vault.repair(
            at: temporary.path, options, software: "test", files: files, time: temporary.time)
    }
    /// One camera, nine clips, a minute each; closed.
    static func recorded() async throws -> (TemporaryVault, [ClipRecord]) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        var clips: [ClipRecord] = []
        for index in 0..<9 {
            clips.append(
                try await RecordingTests.record(
                    vault, patternBytes(70_000, seed: UInt64(index + 1)),
                    at: temporary.time.wallNow() + Int64(index) * 60_000_000))
        }
        await vault.close()
        return (temporary, clips)
    }
    static func object(_ clip: ClipRecord) -> String { Layout("vault").object(clip.object) }
    static func damage(_ temporary: TemporaryVault, _ name: String, at place: Int) throws {
        var bytes = try temporary.folder.contents(name)
        bytes[place] ^= 1
        try temporary.folder.write(bytes, to: name)
    }
    static func remove(_ temporary: TemporaryVault, _ name: String) throws {
        try FileManager.default.removeItem(atPath: temporary.folder.path + "/" + name)
    }
    /// One object gone, one without a header, one with a bad chunk, one that is not listed, one of another vault.
    static func broken() async throws -> (TemporaryVault, [ClipRecord]) {
        let (temporary, clips) = try await recorded()
        try remove(temporary, object(clips[0]))
        try temporary.folder.write(patternBytes(500), to: object(clips[1]))
        try damage(temporary, object(clips[2]), at: 5000)
        let (stranger, strange) = try await recorded()
        try temporary.folder.write(try stranger.folder.contents(object(strange[0])), to: object(strange[0]))
        return (temporary, clips)
    }

    @Test func `a dry run says what it would do, and not a byte changes`() async throws {
        let (temporary, clips) = try await Self.broken()
        let before = try temporary.folder.everyFile().map { ($0, try temporary.folder.contents($0)) }
        let report = try await Self.repair(temporary, apply: false)
        let after = try temporary.folder.everyFile().map { ($0, try temporary.folder.contents($0)) }
        #expect(before.map(\.0) == after.map(\.0))
        #expect(before.map(\.1) == after.map(\.1))
        let actions = Dictionary(report.steps.map { ($0.subject, $0.action) }) { a, _ in a }
        #expect(actions[.object(clips[0].object)] == .lost)
        #expect(actions[.object(clips[1].object)] == .quarantine)
        #expect(actions[.object(clips[2].object)] == .leave)
        #expect(report.steps.count == 4)
        #expect(!report.isApplied && !report.isComplete)
    }

    @Test func `V29, V32: applied, what does not open is a gap with its reason, what opens in part still plays`()
        async throws
    {
        let (temporary, clips) = try await Self.broken()
        let report = try await Self.repair(temporary)
        #expect(report.isApplied)
        let found = try await Self.findings(temporary)
        #expect(found.findings.map(\.subject) == [.object(clips[2].object)])
        #expect(found.knownLost == 1)
        #expect(found.knownQuarantined == 1)
        let vault = try await temporary.open(.read)
        let all = TimeRange(clips[0].start, clips[8].end)
        let gaps = try await vault.gaps(camera: RecordingTests.camera, overlapping: all)
        #expect(gaps.map(\.reason) == [.lost, .damaged])
        #expect(gaps.map(\.range) == [clips[0].range, clips[1].range])
        #expect(try await vault.clips(camera: RecordingTests.camera, overlapping: all) == Array(clips[2...]))
        try await TemporaryVault.unlock(vault)
        let damaged = try await vault.openObject(clips[2])
        await #expect(throws: VaultError(.payloadFailure, "")) { _ = try await damaged.read(at: 0, count: 10) }
        #expect(
            try await damaged.read(at: 65_536, count: 4464) == Array(patternBytes(70_000, seed: 3)[65_536...]))
        await vault.close()
        // Nothing was deleted: the two bad files lie in quarantine.
        #expect(try temporary.folder.everyFile().count { $0.hasPrefix("vault/quarantine/") } == 2)
        #expect(try temporary.folder.contents("vault/quarantine/\(clips[1].object)") == patternBytes(500))
        // With --all the third goes too, and then there is nothing to do.
        _ = try await Self.repair(temporary) { $0.quarantinesPlayable = true }
        #expect(try await Self.findings(temporary).isClean)
        #expect(try await Self.repair(temporary).steps == [])
    }

    @Test func `a lost object that comes back is adopted, and its gap goes`() async throws {
        let (temporary, clips) = try await Self.recorded()
        let good = try temporary.folder.contents(Self.object(clips[3]))
        try Self.remove(temporary, Self.object(clips[3]))
        _ = try await Self.repair(temporary)
        #expect(try await Self.findings(temporary).knownLost == 1)
        try temporary.folder.write(good, to: Self.object(clips[3]))
        let report = try await Self.repair(temporary, apply: false)
        #expect(report.steps.map(\.action) == [.adopt])
        _ = try await Self.repair(temporary)
        let found = try await Self.findings(temporary)
        #expect(found.findings == [])
        #expect(found.knownLost == 0)
        let vault = try await temporary.open(.read)
        #expect(
            try await vault.clip(at: clips[3].start + 1000, camera: RecordingTests.camera)?.identity
                == clips[3].identity)
        #expect(try await vault.gaps(camera: RecordingTests.camera, overlapping: clips[3].range).isEmpty)
        await vault.close()
        #expect(try await Vault.rebuildIndex(at: temporary.path).clips == 9)
    }

    @Test func `S12: more than half missing is a disk that is not there: nothing is entered as lost unless forced`()
        async throws
    {
        let (temporary, clips) = try await Self.recorded()
        for clip in clips.prefix(5) { try Self.remove(temporary, Self.object(clip)) }
        let report = try await Self.repair(temporary)
        #expect(report.isBraked && !report.isComplete)
        #expect(report.steps.allSatisfy { $0.action == .leave })
        #expect(try await Self.findings(temporary).findings.count == 5)
        let forced = try await Self.repair(temporary) { $0.isForced = true }
        #expect(!forced.isBraked)
        let found = try await Self.findings(temporary)
        #expect(found.isClean)
        #expect(found.knownLost == 5)
    }

    @Test func `a copy of the vault gives back objects and epoch files, bit for bit`() async throws {
        let (temporary, clips) = try await Self.recorded()
        let copy = try temporary.copy()
        let epoch = "vault/epochs/\(clips[0].identity.epoch).age"
        let good = try [Self.object(clips[0]), Self.object(clips[1]), epoch].map { try temporary.folder.contents($0) }
        try Self.remove(temporary, Self.object(clips[0]))
        try Self.damage(temporary, Self.object(clips[1]), at: 300)
        try Self.damage(temporary, epoch, at: 50)
        let entries = try await Self.findings(temporary).entries
        // A copy that is damaged in the same place is of no use.
        try Self.damage(copy, Self.object(clips[1]), at: 900)
        func source(_ options: inout RepairOptions) { options.source = FolderSource(copy.path + "/") }
        let first = try await Self.repair(temporary, apply: false, source)
        #expect(first.steps.count { $0.action == .fetch } == 2)
        try Self.damage(copy, Self.object(clips[1]), at: 900)
        _ = try await Self.repair(temporary, source)
        let found = try await Self.findings(temporary)
        #expect(found.findings == [])
        // Only the `open` entry of the repair: the clips are what they were.
        #expect(found.entries == entries + 1)
        #expect(
            try [Self.object(clips[0]), Self.object(clips[1]), epoch].map { try temporary.folder.contents($0) } == good)
    }

    @Test func `cut off at any file operation, nothing is lost, and running it again finishes`() async throws {
        let (broken, clips) = try await Self.broken()
        for limit in 0..<200 {
            let temporary = try broken.copy()
            let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: limit, with: .io)
            _ = try? await Self.repair(temporary, files: files) { $0.quarantinesPlayable = true }
            _ = try await Self.repair(temporary) { $0.quarantinesPlayable = true }
            let found = try await Self.findings(temporary)
            #expect(found.findings == [], "cut at call \(limit)")
            #expect(found.knownLost == 1 && found.knownQuarantined == 2, "cut at call \(limit)")
            let kept = try temporary.folder.everyFile().count {
                $0.hasPrefix("vault/objects/") || $0.hasPrefix("vault/quarantine/")
            }
            #expect(kept == clips.count, "cut at call \(limit)")
            if !files.hasFailed { return }
        }
        Issue.record("it never got through")
    }
}

@Suite struct LedgerRepairTests {
    @Test func `a lost or damaged tile is computed again where the signature vouches for the entries`() async throws {
        let (temporary, _) = try await VerificationTests.recorded()
        let good = try temporary.folder.contents("vault/ledger/tile/0/000")
        try RepairTests.damage(temporary, "vault/ledger/tile/0/000", at: 100)
        #expect(try await RepairTests.repair(temporary, apply: false).steps.map(\.action) == [.recompute])
        #expect(try temporary.folder.contents("vault/ledger/tile/0/000") != good)
        _ = try await RepairTests.repair(temporary)
        #expect(try temporary.folder.contents("vault/ledger/tile/0/000") == good)
        try RepairTests.remove(temporary, "vault/ledger/tile/0/000")
        _ = try await RepairTests.repair(temporary)
        #expect(try temporary.folder.contents("vault/ledger/tile/0/000") == good)
        #expect(try await RepairTests.findings(temporary).findings == [])
    }

    @Test func `a start over a damaged tile mends it instead of signing a wrong tree`() async throws {
        let (temporary, _) = try await VerificationTests.recorded()
        let good = try temporary.folder.contents("vault/ledger/tile/0/000")
        try RepairTests.damage(temporary, "vault/ledger/tile/0/000", at: 3000)
        let vault = try await temporary.open()
        #expect(vault.openingAlarms.count == 1)
        await vault.close()
        #expect(try temporary.folder.contents("vault/ledger/tile/0/000") == good)
        #expect(try await RepairTests.findings(temporary).findings == [])
    }

    @Test func `V29: one flipped bit in an entry is mended by its signed hash; two are not`() async throws {
        let (temporary, _) = try await VerificationTests.recorded()
        let name = "vault/ledger/entries/000"
        let good = try temporary.folder.contents(name)
        for place in [2, 40, 1000, good.count - 1] {
            try RepairTests.damage(temporary, name, at: place)
            let report = try await RepairTests.repair(temporary)
            #expect(report.steps.map(\.action) == [.recompute], "byte \(place)")
            #expect(try temporary.folder.contents(name) == good, "byte \(place)")
            #expect(try await RepairTests.findings(temporary).findings == [], "byte \(place)")
        }
        try RepairTests.damage(temporary, name, at: 20_000)
        try RepairTests.damage(temporary, name, at: 20_001)
        let report = try await RepairTests.repair(temporary)
        #expect(report.steps.allSatisfy { $0.action == .leave })
        #expect(Set(try await RepairTests.findings(temporary).findings.map(\.subject)).count == 1)
    }

    @Test(arguments: [false, true])
    func `a lost or damaged checkpoint is signed anew when nothing contradicts the entries`(isLost: Bool) async throws {
        let (temporary, _) = try await VerificationTests.recorded()
        let before = try await RepairTests.findings(temporary).entries
        if isLost {
            try RepairTests.remove(temporary, "vault/ledger/checkpoint")
        } else {
            try RepairTests.damage(temporary, "vault/ledger/checkpoint", at: 150)
        }
        let report = try await RepairTests.repair(temporary)
        #expect(report.steps.map(\.action) == [.sign])
        let found = try await RepairTests.findings(temporary)
        #expect(found.findings == [])
        #expect(found.entries == before + 1)
    }

    @Test func `a signature that contradicts the entries is never signed over: nothing at all is changed`() async throws
    {
        let (temporary, clip) = try await VerificationTests.recorded()
        // The last bundle has no tile that could tell.
        let name = "vault/ledger/entries/001"
        try RepairTests.damage(temporary, name, at: 60)
        try RepairTests.damage(temporary, name, at: 90)
        try RepairTests.remove(temporary, RepairTests.object(clip))
        let before = try temporary.folder.everyFile().map { try temporary.folder.contents($0) }
        await #expect(throws: VaultError(.damaged, "")) { _ = try await RepairTests.repair(temporary) }
        // Without a signature, entries and tiles that differ contradict each other just so.
        try RepairTests.damage(temporary, name, at: 60)
        try RepairTests.damage(temporary, name, at: 90)
        try RepairTests.damage(temporary, "vault/ledger/tile/0/000", at: 60)
        let checkpoint = try temporary.folder.contents("vault/ledger/checkpoint")
        try RepairTests.remove(temporary, "vault/ledger/checkpoint")
        await #expect(throws: VaultError(.damaged, "")) { _ = try await RepairTests.repair(temporary) }
        try RepairTests.damage(temporary, "vault/ledger/tile/0/000", at: 60)
        try RepairTests.damage(temporary, name, at: 60)
        try RepairTests.damage(temporary, name, at: 90)
        try temporary.folder.write(checkpoint, to: "vault/ledger/checkpoint")
        #expect(try temporary.folder.everyFile().map { try temporary.folder.contents($0) } == before)
    }

    @Test func `repair is refused while a recorder runs, its dry run is not`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        #expect(try await RepairTests.repair(temporary, apply: false).steps == [])
        await #expect(throws: VaultError(.inUse, "")) { _ = try await RepairTests.repair(temporary) }
        await vault.close()
    }
}
