import Core
import Logging
import Media
import TestKit
import Testing

@testable import Capture

/// Cameras with sound, by their packets. Two seconds of 25 pictures and of what ffmpeg made a beep each second of.
@Suite(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg)), .timeLimit(.minutes(10))) struct RTSPSoundTests {
    private let folder: TemporaryFolder
    private let film: SyntheticClip

    private static let films = Result { try SyntheticClip(frames: 50, keyInterval: 25) }

    init() throws {
        folder = try TemporaryFolder()
        film = try Self.films.get()
    }

    private var pictures: [RTSPCamera.Script.Picture] {
        film.units.map { RTSPCamera.Script.Picture(units: NALUnits($0.data).map(Array.init), pts: $0.pts) }
    }

    private func script(
        _ sound: RTSPCamera.Script.Sound?, reports: [RTSPCamera.Script.Report] = []
    ) -> RTSPCamera.Script {
        RTSPCamera.Script(announced: film.parameters.units, pictures: pictures, sound: sound, reports: reports)
    }

    enum Encoding: String, CaseIterable { case pcma, pcmu, l16, aac }

    private func sound(_ encoding: Encoding) throws -> RTSPCamera.Script.Sound {
        switch encoding {
        case .pcma, .pcmu:
            let raw = try Sounds.raw(encoding == .pcma ? "alaw" : "mulaw", seconds: 2, rate: 8000)
            return RTSPCamera.Script.Sound(
                encoding == .pcma ? "PCMA/8000" : "PCMU/8000",
                packets: Sounds.packets(raw, rate: 8000, sampleBytes: 1))
        case .l16:
            // RFC 3551 section 4.5.11: 20 ms of two channels at 16 kHz fit into a packet.
            let raw = try Sounds.raw("s16be", seconds: 2, rate: 16_000, channels: 2)
            return RTSPCamera.Script.Sound(
                "L16/16000/2", packets: Sounds.packets(raw, rate: 16_000, sampleBytes: 4))
        case .aac:
            let (frames, parameters, _) = try aac()
            let config = parameters[0].configuration.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined()
            return RTSPCamera.Script.Sound(
                "MPEG4-GENERIC/48000/2",
                format: "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;"
                    + "config=\(config)", packets: Sounds.packets(aac: frames, rate: 48_000))
        }
    }

    private func aac() throws -> (frames: [SoundFrame], parameters: [SoundParameters], lost: [String]) {
        try Film("aac.mp4", in: folder, sound: ["-c:a", "aac", "-ac", "2"]).sounds()
    }

    /// Everything until the camera hangs up.
    private func hear(_ script: RTSPCamera.Script, sound: Bool = true) async throws -> Heard {
        let camera = try RTSPCamera(.playsAndHangsUp, script)
        defer { camera.stop() }
        return await Heard(try CameraSource(testing: camera.url, sound: sound), errors: 1)
    }

    /// As a recorder would, with what came.
    private func clip(_ heard: Heard) throws -> Film {
        let start = try #require(heard.units.first).dts
        var muxer = ClipMuxer(
            parameters: try #require(heard.connected.first), sound: heard.sounds.first?.parameters,
            identity: film.identity, cameraName: "Flur")
        var bytes = try muxer.start()
        for (frame, _) in heard.sounds {
            _ = muxer.add(SoundFrame(data: frame.data, pts: frame.pts - start, duration: frame.duration))
        }
        for unit in heard.units { bytes += try muxer.add(unit, dts: unit.dts - start, pts: unit.pts - start) ?? [] }
        bytes += muxer.flush() ?? []
        bytes += muxer.flushSound() ?? []
        try folder.write(bytes + muxer.finish(), to: "clip.mp4")
        return Film(path: folder.path + "/clip.mp4")
    }

    @Test(arguments: Encoding.allCases)
    func `I9: a camera's sound is recorded as AAC, and its pictures come as without it`(encoding: Encoding) async throws
    {
        let silent = try await hear(script(nil))
        let rate = [.pcma: 8000, .pcmu: 8000, .l16: 16_000, .aac: 48_000][encoding] ?? 0
        // AAC begins a frame before the pictures; only these tell.
        let reports = [
            RTSPCamera.Script.Report(at: 0.4, ofSound: false, clock: 3_900_000_000.4, time: 36_000),
            RTSPCamera.Script.Report(at: 0.4, ofSound: true, clock: 3_900_000_000.4, time: Int64(rate) * 2 / 5),
        ]
        let heard = try await hear(script(try sound(encoding), reports: reports))
        #expect(heard.connected == [film.parameters] && heard.soundLost.isEmpty)
        #expect(heard.units.count == silent.units.count && heard.units.count >= 49)
        #expect(heard.units.map(\.data) == silent.units.map(\.data))
        #expect(heard.units.map(\.pts) == silent.units.map(\.pts))
        #expect(heard.units.map(\.isKey) == silent.units.map(\.isKey))

        let film = try clip(heard)
        let channels = encoding == .pcma || encoding == .pcmu ? 1 : 2
        let told = try film.stream("a:0", ["codec_name", "profile", "sample_rate", "channels"])
        #expect(told == ["codec_name": "aac", "profile": "LC", "sample_rate": "\(rate)", "channels": "\(channels)"])
        let lengths = try ["v:0", "a:0"].map { Double(try film.stream($0, ["duration"])["duration"] ?? "") ?? 0 }
        #expect(lengths[0] >= 1.96 && abs(lengths[1] - lengths[0]) <= 0.04, "\(lengths)")
        #expect(try film.decodedFrames() == heard.units.count)
        let beeps = try Sounds.beeps(in: film)
        #expect(abs(try #require(beeps.last) - 1) <= 0.006, "\(beeps)")
        if encoding == .aac {
            let sent = try aac().frames.map(\.data)
            #expect(
                heard.sounds.count > 80 && sent.suffix(heard.sounds.count).elementsEqual(heard.sounds.map(\.frame.data))
            )
        }
    }

    @Test(arguments: Encoding.allCases)
    func `I9: garbage in the packets of sound costs no picture`(encoding: Encoding) async throws {
        var generator = SeededGenerator(seed: 31)
        let silent = try await hear(script(nil))
        var sound = try sound(encoding)
        for index in sound.packets.indices {
            switch index % 4 {
            case 0: sound.packets[index].payload = []
            case 1:
                sound.packets[index].payload = (0..<Int.random(in: 1...1400, using: &generator)).map { _ in
                    .random(in: 0...255, using: &generator)
                }
            case 2: sound.packets[index].time += .random(in: -(1 << 40)...1 << 40, using: &generator)
            default: break
            }
        }
        let heard = try await hear(script(sound))
        #expect(heard.units.map(\.data) == silent.units.map(\.data) && heard.connected == silent.connected)
        #expect(heard.units.map(\.pts) == silent.units.map(\.pts))
    }

    @Test func `I9: sound that nobody knows, and sound that the camera then refuses, is said; the pictures come`()
        async throws
    {
        let silent = try await hear(script(nil))
        let unknown = RTSPCamera.Script.Sound(
            "X-NOBODYS/8000", packets: (0..<100).map { ([UInt8](repeating: 7, count: 160), Int64($0) * 160) })
        var refused = try sound(.pcma)
        refused.isRefused = true
        for sound in [unknown, refused] {
            let heard = try await hear(script(sound))
            #expect(heard.units.map(\.data) == silent.units.map(\.data))
            #expect(heard.sounds.isEmpty && heard.soundLost.count == 1, "\(heard.soundLost)")
        }
        let unwanted = try await hear(script(try sound(.pcma)), sound: false)
        #expect(unwanted.units.map(\.data) == silent.units.map(\.data))
        #expect(unwanted.sounds.isEmpty && unwanted.soundLost.isEmpty)
    }

    @Test func `I13: a camera that goes on sending sound, but no picture, is silent`() async throws {
        var script = script(try sound(.pcma))
        script.pictures = Array(script.pictures.prefix(5))
        // Two seconds in five.
        script.sound?.pace = 50_000
        let camera = try RTSPCamera(.plays, script)
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url, silence: 1_000_000), errors: 1)
        #expect(heard.units.count == 4 && !heard.sounds.isEmpty && heard.errors == [CaptureError(.silent, "")])
        // All of it would be 16 frames of 128 ms; after a second nobody listens any more.
        #expect(heard.sounds.count < 12)
    }

    /// libavformat goes by the reports as soon as there are two streams.
    @Test(arguments: [0, 3600, -3600, 1e8])
    func `I9: sender reports of sound that lie about the time move no picture`(lie: Double) async throws {
        let silent = try await hear(script(nil))
        let reports = [
            RTSPCamera.Script.Report(at: 0.3, ofSound: true, clock: 3_900_000_000 + lie, time: 2400),
            RTSPCamera.Script.Report(at: 0.7, ofSound: false, clock: 3_900_000_000.4, time: 63_000),
            RTSPCamera.Script.Report(at: 1.2, ofSound: true, clock: 3_900_000_000.9 - lie, time: 9600),
        ]
        let heard = try await hear(script(try sound(.pcma), reports: reports))
        #expect(heard.units.map(\.data) == silent.units.map(\.data))
        #expect(zip(heard.units, silent.units).allSatisfy { abs($0.pts - $1.pts) <= 90 })
        #expect(heard.errors == silent.errors)
    }
}
