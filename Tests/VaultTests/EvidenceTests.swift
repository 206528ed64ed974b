import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// What the tests' clips hold inside: the beginning of the plaintext tells whose it is.
private final class Inside: Sendable {
    private let known = Mutex<[[UInt8]: ClipIdentity]>([:])
    func learn(_ plain: [UInt8], _ clip: ClipRecord) { known.withLock { $0[Array(plain.prefix(32))] = clip.identity } }
    func identity(_ head: [UInt8]) -> ClipIdentity? { known.withLock { $0[Array(head.prefix(32))] } }
}

@Suite struct EvidenceTests {
    /// A vault with three clips, the last one salvaged, and a bundle of them.
    private func bundle() async throws -> (folder: TemporaryFolder, vault: Vault, inside: Inside, evidence: Evidence) {
        let temporary = try await TemporaryVault()
        let inside = Inside()
        let start = temporary.time.wallNow()
        let first = try await temporary.open()
        for index in 0..<2 {
            let plain = patternBytes(index == 0 ? 150_000 : 65_536, seed: UInt64(index) + 1)
            inside.learn(plain, try await RecordingTests.record(first, plain, at: start + Int64(index) * 60_000_000))
        }
        let writer = try await first.beginClip(
            camera: RecordingTests.camera, run: .random(), start: start + 120_000_000)
        let plain = patternBytes(100_000, seed: 3)
        try await writer.append(plain)
        await first.close()
        let vault = try await temporary.open()
        try await TemporaryVault.unlock(vault)
        let clips = try await vault.clips(
            camera: RecordingTests.camera, overlapping: TimeRange(start, start + 3_600_000_000))
        inside.learn(plain, try #require(clips.last))
        #expect(clips.map(\.isSalvaged) == [false, false, true])
        let evidence = try await vault.prove(clips, to: temporary.folder.path + "/bundle") {
            "\($0.identity.sequence).mp4"
        }
        return (temporary.folder, vault, inside, evidence)
    }

    private func check(_ folder: String, _ inside: Inside, key: String? = nil) async throws -> EvidenceReport {
        try await EvidenceCheck(folder: folder) { inside.identity($0) }.run(expected: key)
    }

    @Test func `a bundle proves itself without a vault, and against the owner's key`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        try FileManager.default.removeItem(atPath: folder.path + "/vault")
        let report = try await check(folder.path + "/bundle", inside, key: evidence.key)
        #expect(report.findings == [])
        #expect(report.clips.count == 3)
        #expect(report.starts.map(\.software) == ["test"])
        #expect(report.missingNumbers == 0)
        #expect(report.strangers == [])
        #expect(try folder.contents("bundle/clips/1.mp4") == patternBytes(150_000, seed: 1))
        #expect(try folder.contents("bundle/clips/3.mp4") == Array(patternBytes(100_000, seed: 3).prefix(65_536)))
        let another = try await TemporaryVault()
        let other = try await another.open(.read)
        let foreign = try await other.ledgerHead().key
        await other.close()
        #expect(try await check(folder.path + "/bundle", inside, key: foreign).isSound == false)
    }

    @Test func `one bit flipped anywhere in a bundle and it proves nothing`() async throws {
        let (folder, vault, inside, _) = try await bundle()
        await vault.close()
        for name in try folder.everyFile() where name.hasPrefix("bundle/") {
            let good = try folder.contents(name)
            // Of small files every seventh byte, of clips some.
            let places =
                good.count < 4096
                ? Array(stride(from: 0, to: good.count, by: 7)) + [good.count - 1]
                : [0, 1, 80, 300, 70_000 % good.count, good.count - 1]
            for place in places {
                var bad = good
                bad[place] ^= 1
                try folder.write(bad, to: name)
                let isSound: Bool
                do {
                    let report = try await check(folder.path + "/bundle", inside)
                    isSound = report.isSound
                    // The time of making and the order of the list prove nothing and are not shown as proved.
                    if isSound, name.hasSuffix("bundle.json") { #expect(report.clips.count == 3, "\(place)") }
                } catch {
                    isSound = false
                }
                let isFree = name.hasSuffix("bundle.json") && isSound
                #expect(!isSound || isFree, "\(name) byte \(place)")
            }
            try folder.write(good, to: name)
        }
        #expect(try await check(folder.path + "/bundle", inside).isSound)
    }

    @Test func `missing, exchanged and added files are named`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        let manager = FileManager.default
        let path = folder.path + "/bundle/"
        try manager.moveItem(atPath: path + "clips/1.mp4", toPath: path + "clips/x.mp4")
        var report = try await check(path, inside)
        #expect(report.findings.contains { $0.contains("clips/1.mp4 is missing") })
        #expect(report.strangers == ["clips/x.mp4"])
        try manager.moveItem(atPath: path + "clips/2.mp4", toPath: path + "clips/1.mp4")
        try manager.moveItem(atPath: path + "clips/x.mp4", toPath: path + "clips/2.mp4")
        report = try await check(path, inside)
        #expect(report.findings.count == 2)
        #expect(report.clips.count == 1)
        let entry = evidence.clips[0].entry
        try manager.removeItem(atPath: path + Evidence.proofFile(entry))
        report = try await check(path, inside)
        #expect(!report.isSound)
    }

    @Test func `a clip that says another thing inside than outside proves nothing`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        inside.learn(patternBytes(150_000, seed: 1), evidence.clips[1].record)
        let report = try await check(folder.path + "/bundle", inside)
        #expect(report.findings.count == 1)
        #expect(report.clips.count == 2)
    }

    @Test func `a locked vault proves nothing, and nothing is written over`() async throws {
        let (folder, vault, _, evidence) = try await bundle()
        await #expect(throws: VaultError(.exists, "")) {
            _ = try await vault.prove(evidence.clips.map(\.record), to: folder.path + "/bundle") { _ in "a.mp4" }
        }
        vault.lock()
        await #expect(throws: VaultError(.locked, "")) {
            _ = try await vault.prove(evidence.clips.map(\.record), to: folder.path + "/other") { _ in "a.mp4" }
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/other"))
        await vault.close()
    }

    @Test func `a clip is found by the beginning of its object's name`() async throws {
        let (_, vault, _, evidence) = try await bundle()
        for clip in evidence.clips.map(\.record) {
            let name = clip.object.description
            #expect(try await vault.clip(named: String(name.prefix(8))) == clip)
            #expect(try await vault.clip(named: name.uppercased()) == clip)
        }
        await #expect(throws: VaultError(.invalid, "")) { _ = try await vault.clip(named: "abc") }
        await #expect(throws: VaultError(.notFound, "")) {
            _ = try await vault.clip(named: String(repeating: "0", count: 64))
        }
        await vault.close()
    }
}
