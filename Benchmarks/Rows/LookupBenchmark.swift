import Core
import Foundation
import Vault

/// A vault of very many clips: from a time to the first decrypted byte, a day's list, start, sizes.
///
/// Made without syncs and mostly of small clips, because only its index matters; every fiftieth clip has five chunks, and
/// only those are looked up, so that each lookup opens what a seek would: header, last chunk, one chunk.
struct LookupBenchmark: Benchmark {
    let name = "lookup"
    let summary = "first decrypted byte at a random time, list a day, start, index size"

    private static let cameras = 4
    private static let seconds: Int64 = 60
    private static let begin = WallTime(seconds: 1_735_689_600)
    private static let every = 50
    private static let small = noise(512)
    private static let large = noise(300_000)

    func run(_ context: BenchContext) async throws -> [Row] {
        let cipher = try Bare.fastestCipher()
        let place = try await BenchVault(context, files: UnsyncedFileSystem())
        let cameras = (0..<Self.cameras).map { _ in CameraID.random() }
        let perCamera = context.lookupClips / Self.cameras
        try await fill(place, cameras, perCamera, context)
        let clips = perCamera * Self.cameras
        let note = "\(clips) clips"

        let starts = try await starts(place, context.runs(8))
        let vault = try await place.open()
        try await BenchVault.unlock(vault)
        let bare = try BareRecorder(try context.scratch.folder(), cipher: cipher)
        let paths = try (0..<64).map { _ in try bare.store([Self.large]) }

        var ours = Samples()
        var yardstick = Samples()
        var days = Samples()
        var generator = SystemRandomNumberGenerator()
        let runs = context.isQuick ? 400 : 4_000
        for turn in 0..<runs + 200 {
            let camera = cameras[Int.random(in: 0..<cameras.count, using: &generator)]
            let index = Int.random(in: 0..<max(1, perCamera / Self.every), using: &generator) * Self.every
            let time =
                Self.begin + Int64(index) * Self.seconds * 1_000_000
                + Int64.random(in: 0..<Self.seconds * 1_000_000, using: &generator)
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
            try openTwoChunks(paths[turn % paths.count], cipher)
            let bareTime = Measurement.now() - began
            // The first ones warm the page cache and the epochs' keys.
            guard turn >= 200 else { continue }
            ours.add(found * 1000)
            yardstick.add(bareTime * 1000)
            if turn % 40 == 0 {
                let day = Self.begin + (time - Self.begin) / 86_400_000_000 * 86_400_000_000
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
        lookup.budget = "p99 ≤ 5 ms (1 M clips)"
        lookup.met = worst <= 5
        return [
            lookup,
            Row("list a day", unit: "ms", better: .lower, ours: days, at: .p95, limit: .atMost(10), note: note),
            Row(
                "start", unit: "s", better: .lower, ours: starts, limit: .atMost(2),
                note: "\(note), all folders changed in the last minute and so looked through"),
            try size("index size", "\(place.path)/index.sqlite", clips, limit: .atMost(20)),
            try size("ledger size", "\(place.path)/ledger", clips, limit: nil),
        ]
    }

    private func fill(
        _ place: BenchVault, _ cameras: [CameraID], _ perCamera: Int, _ context: BenchContext
    ) async throws {
        let files = UnsyncedFileSystem()
        let vault = try await place.open(files: files)
        let began = Measurement.now()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for camera in cameras {
                group.addTask {
                    let run = RunID.random()
                    for index in 0..<perCamera {
                        _ = try await BenchVault.store(
                            [index % Self.every == 0 ? Self.large : Self.small], in: vault, camera: camera, run: run,
                            start: Self.begin + Int64(index) * Self.seconds * 1_000_000, seconds: Self.seconds)
                    }
                }
            }
            try await group.waitForAll()
        }
        await vault.close()
        context.log("a vault of \(perCamera * cameras.count) clips made in \(number(Measurement.now() - began)) s")
    }

    private func starts(_ place: BenchVault, _ runs: Int) async throws -> Samples {
        var starts = Samples()
        for _ in 0..<runs {
            let began = Measurement.now()
            let vault = try await place.open()
            starts.add(Measurement.now() - began)
            await vault.close()
        }
        return starts
    }

    private func openTwoChunks(_ path: String, _ cipher: any BareCipher.Type) throws {
        var cipher = try cipher.init()
        let file = try BareFile.read(path)
        var sealed = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        var plain = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        for chunk in [4, 1] {
            let count = try file.read(into: &sealed, at: BareRecorder.offset(chunk))
            try cipher.open(sealed, count: count, into: &plain, counter: chunk)
        }
    }

    /// KB a camera and hour of 60 s clips.
    private func size(_ name: String, _ path: String, _ clips: Int, limit: Row.Limit?) throws -> Row {
        let bytes = try Self.bytes(of: path)
        let hours = Double(clips) * Double(Self.seconds) / 3600
        return Row(
            name, unit: "KB/camera-hour", better: .lower, ours: Samples([Double(bytes) / 1000 / hours]), limit: limit,
            note: "\(clips) clips")
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
