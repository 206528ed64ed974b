import Core
import Foundation
import Synchronization
import Vault

/// A vault of very many clips of 60 s, up to now: headers, ledger, epochs and index are real, most bodies are small.
///
/// Made without syncs, because it is only looked at afterwards. Every so often a clip has five chunks, and only those are
/// looked up, so that each lookup opens what a seek would: header, last chunk, one chunk.
struct ScaleVault {
    static let seconds: Int64 = 60
    static let small = noise(512)
    static let large = noise(300_000)
    private static let cameraCount = 4
    private static let largeClips = 2_000

    let place: BenchVault
    let cameras: [CameraID]
    let perCamera: Int
    let begin: WallTime
    /// Of one camera's clips, every so manieth is large.
    let every: Int
    var clips: Int { perCamera * cameras.count }

    init(_ context: BenchContext, clips: Int) async throws {
        place = try await BenchVault(context, files: UnsyncedFileSystem())
        cameras = (0..<Self.cameraCount).map { _ in CameraID.random() }
        perCamera = max(1, clips / Self.cameraCount)
        every = max(50, clips / Self.largeClips)
        begin = SystemTime().wallNow() - Int64(perCamera) * Self.seconds * 1_000_000
        let began = Measurement.now()
        try await fill()
        context.log("a vault of \(self.clips) clips made in \(number(Measurement.now() - began)) s")
    }

    func start(_ index: Int) -> WallTime { begin + Int64(index) * Self.seconds * 1_000_000 }

    /// All cameras minute by minute, as they would be recorded; the vault's clock goes with them.
    private func fill() async throws {
        let clock = FilmClock(begin)
        let vault = try await Vault.open(
            at: place.path, mode: .write(softwareVersion: "bench"), files: UnsyncedFileSystem(), time: clock)
        let runs = cameras.map { _ in RunID.random() }
        for index in 0..<perCamera {
            clock.set(start(index + 1))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (camera, run) in zip(cameras, runs) {
                    group.addTask {
                        _ = try await BenchVault.store(
                            [index % every == 0 ? Self.large : Self.small], in: vault, camera: camera, run: run,
                            start: start(index), seconds: Self.seconds)
                    }
                }
                try await group.waitForAll()
            }
        }
        await vault.close()
    }
}

/// A wall clock that the film moves.
private final class FilmClock: TimeSource {
    private let wall: Atomic<Int64>
    init(_ start: WallTime) { wall = Atomic(start.microseconds) }
    func set(_ time: WallTime) { wall.store(time.microseconds, ordering: .relaxed) }
    func wallNow() -> WallTime { WallTime(microseconds: wall.load(ordering: .relaxed)) }
    func monotonicNow() -> MonotonicTime { SystemTime().monotonicNow() }
    func isWallSynchronised() -> Bool { true }
}
