import Core
import Foundation
import TestKit
import Testing

@testable import Vault

@Suite struct VerificationTests {
    /// Two cameras, three clips, more than one bundle of entries; closed.
    static func recorded() async throws -> (TemporaryVault, ClipRecord) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let clip = try await RecordingTests.record(vault, patternBytes(70_000), at: start)
        _ = try await RecordingTests.record(vault, patternBytes(10), at: start + 60_000_000)
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<270 {
                group.addTask {
                    let from = start + Int64(index) * 1000
                    try? await vault.recordGap(
                        camera: RecordingTests.camera, range: TimeRange(from, from + 500), reason: .paused)
                }
            }
        }
        _ = try await RecordingTests.record(vault, patternBytes(200), at: start, camera: .random())
        await vault.close()
        return (temporary, clip)
    }

    @Test func `a good vault is clean, with and without the key, and verifying writes nothing`() async throws {
        let (temporary, _) = try await Self.recorded()
        let before = try temporary.folder.everyFile()
        let vault = try await temporary.open(.read)
        #expect(try await vault.verify().findings == [])
        try await TemporaryVault.unlock(vault)
        let report = try await vault.verify(VerificationOptions(opensObjects: true))
        #expect(report.findings == [])
        #expect(report.objects == 3)
        await vault.close()
        #expect(try temporary.folder.everyFile() == before)
    }

    @Test func `a flipped byte anywhere is found and named`() async throws {
        let (temporary, _) = try await Self.recorded()
        for name in try temporary.folder.everyFile() {
            let subject = name.replacingOccurrences(of: "vault/", with: "")
            let isChecked = ["objects/", "epochs/", "ledger/", "vault.json"].contains { subject.hasPrefix($0) }
            guard isChecked else { continue }
            let good = try temporary.folder.contents(name)
            // `ledger/next` holds space and not a byte.
            guard !good.isEmpty else { continue }
            for place in Set([0, 1, good.count / 3, good.count / 2, good.count - 2, good.count - 1]) {
                var bad = good
                bad[place] ^= 1
                try temporary.folder.write(bad, to: name)
                do {
                    let vault = try await temporary.open(.read)
                    let report = try await vault.verify()
                    #expect(!report.isClean, "\(subject) byte \(place)")
                    if subject.hasPrefix("objects/") {
                        let object = try #require(ObjectID(subject.suffix(64)))
                        #expect(report.findings.map(\.subject) == [.object(object)])
                    }
                    if subject.hasPrefix("ledger/tile") { #expect(report.findings.map(\.subject) == [.tile(0, 0)]) }
                    await vault.close()
                } catch let error as VaultError {
                    #expect(subject == "vault.json", "\(subject) byte \(place): \(error)")
                }
            }
            try temporary.folder.write(good, to: name)
        }
    }

    @Test func `a start over entries that a signature contradicts signs nothing away`() async throws {
        for shortens in [false, true] {
            let (temporary, _) = try await Self.recorded()
            let name = "vault/ledger/entries/001"
            let good = try temporary.folder.contents(name)
            var bad = good
            // Two digits of a time in the last bundle, which no tile covers; or its last entry is gone.
            bad[60] ^= 1
            bad[61] ^= 1
            let last =
                try #require(try LedgerReader(files: PosixFileSystem(), path: temporary.path + "/ledger").bundle(1))
                .entries.last?.count ?? 0
            try temporary.folder.write(shortens ? Array(good.prefix(good.count - last - 2)) : bad, to: name)
            #expect(try await !Self.isClean(temporary))
            var vault = try await temporary.open()
            #expect(!vault.openingAlarms.isEmpty)
            let clip = try await RecordingTests.record(
                vault, patternBytes(100), at: temporary.time.wallNow() + 9_000_000)
            await vault.close()
            vault = try await temporary.open()
            #expect(try vault.index.knowsObject(clip.object))
            await vault.close()
            let reader = try await temporary.open(.read)
            let findings = try await reader.verify().findings
            #expect(findings.contains { $0.detail.contains("signed earlier") }, "\(findings)")
            await reader.close()
        }
    }
    private static func isClean(_ temporary: TemporaryVault) async throws -> Bool {
        let reader = try await temporary.open(.read)
        let isClean = try await reader.verify().isClean
        await reader.close()
        return isClean
    }

    @Test func `an epoch's damaged file is one finding, not one of each object sealed to it`() async throws {
        let (temporary, clips) = try await RepairTests.recorded()
        try RepairTests.damage(temporary, "vault/epochs/\(clips[0].identity.epoch).age", at: 250)
        let vault = try await temporary.open(.read)
        try await TemporaryVault.unlock(vault)
        let findings = try await vault.verify(VerificationOptions(opensObjects: true)).findings
        #expect(findings.map(\.subject) == [.epoch(clips[0].identity.epoch)], "\(findings)")
        #expect(findings.first?.detail.contains("9 object(s)") == true)
        await vault.close()
    }

    @Test func `a missing and an extra object are named`() async throws {
        let (temporary, clip) = try await Self.recorded()
        let path = Layout("vault").object(clip.object)
        let good = try temporary.folder.contents(path)
        try FileManager.default.removeItem(atPath: temporary.folder.path + "/" + path)
        let other = try #require(ObjectID(digest: Digest.sha256([1])))
        try temporary.folder.write(good, to: Layout("vault").object(other))
        let vault = try await temporary.open(.read)
        let found = try await vault.verify().findings.map { [$0.kind.rawValue, "\($0.subject)"] }
        #expect(
            Set(found) == [
                ["missing", "\(VerificationFinding.Subject.object(clip.object))"],
                ["extra", "\(VerificationFinding.Subject.object(other))"],
            ])
        await vault.close()
    }

    @Test func `an index made anew equals the old one row for row`() async throws {
        let (temporary, _) = try await Self.recorded()
        let old = try await temporary.open(.read)
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: temporary.path + "/index.sqlite" + suffix)
        }
        let new = try await temporary.open(.read)
        #expect(try old.index.dump() == new.index.dump())
        #expect(try new.index.dump().count > 270)
    }

    @Test func `a second writer is refused and a reader is not`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        await #expect(throws: VaultError(.inUse, "")) { _ = try await temporary.open() }
        let reader = try await temporary.open(.read)
        await #expect(throws: VaultError(.readOnly, "")) {
            _ = try await reader.beginClip(camera: .random(), run: .random(), start: temporary.time.wallNow())
        }
        await vault.close()
    }

    @Test func `stock age opens an object with the epoch's identity`() async throws {
        let (temporary, clip) = try await Self.recorded()
        let vault = try await temporary.open(.read)
        try await TemporaryVault.unlock(vault)
        let text = try vault.epochIdentityText(clip.identity.epoch)
        try temporary.folder.write(Array(text.revealed().utf8), to: "identity")
        let plain = try outputOfProgram(
            "age", ["-d", "-i", temporary.folder.path + "/identity", Layout(temporary.path).object(clip.object)])
        #expect(plain == patternBytes(70_000))
    }

    @Test func `cut off at any changing call, a start recovers and verify is clean`() async throws {
        var confirmed = 0
        for limit in 0..<200 {
            let temporary = try await TemporaryVault()
            let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: limit, with: .io)
            var clip: ClipRecord?
            if let vault = try? await temporary.open(files: files) {
                clip = try? await RecordingTests.record(vault, patternBytes(140_000), at: temporary.time.wallNow())
                await vault.close()
            }
            let vault = try await temporary.open()
            let report = try await vault.verify()
            #expect(report.findings == [], "cut at call \(limit)")
            if let clip {
                confirmed += 1
                try await TemporaryVault.unlock(vault)
                #expect(try await vault.openObject(clip).read(at: 0, count: 140_000) == patternBytes(140_000))
            }
            await vault.close()
            if !files.hasFailed { break }
        }
        #expect(confirmed > 0)
    }
}
