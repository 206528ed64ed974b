import Core
import Foundation
import Ingest
import Logging
import Media
import TestKit
import Testing
import Vault

@Suite struct SlowDiskTests {
    @Test
    func
        `S9: while the disk stands still frames wait up to a bound; the oldest and the newest stay, the loss is counted`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let files = GatedFileSystem()
        let vault = try await temporary.open(files: files)
        let film = try SyntheticClip(frames: 500, keyInterval: 25, start: temporary.time.wallNow())
        let bound = 100_000
        let camera = CameraID.random()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let pipeline = Pipeline(
            camera: camera, name: "hall", vault: vault, policy: Recorder.Policy(), lastRecorded: nil,
            time: temporary.time, logger: logger, queueBytes: bound, statusChanged: {})
        let recording = Task { await pipeline.runRecorder() }
        await pipeline.connected(film.parameters)
        files.shut()
        // Nobody who delivers frames waits for the disk.
        for unit in film.units.prefix(400) { await pipeline.accept(unit) }
        let lost = pipeline.overflowedFrames
        let waiting = film.units.prefix(400 - lost).reduce(0) { $0 + $1.data.count }
        #expect(lost > 50, "the film is too small for this test")
        // At most the bound, and what the recorder had already taken in hand.
        #expect(waiting <= bound + film.units.prefix(50).reduce(0) { $0 + $1.data.count })
        files.open()
        for _ in 0..<200 where await pipeline.recorder.counters.frames < UInt64(400 - lost) {
            try await Task.sleep(for: .milliseconds(50))
        }
        for unit in film.units.suffix(100) { await pipeline.accept(unit) }
        pipeline.stop()
        await recording.value
        let counters = await pipeline.recorder.counters
        #expect(Int(counters.frames) + pipeline.overflowedFrames + Int(counters.skippedFrames) == film.units.count)
        #expect(counters.failedClips == 0)
        let whole = TimeRange(temporary.time.wallNow(), temporary.time.wallNow() + 60_000_000)
        let clips = try await vault.clips(camera: camera, overlapping: whole)
        #expect(clips.first?.start == film.units.first?.capturedWall)
        let last = try #require(film.units.last?.capturedWall)
        #expect(try #require(clips.last?.end) >= last)
        #expect(try await vault.gaps(camera: camera, overlapping: whole).map(\.reason) == [.overload])
        #expect(try await vault.verify().isClean)
        await vault.close()
    }

    @Test func `while no clip can be begun the camera is failing, whatever frames still come`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let film = try SyntheticClip(frames: 60, keyInterval: 25, start: temporary.time.wallNow())
        let folder = temporary.path + "/open"
        try FileManager.default.removeItem(atPath: folder)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let pipeline = Pipeline(
            camera: .random(), name: "hall", vault: vault, policy: Recorder.Policy(), lastRecorded: nil,
            time: temporary.time, logger: logger, statusChanged: {})
        let recording = Task { await pipeline.runRecorder() }
        await pipeline.connected(film.parameters)
        func feed(_ range: Range<Int>, untilSkippedOrTaken count: UInt64) async throws {
            for unit in film.units[range] { await pipeline.accept(unit) }
            for _ in 0..<200 {
                let counters = await pipeline.recorder.counters
                if counters.frames + counters.skippedFrames >= count { return }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        // Key frames are 0 and 25: both fail, and every other frame finds no clip.
        try await feed(0..<40, untilSkippedOrTaken: 38)
        #expect(await pipeline.status.state == .failing)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        try await feed(40..<60, untilSkippedOrTaken: 58)
        #expect(await pipeline.status.state == .recording)
        pipeline.stop()
        await recording.value
        await vault.close()
    }
}
