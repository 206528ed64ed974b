import Core
import TestKit
import Testing

@testable import Vault

@Suite struct RetentionQuestionsTests {
    static let camera = CameraID.random()
    static let hour: Int64 = 3_600_000_000

    /// Clips of a kilobyte, an hour apart, the last one an hour ago.
    private static func fill(_ vault: Vault, _ temporary: TemporaryVault, count: Int) async throws -> [ClipRecord] {
        var clips: [ClipRecord] = []
        for index in 0..<count {
            clips.append(
                try await RecordingTests.record(
                    vault, patternBytes(1000, seed: UInt64(index)), at: temporary.time.wallNow(), camera: camera))
            temporary.time.advance(microseconds: hour)
        }
        return clips
    }

    @Test func `what explain says of a budget is when the clip goes, with older ones on hold`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        var clips = try await Self.fill(vault, temporary, count: 6)
        let hold = try await vault.hold(
            camera: Self.camera, range: TimeRange(clips[0].start, clips[1].end), note: "")
        // Another hold on the same clips counts once.
        _ = try await vault.hold(camera: nil, range: clips[1].range, note: "")
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.vaultBytes = clips.reduce(0) { $0 + $1.byteCount } + 2 * clips[0].byteCount + 500
        vault.setRetention(policy)
        let explained = try await vault.explainRetention(clips[2].object, policy)
        let distance = try #require(explained.budgets.first { $0.cause == .vaultBudget }).distance
        #expect(distance == 2 * clips[0].byteCount + 500)
        // Two more fit, the third is more than that.
        for index in 0..<3 {
            #expect(try await vault.applyRetention().deletions.isEmpty)
            clips.append(
                try await RecordingTests.record(
                    vault, patternBytes(1000, seed: 100 + UInt64(index)), at: temporary.time.wallNow(),
                    camera: Self.camera))
            temporary.time.advance(microseconds: Self.hour)
        }
        #expect(try await vault.applyRetention().deletions.first?.clip == clips[2])
        // What is on hold nothing takes.
        let held = try await vault.explainRetention(clips[0].object, policy)
        #expect(held.verdict == .held(hold) && held.budgets.isEmpty)
        await vault.close()
    }

    @Test func `who only reads the vault answers by what the recorder keeps for others, as long as it lasts`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 3)
        var policy = RetentionPolicy()
        policy.rules = [.init(keep: 0)]
        let token = vault.lease(camera: Self.camera, range: clips[0].range)
        let leases = vault.leases()
        #expect(leases.count == 1)
        let reader = try await temporary.open(.read)
        let before = try await reader.explainRetention(clips[0].object, policy)
        #expect(before.verdict == .age(rule: 1, until: clips[0].end))
        reader.learn(leases)
        let end = temporary.time.wallNow() + Self.hour
        let leased = try await reader.explainRetention(clips[0].object, policy)
        #expect(leased.verdict == .leased(until: end))
        let other = try await reader.explainRetention(clips[1].object, policy)
        #expect(other.verdict == .age(rule: 1, until: clips[1].end))
        #expect(try await reader.planRetention(policy).deletions.map(\.clip) == Array(clips[1...]))
        temporary.time.advance(microseconds: Self.hour)
        let after = try await reader.explainRetention(clips[0].object, policy)
        #expect(after.verdict == before.verdict)
        #expect(try await reader.planRetention(policy).deletions.count == 3)
        #expect(vault.leases() == [])
        withExtendedLifetime(token) {}
        await reader.close()
        await vault.close()
    }

    @Test func `explain says when nobody vouches for the clock, and promises no minimum to what it does not protect`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 2)
        var policy = RetentionPolicy()
        policy.rules = [.init(keep: 48 * Self.hour, minimum: 24 * Self.hour)]
        let before = try await vault.explainRetention(clips[0].object, policy)
        #expect(before.isTimeTrusted && before.minimumUntil == clips[0].end + 24 * Self.hour)
        temporary.time.advance(microseconds: 90 * 24 * Self.hour)
        let odd = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow(), camera: Self.camera)
        let late = try await vault.explainRetention(clips[0].object, policy)
        #expect(!late.isTimeTrusted && late.verdict == .age(rule: 1, until: clips[0].end + 48 * Self.hour))
        let doubtful = try await vault.explainRetention(odd.object, policy)
        #expect(doubtful.verdict == .doubtful && doubtful.minimumUntil == nil)
        await vault.close()
    }

    @Test func `a plan reaches back as far as the minimum that budgets keep to`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 12)
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.rules = [.init(keep: 48 * Self.hour, minimum: 24 * Self.hour)]
        for set in [\RetentionPolicy.vaultBytes, \.eachCameraBytes] {
            policy.vaultBytes = nil
            policy.eachCameraBytes = nil
            policy[keyPath: set] = clips[0].byteCount
            let camera = try #require(try await vault.retentionPlan(policy).cameras.first)
            #expect(camera.reach == 24 * Self.hour)
            #expect(camera.reachCause == (policy.vaultBytes == nil ? .cameraBudget : .vaultBudget))
        }
        await vault.close()
    }
}
