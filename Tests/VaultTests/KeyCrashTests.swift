import Core
import TestKit
import Testing

@testable import Vault

/// The power is cut while keys change, on a disk that keeps any part of what was not synced.
@Suite struct KeyCrashTests {
    private static func owner(_ vault: Vault) async throws -> KeyAuthority {
        try await vault.authorise(passphrase: SecretBytes(text: TemporaryVault.passphrase))
    }

    /// Every epoch that has a file opens for the owner, after finishing what is left for everybody who is listed, and for `guest`
    /// only if it is.
    private static func check(_ vault: Vault, _ guest: AgeIdentity) async throws {
        let owner = try await owner(vault)
        guard try await vault.rewrap(owner).remaining == 0 else { throw VaultError(.damaged, "re-wrapping cannot end") }
        let isListed = try await vault.recipients().recipients.contains { $0.recipient == guest.recipient }
        for name in try vault.files.list(vault.layout.epochs) {
            guard let epoch = EpochID(String(name.dropLast(4))) else { throw VaultError(.damaged, "\(name) is left") }
            _ = try vault.epochIdentity(epoch, owner)
            let opens = (try? vault.epochIdentity(epoch, KeyAuthority(identity: guest))) != nil
            guard opens == isListed else { throw VaultError(.damaged, "\(name) opens for the guest: \(opens)") }
        }
    }

    @Test func `V34: recipients come and go, days are sealed anew and one is shredded, cut anywhere`() async throws {
        let guest = try AgeIdentity.random()
        let count = try await forEveryCut(of: "re-wrap") { vault in
            try await Self.check(vault, guest)
        } prepare: { bench in
            try await bench.create()
            let vault = try await bench.open()
            bench.allowed.delete([try await bench.record(vault, 1000)])
            try await bench.record(vault, 1000, camera: CrashBench.cameras[1])
            bench.time.advance(microseconds: 86_400_000_000)
            try await bench.record(vault, 1000)
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            let owner = try await Self.owner(vault)
            try await vault.addRecipient(guest.recipient, owner)
            _ = try await vault.rewrap(owner)
            let day = bench.time.wallNow().utcDay - 1
            let report = try await vault.shred(camera: CrashBench.cameras[0], day: day)
            bench.files.promise(.shredded(report.epochs))
            try await vault.removeRecipient(guest.recipient, isForced: false, owner)
            try await bench.record(vault, 1000)
            _ = try await vault.rewrap(owner)
            await vault.close()
        }
        #expect(count > 100)
    }

    @Test func `a passphrase's file is sealed anew, cut anywhere: it opens`() async throws {
        let guest = try AgeIdentity.random()
        try await forEveryCut(of: "passphrase") { vault in
            try await Self.check(vault, guest)
        } prepare: { bench in
            try await bench.create()
            let vault = try await bench.open()
            try await bench.record(vault, 1000)
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            let passphrase = { SecretBytes(text: TemporaryVault.passphrase) }
            try await vault.changePassphrase(from: passphrase(), to: passphrase(), scryptWorkFactor: 4)
            await vault.close()
        }
    }
}
