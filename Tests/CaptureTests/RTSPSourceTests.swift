import Core
import Dispatch
import Logging
import Media
import TestKit
import Testing

@testable import Capture

@Suite(.timeLimit(.minutes(10))) struct RTSPSourceTests {
    private let small: SyntheticClip
    private let large: SyntheticClip

    /// Encoded once.
    private static let clips = Result {
        (
            small: try SyntheticClip(frames: 12, keyInterval: 4),
            large: try SyntheticClip(frames: 12, keyInterval: 4, width: 640, height: 360)
        )
    }

    init() throws { (small, large) = try Self.clips.get() }

    /// - Parameter sets: in front of each key frame.
    private func pictures(
        _ clip: SyntheticClip, from start: Int64 = 0, sets: [[UInt8]] = []
    ) -> [RTSPCamera.Script.Picture] {
        clip.units.map {
            RTSPCamera.Script.Picture(
                units: ($0.isKey ? sets : []) + NALUnits($0.data).map(Array.init), pts: start + $0.pts)
        }
    }

    @Test func `a camera whose sets stand in SDP only is recorded with them, its units untouched`() async throws {
        let camera = try RTSPCamera(
            .plays, .init(announced: small.parameters.units, pictures: pictures(small)))
        defer { camera.stop() }
        // The last frame's end is not known before the next begins.
        let heard = await Heard(try CameraSource(testing: camera.url), units: 11)
        #expect(heard.connected == [small.parameters] && heard.errors.isEmpty)
        #expect(heard.units.map(\.data) == small.units.prefix(11).map(\.data))
        #expect(heard.units.map(\.isKey) == small.units.prefix(11).map(\.isKey))
        #expect(heard.units.map { $0.pts - heard.units[0].pts } == (0..<11).map { $0 * 3600 })
        #expect(heard.units.map(\.dts) == heard.units.map(\.pts))
    }

    @Test func `I7: a camera that promises 25 frames a second and sends five is timed by its timestamps`() async throws
    {
        var pictures = pictures(small)
        for index in pictures.indices { pictures[index].pts *= 5 }
        let camera = try RTSPCamera(
            .plays, .init(announced: small.parameters.units, pictures: pictures, more: ["a=framerate:25"]))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 11)
        #expect(heard.units.map { $0.pts - heard.units[0].pts } == (0..<11).map { $0 * 18_000 })
        #expect(heard.units.map(\.dts) == heard.units.map(\.pts) && heard.errors.isEmpty)
    }

    @Test(arguments: ["PCMA/8000", "PCMU/8000", "L16/44100/2", "MPEG4-GENERIC/16000/1"])
    func `I9: a camera that announces sound, whichever, and sends none loses no picture for it`(
        encoding: String
    ) async throws {
        let sound = ["m=audio 0 RTP/AVP 97", "a=rtpmap:97 \(encoding)", "a=control:track2"]
        let camera = try RTSPCamera(
            .plays, .init(announced: small.parameters.units, pictures: pictures(small), more: sound))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 11)
        #expect(heard.connected == [small.parameters] && heard.errors.isEmpty)
        #expect(heard.units.map(\.data) == small.units.prefix(11).map(\.data))
    }

    @Test func `I6: a camera that says its sets in band, and not before every key frame, is recorded`() async throws {
        var pictures = pictures(small)
        // SDP says nothing; the first key frame has them, the second and third do not.
        pictures[0].units = small.parameters.units + pictures[0].units
        let camera = try RTSPCamera(.plays, .init(pictures: pictures))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 11)
        #expect(heard.connected == [small.parameters] && heard.changed.isEmpty)
        #expect(heard.units[4].data == small.units[4].data && heard.units[4].isKey)
    }

    @Test func `I6: Annex B inside RTP, empty packets, messages behind the picture, junk after the sets`() async throws
    {
        let (sps, pps) = (small.parameters.sps[0], small.parameters.pps[0])
        let message: [UInt8] = [6, 5, 2, 0x41, 0x42, 0x80]
        var pictures = pictures(small)
        for index in pictures.indices {
            var units = pictures[index].units
            if index == 0 {
                // All of it in one packet, start codes between the units.
                units = [sps + [0, 0, 0, 1] + pps + [0, 0, 1] + units[0]] + units.dropFirst()
            } else if index == 4 {
                units = [sps + [0xAA, 0xBB], pps] + units
            }
            pictures[index].units = [[]] + units + [[]] + (index % 2 == 0 ? [message] : [])
        }
        let camera = try RTSPCamera(.plays, .init(pictures: pictures))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 11)
        #expect(heard.connected == [small.parameters] && heard.errors.isEmpty)
        for (unit, sent) in zip(heard.units, small.units) {
            #expect(
                NALUnits(unit.data).filter(H264NAL.isPicture).map(Array.init)
                    == NALUnits(sent.data).filter(H264NAL.isPicture).map(Array.init))
            #expect(unit.isKey == sent.isKey)
            // A message behind a picture begins the next access unit (H.264 section 7.4.1.2.3): libav's parser gives that one
            // the message's time, which is a frame too early.
            #expect([sent.pts, sent.pts - 3600].contains(unit.pts - heard.units[0].pts))
        }
    }

    @Test func `a camera that sends us elsewhere is told apart, and nobody else hears a word of us`() async throws {
        let other = try RTSPCamera(.plays, .init(announced: small.parameters.units, pictures: pictures(small)))
        defer { other.stop() }
        let camera = try RTSPCamera(.redirects(other.url))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 1, errors: 2)
        #expect(heard.units.isEmpty && heard.connected.isEmpty)
        #expect(heard.errors.allSatisfy { $0.code == .unusable && $0.reason.contains("another address") })
        #expect(camera.requests.contains("DESCRIBE"))
        #expect(other.requests.isEmpty)
    }

    @Test func `a new size in mid-stream is told right before its first key frame`() async throws {
        let script = RTSPCamera.Script(
            announced: small.parameters.units,
            pictures: pictures(small, sets: small.parameters.units)
                + pictures(large, from: 12 * 3600, sets: large.parameters.units))
        let camera = try RTSPCamera(.plays, script)
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 23)
        #expect(heard.connected.map(\.width) == [320] && heard.changed.map(\.parameters) == [large.parameters])
        #expect(heard.changed.first?.before == 12 && heard.units[12].isKey)
    }

    @Test(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg)))
    func `I3: H.265 over RTP, with B-frames, comes whole and rightly timed`() async throws {
        let folder = try TemporaryFolder()
        let (_, frames) = try Film("a.mp4", in: folder, frames: 25, codec: "libx265", bFrames: 2).codedFrames()
        let parameters = try #require(frames[0].newParameters)
        let pictures = frames.map {
            RTSPCamera.Script.Picture(units: NALUnits($0.data).map(Array.init), pts: $0.pts - frames[0].dts)
        }
        let camera = try RTSPCamera(
            .plays, .init(codec: .h265, announced: parameters.units, pictures: pictures))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 24)
        #expect(heard.connected == [parameters] && heard.errors.isEmpty)
        let shown = heard.units.map { $0.pts - heard.units[0].pts }
        #expect(shown == frames.prefix(24).map { $0.pts - frames[0].pts })
        for (a, b) in zip(heard.units, heard.units.dropFirst()) { #expect(a.dts < b.dts) }
        #expect(heard.units.allSatisfy { $0.dts <= $0.pts })
        for (unit, frame) in zip(heard.units, frames) {
            #expect(
                NALUnits(unit.data).filter(H265NAL.isPicture).map(Array.init)
                    == NALUnits(frame.data).filter(H265NAL.isPicture).map(Array.init))
        }
    }

    @Test func `I13: a camera that takes the connection and says nothing is silent, and tried again`() async throws {
        let camera = try RTSPCamera(.mute)
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url, silence: 300_000), errors: 2)
        #expect(heard.errors == [CaptureError(.silent, ""), CaptureError(.silent, "")])
        #expect(heard.errors[0].hint != nil)
    }

    @Test func `I13: a camera that answers and sends no picture is silent, and told goodbye`() async throws {
        let camera = try RTSPCamera(.dark, .init(announced: small.parameters.units))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url, silence: 5_000_000), errors: 2)
        #expect(heard.errors == [CaptureError(.silent, ""), CaptureError(.silent, "")] && heard.connected.isEmpty)
        // Without the goodbye its session would stand, and the next be refused (I12).
        #expect(camera.requests.prefix(5) == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN"])
    }

    @Test func `I13: a camera that falls silent in mid-stream is offline, and what came is kept`() async throws {
        let camera = try RTSPCamera(.plays, .init(announced: small.parameters.units, pictures: pictures(small)))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url, silence: 5_000_000), errors: 1)
        #expect(heard.units.count == 11 && heard.errors == [CaptureError(.silent, "")])
    }

    @Test func `I4: a camera that hangs up is tried again, as a new connection`() async throws {
        let camera = try RTSPCamera(
            .playsAndHangsUp, .init(announced: small.parameters.units, pictures: pictures(small)))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), errors: 2)
        #expect(heard.errors == [CaptureError(.unreachable, ""), CaptureError(.unreachable, "")])
        #expect(heard.connected.count == 2 && heard.units.count >= 22)
    }

    @Test func `I12: a camera whose last session still stands refuses, and is tried until it does not`() async throws {
        let camera = try RTSPCamera(
            .plays, .init(announced: small.parameters.units, pictures: pictures(small)), refusals: 2)
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url), units: 11)
        #expect(heard.errors == [CaptureError(.unreachable, ""), CaptureError(.unreachable, "")])
        #expect(heard.connected == [small.parameters])
    }

    @Test func `pictures without any parameter sets are unusable, which is not the same as silent`() async throws {
        let camera = try RTSPCamera(.plays, .init(pictures: pictures(small)))
        defer { camera.stop() }
        let heard = await Heard(try CameraSource(testing: camera.url, silence: 5_000_000), errors: 1)
        #expect(heard.errors == [CaptureError(.unusable, "")] && heard.units.isEmpty)
    }

    @Test func `I12: a cancelled source tells the camera goodbye`() async throws {
        let camera = try RTSPCamera(.plays, .init(announced: small.parameters.units, pictures: pictures(small)))
        defer { camera.stop() }
        let source = try CameraSource(testing: camera.url)
        let (signal, continuation) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            for await event in source.events() { if case .unit = event { continuation.yield() } }
        }
        for await _ in signal { break }
        task.cancel()
        // The consumer is let go when the thread has said goodbye, or a second later.
        await task.value
        while !camera.requests.contains("TEARDOWN") { await Task.yield() }
    }

    @Test func `a thread that hangs, as in name resolution, holds up nobody`() async {
        struct Hanging: SourceSession {
            let entered = DispatchSemaphore(value: 0)
            let released = DispatchSemaphore(value: 0)
            func run(_ outlet: SourceOutlet) throws(CaptureError) {
                entered.signal()
                released.wait()
            }
        }
        let session = Hanging()
        let source = CameraSource(named: "hanging", session, time: SystemTime(), logger: Logger(label: "test"))
        let task = Task { for await _ in source.events() {} }
        await Task.detached { Self.wait(session.entered) }.value
        task.cancel()
        await task.value
        session.released.signal()
    }
    private static func wait(_ semaphore: DispatchSemaphore) { semaphore.wait() }
}
