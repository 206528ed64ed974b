import Core
import Foundation
import TestKit
import Testing

@testable import Vault

@Suite struct MissingObjectsTests {
    @Test func `S12: with every object gone, a start and a full disk delete nothing, and verify says what is missing`()
        async throws
    {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        var clips: [ClipRecord] = []
        for _ in 0..<20 {
            let now = temporary.time.wallNow()
            clips.append(try await RecordingTests.record(vault, patternBytes(1000), at: now))
            temporary.time.advance(microseconds: 60_000_000)
        }
        await vault.close()
        for shard in Layout.shards {
            try FileManager.default.removeItem(atPath: temporary.path + "/objects/" + shard)
        }
        vault = try await temporary.open()
        // More than there is of the disk: it counts as full.
        var policy = RetentionPolicy()
        policy.freeBytes = 1 << 60
        vault.setRetention(policy)
        #expect(try await vault.applyRetention().deletions.isEmpty)
        #expect(!vault.deleteForSpace())
        let findings = try await vault.verify().findings
        #expect(findings.count == 20 && findings.allSatisfy { $0.kind == .missing }, "\(findings)")
        for clip in clips { #expect(try vault.index.knowsObject(clip.object)) }
        // The index lost as well: what the ledger lists stays listed.
        await vault.close()
        try FileManager.default.removeItem(atPath: temporary.path + "/index.sqlite")
        vault = try await temporary.open()
        for clip in clips { #expect(try vault.index.knowsObject(clip.object)) }
        await vault.close()
    }

    @Test func `V11: a part full of zeros is left alone and harms nothing`() async throws {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let clip = try await RecordingTests.record(vault, patternBytes(1000), at: temporary.time.wallNow())
        await vault.close()
        for name in [UUID.random().description, ObjectID(digest: Digest.sha256([1]))?.description ?? ""] {
            try temporary.folder.write([UInt8](repeating: 0, count: 200_000), to: "vault/open/\(name).part")
        }
        vault = try await temporary.open()
        #expect(try await vault.clip(at: clip.start, camera: RecordingTests.camera) == clip)
        #expect(try await vault.verify().isClean)
        #expect(vault.openingAlarms.filter { $0.contains("salvaged") }.count == 2)
        await vault.close()
    }
}
