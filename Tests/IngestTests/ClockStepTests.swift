import Core
import Ingest
import Logging
import Media
import TestKit
import Testing

@testable import Vault

/// The wall clock is set while a camera records, and later its picture stays away for ten seconds.
@Suite struct ClockStepTests {
    /// A film as a camera delivers it that was switched on `seconds` ago, by a wall clock that is off by `step`.
    private static func units(_ film: SyntheticClip, seconds: Int64, step: Int64) -> [AccessUnit] {
        film.units.map { unit in
            AccessUnit(
                codec: unit.codec, data: unit.data, isKey: unit.isKey, dts: unit.dts + seconds * 90_000,
                pts: unit.pts + seconds * 90_000, capturedWall: unit.capturedWall + seconds * 1_000_000 + step,
                capturedMonotonic: MonotonicTime(
                    microseconds: unit.capturedMonotonic.microseconds + seconds * 1_000_000),
                captureTimeIsExact: true)
        }
    }

    @Test(arguments: [5_400_000_000, -3_600_000_000])
    func `T1, T2: nothing is lost, the step is entered, both passes are found, and an outage after it is a gap`(
        step: Int64
    ) async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let film = try SyntheticClip(frames: 50, keyInterval: 25, start: start)
        let camera = CameraID.random()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let pipeline = Pipeline(
            camera: camera, name: "hall", vault: vault, policy: Recorder.Policy(), lastRecorded: nil,
            time: temporary.time, logger: logger, statusChanged: {})
        let recording = Task { await pipeline.runRecorder() }
        await pipeline.connected(film.parameters)
        for (seconds, step) in [(Int64(0), Int64(0)), (2, step), (14, step)] {
            for unit in Self.units(film, seconds: seconds, step: step) { await pipeline.accept(unit) }
        }
        pipeline.stop()
        await recording.value
        #expect(await pipeline.recorder.counters.frames == 150)

        let whole = TimeRange(start - 7_200_000_000, start + 7_200_000_000)
        let clips = try await vault.clips(camera: camera, overlapping: whole)
        let starts = [start, start + 2_000_000 + step, start + 14_000_000 + step]
        #expect(clips.map(\.start) == starts.sorted())
        #expect(zip(clips, clips.dropFirst()).allSatisfy { $0.end <= $1.start })
        // The second belongs to another run than the first, the third to the second's: only the clock was set.
        let runs = starts.compactMap { start in clips.first { $0.start == start }?.identity.run }
        #expect(runs.count == 3 && runs[0] != runs[1] && runs[1] == runs[2])
        for start in starts {
            #expect(try await vault.clip(at: start + 1_000_000, camera: camera)?.start == start)
        }
        var steps: [Int64] = []
        try vault.ledger.replay(from: 0) { (_, entry) throws(VaultError) in
            if case .clock(let from, let to, false) = entry?.body { steps.append(to - from) }
        }
        // A frame's length is time that passed, not the step.
        #expect(steps.map { $0 - 40_000 } == [step])
        let gaps = try await vault.gaps(camera: camera, overlapping: whole)
        #expect(gaps.contains { $0.reason == .noSignal && $0.range.end == starts[2] })
        #expect(gaps.contains { $0.reason == .clockStep } == (step > 0))
        #expect(gaps.count == (step > 0 ? 2 : 1))
        #expect(try await vault.verify().isClean)
        await vault.close()
    }
}
