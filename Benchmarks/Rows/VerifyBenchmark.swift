import Core
import Dispatch
import Foundation
import Glibc
import Synchronization
import Vault

/// The check that needs no key: every object against its name, the ledger against its signature.
struct VerifyBenchmark: Benchmark {
    let name = "verify"
    let summary = "verify a vault without a key"

    func run(_ context: BenchContext) async throws -> [Row] {
        let place = try await BenchVault(context)
        let clips = context.isQuick ? 6 : 32
        let writer = try await place.open()
        let (camera, run) = (CameraID.random(), RunID.random())
        for index in 0..<clips {
            _ = try await BenchVault.store(
                SealBenchmark.pieces, in: writer, camera: camera, run: run,
                start: WallTime(seconds: 1_764_000_000 + Int64(index) * 60), seconds: 60)
        }
        await writer.close()
        let objects = place.path + "/objects"
        let files = try FileManager.default.subpathsOfDirectory(atPath: objects).filter { $0.contains("/") }
            .sorted().map { objects + "/" + $0 }
        let megabytes = SealBenchmark.megabytes * Double(clips)
        let vault = try await place.open(.read)
        let costs = try await Measurement.interleaved(context.runs(10)) {
            let report = try await vault.verify()
            guard report.isClean else {
                throw BenchError(.programFailed, "verify found \(report.findings.count) things.")
            }
        } yardstick: {
            try Self.hash(files)
        }
        await vault.close()
        var rows = [
            Row(
                "verify", unit: "MB/s", better: .higher, ours: Samples(costs.ours.map { megabytes / $0.seconds }),
                yardstick: (
                    "libcrypto SHA-256 of the same files on two threads",
                    Samples(costs.yardstick.map { megabytes / $0.seconds })
                ), ratioLimit: .atLeast(0.9), note: "\(clips) clips in the page cache")
        ]
        if let row = try await besideRestic(context, place, megabytes) { rows.append(row) }
        return rows
    }

    /// Whole programs on both sides: `sudocam verify` and `restic check --read-data`.
    private func besideRestic(_ context: BenchContext, _ place: BenchVault, _ megabytes: Double) async throws -> Row? {
        do {
            try Program.require("restic", package: "restic")
            try context.requireSudocam()
        } catch {
            context.log("verify beside restic left out: \(error)")
            return nil
        }
        let folder = try context.scratch.folder()
        let configuration = folder.path + "/sudocam.yaml"
        try Data("vault: \(place.path)\n".utf8).write(to: URL(fileURLWithPath: configuration))
        let secret = folder.path + "/password"
        try Data("correct horse\n".utf8).write(to: URL(fileURLWithPath: secret))
        let common = ["--repo", folder.path + "/repository", "--password-file", secret, "--no-cache", "--quiet"]
        try Program.output("restic", ["init"] + common)
        try Program.output("restic", ["backup", place.path + "/objects"] + common)
        let costs = try await Measurement.interleaved(context.runs(6)) {
            try Program.output(context.sudocam, ["verify", "--config", configuration])
        } yardstick: {
            try Program.output("restic", ["check", "--read-data"] + common)
        }
        return Row(
            "verify, whole program", unit: "MB/s", better: .higher,
            ours: Samples(costs.ours.map { megabytes / $0.seconds }),
            yardstick: ("restic check --read-data", Samples(costs.yardstick.map { megabytes / $0.seconds })),
            ratioLimit: .atLeast(2), note: "the same bytes in a restic repository")
    }

    /// SHA-256 of every file: two threads, 256 KiB a read, as `verify` does.
    private static func hash(_ files: [String]) throws {
        let next = Atomic(0)
        let failure = Mutex<(any Error)?>(nil)
        DispatchQueue.concurrentPerform(iterations: 2) { _ in
            do {
                var buffer = [UInt8](repeating: 0, count: 1 << 18)
                while true {
                    let index = next.add(1, ordering: .relaxed).oldValue
                    guard index < files.count else { return }
                    let file = try BareFile.read(files[index])
                    let digest = try BareDigest()
                    var offset = 0
                    while true {
                        let count = try file.read(into: &buffer, at: offset)
                        guard count > 0 else { break }
                        digest.update(buffer, count: count)
                        offset += count
                    }
                    guard files[index].hasSuffix(Hex.encode(digest.finish())) else { throw Bare.failure("SHA-256") }
                }
            } catch {
                failure.withLock { $0 = error }
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
    }
}
