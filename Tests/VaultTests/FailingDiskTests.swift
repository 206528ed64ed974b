import Core
import TestKit
import Testing

@testable import Vault

/// Every changing call fails in turn, once or from then on, with every error a disk has.
@Suite struct FailingDiskTests {
    private static let cameras = CrashBench.cameras

    /// What a recorder does with each failure: goes on as well as it can. Clips that were confirmed.
    private static func work(_ files: FailingFileSystem, _ bench: CrashBench) async throws -> [ClipRecord] {
        var clips: [ClipRecord] = []
        guard
            let vault = try? await Vault.open(
                at: bench.files.root, mode: .write(softwareVersion: "test"), files: files, time: bench.time)
        else { return [] }
        for camera in cameras {
            if let clip = try? await bench.record(vault, 150_000, camera: camera) { clips.append(clip) }
        }
        vault.setRetention(policy)
        if let report = try? await vault.applyRetention() {
            bench.files.promise(.deleted(report.deletions.map(\.clip.object)))
        }
        if let clip = try? await bench.record(vault, 1000) { clips.append(clip) }
        // The disk is well again, and the recorder never stopped.
        files.heal()
        await vault.syncOpenClips()
        _ = try await vault.applyRetention()
        for camera in cameras { clips.append(try await bench.record(vault, 1000, camera: camera)) }
        let findings = try await vault.verify().findings
        #expect(findings.isEmpty, "\(findings)")
        await vault.close()
        return clips
    }
    private static var policy: RetentionPolicy {
        var policy = RetentionPolicy()
        policy.rules = [RetentionPolicy.Rule(keep: 5 * 60_000_000)]
        return policy
    }

    @Test(arguments: FailingFileSystem.Fault.allCases, FailingFileSystem.Failures.allCases)
    func `whatever call fails, nothing confirmed is lost and verify passes`(
        fault: FailingFileSystem.Fault, failures: FailingFileSystem.Failures
    ) async throws {
        // Each fault meets other calls; at night each meets all.
        let share = FailingFileSystem.Fault.allCases.count
        var calls = CrashBench.isWide ? 0 : FailingFileSystem.Fault.allCases.firstIndex(of: fault) ?? 0
        let isFull = [.noSpace, .quota, .short].contains(fault)
        var confirmed = 0
        while true {
            let bench = CrashBench(
                files: try CrashFileSystem(), time: ManualTime(), allowed: CrashBench.Allowed(), extra: { _ in })
            bench.time.setSynchronised(true)
            try await bench.create()
            var vault = try await bench.open()
            var old: [ClipRecord] = []
            for _ in 0..<4 { old.append(try await bench.record(vault, 1000)) }
            // Whatever a full disk asks for, this stays.
            _ = try await vault.hold(camera: nil, range: old[3].range, note: "")
            await vault.close()
            let files = FailingFileSystem(bench.files, failures: failures, after: calls, with: fault)
            let clips = try await Self.work(files, bench)
            vault = try await bench.open()
            let findings = try await vault.verify().findings
            #expect(findings.isEmpty, "\(fault), \(failures) after \(calls): \(findings)")
            // Only a disk that says it is full may take the oldest, and only with an entry that says so.
            let tail = try vault.ledger.tail(from: 0)
            for clip in clips {
                #expect(tail.clips.contains(clip.object), "\(fault), \(failures) after \(calls)")
                #expect(
                    try vault.index.knowsObject(clip.object) || isFull && tail.deleted.contains(clip.object),
                    "\(fault), \(failures) after \(calls)")
            }
            #expect(try vault.index.knowsObject(old[3].object), "\(fault), \(failures) after \(calls)")
            await vault.close()
            confirmed += clips.count
            guard files.hasFailed else { break }
            calls += CrashBench.isWide ? 1 : share
            try #require(calls < 400)
        }
        #expect(calls > 20 && confirmed > calls / share)
    }
}
