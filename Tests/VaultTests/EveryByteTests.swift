import Core
import TestKit
import Testing

@testable import Vault

/// V29: no byte of a vault can change unseen, and verification says which thing it was.
@Suite struct EveryByteTests {
    /// One camera, one clip of one chunk, a gap: every file is small enough to try all of its bytes.
    private static func small() async throws -> (TemporaryVault, ClipRecord) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let clip = try await RecordingTests.record(vault, patternBytes(300), at: start)
        try await vault.recordGap(
            camera: RecordingTests.camera, range: TimeRange(start + 60_000_000, start + 61_000_000), reason: .paused)
        await vault.close()
        return (temporary, clip)
    }

    /// Flips one bit of each byte in turn, which moves on with the place; or each of the eight.
    private static func flipEach(
        _ name: String, of temporary: TemporaryVault, every stride: Int = 1, allBits: Bool = false,
        _ judge: (_ place: Int, _ subjects: [VerificationFinding.Subject]) -> Bool
    ) async throws -> Int {
        let good = try temporary.folder.contents(name)
        let vault = try await temporary.open(.read)
        var tried = 0
        for place in Swift.stride(from: 0, to: good.count, by: stride) {
            for bit in allBits ? Array(0..<8) : [place % 8] {
                var bad = good
                bad[place] ^= 1 << UInt8(bit)
                try temporary.folder.write(bad, to: name)
                let findings = try await vault.verify().findings
                #expect(
                    judge(place, findings.map(\.subject)),
                    "\(name) byte \(place), \(good[place]) became \(bad[place]): \(findings.map(\.description))")
                tried += 1
            }
        }
        try temporary.folder.write(good, to: name)
        #expect(try await vault.verify().isClean)
        await vault.close()
        return tried
    }

    @Test func `every byte of an object`() async throws {
        let (temporary, clip) = try await Self.small()
        let name = Layout("vault").object(clip.object)
        let tried = try await Self.flipEach(name, of: temporary) { _, subjects in subjects == [.object(clip.object)] }
        #expect(tried == clip.byteCount)
    }

    /// Every bit, since base64 can hide some of them.
    @Test func `every bit of the checkpoint`() async throws {
        let (temporary, _) = try await Self.small()
        let tried = try await Self.flipEach("vault/ledger/checkpoint", of: temporary, allBits: true) { _, subjects in
            subjects == [.checkpoint]
        }
        #expect(tried > 1000)
    }

    @Test func `every byte of a ledger that no tile covers`() async throws {
        let (temporary, _) = try await Self.small()
        let tried = try await Self.flipEach("vault/ledger/entries/000", of: temporary) { _, subjects in
            subjects.contains { if case .entries = $0 { true } else { false } }
        }
        #expect(tried > 500)
    }

    @Test func `every byte of an epoch`() async throws {
        let (temporary, clip) = try await Self.small()
        let name = "vault/epochs/\(clip.identity.epoch).age"
        let tried = try await Self.flipEach(name, of: temporary) { _, subjects in
            subjects == [.epoch(clip.identity.epoch)]
        }
        #expect(tried > 200)
    }

    @Test func `in a ledger with a tile, the very entry is named`() async throws {
        let (temporary, _) = try await VerificationTests.recorded()
        let bytes = try temporary.folder.contents("vault/ledger/entries/000")
        var reader = ByteReader(bytes)
        var owner: [Int] = []
        var prefixes: Set<Int> = []
        for entry in 0..<MerkleTree.tileWidth {
            prefixes.formUnion([reader.offset, reader.offset + 1])
            let count = Int(try reader.u16())
            _ = try reader.take(count)
            owner += Array(repeating: entry, count: count + 2)
        }
        let tried = try await Self.flipEach("vault/ledger/entries/000", of: temporary, every: 397) { place, subjects in
            // A length that lies takes what follows along.
            prefixes.contains(place)
                ? !subjects.isEmpty : subjects.contains(.entries(owner[place]..<owner[place] + 1))
        }
        #expect(tried > 50)
        _ = try await Self.flipEach("vault/ledger/tile/0/000", of: temporary, every: 131) { _, subjects in
            subjects == [.tile(0, 0)]
        }
    }
}
