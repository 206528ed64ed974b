import Core
import Foundation
import GRDB
import TestKit
import Testing

@testable import Vault

/// Bytes of `index.sqlite` that are no database any more cost a replay, and never a start.
@Suite struct DamagedIndexTests {
    /// Every tree's name, and the page of 4 KiB that its root is.
    private static func roots(_ path: String) throws -> [(name: String, page: Int)] {
        let database = try DatabaseQueue(path: path)
        try database.writeWithoutTransaction { db in _ = try db.checkpoint(.truncate) }
        let roots = try database.read { db in
            try Row.fetchAll(db, sql: "SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0")
                .map { (name: $0[0] as String, page: $0[1] as Int) }
        }
        try database.close()
        return roots
    }
    private static func damage(_ temporary: TemporaryVault, page: Int) throws {
        var bytes = try temporary.folder.contents("vault/index.sqlite")
        bytes.replaceSubrange((page - 1) * 4096..<(page - 1) * 4096 + 64, with: patternBytes(64))
        try temporary.folder.write(bytes, to: "vault/index.sqlite")
    }

    @Test func `a damaged page at the root of any tree: a start makes the index anew, and a reader does without it`()
        async throws
    {
        let busy = try await BusyVault()
        let before = try busy.dump()
        let roots = try Self.roots(busy.temporary.path + "/index.sqlite")
        try #require(roots.count > 15)
        for (name, page) in roots {
            let temporary = try busy.temporary.copy()
            try Self.damage(temporary, page: page)
            var vault = try await temporary.open(.read)
            #expect(try vault.index.dump().count == before.count, "\(name)")
            await vault.close()
            vault = try await temporary.open()
            #expect(vault.openingAlarms.contains { $0.contains("made anew from the ledger") }, "\(name)")
            let rows = try vault.index.dump()
            #expect(rows.filter { !$0.hasPrefix("meta") } == before.filter { !$0.hasPrefix("meta") }, "\(name)")
            await vault.close()
        }
    }

    @Test func `damage that is met while recording is put right by the next start, and its error says what to do`()
        async throws
    {
        let busy = try await BusyVault()
        let before = try busy.dump()
        let page = try #require(
            try Self.roots(busy.temporary.path + "/index.sqlite").first { $0.name == "gap_by_time" }
        ).page
        var vault = try await busy.temporary.open()
        let pool = try #require(vault.index.database as? DatabasePool)
        try await pool.writeWithoutTransaction { db in _ = try db.checkpoint(.truncate) }
        try Self.damage(busy.temporary, page: page)
        // What SQLite keeps of the file in memory it would not read again.
        pool.invalidateReadOnlyConnections()
        do {
            _ = try await vault.gaps(
                camera: BusyVault.other, overlapping: TimeRange(.init(seconds: 0), .init(seconds: 1)))
            Issue.record("the damage was not met")
        } catch {
            #expect(error.code == .index && error.hint?.contains("sudocam rebuild") == true)
        }
        await vault.close()
        #expect(FileManager.default.fileExists(atPath: busy.temporary.path + "/index.sqlite.damaged"))
        vault = try await busy.temporary.open()
        #expect(vault.openingAlarms.contains("The index was damaged and is made anew from the ledger."))
        await vault.close()
        #expect(!FileManager.default.fileExists(atPath: busy.temporary.path + "/index.sqlite.damaged"))
        let after = try busy.dump()
        #expect(after.filter { !$0.hasPrefix("meta") } == before.filter { !$0.hasPrefix("meta") })
    }
}
