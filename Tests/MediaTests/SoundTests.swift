import Core
import TestKit
import Testing

@testable import Media

/// AudioSpecificConfig and ADTS by the bytes that the standard gives for them.
@Suite struct SoundParametersTests {
    /// ISO/IEC 14496-3: object type (5 bits), index of the rate (4), channels (4), and a bit for 960 samples.
    @Test func `configurations of AAC-LC`() throws {
        let telephone = try SoundParameters(configuration: [0x15, 0x88])
        #expect(telephone.sampleRate == 8000 && telephone.channels == 1 && telephone.frameLength == 1024)
        #expect(telephone.frameTicks == 11_520)
        let film = try SoundParameters(configuration: [0x11, 0x90, 0x56, 0xE5, 0x00])
        #expect(film.sampleRate == 48_000 && film.channels == 2 && film.frameTicks == 1920)
        let radio = try SoundParameters(configuration: [0x11, 0x94])
        #expect(radio.frameLength == 960)
        // Index 15: the rate in 24 bits, here 16 001.
        let odd = try SoundParameters(configuration: [0x17, 0x80, 0x1F, 0x40, 0x88])
        #expect(odd.sampleRate == 16_001 && odd.channels == 1)
    }

    @Test(arguments: [
        [], [0x11], [0x2B, 0x92], [0x16, 0xF0], [0x11, 0x80], [0xFF, 0xFF], [UInt8](repeating: 0x11, count: 65),
    ])
    func `what is none, or of another kind, is refused`(bytes: [UInt8]) {
        #expect(throws: MediaError.self) { try SoundParameters(configuration: bytes) }
    }

    @Test func `frames with headers`() throws {
        // ISO/IEC 13818-7 section 6.2: AAC-LC, 48 kHz, two channels, 7 + 4 bytes, no checksum.
        let head: [UInt8] = [0xFF, 0xF1, 0x4C, 0x80, 0x01, 0x7F, 0xFC]
        let data: [UInt8] = [0x21, 0x10, 0x04, 0x60]
        let frames = try #require(ADTS.frames(head + data + head + data))
        #expect(frames == [ADTS.Frame](repeating: ADTS.Frame(configuration: [0x11, 0x90], data: data), count: 2))
        #expect(try SoundParameters(configuration: frames[0].configuration).sampleRate == 48_000)
        #expect(ADTS.frames(head + data.dropLast()) == nil)
        #expect(ADTS.frames(data) == nil)
        #expect(ADTS.frames(Array(head.prefix(5))) == nil)
        var empty = head
        empty[5] = 0x00
        empty[4] = 0x00
        #expect(ADTS.frames(empty) == nil)
    }
}

@Suite(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg))) struct SoundTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: ["a.mp4", "a.mkv", "a.ts", "a.flv"])
    func `I9: AAC passes through untouched, with headers before its frames or without`(name: String) throws {
        let film = try Film("source.mp4", in: folder, sound: ["-c:a", "aac", "-ac", "2"]).copied(to: name, in: folder)
        let sounds = try film.sounds()
        // What ffmpeg takes out of the same film.
        let other = try outputOfProgram(
            "ffmpeg", ["-v", "error", "-i", film.path, "-map", "0:a", "-c", "copy", "-f", "adts", "-"])
        let frames = try #require(ADTS.frames(other))
        #expect(frames.count > 80 && sounds.frames.map(\.data) == frames.map(\.data))
        #expect(sounds.lost.isEmpty && sounds.parameters.map(\.sampleRate) == [48_000])
        #expect(sounds.parameters.map(\.channels) == [2])
        #expect(zip(sounds.frames, sounds.frames.dropFirst()).allSatisfy { abs($1.pts - $0.pts - 1920) <= 90 })
        #expect(try film.codedFrames().frames.count == 50)
    }

    /// The beep that a player hears in the clip lies where it lies in the film.
    @Test(arguments: [
        ("a.mkv", ["pcm_alaw"], 8000, 1), ("b.mkv", ["pcm_mulaw"], 8000, 1), ("c.mov", ["pcm_s16le"], 44_100, 2),
        ("d.avi", ["pcm_u8"], 11_025, 1), ("e.mkv", ["pcm_f32le"], 48_000, 2), ("f.mkv", ["libmp3lame"], 44_100, 1),
        ("g.mkv", ["libopus"], 48_000, 2), ("h.mkv", ["flac"], 16_000, 1), ("i.mkv", ["g722"], 16_000, 1),
        ("j.ts", ["mp2"], 48_000, 2), ("k.mkv", ["pcm_s24le"], 32_000, 1), ("l.mkv", ["ac3"], 48_000, 1),
    ])
    func `I9: other sound becomes AAC of its own rate, and is heard when it was heard`(
        name: String, codec: [String], rate: Int, channels: Int
    ) async throws {
        let film = try Film(
            name, in: folder, frames: 75, sound: ["-c:a"] + codec + ["-ac", "\(channels)", "-ar", "\(rate)"])
        let sounds = try film.sounds()
        #expect(sounds.lost.isEmpty && sounds.parameters.map(\.sampleRate) == [rate])
        #expect(sounds.parameters.map(\.channels) == [channels])
        try folder.write(try film.clip(), to: "clip.mp4")
        let clip = Film(path: folder.path + "/clip.mp4")
        let told = try clip.stream("a:0", ["codec_name", "profile", "sample_rate", "channels"])
        #expect(told == ["codec_name": "aac", "profile": "LC", "sample_rate": "\(rate)", "channels": "\(channels)"])
        #expect(try clip.decodedFrames() == 75)
        let lengths = try ["v:0", "a:0"].map { Double(try clip.stream($0, ["duration"])["duration"] ?? "") ?? 0 }
        #expect(abs(lengths[0] - 3) < 0.001 && abs(lengths[1] - lengths[0]) <= 0.04, "\(lengths)")
        let beeps = try Sounds.beeps(in: clip)
        let source = try Sounds.beeps(in: film)
        // AVI does not say; it begins at 0.
        let shown = try film.packets("v:0").map(\.time).min() ?? 0
        #expect(beeps.count >= 2 && source.count == 3)
        // The first beep may be swallowed: a decoder needs the frame before to get going.
        for (a, b) in zip(beeps.suffix(2), source.suffix(2)) {
            #expect(abs(a - (b - shown)) <= 0.006, "\(a) for \(b - shown)")
        }
        // The clip gives back every frame.
        let reader = try await ClipReader(ArraySource(try film.clip()))
        #expect(reader.sound == sounds.parameters.first)
        var read: [ClipReader.Sample] = []
        for index in reader.groups.indices { read += try await reader.soundSamples(ofGroup: index) }
        let first = try #require(film.codedFrames().frames.first?.dts)
        let given = sounds.frames.filter { $0.pts >= first }
        #expect(read.count == given.count)
        #expect(read.map(\.data) == given.map(\.data))
        #expect(zip(read, given).allSatisfy { abs($0.pts - ($1.pts - first)) <= 1 })
    }

    @Test(arguments: [
        (["-c:a", "pcm_s16le", "-ac", "6"], "6 channels"), (["-c:a", "pcm_s16le", "-ar", "37000"], "37000 samples"),
        // FFmpeg decodes it; it is no kind that cameras send.
        (["-c:a", "wmav2"], "is wmav2, which SudoCam does not record"),
    ])
    func `I9: sound that is not recorded is left out and said, the pictures are all there`(
        options: [String], reason: String
    ) throws {
        let film = try Film("a.mkv", in: folder, sound: options)
        let silent = try film.copied(to: "b.mkv", in: folder, options: ["-an"])
        let sounds = try film.sounds()
        #expect(sounds.frames.isEmpty && sounds.lost.count == 1 && sounds.lost[0].contains(reason))
        let (_, frames) = try film.codedFrames()
        let (_, others) = try silent.codedFrames()
        #expect(frames.count == 50 && frames.map(\.data) == others.map(\.data))
        #expect(frames.map(\.pts) == others.map(\.pts) && frames.map(\.dts) == others.map(\.dts))
    }

    @Test func `I9: sound that is not wanted is not read`() throws {
        let film = try Film("a.mp4", in: folder, sound: ["-c:a", "aac"])
        let demuxer = try Demuxer(
            url: "file:" + film.path, source: .file, interrupt: InterruptFlag(), timeout: 60_000_000, sound: false)
        var pictures = 0
        while let item = try demuxer.next() {
            guard case .video = item else {
                Issue.record("sound came")
                return
            }
            pictures += 1
        }
        #expect(pictures == 50)
    }

    @Test func `I9: noise instead of sound is left out or recorded, and nothing else happens`() throws {
        var generator = SeededGenerator(seed: 23)
        let aac = try SoundParameters(configuration: [0x11, 0x90])
        // libavcodec's numbers: A-law, 16-bit PCM, AAC, Opus, MP3, G.722, G.726, AAC in LATM, PCM of floats, AC-3.
        let codecs: [UInt32] = [65_543, 65_537, 86_018, 86_076, 86_017, 69_660, 69_643, 86_065, 65_557, 86_019]
        for codec in codecs {
            for extradata in [[], aac.configuration] {
                guard
                    let stream = try? SoundStream(
                        SoundCoding(
                            codec: codec, extradata: extradata, sampleRate: 48_000, channels: 2, blockAlign: 0,
                            bitsPerSample: 4))
                else { continue }
                var frames = 0
                for round in 0..<150 {
                    let count = Int.random(in: 0...(round % 10 == 0 ? 9000 : 700), using: &generator)
                    let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
                    let pts: Int64? =
                        switch round % 5 {
                        case 0: nil
                        case 1: .random(in: -(1 << 52)...1 << 52, using: &generator)
                        default: Int64(round) * 1920
                        }
                    frames += stream.take(bytes, pts: pts).count { if case .frame = $0 { true } else { false } }
                }
                frames += stream.finish().count
                #expect(frames < 20_000)
            }
        }
    }

    @Test func `a hole in sound is not filled, and what follows it lies where it was heard`() throws {
        let transcoder = SoundTranscoder()
        func stretch(_ pts: Int64?, _ count: Int) -> SoundSamples {
            SoundSamples(sampleRate: 8000, planes: [[Float](repeating: 0.1, count: count)], pts: pts)
        }
        var frames: [SoundFrame] = []
        // 1500 samples are 16 875 ticks; then half a second of nothing.
        for (pts, count) in [(0, 1500), (16_875 + 45_000, 1500), (nil, 1000)] as [(Int64?, Int)] {
            frames += try transcoder.take(stretch(pts, count)).map(\.0)
        }
        frames += transcoder.finish().map(\.0)
        // The first is what a decoder runs up with.
        #expect(frames.map(\.pts) == [-11_520, 0, 11_520, 61_875, 73_395, 84_915])
        #expect(frames.map(\.duration) == [11_520, 11_520, 5355, 11_520, 11_520, 5085])
        // It can go on after that.
        #expect(try transcoder.take(stretch(1_000_000, 2048)).count >= 1)
    }
}

/// The times of packets as they come from libavformat, 90 kHz, and when they come, in ms.
@Suite struct MediaClockTests {
    private static func at(_ milliseconds: Int64) -> MonotonicTime { MonotonicTime(microseconds: milliseconds * 1000) }

    @Test func `pictures alone keep their times, whatever they are`() {
        var clock = MediaClock()
        // Jitter, a stall with the burst after it, and frames that were left out meanwhile.
        let frames: [(pts: Int64, at: Int64)] = [
            (0, 0), (3600, 41), (7200, 95), (10_800, 121), (14_400, 2160), (18_000, 2161), (21_600, 2162),
            (180_000, 2163), (183_600, 2200), (187_200, 2245),
        ]
        for frame in frames { #expect(clock.video(frame.pts, at: Self.at(frame.at)) == frame.pts) }
    }

    @Test(arguments: [10, 25])
    func `pictures that are shown in another order than they come keep their times`(rate: Int64) {
        var clock = MediaClock()
        let step = 90_000 / rate
        var wrong: [Int64] = []
        for number in 0..<300 as Range<Int64> {
            // I P B B P B B …: each comes when it is decoded.
            let shown = number == 0 ? 0 : number % 3 == 1 ? number + 2 : number - 1
            let placed = clock.video(shown * step, at: Self.at(number * 1000 / rate + number % 7 * 5))
            if placed != shown * step { wrong.append(number) }
        }
        #expect(wrong.isEmpty)
    }

    @Test func `I9: a first sender report that shifts pictures does not shift them, and their sound keeps up`() throws {
        var clock = MediaClock()
        var wrong: [Int] = []
        for frame in 0..<500 {
            // From the second second on libavformat adds 700 ms; the sound is on that clock all the while.
            let time = Int64(frame) * 40
            let placed = clock.video(time * 90 + (frame >= 50 ? 63_000 : 0), at: Self.at(time))
            #expect(placed == time * 90)
            let heard = clock.sound(time * 90 + 63_000, at: Self.at(time + 5))
            if frame > 60, heard != time * 90 { wrong.append(frame) }
        }
        #expect(wrong.isEmpty)
    }

    @Test(arguments: [3_600_000, -3_600_000, 324_000_000_000])
    func `I9: a camera whose clock is set loses no picture for having sound`(step: Int64) {
        var clock = MediaClock()
        var wrong: [Int] = []
        for frame in 0..<400 {
            let time = Int64(frame) * 40
            // Each stream's next report comes in its own time: the pictures' at 4 s, the sound's at 8 s.
            let placed = clock.video(time * 90 + (frame >= 100 ? step : 0), at: Self.at(time))
            if abs(placed - time * 90) > 90 { wrong.append(frame) }
            guard let heard = clock.sound(time * 90 + (frame >= 200 ? step : 0), at: Self.at(time)) else { continue }
            if abs(heard - time * 90) > (frame > 210 ? 90 : 45_000) { wrong.append(frame) }
        }
        #expect(wrong.isEmpty)
    }

    @Test func `sound without reports that begins two seconds after the pictures lies beside those it comes with`()
        throws
    {
        var clock = MediaClock()
        var wrong: [Int] = []
        for frame in 0..<500 {
            let time = Int64(frame) * 40
            _ = clock.video(time * 90, at: Self.at(time + 15))
            guard frame >= 50 else { continue }
            // Its own times begin with 0.
            let told = clock.sound((time - 2000) * 90, at: Self.at(time + 20))
            let heard = try #require(told)
            // A picture is known to be whole a step later.
            if abs(heard - time * 90) > 5400 { wrong.append(frame) }
        }
        #expect(wrong.isEmpty)
    }

    @Test func `at one picture a second sound is not thought to be early`() throws {
        var clock = MediaClock()
        var wrong: [Int] = []
        for tick in 0..<3000 {
            let time = Int64(tick) * 20
            // The parser gives a picture when the next one comes.
            if time % 1000 == 0, time > 0 { _ = clock.video((time - 1000) * 90, at: Self.at(time)) }
            guard let heard = clock.sound(time * 90, at: Self.at(time + 1)) else { continue }
            if heard != time * 90 { wrong.append(tick) }
        }
        #expect(wrong.isEmpty)
    }

    /// When pictures are taken, ms: what a camera does that pauses once, and one that shows more pictures when something moves.
    @Test(arguments: [
        ("a pause", [(seconds: 10, step: 40), (seconds: 1, step: 800), (seconds: 600, step: 40)]),
        ("more of them later", [(seconds: 60, step: 1000), (seconds: 600, step: 40)]),
        (
            "now and then",
            [(seconds: 30, step: 500), (seconds: 20, step: 40), (seconds: 30, step: 500), (seconds: 60, step: 66)]
        ),
    ])
    func `I9: pictures that come at another rate than before take no sound with them`(
        what: String, parts: [(seconds: Int, step: Int)]
    ) {
        var taken: [Int64] = [0]
        for part in parts {
            for _ in 0..<max(1, part.seconds * 1000 / part.step) { taken.append((taken.last ?? 0) + Int64(part.step)) }
        }
        var clock = MediaClock()
        var wrong: [Int64] = []
        var sounds: Int64 = 0
        for (place, time) in taken.dropLast().enumerated() {
            // Handed out when the next one begins; a report that shifts both comes in the middle of it all.
            let read = taken[place + 1]
            while sounds * 64 < read {
                if let heard = clock.sound(sounds * 64 * 90, at: Self.at(sounds * 64 + 70)),
                    abs(heard - sounds * 64 * 90) > 3600
                {
                    wrong.append(sounds * 64)
                }
                sounds += 1
            }
            if clock.video(time * 90, at: Self.at(read)) != time * 90 { wrong.append(-time) }
        }
        #expect(wrong.isEmpty, "\(what): \(wrong.prefix(5)) … of \(wrong.count)")
    }

    @Test func `I9: a report that comes with the end of a pause shifts no picture`() {
        var clock = MediaClock()
        var wrong: [Int64] = []
        var time: Int64 = 0
        for frame in 0..<400 {
            let next = time + (frame == 199 ? 900 : 40)
            // From the picture behind the pause on libavformat adds five seconds.
            let placed = clock.video(time * 90 + (frame >= 200 ? 450_000 : 0), at: Self.at(next))
            if abs(placed - time * 90) > 90 { wrong.append(time) }
            time = next
        }
        #expect(wrong.isEmpty, "\(wrong.prefix(5))")
    }
}
