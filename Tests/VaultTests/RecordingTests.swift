import Core
import Foundation
import TestKit
import Testing
import Vault

@Suite struct RecordingTests {
    static let camera = CameraID.random()

    static func record(_ vault: Vault, _ bytes: [UInt8], at start: WallTime, camera: CameraID = camera) async throws
        -> ClipRecord
    {
        let writer = try await vault.beginClip(camera: camera, run: .random(), start: start)
        for offset in stride(from: 0, to: bytes.count, by: 30_000) {
            try await writer.append(Array(bytes[offset..<min(offset + 30_000, bytes.count)]))
        }
        return try await writer.finish(end: start + 60_000_000)
    }

    /// Start and length, in seconds.
    @Test(arguments: [(300_000_000_000, 60), (1_764_000_000, 7200), (-1, 60)])
    func `T10: a clip of an implausible time is set aside, lists go on, and verify names it`(
        start: Int64, length: Int64
    ) async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let good = try await Self.record(vault, patternBytes(1000), at: temporary.time.wallNow())
        let start = WallTime(seconds: start)
        let writer = try await vault.beginClip(camera: Self.camera, run: .random(), start: start)
        try await writer.append(patternBytes(1000, seed: 7))
        let odd = try await writer.finish(end: start + length * 1_000_000)
        let always = TimeRange(WallTime(microseconds: .min), WallTime(microseconds: .max))
        #expect(try await vault.clips(camera: Self.camera, overlapping: always, limit: 10) == [good])
        let findings = try await vault.verify().findings
        #expect(findings.map(\.kind) == [.implausible])
        #expect(findings.first?.subject == .object(odd.object))
        await vault.close()
        // Also in an index that is made anew.
        _ = try await Vault.rebuildIndex(at: temporary.path)
        let again = try await temporary.open()
        #expect(try await again.clips(camera: Self.camera, overlapping: always, limit: 10) == [good])
        await again.close()
    }

    @Test(arguments: [0, 1, 65535, 65536, 65537, 131072, 200_000])
    func `what is recorded while locked reads back when unlocked`(count: Int) async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let bytes = patternBytes(count)
        let start = temporary.time.wallNow()
        let clip = try await Self.record(vault, bytes, at: start)
        #expect(!vault.isUnlocked)
        await #expect(throws: VaultError(.locked, "")) { _ = try await vault.openObject(clip) }
        try await TemporaryVault.unlock(vault)
        let source = try await vault.openObject(clip)
        #expect(source.count == count)
        #expect(try await source.read(at: 0, count: count + 10) == bytes)
        if count > 70_000 { #expect(try await source.read(at: 65_530, count: 12) == Array(bytes[65_530..<65_542])) }
        #expect(try await vault.clip(at: start + 30_000_000, camera: Self.camera) == clip)
        #expect(try await vault.clips(camera: Self.camera, overlapping: TimeRange(start, start + 1)) == [clip])
        vault.lock()
        await #expect(throws: VaultError(.locked, "")) { _ = try await source.read(at: 0, count: 1) }
        await vault.close()
    }

    @Test func `sequences rise by one, also over a restart, and a day has one epoch`() async throws {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let a = try await Self.record(vault, patternBytes(10), at: start)
        let taken = try await vault.beginClip(camera: Self.camera, run: .random(), start: start + 60_000_000)
        try await taken.discard()
        await vault.close()
        vault = try await temporary.open()
        let b = try await Self.record(vault, patternBytes(10), at: start + 60_000_000)
        let c = try await Self.record(vault, patternBytes(10), at: start + 86_400_000_000)
        #expect([a, b, c].map(\.identity.sequence) == [1, 2, 3])
        #expect(a.identity.epoch == b.identity.epoch)
        #expect(b.identity.epoch != c.identity.epoch)
        await vault.close()
    }

    @Test func `the open clip reads while it is written and until it is released or locked`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let bytes = patternBytes(150_000)
        let writer = try await vault.beginClip(camera: Self.camera, run: .random(), start: temporary.time.wallNow())
        try await writer.append(bytes)
        await vault.syncOpenClips()
        #expect(writer.bytesUntilChunkEnd == 3 * 65536 - 150_000)
        #expect(writer.hasUnsealedBytes)
        try await TemporaryVault.unlock(vault)
        let source = writer.source
        #expect(try await source.read(at: 0, count: 150_000) == bytes)
        _ = try await writer.finish(end: temporary.time.wallNow() + 1)
        #expect(try await source.read(at: 131_000, count: 100) == Array(bytes[131_000..<131_100]))
        vault.lock()
        await #expect(throws: VaultError(.locked, "")) { _ = try await source.read(at: 0, count: 1) }
        await vault.close()
    }

    @Test func `a wrong passphrase is told apart and the recovery identity opens too`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clip = try await Self.record(vault, patternBytes(1000), at: temporary.time.wallNow())
        await #expect(throws: VaultError(.wrongPassphrase, "")) {
            try await vault.unlock(passphrase: SecretBytes(text: "wrong"))
        }
        try await vault.unlock(identity: temporary.creation.recoveryIdentity)
        #expect(try await vault.openObject(clip).read(at: 0, count: 1000) == patternBytes(1000))
        await vault.close()
    }

    @Test func `a part left behind is salvaged at its last whole chunk, without a key`() async throws {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let bytes = patternBytes(200_000)
        let writer = try await vault.beginClip(camera: Self.camera, run: .random(), start: start)
        try await writer.append(bytes)
        await vault.close()
        vault = try await temporary.open()
        let clip = try #require(try await vault.clip(at: start, camera: Self.camera))
        #expect(clip.isSalvaged)
        #expect(clip.identity == writer.identity)
        try await TemporaryVault.unlock(vault)
        let source = try await vault.openObject(clip)
        #expect(source.count == 196_608)
        #expect(try await source.read(at: 0, count: 200_000) == Array(bytes.prefix(196_608)))
        await vault.close()
    }
}
