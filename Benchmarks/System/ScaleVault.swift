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
    private(set) var plan: Plan
    private let planPath: String
    var cameras: [CameraID] { plan.cameras }
    /// Clips of a camera that are still there.
    var indexes: Range<Int> { plan.first..<plan.perCamera }
    /// Of one camera's clips, every so manieth is large.
    var every: Int { plan.every ?? max(50, plan.perCamera * Self.cameraCount / Self.largeClips) }
    var begin: WallTime { WallTime(microseconds: plan.begin) }
    var clips: Int { indexes.count * cameras.count }

    /// What was recorded; all that a kept vault does not say of itself.
    struct Plan: Codable, Sendable {
        var cameras: [CameraID]
        var perCamera: Int
        /// Start of the first clip, in µs since 1970.
        var begin: Int64
        /// The first clip that retention has left.
        var first = 0
        /// For a vault that was to become larger; nil: as the number of clips has it.
        var every: Int?
    }

    /// Made, or taken from an earlier group of rows or an earlier run.
    init(_ context: BenchContext, clips: Int) async throws {
        let kept = "\(context.vaults)/\(clips)"
        planPath = kept + "/plan.json"
        if let bytes = FileManager.default.contents(atPath: planPath) {
            place = BenchVault(kept: try ScratchFolder(kept: kept))
            plan = try JSONDecoder().decode(Plan.self, from: bytes)
            // A run that was killed while it did without the ledger.
            let (away, ledger) = (place.path + "/ledger.away", place.path + "/ledger")
            if FileManager.default.fileExists(atPath: away), !FileManager.default.fileExists(atPath: ledger) {
                try FileManager.default.moveItem(atPath: away, toPath: ledger)
            }
            context.log("a vault of \(self.clips) clips taken from \(kept)")
            return
        }
        // Without its plan: one that was never made to its end.
        if FileManager.default.fileExists(atPath: kept) { try FileManager.default.removeItem(atPath: kept) }
        place = try await BenchVault(try ScratchFolder(kept: kept), files: UnsyncedFileSystem())
        let perCamera = max(1, clips / Self.cameraCount)
        plan = Plan(
            cameras: (0..<Self.cameraCount).map { _ in CameraID.random() }, perCamera: perCamera,
            begin: (SystemTime().wallNow() - Int64(perCamera) * Self.seconds * 1_000_000).microseconds)
        let began = Measurement.now()
        try await fill()
        try save()
        context.log("a vault of \(self.clips) clips made in \(number(Measurement.now() - began)) s")
    }

    private func save() throws {
        try JSONEncoder().encode(plan).write(to: URL(fileURLWithPath: planPath), options: .atomic)
    }

    /// Called before retention takes the oldest `count` clips of each camera.
    mutating func giveUp(_ count: Int) throws {
        plan.first += count
        try save()
    }

    func start(_ index: Int) -> WallTime { begin + Int64(index) * Self.seconds * 1_000_000 }

    /// All cameras minute by minute, as they would be recorded; the vault's clock goes with them.
    private func fill() async throws {
        let clock = FilmClock(begin)
        let vault = try await Vault.open(
            at: place.path, mode: .write(softwareVersion: "bench"), files: UnsyncedFileSystem(), time: clock)
        let runs = cameras.map { _ in RunID.random() }
        for index in indexes {
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
