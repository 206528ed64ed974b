import Core
import Foundation
import TestKit
import Testing

@testable import Vault

/// Bits that flip in the ledger's files: what signed hashes tell is put right, and what nobody can tell is never passed over.
@Suite struct DamagedLedgerTests {
    static let camera = RecordingTests.camera
    static func bundle(_ index: Int) -> String { "vault/ledger/entries/" + MerkleTree.path(index) }

    /// A clip and gaps of one camera in a full bundle; a hold and two clips more in the next; closed.
    static func recorded() async throws -> (TemporaryVault, [ClipRecord]) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        var clips = [try await RecordingTests.record(vault, patternBytes(1000), at: start)]
        let gaps = (0..<260).map { number in
            let range = TimeRange(start + 60_000_000 + Int64(number) * 1000, start + 60_000_500 + Int64(number) * 1000)
            return LedgerEntry(at: start, .gap(GapRecord(camera: camera, range: range, reason: .paused)))
        }
        try vault.committer().commit(gaps)
        _ = try await vault.hold(camera: camera, range: clips[0].range, note: "kept")
        for minute in 2..<4 {
            clips.append(
                try await RecordingTests.record(vault, patternBytes(10), at: start + Int64(minute) * 60_000_000))
        }
        await vault.close()
        return (temporary, clips)
    }
    /// Where the length of an entry stands in its bundle's file.
    static func offset(_ position: Int, _ temporary: TemporaryVault) throws -> Int {
        let reader = LedgerReader(files: PosixFileSystem(), path: temporary.path + "/ledger")
        let bundle = try #require(try reader.bundle(position / MerkleTree.tileWidth))
        return bundle.entries.prefix(position % MerkleTree.tileWidth).reduce(0) { $0 + $1.count + 2 }
    }
    static func flip(_ temporary: TemporaryVault, _ name: String, _ place: Int, _ bits: UInt8) throws {
        var bytes = try temporary.folder.contents(name)
        bytes[place] ^= bits
        try temporary.folder.write(bytes, to: name)
    }
    static func removeIndex(_ temporary: TemporaryVault) throws {
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: temporary.path + "/index.sqlite" + suffix)
        }
    }
    /// A length and the entry behind it are damaged beyond what can be tried.
    static func ruin(_ temporary: TemporaryVault, _ position: Int) throws {
        let place = try offset(position, temporary)
        for byte in 0..<4 { try flip(temporary, bundle(position / MerkleTree.tileWidth), place + byte, 0x7f) }
    }

    // MARK: Within

    @Test(arguments: [0, 1])
    func `a flipped length within the ledger makes no index of the half before it, and repair mends it`(
        byte: Int
    ) async throws {
        let (temporary, _) = try await Self.recorded()
        let name = Self.bundle(0)
        let good = try temporary.folder.contents(name)
        let index = try temporary.folder.contents("vault/index.sqlite")
        try Self.flip(temporary, name, try Self.offset(54, temporary) + byte, byte == 0 ? 0x40 : 1)
        await #expect(throws: VaultError(.damaged, "")) { _ = try await Vault.rebuildIndex(at: temporary.path) }
        #expect(try temporary.folder.contents("vault/index.sqlite") == index)
        let dry = try await RepairTests.repair(temporary, apply: false)
        #expect(dry.steps.map(\.action) == [.recompute] && dry.steps.map(\.subject) == [.entries(54..<55)])
        #expect(try temporary.folder.contents(name) != good)
        _ = try await RepairTests.repair(temporary)
        #expect(try temporary.folder.contents(name) == good)
        #expect(try await Vault.rebuildIndex(at: temporary.path).matchesCheckpoint == true)
        #expect(try await RepairTests.findings(temporary).isClean)
    }

    @Test func `with the index lost as well, a start mends the length and forgets no hold`() async throws {
        let (temporary, clips) = try await Self.recorded()
        let good = try temporary.folder.contents(Self.bundle(0))
        try Self.flip(temporary, Self.bundle(0), try Self.offset(54, temporary), 0x40)
        try Self.removeIndex(temporary)
        let vault = try await temporary.open()
        #expect(vault.openingAlarms.contains { $0.contains("entry 54") }, "\(vault.openingAlarms)")
        #expect(try vault.index.holds().count == 1)
        for clip in clips { #expect(try vault.index.knowsObject(clip.object)) }
        await vault.close()
        #expect(try temporary.folder.contents(Self.bundle(0)) == good)
    }

    @Test func `what nobody can mend is not begun over, and a reader sees what lies behind it`() async throws {
        let (temporary, clips) = try await Self.recorded()
        try Self.ruin(temporary, 54)
        // An index that has taken it in goes on.
        var vault = try await temporary.open()
        #expect(try vault.index.holds().count == 1)
        await vault.close()
        try Self.removeIndex(temporary)
        for _ in 0..<2 {
            await #expect(throws: VaultError(.damaged, "")) { _ = try await temporary.open() }
            await #expect(throws: VaultError(.damaged, "")) { _ = try await Vault.rebuildIndex(at: temporary.path) }
            #expect(!FileManager.default.fileExists(atPath: temporary.path + "/index.sqlite"))
        }
        vault = try await temporary.open(.read)
        #expect(try vault.index.holds().count == 1)
        for clip in clips { #expect(try vault.index.knowsObject(clip.object)) }
        #expect(try await !vault.verify().isClean)
        await vault.close()
    }

    @Test func `entries behind a hole do not come into the index`() throws {
        let index = try Index.temporary()
        let entry = LedgerEntry(
            at: .init(seconds: 1), .clock(from: .init(seconds: 1), to: .init(seconds: 2), isConfirmed: true))
        try index.apply([entry, entry], from: 0)
        #expect(throws: VaultError(.index, "")) { try index.apply([entry], from: 3) }
        #expect(try index.position() == 2)
        try index.apply([entry, entry], from: 1)
        #expect(try index.position() == 3)
    }

    // MARK: The last bundle

    @Test
    func `a flipped bit of the last bundle is no other past and no older copy, and repair mends it by the signed root`()
        async throws
    {
        let (temporary, _) = try await Self.recorded()
        let name = Self.bundle(1)
        let good = try temporary.folder.contents(name)
        let pin = try await RecognitionTests.pinned(temporary)
        let middle = try Self.offset(260, temporary)
        for (place, bit) in [
            (0, UInt8(1)), (1, 0x80), (2, 1), (middle, 2), (middle + 1, 4), (middle + 40, 1), (good.count - 2, 2),
        ] {
            try Self.flip(temporary, name, place, bit)
            try await RecognitionTests.expectRefusal(.damaged, temporary, pin)
            do {
                try await Vault.recognise(at: temporary.path, as: pin)
            } catch {
                #expect(error.hint?.contains("sudocam repair") == true && error.hint?.contains("accept") == false)
            }
            try await Vault.recognise(at: temporary.path, as: pin, acceptsDamage: true)
            let copy = try temporary.copy()
            let dry = try await RepairTests.repair(copy, apply: false)
            #expect(dry.steps.map(\.action) == [.recompute], "byte \(place): \(dry.steps)")
            #expect(try copy.folder.contents(name) != good)
            _ = try await RepairTests.repair(copy)
            #expect(try copy.folder.contents(name).starts(with: good), "byte \(place)")
            #expect(try await RepairTests.findings(copy).isClean, "byte \(place)")
            try await Vault.recognise(at: copy.path, as: pin)
            // A start without a pin does the same.
            let other = try temporary.copy()
            let vault = try await other.open()
            #expect(vault.openingAlarms.count == 1, "\(vault.openingAlarms)")
            #expect(try await vault.verify().isClean)
            await vault.close()
            try temporary.folder.write(good, to: name)
        }
    }

    @Test func `signed entries are cut off only when that is wanted, and stay in quarantine`() async throws {
        let (temporary, _) = try await Self.recorded()
        let pin = try await RecognitionTests.pinned(temporary)
        try Self.ruin(temporary, 260)
        let bad = try temporary.folder.contents(Self.bundle(1))
        await #expect(throws: VaultError(.damaged, "")) { _ = try await temporary.open() }
        #expect(try temporary.folder.contents(Self.bundle(1)) == bad)
        #expect(!FileManager.default.fileExists(atPath: temporary.path + "/ledger/checkpoint.contradicted"))
        let vault = try await RecognitionTests.open(temporary, pin, acceptsOlderCopy: true)
        #expect(vault.openingAlarms.contains { $0.contains("quarantine") })
        await vault.close()
        #expect(try temporary.folder.contents("vault/quarantine/entries-001") == bad)
        try await RecognitionTests.record(temporary)
    }

    @Test func `with the entries gone a pin speaks of no older copy`() async throws {
        let (temporary, _) = try await Self.recorded()
        let pin = try await RecognitionTests.pinned(temporary)
        try FileManager.default.removeItem(atPath: temporary.path + "/ledger/entries")
        for accepts in [false, true] {
            do {
                try await Vault.recognise(at: temporary.path, as: pin, acceptsOlderCopy: accepts)
                Issue.record("it was recognised")
            } catch {
                #expect(error.code == .damaged && error.hint?.contains("--from-objects") == true)
            }
        }
    }

    // MARK: Alarms and adoption

    @Test func `a lost checkpoint and an empty index are told`() async throws {
        let (temporary, _) = try await Self.recorded()
        try RepairTests.remove(temporary, "vault/ledger/checkpoint")
        try Self.removeIndex(temporary)
        try temporary.folder.write([], to: "vault/index.sqlite")
        let vault = try await temporary.open()
        #expect(vault.openingAlarms.count == 2)
        #expect(vault.openingAlarms.contains { $0.contains("checkpoint was missing") })
        #expect(vault.openingAlarms.contains { $0.contains("index was missing") })
        await vault.close()
    }

    @Test func `a start over entries that a signature contradicts adopts what they named, and repair does so later`()
        async throws
    {
        let (temporary, clips) = try await Self.recorded()
        let newer = try temporary.copy()
        try RepairTests.remove(temporary, Self.bundle(1))
        // As an earlier version's `rebuild` left it.
        let layout = Layout(temporary.path)
        let files = PosixFileSystem()
        _ = try Index.rebuild(layout, files, LedgerReader(files: files, path: layout.ledger), checkpoint: nil)
        var vault = try await temporary.open()
        for clip in clips { #expect(try vault.index.knowsObject(clip.object)) }
        await vault.close()
        // An object that came too late for that.
        vault = try await newer.open()
        let late = try await RecordingTests.record(
            vault, patternBytes(20), at: newer.time.wallNow() + 600_000_000)
        await vault.close()
        try temporary.folder.write(try newer.folder.contents(RepairTests.object(late)), to: RepairTests.object(late))
        let report = try await RepairTests.repair(temporary)
        #expect(report.steps.contains { $0.action == .adopt && $0.subject == .object(late.object) }, "\(report.steps)")
        let findings = try await RepairTests.findings(temporary).findings
        #expect(findings.count == 1 && findings[0].detail.contains("signed earlier"), "\(findings)")
    }
}
