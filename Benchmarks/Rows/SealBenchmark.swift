import Core
import Vault

/// A minute of 4 Mbit/s through the vault, as fast as it takes it.
struct SealBenchmark: Benchmark {
    let name = "seal"
    let summary = "seal, hash and store 60 s clips (30 MB)"

    /// 60 pieces, as the recorder appends one fragment a second.
    static let pieces = (0..<60).map { noise(500_000, seed: UInt64($0 + 1)) }
    static let megabytes = 30.0

    func run(_ context: BenchContext) async throws -> [Row] {
        let cipher = try Bare.fastestCipher()
        let place = try await BenchVault(context)
        let vault = try await place.open()
        let bare = try BareRecorder(try context.scratch.folder(), cipher: cipher)
        let (camera, run) = (CameraID.random(), RunID.random())
        var start = WallTime(seconds: 1_764_000_000)
        let costs = try await Measurement.interleaved(context.runs(24)) {
            _ = try await BenchVault.store(
                Self.pieces, in: vault, camera: camera, run: run, start: start, seconds: 60)
            start = start + 60_000_000
        } yardstick: {
            try bare.store(Self.pieces)
        }
        await vault.close()
        let name = "\(cipher.name) ChaCha20-Poly1305 + SHA-256 + write + the same syncs"
        return [
            Row(
                "seal + hash + store", unit: "MB/s", better: .higher,
                ours: Samples(costs.ours.map { Self.megabytes / $0.seconds }),
                yardstick: (name, Samples(costs.yardstick.map { Self.megabytes / $0.seconds })),
                ratioLimit: .atLeast(0.9)),
            Row(
                "seal + hash + store, processor time", unit: "ms/clip", better: .lower,
                ours: Samples(costs.ours.map { $0.cpuSeconds * 1000 }),
                yardstick: (name, Samples(costs.yardstick.map { $0.cpuSeconds * 1000 }))),
        ]
    }
}

/// Reading a minute back, as export does.
struct OpenBenchmark: Benchmark {
    let name = "open"
    let summary = "open (decrypt) sealed 60 s clips"

    func run(_ context: BenchContext) async throws -> [Row] {
        let cipher = try Bare.fastestCipher()
        let place = try await BenchVault(context)
        let vault = try await place.open()
        try await BenchVault.unlock(vault)
        let clip = try await BenchVault.store(
            SealBenchmark.pieces, in: vault, camera: .random(), run: .random(),
            start: WallTime(seconds: 1_764_000_000), seconds: 60)
        let bare = try BareRecorder(try context.scratch.folder(), cipher: cipher)
        // Whole chunks, as a sealed clip has them.
        let path = try bare.store([SealBenchmark.pieces.flatMap { $0 }])
        let costs = try await Measurement.interleaved(context.runs(40)) {
            let source = try await vault.openObject(clip)
            var offset = 0
            while offset < source.count { offset += try await source.read(at: offset, count: 1 << 19).count }
        } yardstick: {
            _ = try BareRecorder.open(path, cipher: cipher)
        }
        await vault.close()
        return [
            Row(
                "open a sealed clip", unit: "MB/s", better: .higher,
                ours: Samples(costs.ours.map { SealBenchmark.megabytes / $0.seconds }),
                yardstick: (
                    "\(cipher.name) ChaCha20-Poly1305, same chunks, same reads",
                    Samples(costs.yardstick.map { SealBenchmark.megabytes / $0.seconds })
                ), ratioLimit: .atLeast(0.9), note: "files in the page cache, 512 KiB a read")
        ]
    }
}
