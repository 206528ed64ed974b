import Core
import Ingest
import Logging
import Media
import TestKit
import Testing
import Vault

@testable import Playback

/// Pictures and sound of one camera through pipeline, vault and export, as a player has them. The frames are tiny and hold nothing:
/// their times are what matters.
@Suite(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg)), .timeLimit(.minutes(10))) struct SoundSyncTests {
    /// 320 × 240 by libx264, as it wrote them once.
    private static let sets: [[UInt8]] = [
        [
            0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFB, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
            0x03, 0x03, 0x20, 0xF1, 0x42, 0x99, 0x60,
        ],
        [0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0],
    ]

    struct Camera {
        var seconds: Int
        /// How much its clock is too fast.
        var partsPerMillion = 0.0
        var clipSeconds: Double
        /// How much later than its pictures sound comes, ms.
        var late: Double
        /// Pictures a second, and of how many one is a key frame.
        var rate = 10
        var group = 20
        /// When there is sound, seconds; several kinds of it, one after the other.
        var sounds: [(from: Double, to: Double, parameters: [UInt8])] = [(0, 1e9, [0x15, 0x88])]
        /// Network: each packet is late by up to so much, ms.
        var jitter = 30.0
    }

    /// What the camera took when, by a true clock, seconds.
    struct Taken {
        var pictures: [Double] = []
        var sounds: [Double] = []
    }

    private enum Packet {
        case picture(Int)
        case sound(Double, SoundParameters)
    }

    /// Records what the camera delivers, and exports all of it.
    private func record(
        _ camera: Camera, export range: (TimeRange) -> TimeRange = { $0 }
    ) async throws -> (film: Film, taken: Taken, clips: [ClipRecord], pipeline: Pipeline, folder: TemporaryVault) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let id = CameraID.random()
        let pipeline = Pipeline(
            camera: id, name: "hall", vault: vault,
            policy: Recorder.Policy(clipLength: Int64(camera.clipSeconds * 1_000_000)),
            lastRecorded: nil, time: temporary.time, logger: logger, statusChanged: {})
        let recording = Task { await pipeline.runRecorder() }
        await pipeline.connected(try CodecParameters(codec: .h264, units: Self.sets))

        // By their arrival, true seconds.
        var generator = SeededGenerator(seed: 5)
        var packets: [(arrival: Double, packet: Packet)] = []
        var taken = Taken()
        for picture in 0..<camera.seconds * camera.rate {
            let time = Double(picture) / Double(camera.rate)
            taken.pictures.append(time)
            packets.append((time + .random(in: 0...camera.jitter, using: &generator) / 1000, .picture(picture)))
        }
        for (from, to, configuration) in camera.sounds {
            let parameters = try SoundParameters(configuration: configuration)
            var time = from
            while time < min(to, Double(camera.seconds)) {
                let arrival = time + camera.late / 1000 + .random(in: 0...camera.jitter, using: &generator) / 1000
                packets.append((arrival, .sound(time, parameters)))
                // A sample clock that is as wrong as the other.
                time += 1024 / Double(parameters.sampleRate) / (1 + camera.partsPerMillion / 1e6)
            }
        }
        packets.sort { $0.arrival < $1.arrival }
        func ticks(_ time: Double) -> Int64 {
            Int64((time * (1 + camera.partsPerMillion / 1e6) * 90_000).rounded()) + 777_777
        }
        for (arrival, packet) in packets {
            switch packet {
            case .picture(let number):
                let isKey = number % camera.group == 0
                let data: [UInt8] = [isKey ? 0x65 : 0x41, UInt8(truncatingIfNeeded: number | 1), 0x99]
                let microseconds = Int64(arrival * 1e6)
                let pts = ticks(taken.pictures[number])
                await pipeline.accept(
                    AccessUnit(
                        codec: .h264, data: NALUnits.lengthPrefixed([data[...]]), isKey: isKey, dts: pts, pts: pts,
                        capturedWall: start + microseconds, capturedMonotonic: MonotonicTime(microseconds: microseconds)
                    ))
            case .sound(let time, let parameters):
                taken.sounds.append(time)
                await pipeline.accept(
                    SoundFrame(
                        data: [0x01, 0x18, 0x20, 0x07], pts: ticks(time),
                        duration: 1024 * 90_000 / Int64(parameters.sampleRate)), parameters)
            }
        }
        taken.sounds.sort()
        pipeline.stop()
        await recording.value
        let whole = TimeRange(start - 5_000_000, start + Int64(camera.seconds + 5) * 1_000_000)
        let clips = try await vault.clips(camera: id, overlapping: whole)
        #expect(try await vault.verify().isClean)
        #expect(try await vault.gaps(camera: id, overlapping: whole).isEmpty)
        try await TemporaryVault.unlock(vault)
        let movie = try await MovieExport(
            vault: vault, camera: id, range: range(TimeRange(clips[0].start, clips[clips.count - 1].end)))
        var bytes: [UInt8] = []
        for try await chunk in movie.chunks() { bytes += chunk }
        #expect(bytes.count == movie.byteCount)
        try temporary.folder.write(bytes, to: "export.mp4")
        await vault.close()
        return (Film(path: temporary.folder.path + "/export.mp4"), taken, clips, pipeline, temporary)
    }

    /// How far sound lies from the pictures of the same instant, seconds: for each packet of sound in the file.
    private func apart(_ film: Film, _ taken: Taken, sounds: [Double]) throws -> [(at: Double, apart: Double)] {
        let pictures = try film.packets("v:0").map(\.time)
        let heard = try film.packets("a:0").map(\.time)
        try #require(pictures.count == taken.pictures.count)
        try #require(heard.count == sounds.count)
        return zip(heard, sounds).map { shown, time in
            let near = min(pictures.count - 1, taken.pictures.lastIndex { $0 <= time } ?? 0)
            return (time, shown - pictures[near] - (time - taken.pictures[near]))
        }
    }

    @Test(arguments: [100.0, -100.0])
    func `I10: ten minutes of a camera whose clock is off leave picture and sound together at each join and at the end`(
        partsPerMillion: Double
    ) async throws {
        let camera = Camera(seconds: 600, partsPerMillion: partsPerMillion, clipSeconds: 58, late: 250)
        let (film, taken, clips, pipeline, kept) = try await record(camera)
        defer { withExtendedLifetime(kept) {} }
        #expect(clips.count == 11)
        let counters = await pipeline.recorder.counters
        #expect(counters.frames == 6000 && counters.lostSounds == 0 && pipeline.lostSounds == 0)
        let found = try apart(film, taken, sounds: taken.sounds)
        let most = found.map { abs($0.apart) }.max() ?? 1
        #expect(most <= 0.040, "\(most * 1000) ms")
        // Ten joins, each with sound before and behind it, and no hole between.
        let heard = try film.packets("a:0").map(\.time)
        let longest = zip(heard, heard.dropFirst()).map { $1 - $0 }.max() ?? 1
        #expect(longest <= 0.128 + 0.002, "\(longest * 1000) ms")
        let shown = try film.packets("v:0").map(\.time)
        #expect(abs((shown.last ?? 0) - (shown.first ?? 0) - 599.9) < 0.2)
    }

    @Test(arguments: [-200.0, 20, 250, 900])
    func `I10: ten joins of clips of two seconds, whether sound comes early or late`(late: Double) async throws {
        let camera = Camera(seconds: 22, clipSeconds: 1.9, late: late)
        let (film, taken, clips, pipeline, kept) = try await record(camera)
        defer { withExtendedLifetime(kept) {} }
        #expect(clips.count == 11)
        // Sound that comes before the first picture has no place.
        let counters = await pipeline.recorder.counters
        let before = Int(counters.lostSounds) + pipeline.lostSounds
        #expect(before <= (late < 0 ? 2 : 0) + 2, "\(before)")
        let sounds = Array(taken.sounds.dropFirst(before - Int(counters.lostSounds)))
        let heard = try film.packets("a:0")
        let found = try apart(film, taken, sounds: Array(sounds.prefix(heard.count)))
        let most = found.map { abs($0.apart) }.max() ?? 1
        #expect(heard.count >= 165 && most <= 0.040, "\(heard.count), \(most * 1000) ms")
    }

    @Test
    func `sound that begins late, pauses, and becomes another begins clips at key frames, and gaps keep their length`()
        async throws
    {
        var camera = Camera(seconds: 40, clipSeconds: 60, late: 50)
        camera.sounds = [(5, 12, [0x15, 0x88]), (20, 30, [0x15, 0x88]), (30.001, 40, [0x14, 0x08])]
        let (film, taken, clips, pipeline, kept) = try await record(camera)
        defer { withExtendedLifetime(kept) {} }
        // None, 8 kHz from the first key frame that had any, 16 kHz from the first that had that.
        #expect(clips.count == 3)
        #expect(clips.map { ($0.start - clips[0].start + 500_000) / 1_000_000 } == [0, 6, 32])
        let counters = await pipeline.recorder.counters
        #expect(counters.frames == 400 && counters.failedClips == 0)
        let sounds = taken.sounds.filter { (6...30).contains($0) || $0 >= 32 }
        let heard = try film.packets("a:0").map(\.time)
        // The frame over an edge may go to either side.
        #expect(abs(heard.count - sounds.count) <= 2)
        let pause = zip(heard, heard.dropFirst()).map { $1 - $0 }.max() ?? 0
        #expect(abs(pause - 8) < 0.2, "\(pause)")
        let told = try film.stream("a:0", ["codec_name"])
        #expect(told["codec_name"] == "aac")
        #expect(try film.packets("v:0").count == 400)
    }

    @Test func `sound that is another one with each packet does not make a clip of each key frame`() async throws {
        var camera = Camera(seconds: 20, clipSeconds: 60, late: 50, group: 5)
        camera.sounds = []
        for number in 0..<100 {
            let start = Double(number) * 0.2
            let configuration: [UInt8] = number % 2 == 0 ? [0x15, 0x88] : [0x14, 0x08]
            camera.sounds.append((start, start + 0.1, configuration))
        }
        let (film, _, clips, pipeline, kept) = try await record(camera)
        defer { withExtendedLifetime(kept) {} }
        #expect((2...10).contains(clips.count))
        #expect(await pipeline.recorder.counters.frames == 200)
        #expect(try film.packets("v:0").count == 200)
    }

    @Test func `P7: an export begins and ends with its pictures, and has the sound of them`() async throws {
        let camera = Camera(seconds: 30, clipSeconds: 10, late: 600)
        let (film, taken, _, _, kept) = try await record(camera) { whole in
            TimeRange(whole.start + 5_300_000, whole.start + 23_900_000)
        }
        defer { withExtendedLifetime(kept) {} }
        let lengths = try ["v:0", "a:0"].map { Double(try film.stream($0, ["duration"])["duration"] ?? "") ?? 0 }
        #expect(abs(lengths[0] - 18.6) < 0.11 && abs(lengths[1] - lengths[0]) <= 0.128, "\(lengths)")
        let heard = try film.packets("a:0").map(\.time)
        let shown = try film.packets("v:0").map(\.time)
        #expect(try #require(shown.last { $0 < 18.6 }) > 18.4)
        // What is heard last begins within a frame of the end, although it was recorded later than its pictures.
        let (first, last) = (try #require(heard.first), try #require(heard.last))
        #expect(last > 18.6 - 0.257 && first <= 0, "\(first) \(last)")
        #expect(taken.sounds.count > heard.count)
    }

    @Test func `a camera without sound has clips and exports of one track`() async throws {
        var camera = Camera(seconds: 6, clipSeconds: 1.9, late: 0)
        camera.sounds = []
        let (film, _, clips, _, kept) = try await record(camera)
        defer { withExtendedLifetime(kept) {} }
        #expect(clips.count == 3)
        #expect(try film.stream("a:0", ["codec_name"]).isEmpty)
        #expect(try film.packets("v:0").count == 60)
    }

    @Test func `sound far from the pictures, and far too much of it, is left out; every picture is recorded`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let id = CameraID.random()
        let pipeline = Pipeline(
            camera: id, name: "hall", vault: vault, policy: Recorder.Policy(clipLength: 2_000_000), lastRecorded: nil,
            time: temporary.time, logger: logger, statusChanged: {})
        await pipeline.connected(try CodecParameters(codec: .h264, units: Self.sets))
        let parameters = try SoundParameters(configuration: [0x15, 0x88])
        var generator = SeededGenerator(seed: 77)
        // Nobody takes anything: the queue and what is held must stay within their bounds.
        for number in 0..<100 {
            for _ in 0..<300 {
                let frame = SoundFrame(
                    data: [UInt8](repeating: 1, count: 3000), pts: .random(in: .min ... .max, using: &generator),
                    duration: .random(in: .min ... .max, using: &generator))
                await pipeline.accept(frame, parameters)
                await pipeline.accept(
                    SoundFrame(data: frame.data, pts: Int64(number) * 9000, duration: 11_520), parameters)
            }
            let time = Int64(number) * 100_000
            let data: [UInt8] = [number % 20 == 0 ? 0x65 : 0x41, 1, 0x99]
            await pipeline.accept(
                AccessUnit(
                    codec: .h264, data: NALUnits.lengthPrefixed([data[...]]), isKey: number % 20 == 0,
                    dts: Int64(number) * 9000, pts: Int64(number) * 9000, capturedWall: start + time,
                    capturedMonotonic: MonotonicTime(microseconds: time)))
        }
        let recording = Task { await pipeline.runRecorder() }
        pipeline.stop()
        await recording.value
        let counters = await pipeline.recorder.counters
        #expect(counters.frames == 100 && pipeline.overflowedFrames == 0 && counters.failedClips == 0)
        // 16 MiB of sound, at most, waited.
        #expect(Int(counters.sounds + counters.lostSounds) <= (16 << 20) / 3000 + 1)
        #expect(pipeline.lostSounds >= 50_000)
        let clips = try await vault.clips(camera: id, overlapping: TimeRange(start, start + 20_000_000))
        #expect(clips.count == 5)
        await vault.close()
    }
}
