import Core
import TestKit
import Testing

@testable import Vault

@Suite struct RepairCrashTests {
    private static func repair(_ bench: CrashBench) async throws {
        var options = RepairOptions()
        options.isApplied = true
        options.quarantinesPlayable = true
        _ = try await Vault.repair(
            at: bench.files.root, options, software: "test", files: bench.files, time: bench.time)
    }

    /// A clip that nobody promised to keep.
    private static func doomed(_ bench: CrashBench, _ vault: Vault) async throws -> ClipRecord {
        let clip = try await bench.begin(vault, 1000).finish(end: bench.time.wallNow() + 60_000_000)
        bench.time.advance(microseconds: 60_000_000)
        return clip
    }

    @Test func `repair, cut anywhere: run again it finishes, and nothing good is lost`() async throws {
        let count = try await forEveryCut(of: "repair", again: { try await Self.repair($0) }) { bench in
            try await bench.create()
            let vault = try await bench.open()
            try await bench.record(vault, 1000)
            let (lost, damaged) = (try await Self.doomed(bench, vault), try await Self.doomed(bench, vault))
            try await bench.record(vault, 70_000)
            await vault.close()
            let layout = Layout(bench.files.root)
            try bench.files.remove(layout.object(lost.object))
            try bench.files.syncDirectory(parent(of: layout.object(lost.object)))
            let file = try bench.files.open(layout.object(damaged.object), .readWrite)
            try file.write(patternBytes(64), 0..<64, at: 0)
            try file.sync()
            let stray = try bench.files.open(layout.shard("00") + "/stray", .create)
            try stray.write(patternBytes(100), 0..<100, at: 0)
            try stray.sync()
            try bench.files.syncDirectory(layout.shard("00"))
        } body: { bench in
            try await Self.repair(bench)
        }
        #expect(count > 30)
    }
}
