import Core
import Foundation
import GRDB
import TestKit
import Testing

@testable import Vault

@Suite struct MigrationTests {
    @Test func `an index of an earlier schema opens upgraded, its rows equal to a fresh one's`() async throws {
        let busy = try await BusyVault()
        let fresh = try busy.dump()
        for (version, sql) in OldIndexes.all {
            for suffix in ["", "-wal", "-shm"] { try? busy.remove("index.sqlite" + suffix) }
            let old = try DatabaseQueue(path: busy.temporary.path + "/index.sqlite")
            try await old.write { db in
                try db.execute(sql: sql)
                try db.execute(sql: "PRAGMA user_version = \(version)")
            }
            try old.close()
            // Reading replays into a copy and leaves the old one alone.
            let reader = try await busy.temporary.open(.read)
            // Which removed files are gone already is asked by who writes.
            func ledgers(_ rows: [String]) -> [String] { rows.filter { !$0.hasPrefix("deleted") } }
            #expect(try ledgers(reader.index.dump()) == ledgers(fresh), "schema \(version)")
            await reader.close()
            #expect(Index.version(busy.temporary.path + "/index.sqlite") == version)

            let copy = try busy.temporary.copy()
            let vault = try await copy.open()
            #expect(vault.openingAlarms == [], "schema \(version)")
            #expect(try vault.index.dump().filter { !$0.hasPrefix("meta") } == fresh.filter { !$0.hasPrefix("meta") })
            await vault.close()
            #expect(Index.version(copy.path + "/index.sqlite") == nil)
            #expect(try await RepairTests.findings(copy).findings == [])

            _ = try await Vault.rebuildIndex(at: busy.temporary.path)
            #expect(try busy.dump() == fresh)
        }
    }

    /// A format before the first: it called the ledger's key otherwise.
    static let upgrades = VaultUpgrades(steps: [
        VaultUpgrades.Step(from: 0) { (bytes) throws(VaultError) in
            let text = String(decoding: bytes, as: UTF8.self)
            return Array(
                text.replacing("\"format\": 0", with: "\"format\": 1").replacing("\"signer\":", with: "\"ledger\":")
                    .utf8)
        }
    ])
    static func older(_ temporary: TemporaryVault) throws -> [UInt8] {
        let text = String(decoding: try temporary.folder.contents("vault/vault.json"), as: UTF8.self)
        let old = Array(
            text.replacing("\"format\": 1", with: "\"format\": 0").replacing("\"ledger\":", with: "\"signer\":").utf8)
        try temporary.folder.write(old, to: "vault/vault.json")
        return old
    }
    static func open(
        _ temporary: TemporaryVault, _ mode: VaultMode = .write(softwareVersion: "test"),
        files: any FileSystem = PosixFileSystem()
    ) async throws -> Vault {
        try await Vault.open(at: temporary.path, mode, upgrades: upgrades, files, temporary.time)
    }

    @Test func `an older vault is read as it is, and upgraded by writing, once its ledger is what was signed`()
        async throws
    {
        let (temporary, clips) = try await RepairTests.recorded()
        let current = try temporary.folder.contents("vault/vault.json")
        let old = try Self.older(temporary)
        await #expect(throws: VaultError(.damaged, "")) { _ = try await temporary.open(.read) }
        let reader = try await Self.open(temporary, .read)
        #expect(try await reader.clip(at: clips[0].start + 1, camera: RecordingTests.camera) == clips[0])
        await reader.close()
        #expect(try temporary.folder.contents("vault/vault.json") == old)

        let vault = try await Self.open(temporary)
        #expect(vault.openingAlarms.count == 1)
        await vault.close()
        #expect(try temporary.folder.contents("vault/vault.json") == current)
        #expect(try temporary.folder.contents("vault/vault.json.0") == old)
        #expect(try await RepairTests.findings(temporary).findings == [])
    }

    @Test func `an older vault whose ledger is damaged is not upgraded, and not a byte changes`() async throws {
        let (temporary, _) = try await VerificationTests.recorded()
        _ = try Self.older(temporary)
        try RepairTests.damage(temporary, "vault/ledger/entries/001", at: 60)
        let before = try RecognitionTests.everything(temporary.folder).filter { !$0.hasPrefix("vault/lock") }
        await #expect(throws: VaultError(.damaged, "")) { _ = try await Self.open(temporary) }
        #expect(try RecognitionTests.everything(temporary.folder).filter { !$0.hasPrefix("vault/lock") } == before)
    }

    @Test func `cut off at any file operation of an upgrade, the next start goes on`() async throws {
        let (whole, clips) = try await RepairTests.recorded()
        let current = try whole.folder.contents("vault/vault.json")
        let old = try Self.older(whole)
        for limit in 0..<100 {
            let temporary = try whole.copy()
            let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: limit, with: .io)
            if let vault = try? await Self.open(temporary, files: files) { await vault.close() }
            let now = try temporary.folder.contents("vault/vault.json")
            #expect(now == old || now == current, "cut at call \(limit)")
            let vault = try await Self.open(temporary)
            #expect(try await vault.clip(at: clips[0].start + 1, camera: RecordingTests.camera) == clips[0])
            await vault.close()
            #expect(try temporary.folder.contents("vault/vault.json") == current, "cut at call \(limit)")
            #expect(try temporary.folder.contents("vault/vault.json.0") == old, "cut at call \(limit)")
            #expect(try await RepairTests.findings(temporary).findings == [], "cut at call \(limit)")
            if !files.hasFailed { return }
        }
        Issue.record("it never got through")
    }

    @Test func `a newer vault is refused, read or write, and not touched`() async throws {
        let (temporary, _) = try await RepairTests.recorded()
        let text = String(decoding: try temporary.folder.contents("vault/vault.json"), as: UTF8.self)
        try temporary.folder.write(
            Array(text.replacing("\"format\": 1", with: "\"format\": 2").utf8), to: "vault/vault.json")
        let before = try RecognitionTests.everything(temporary.folder)
        for mode in [VaultMode.read, .write(softwareVersion: "test")] {
            await #expect(throws: VaultError(.newerFormat, "")) { _ = try await temporary.open(mode) }
        }
        await #expect(throws: VaultError(.newerFormat, "")) { _ = try await RepairTests.repair(temporary) }
        await #expect(throws: VaultError(.newerFormat, "")) { _ = try await Vault.rebuildIndex(at: temporary.path) }
        #expect(try RecognitionTests.everything(temporary.folder) == before)
    }
}
