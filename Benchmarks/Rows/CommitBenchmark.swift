import Core
import Foundation
import Synchronization
import Vault

/// Small clips committed one after another by one camera, and by sixteen at once.
struct CommitBenchmark: Benchmark {
    let name = "commit"
    let summary = "commits per second, 1 and 16 cameras"

    private static let pieces = [noise(32_768)]
    private static let manyCameras = 16

    func run(_ context: BenchContext) async throws -> [Row] {
        let cipher = try Bare.fastestCipher()
        let place = try await BenchVault(context)
        let vault = try await place.open()
        let bare = try BareRecorder(try context.scratch.folder(), cipher: cipher)
        let cameras = (0..<Self.manyCameras).map { _ in CameraID.random() }
        // The day's epochs are made before, as they are once a day.
        let clock = Clock()
        for camera in cameras { try await Self.commit(1, vault, camera, clock) }

        let (single, many) = (context.isQuick ? 10 : 60, context.isQuick ? 4 : 20)
        let runs = context.runs(16)
        var rates: [[Double]] = [[], [], [], []]
        for _ in 0..<runs {
            rates[0].append(try await Self.rate(single) { try await Self.commit(single, vault, cameras[0], clock) })
            rates[1].append(try await Self.rate(single) { for _ in 0..<single { try bare.store(Self.pieces) } })
            rates[2].append(
                try await Self.rate(many * cameras.count) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for camera in cameras { group.addTask { try await Self.commit(many, vault, camera, clock) } }
                        try await group.waitForAll()
                    }
                })
            rates[3].append(try await Self.rate(many * cameras.count) { try Self.onThreads(cameras.count, many, bare) })
        }
        await vault.close()
        let yardstick = "the same seals, writes and syncs, group commit included"
        let samples = rates.map { Samples($0) }
        return [
            Row(
                "commits, 1 camera", unit: "1/s", better: .higher, ours: samples[0],
                yardstick: (yardstick, samples[1]), ratioLimit: .atLeast(0.85), note: "32 KiB clips"),
            Row(
                "commits, 16 cameras", unit: "1/s", better: .higher, ours: samples[2],
                yardstick: (yardstick, samples[3]), ratioLimit: .atLeast(0.85), note: "32 KiB clips"),
            Row(
                "commits, 16 cameras over one", unit: "1/s", better: .higher, ours: samples[2],
                yardstick: ("1 camera", samples[0]), ratioLimit: .atLeast(4)),
        ]
    }

    private static func rate(_ count: Int, _ body: () async throws -> Void) async throws -> Double {
        Double(count) / (try await Measurement.cost(body)).seconds
    }

    private static func commit(
        _ count: Int, _ vault: Vault, _ camera: CameraID, _ clock: Clock
    ) async throws {
        let run = RunID.random()
        for _ in 0..<count {
            _ = try await BenchVault.store(
                pieces, in: vault, camera: camera, run: run, start: clock.next(), seconds: 1)
        }
    }

    /// A thread for each camera, so that syncs overlap as much as the disk lets them.
    private static func onThreads(_ threads: Int, _ count: Int, _ bare: BareRecorder) throws {
        let done = DispatchGroup()
        let failure = Failed()
        for _ in 0..<threads {
            done.enter()
            Thread.detachNewThread {
                defer { done.leave() }
                do { for _ in 0..<count { try bare.store(pieces) } } catch { failure.set(error) }
            }
        }
        done.wait()
        if let error = failure.error { throw error }
    }

    /// A second later at each asking, so that no two clips are the same.
    private final class Clock: Sendable {
        private let time = Mutex(WallTime(seconds: 1_764_000_000))
        func next() -> WallTime {
            time.withLock { time in
                time = time + 1_000_000
                return time
            }
        }
    }

    private final class Failed: Sendable {
        private let state = Mutex<(any Error)?>(nil)
        func set(_ error: any Error) { state.withLock { $0 = error } }
        var error: (any Error)? { state.withLock { $0 } }
    }
}
