import Core
import Foundation
import TestKit
import Testing

@testable import Vault

/// `keys/ledger.key`, without which nothing can be signed.
@Suite struct LedgerKeyTests {
    enum Damage: CaseIterable { case missing, empty, short, long, flipped, foreign }

    @Test(arguments: Damage.allCases)
    func `a signing key that is lost or damaged is told with its place and its cure, and everything can still be read`(
        _ damage: Damage
    ) async throws {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let clip = try await RecordingTests.record(
            vault, patternBytes(100), at: temporary.time.wallNow(), camera: .random())
        await vault.close()
        let name = "vault/keys/ledger.key"
        let good = try temporary.folder.contents(name)
        switch damage {
        case .missing: try FileManager.default.removeItem(atPath: temporary.folder.path + "/" + name)
        case .empty: try temporary.folder.write([], to: name)
        case .short: try temporary.folder.write(good.dropLast(), to: name)
        case .long: try temporary.folder.write(good + [10], to: name)
        case .flipped: try temporary.folder.write([good[0] ^ 1] + good.dropFirst(), to: name)
        case .foreign: try temporary.folder.write(try await TemporaryVault().folder.contents(name), to: name)
        }
        let before = try temporary.folder.everyFile()
        do {
            _ = try await temporary.open()
            Issue.record("it was opened for writing")
        } catch let error as VaultError {
            #expect(error.code == .keys)
            #expect(error.reason.contains(temporary.path + "/keys/ledger.key"))
            let cure = try #require(error.hint)
            #expect(cure.contains("backup") && cure.contains("remote restore"))
            let words =
                switch damage {
                case .missing: "missing"
                case .empty: "0 bytes instead of 32"
                case .short: "31 bytes instead of 32"
                case .long: "33 bytes instead of 32"
                case .flipped, .foreign: "damaged, or another recorder's"
                }
            #expect(error.reason.contains(words))
            #expect(!error.description.contains("..") && !error.description.contains("Optional"))
        }
        #expect(try temporary.folder.everyFile().filter { !before.contains($0) } == [])

        vault = try await temporary.open(.read)
        try await TemporaryVault.unlock(vault)
        #expect(try await vault.openObject(clip).read(at: 0, count: 100) == patternBytes(100))
        #expect(try await vault.verify().isClean)
        await vault.close()

        try temporary.folder.write(good, to: name)
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o600], ofItemAtPath: temporary.folder.path + "/" + name)
        vault = try await temporary.open()
        await vault.close()
    }
}
