import Core
import TestKit
import Testing

@testable import Vault

/// Whoever writes clips at forged times must not get real ones deleted for them.
@Suite struct ForgedTimesTests {
    private static let hour: Int64 = 3_600_000_000
    private static let year: Int64 = 365 * 24 * hour
    private static let camera = CameraID.random()

    /// How a clip may lie about when it was recorded.
    enum Forgery: CaseIterable {
        case future, past, beforeTheEpoch, beyondTheCalendar, tooLong
        /// The machine's clock itself is wrong, and its entry is too.
        case clockAhead, clockBehind
    }

    private static func forge(
        _ forgery: Forgery, _ vault: Vault, _ time: ManualTime, camera: CameraID, bytes: Int
    ) async throws -> ClipRecord {
        let now = time.wallNow()
        let step: Int64 = forgery == .clockAhead ? 10 * year : forgery == .clockBehind ? -10 * year : 0
        time.stepWall(microseconds: step)
        let start =
            switch forgery {
            case .future: now + 10 * year
            case .past: now - 10 * year
            case .beforeTheEpoch: WallTime(microseconds: -5)
            case .beyondTheCalendar: WallTime(seconds: 300_000_000_000)
            case .tooLong: now
            case .clockAhead, .clockBehind: now + step
            }
        let writer = try await vault.beginClip(camera: camera, run: .random(), start: start)
        try await writer.append(patternBytes(bytes, seed: UInt64(bytes)))
        let clip = try await writer.finish(end: start + (forgery == .tooLong ? 5 * hour : 60_000_000))
        time.stepWall(microseconds: -step)
        return clip
    }

    @Test(arguments: Forgery.allCases, [true, false])
    func `V20: clips of forged times take no byte of a budget from real ones`(
        forgery: Forgery, isOwnCamera: Bool
    ) async throws {
        let temporary = try await TemporaryVault()
        // Else the first pass writes 64 MiB.
        try temporary.folder.write([], to: "vault/ballast")
        let vault = try await temporary.open()
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.rules = [.init(keep: 30 * 24 * Self.hour, minimum: 6 * Self.hour)]
        // So much that all of the real ones fit, and not one forged one beside them.
        let forger = isOwnCamera ? Self.camera : CameraID.random()
        var (real, forged): ([ClipRecord], [ClipRecord]) = ([], [])
        for round in 0..<16 {
            real.append(
                try await RecordingTests.record(
                    vault, patternBytes(1000 + round), at: temporary.time.wallNow(), camera: Self.camera))
            temporary.time.advance(microseconds: Self.hour)
        }
        let all = real.reduce(0) { $0 + $1.byteCount }
        policy.vaultBytes = all + 1000
        if isOwnCamera { policy.cameraBytes[Self.camera] = all + 1000 }
        vault.setRetention(policy)
        for round in 0..<6 {
            for _ in 0..<2 {
                forged.append(
                    try await Self.forge(
                        forgery, vault, temporary.time, camera: forger, bytes: 4000 + 10 * round + forged.count))
            }
            let report = try await vault.applyRetention()
            #expect(report.isTimeTrusted && report.unmet.isEmpty)
            // Forged ones go, those alone and no more of them than must.
            #expect(report.deletions.allSatisfy { forged.contains($0.clip) }, "round \(round)")
            for clip in real { #expect(try vault.index.knowsObject(clip.object), "round \(round)") }
            #expect(try vault.index.usage().reduce(0) { $0 + $1.bytes } <= all + 1000)
            temporary.time.advance(microseconds: Self.hour)
        }
        for clip in forged { #expect(try !vault.index.knowsObject(clip.object)) }
        // A budget that real ones too must give way to takes the oldest of them, as if nothing had been forged.
        forged.append(try await Self.forge(forgery, vault, temporary.time, camera: forger, bytes: 9000))
        policy.vaultBytes = real[8...].reduce(0) { $0 + $1.byteCount }
        policy.cameraBytes = [:]
        vault.setRetention(policy)
        #expect(try await vault.applyRetention().deletions.map(\.clip) == [forged[forged.count - 1]] + real[..<8])
        // The same again by a full disk, where `minimum` protects nothing.
        forged.append(try await Self.forge(forgery, vault, temporary.time, camera: forger, bytes: 9000))
        policy.freeBytes = try vault.files.space(vault.layout.root).free + 5000
        #expect(try await vault.planRetention(policy).deletions.first?.clip == forged[forged.count - 1])
        let log = try await vault.retentionLog(since: WallTime(microseconds: .min), limit: 1000)
        #expect(log.count { if case .deleted = $0.kind { true } else { false } } == forged.count - 1 + 8)
        policy.freeBytes = 0
        policy.vaultBytes = 0
        vault.setRetention(policy)
        _ = try await vault.applyRetention()
        // What is gone is nothing to find any more, and an index that is made anew knows the same.
        let report = try await vault.verify()
        #expect(report.isClean, "\(report.findings)")
        let before = try vault.index.dump()
        let again = try Index.temporary()
        try again.catchUp(vault.ledger)
        #expect(try again.dump().filter { !$0.hasPrefix("deleted") } == before.filter { !$0.hasPrefix("deleted") })
        await vault.close()
    }
}
