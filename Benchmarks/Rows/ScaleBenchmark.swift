import Core
import Foundation
import Synchronization
import Vault

/// Vaults of ten thousand to a million clips: start, a day's list, from a time to the first decrypted byte, memory, sizes,
/// and what a long retention pass does to those who record meanwhile.
struct ScaleBenchmark: Benchmark {
    let name = "scale"
    let summary = "start, list a day, first decrypted byte, memory, index size, retention beside recording"

    /// Clips that the retention pass deletes.
    private static let deletions = 10_000

    func run(_ context: BenchContext) async throws -> [Row] {
        var rows: [Row] = []
        var smallest: (recorder: Double, verify: Double)?
        for clips in context.scales {
            var vault = try await ScaleVault(context, clips: clips)
            rows += try await look(vault, context)
            rows += [
                try Self.size("index size", "\(vault.place.path)/index.sqlite", vault.clips, limit: .atMost(20)),
                try Self.size("ledger size", "\(vault.place.path)/ledger", vault.clips, limit: nil),
            ]
            if FileManager.default.isExecutableFile(atPath: context.sudocam) {
                let memory = try await Self.memory(vault, context)
                rows += [
                    Self.memoryRow("memory of the recorder", vault.clips, memory.recorder, smallest?.recorder),
                    Self.memoryRow("most memory of verify", vault.clips, memory.verify, smallest?.verify),
                ]
                if smallest == nil { smallest = memory }
            } else {
                context.log("left out: the rows of memory, since there is no program \(context.sudocam).")
            }
            if clips == context.scales.last { rows.append(try await Self.retention(&vault)) }
        }
        return rows
    }

    // MARK: Looking

    private func look(_ scale: ScaleVault, _ context: BenchContext) async throws -> [Row] {
        let note = "\(scale.clips) clips"
        var starts = Samples()
        for _ in 0..<context.runs(8) {
            let began = Measurement.now()
            let vault = try await scale.place.open()
            starts.add(Measurement.now() - began)
            await vault.close()
        }
        let cipher = try Bare.fastestCipher()
        let vault = try await scale.place.open()
        try await BenchVault.unlock(vault)
        let bare = try BareRecorder(try context.scratch.folder(), cipher: cipher)
        let paths = try (0..<64).map { _ in try bare.store([ScaleVault.large]) }
        var (ours, yardstick, days) = (Samples(), Samples(), Samples())
        var generator = SystemRandomNumberGenerator()
        for turn in 0..<(context.isQuick ? 400 : 4_000) + 200 {
            let camera = scale.cameras[Int.random(in: 0..<scale.cameras.count, using: &generator)]
            let first = (scale.indexes.lowerBound + scale.every - 1) / scale.every
            let large = first..<max(first + 1, scale.indexes.upperBound / scale.every)
            let index = Int.random(in: large, using: &generator) * scale.every
            let time =
                scale.start(index) + Int64.random(in: 0..<ScaleVault.seconds * 1_000_000, using: &generator)
            var began = Measurement.now()
            guard let clip = try await vault.clip(at: time, camera: camera) else {
                throw BenchError(.programFailed, "No clip is found at \(time.microseconds) µs.")
            }
            let source = try await vault.openObject(clip)
            let byte = try await source.read(at: Int.random(in: 0..<131_072, using: &generator), count: 1)
            let found = Measurement.now() - began
            guard byte.count == 1, clip.range.start <= time, time < clip.range.end else {
                throw BenchError(.programFailed, "The wrong clip is found at \(time.microseconds) µs.")
            }
            began = Measurement.now()
            try Self.openTwoChunks(paths[turn % paths.count], cipher)
            let bareTime = Measurement.now() - began
            // The first ones warm the page cache and the epochs' keys.
            guard turn >= 200 else { continue }
            ours.add(found * 1000)
            yardstick.add(bareTime * 1000)
            if turn % 40 == 0 {
                let day = scale.begin + (time - scale.begin) / 86_400_000_000 * 86_400_000_000
                began = Measurement.now()
                _ = try await vault.clips(
                    camera: camera, overlapping: TimeRange(day, day + 86_400_000_000), limit: 10_000)
                days.add((Measurement.now() - began) * 1000)
            }
        }
        await vault.close()
        let worst = ours.quantile(0.99) ?? .nan
        var lookup = Row(
            "first decrypted byte at a random time", unit: "ms", better: .lower, ours: ours,
            yardstick: ("open, read and decrypt two chunks at known places", yardstick),
            note: "\(note), warm, p99 \(number(worst)) ms")
        lookup.budget = "p99 ≤ 5 ms"
        lookup.met = worst <= 5
        return [
            lookup,
            Row("list a day", unit: "ms", better: .lower, ours: days, at: .p95, limit: .atMost(10), note: note),
            Row("start", unit: "s", better: .lower, ours: starts, limit: .atMost(2), note: note),
        ]
    }

    private static func openTwoChunks(_ path: String, _ cipher: any BareCipher.Type) throws {
        var cipher = try cipher.init()
        let file = try BareFile.read(path)
        var sealed = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        var plain = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        for chunk in [4, 1] {
            let count = try file.read(into: &sealed, at: BareRecorder.offset(chunk))
            try cipher.open(sealed, count: count, into: &plain, counter: chunk)
        }
    }

    // MARK: Memory

    /// MiB: of a recorder with this vault and one test camera, and the most that `verify` takes.
    private static func memory(
        _ scale: ScaleVault, _ context: BenchContext
    ) async throws -> (recorder: Double, verify: Double) {
        try context.requireSudocam()
        let recorder = try SudocamProcess(
            context, scale.place.folder.path, cameras: ["test": "test:?size=320x240"], isVaultThere: true)
        defer { recorder.stop() }
        try await CameraBenchmark.wait(30, for: "the test camera to be recorded") { recorder.isRecording(1) }
        try await Task.sleep(for: .seconds(context.isQuick ? 3 : 15))
        let resident = ProcessTable.residentMiB(recorder.pid)
        recorder.stop()
        let folder = scale.place.folder.path
        let verify = try Program(
            context.sudocam, ["verify", "--config", folder + "/sudocam.yaml"], folder: folder,
            log: folder + "/verify.log")
        var most = 0.0
        while verify.isRunning {
            most = max(most, ProcessTable.mostResidentMiB(verify.pid))
            try await Task.sleep(for: .milliseconds(20))
        }
        guard try Machine.text(folder + "/verify.log").contains("Nothing found") else {
            throw BenchError(.programFailed, "verify: \(verify.lastWords)")
        }
        return (resident, most)
    }

    private static func memoryRow(_ name: String, _ clips: Int, _ ours: Double, _ smallest: Double?) -> Row {
        Row(
            name, unit: "MiB", better: .lower, ours: Samples([ours]),
            yardstick: smallest.map { ("the same with the smallest vault", Samples([$0])) },
            ratioLimit: smallest.map { _ in .atMost(1.2) }, note: "\(clips) clips")
    }

    // MARK: Retention

    /// One camera commits clip after clip while ten thousand of the oldest go, in the recorder's own steps.
    private static func retention(_ scale: inout ScaleVault) async throws -> Row {
        let vault = try await scale.place.open()
        let camera = CameraID.random()
        let before = try await commits(vault, camera, until: { $0 >= 200 })
        let doomed = min(deletions, scale.clips / 2)
        var policy = RetentionPolicy()
        let all = scale.clips
        let keep = SystemTime().wallNow() - scale.start(scale.indexes.lowerBound + doomed / scale.cameras.count)
        // One more than the rule names: the pass looks at clips' ends, and the clock goes on.
        try scale.giveUp(min(scale.indexes.count, doomed / scale.cameras.count + 1))
        policy.rules = [RetentionPolicy.Rule(keep: keep)]
        policy.freeBytes = 0
        vault.setRetention(policy)
        let began = Measurement.now()
        let deletion = Task {
            var deleted = 0
            while deleted < doomed {
                let report = try await vault.applyRetention(limit: 64)
                deleted += report.deletions.count
                guard report.isUnfinished else { break }
                try await Task.sleep(for: .milliseconds(200))
            }
            return deleted
        }
        let isOver = Over()
        let watcher = Task {
            _ = try? await deletion.value
            isOver.set()
        }
        let during = try await commits(vault, camera, until: { _ in isOver.isSet })
        await watcher.value
        let deleted = try await deletion.value
        let seconds = Measurement.now() - began
        await vault.close()
        let worst = during.quantile(1) ?? .nan
        var row = Row(
            "a commit while clips are deleted", unit: "ms", better: .lower, ours: during,
            yardstick: ("the same without", before),
            note:
                "\(deleted) of \(all) clips deleted in \(number(seconds)) s; slowest commit \(number(worst)) ms, without \(number(before.quantile(1) ?? .nan)) ms"
        )
        row.budget = "slowest ≤ 100 ms later"
        row.met = worst - before.median <= 100
        return row
    }

    private static func commits(
        _ vault: Vault, _ camera: CameraID, until isEnough: (Int) -> Bool
    ) async throws -> Samples {
        var samples = Samples()
        let run = RunID.random()
        while !isEnough(samples.values.count) {
            let began = Measurement.now()
            _ = try await BenchVault.store(
                [ScaleVault.small], in: vault, camera: camera, run: run, start: SystemTime().wallNow(), seconds: 1)
            samples.add((Measurement.now() - began) * 1000)
        }
        return samples
    }

    private final class Over: Sendable {
        private let state = Mutex(false)
        var isSet: Bool { state.withLock { $0 } }
        func set() { state.withLock { $0 = true } }
    }

    // MARK: Sizes

    /// KB a camera and hour of 60 s clips.
    private static func size(_ name: String, _ path: String, _ clips: Int, limit: Row.Limit?) throws -> Row {
        let hours = Double(clips) * Double(ScaleVault.seconds) / 3600
        return Row(
            name, unit: "KB/camera-hour", better: .lower, ours: Samples([Double(try bytes(of: path)) / 1000 / hours]),
            limit: limit, note: "\(clips) clips")
    }

    /// Of a file with what SQLite keeps beside it, or of every file in a folder.
    private static func bytes(of path: String) throws -> Int {
        let manager = FileManager.default
        let below = (try? manager.subpathsOfDirectory(atPath: path)) ?? []
        let paths = below.isEmpty ? ["", "-wal"].map { path + $0 } : below.map { path + "/" + $0 }
        return paths.reduce(0) { sum, path in
            guard let attributes = try? manager.attributesOfItem(atPath: path),
                attributes[.type] as? FileAttributeType == .typeRegular
            else { return sum }
            return sum + (attributes[.size] as? Int ?? 0)
        }
    }
}
