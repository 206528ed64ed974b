import Core
import TestKit
import Testing

@testable import Vault

/// The power is cut at every operation of what the vault does.
@Suite struct CrashTests {
    private static var policy: RetentionPolicy {
        var policy = RetentionPolicy()
        policy.rules = [RetentionPolicy.Rule(keep: 4 * 60_000_000)]
        return policy
    }

    @Test func `S1 V1 V2: clips of two cameras over midnight, cut anywhere`() async throws {
        let count = try await forEveryCut(of: "publish") { bench in
            try await bench.create()
            bench.time.advance(
                microseconds: 86_400_000_000 - bench.time.wallNow().microseconds % 86_400_000_000 - 90_000_000)
            let vault = try await bench.open()
            try await bench.record(vault, 1000)
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            try await bench.record(vault, 150_000)
            try await bench.record(vault, 10_000, camera: CrashBench.cameras[1])
            // The next day: new epochs.
            try await bench.record(vault, 2 * AgePayload.chunkSize)
            let gap = GapRecord(
                camera: CrashBench.cameras[1], range: TimeRange(bench.time.wallNow(), bench.time.wallNow() + 1_000_000),
                reason: .disconnected)
            try await vault.recordGap(camera: gap.camera, range: gap.range, reason: gap.reason)
            bench.files.promise(.gap(gap))
            await vault.close()
        }
        #expect(count > 100)
    }

    @Test func `V22: a retention pass, cut anywhere`() async throws {
        try await forEveryCut(of: "retention") { bench in
            try await bench.create()
            let vault = try await bench.open()
            var clips: [ClipRecord] = []
            for _ in 0..<7 { clips.append(try await bench.record(vault, 1000)) }
            bench.allowed.delete(clips.prefix(3))
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            vault.setRetention(Self.policy)
            let report = try await vault.applyRetention()
            #expect(report.deletions.count == 3)
            bench.files.promise(.deleted(report.deletions.map(\.clip.object)))
            await vault.close()
        }
    }

    @Test func `a day's key is destroyed, cut anywhere`() async throws {
        try await forEveryCut(of: "shred") { bench in
            try await bench.create()
            let vault = try await bench.open()
            let clips = [try await bench.record(vault, 1000), try await bench.record(vault, 1000)]
            bench.allowed.delete(clips)
            bench.time.advance(microseconds: 86_400_000_000)
            try await bench.record(vault, 1000)
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            let day = bench.time.wallNow().utcDay - 1
            let report = try await vault.shred(camera: CrashBench.cameras[0], day: day)
            #expect(report.objects == 2)
            bench.files.promise(.shredded(report.epochs))
            await vault.close()
        }
    }

    @Test func `V4: a bundle of the ledger fills and its tile is written, cut anywhere`() async throws {
        try await forEveryCut(of: "ledger") { bench in
            try await bench.create()
            let vault = try await bench.open()
            try await Self.fillLedger(vault, bench, to: 252)
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            for _ in 0..<3 { try await bench.record(vault, 1000) }
            // One commit that reaches over the bundle's end.
            try await Self.fillLedger(vault, bench, to: 262)
            await vault.close()
        }
    }

    private static func fillLedger(_ vault: Vault, _ bench: CrashBench, to count: Int) async throws {
        let committer = try vault.committer()
        let first = try vault.index.position()
        let start = bench.time.wallNow()
        let gaps = (first..<count).map { number in
            GapRecord(
                camera: CrashBench.cameras[0],
                range: TimeRange(start + Int64(number), start + Int64(number) + 1), reason: .stopped)
        }
        try committer.commit(gaps.map { LedgerEntry(at: start, .gap($0)) })
        for gap in gaps.suffix(10) { bench.files.promise(.gap(gap)) }
    }

    @Test func `V8: making a vault, cut anywhere`() async throws {
        try await forEveryCut(of: "create", states: 3) { _ in
        } body: { bench in
            try await bench.create()
            bench.files.promise(.created)
        }
    }

    @Test func `S1: killed and started again at every call, and then the power goes`() async throws {
        for limit in stride(from: CrashBench.isWide ? 0 : 2, to: 80, by: CrashBench.isWide ? 1 : 4) {
            var isOver = false
            try await forEveryCut(of: "killed at call \(limit)", states: 2) { bench in
                try await bench.create()
                let vault = try await bench.open()
                try await bench.record(vault, 1000)
                await vault.close()
            } body: { bench in
                let failing = FailingFileSystem(bench.files, failures: .all, after: limit, with: .io)
                if let vault = try? await Vault.open(
                    at: bench.files.root, mode: .write(softwareVersion: "test"), files: failing, time: bench.time)
                {
                    _ = try? await bench.record(vault, 90_000)
                    isOver = !failing.hasFailed
                    vault.index.close()
                } else {
                    isOver = !failing.hasFailed
                }
                bench.files.kill()
                let vault = try await bench.open()
                try await bench.record(vault, 1000)
                await vault.close()
            }
            if isOver { return }
        }
        Issue.record("more calls than were counted on")
    }

    @Test func `V1: what a start salvages, cut anywhere again`() async throws {
        try await forEveryCut(of: "salvage") { bench in
            try await bench.create()
            let vault = try await bench.open()
            try await bench.record(vault, 1000)
            _ = try await bench.begin(vault, 150_000)
            _ = try await bench.begin(vault, 10_000, camera: CrashBench.cameras[1])
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            let clips = try vault.index.clips(ofCamera: CrashBench.cameras[0], vault.id)
            #expect(clips.count == 2)
            for clip in clips { bench.files.promise(.clip(clip)) }
            await vault.close()
        }
    }
}

extension Index {
    func clips(ofCamera camera: CameraID, _ vault: VaultID) throws(VaultError) -> [ClipRecord] {
        try IndexCatalog(index: self, vault: vault).clips(camera, doubtful: false, here: false, after: nil, limit: 1000)
    }
}
