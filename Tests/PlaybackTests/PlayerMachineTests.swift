import Core
import Media
import TestKit
import Testing

@testable import Playback

/// A virtual hour of footage at 25 frames a second in groups of two seconds, with a gap from 600 to 660 s.
@Suite struct PlayerMachineTests {
    static let camera = CameraID.random()
    static let zero = WallTime(seconds: 1_764_000_000)
    static func at(_ seconds: Double) -> WallTime { zero + Int64(seconds * 1_000_000) }

    struct World {
        var machine = PlayerMachine(track: "0", firstRTP: UInt32.max - 100_000)
        var now = MonotonicTime(microseconds: 0)
        var sent: [(rtp: UInt32, time: WallTime, isKey: Bool)] = []
        var replies: [ControlReply] = []
        let parameters: CodecParameters
        var id: UInt32 = 0

        init() throws { parameters = try SyntheticClip(frames: 2, keyInterval: 2).parameters }

        func answer(_ request: FootageRequest) -> FootageAnswer {
            func group(_ index: Int64) -> FrameGroup {
                let start = zero + index * 2_000_000
                return FrameGroup(
                    camera: camera, range: TimeRange(start, start + 2_000_000),
                    frames: (0..<50).map { frame in
                        let time = start + Int64(frame) * 40_000
                        // The data carries the frame's time, so that a test sees what was sent.
                        return PlaybackFrame(
                            time: time, isKey: frame == 0,
                            data: (0..<8).map { UInt8(truncatingIfNeeded: time.microseconds >> (56 - 8 * $0)) })
                    }, parameters: parameters, isGrowing: false)
            }
            func lookUp(_ index: Int64) -> FootageAnswer {
                if index < 0 { return .gap(from: nil, to: zero, reason: "before-first", isLiveEdge: false) }
                if index >= 1800 { return .gap(from: at(3600), to: nil, reason: "after-last", isLiveEdge: false) }
                if (300..<330).contains(index) {
                    return .gap(from: at(600), to: at(660), reason: "stopped", isLiveEdge: false)
                }
                return .group(group(index))
            }
            switch request {
            case .at(_, let time): return lookUp((time - zero) < 0 ? -1 : (time - zero) / 2_000_000)
            case .after(_, let time): return lookUp((time - zero + 1_999_999) / 2_000_000)
            case .before(_, let time): return lookUp((time - zero + 1_999_999) / 2_000_000 - 1)
            }
        }

        mutating func feed(_ event: PlayerMachine.Event) {
            for action in machine.handle(event, now: now) {
                switch action {
                case .fetch(let token, let request): feed(.answered(token: token, answer(request)))
                case .send(let frame):
                    let value = frame.data.reduce(Int64(0)) { $0 << 8 | Int64($1) }
                    sent.append((frame.rtp, WallTime(microseconds: value), frame.isKey))
                case .reply(let reply): replies.append(reply)
                case .discardQueued, .watch, .unwatch: break
                }
            }
        }

        mutating func seek(
            _ seconds: Double, _ mode: ControlRequest.SeekMode = .exact, then: ControlRequest.Afterwards = .pause
        ) {
            id += 1
            feed(.request(.seek(id: id, camera: camera, time: at(seconds), mode: mode, then: then)))
        }

        mutating func run(seconds: Double) {
            let end = now + Int64(seconds * 1_000_000)
            while let timer = machine.nextTimer, timer <= end {
                now = max(now, timer)
                feed(.timer)
            }
            now = end
        }
    }

    @Test func `an exact seek sends the pre-roll and ends with the frame on the screen at that time`() throws {
        var world = try World()
        world.seek(101.015)
        #expect(world.sent.count == 26)
        #expect(world.sent.first?.isKey == true)
        #expect(world.sent.last?.time == Self.at(101.0))
        guard case .clock(_, _, _, let rtp, let time, let rate, let target, let mode) = world.replies[0] else {
            Issue.record("no clock before the packets")
            return
        }
        #expect(rtp == world.sent.last?.rtp && target == rtp && time == Self.at(101.0) && rate == 0 && mode == .pause)
    }

    @Test func `a frame's own time gives that frame`() throws {
        var world = try World()
        world.seek(100.08)
        #expect(world.sent.last?.time == Self.at(100.08))
    }

    @Test func `timestamps only move forward, over the 32-bit border and on seeks backwards`() throws {
        var world = try World()
        for seconds in [500, 400, 300.5, 20, 900, 1] { world.seek(Double(seconds)) }
        for (before, after) in zip(world.sent, world.sent.dropFirst()) {
            #expect(Int32(bitPattern: after.rtp &- before.rtp) > 0)
        }
    }

    @Test func `a key-frame seek sends one frame`() throws {
        var world = try World()
        world.seek(101.9, .keyframe)
        #expect(world.sent.count == 1 && world.sent[0].time == Self.at(100))
    }

    @Test func `playing sends every frame at its time and maps timestamps to it`() throws {
        var world = try World()
        world.seek(100, then: .play)
        world.run(seconds: 10)
        #expect(world.sent.last?.time == Self.at(110))
        #expect(world.sent.count == 251)
        for (before, after) in zip(world.sent, world.sent.dropFirst()) { #expect(after.time - before.time == 40_000) }
        let ticks = world.sent[250].rtp &- world.sent[0].rtp
        #expect(abs(Int64(ticks) - 900_000) < 10)
    }

    @Test(arguments: [(16.0, 10), (-8.0, 20)])
    func `fast and backwards, key frames only`(rate: Double, seconds: Int) throws {
        var world = try World()
        world.seek(400)
        world.feed(.request(.play(id: 9, rate: rate)))
        let before = world.sent.count
        world.run(seconds: Double(seconds))
        let played = world.sent[before...]
        #expect(!played.contains { !$0.isKey })
        let moved = Double(played.last.map { $0.time - Self.at(400) } ?? 0) / 1_000_000
        #expect(abs(moved - rate * Double(seconds)) <= 4 * abs(rate) / 8)
    }

    @Test func `playing reaches a gap, says so, shows all before it and goes on behind it`() throws {
        var world = try World()
        world.seek(597, then: .play)
        world.run(seconds: 5)
        #expect(world.sent.contains { $0.time == Self.at(599.96) })
        #expect(world.replies.contains(.gap(id: 1, from: Self.at(600), to: Self.at(660), reason: "stopped")))
        let last = try #require(world.sent.last?.time)
        #expect(abs(last - Self.at(662)) <= 80_000)
    }

    @Test func `W35: seeks into a gap and past both ends are answered`() throws {
        var world = try World()
        world.seek(100)
        for (seconds, reason) in [(630.0, "stopped"), (-5, "before-first"), (4000, "after-last")] {
            world.seek(seconds)
            guard case .gap(_, _, _, let told) = world.replies.last else {
                Issue.record("no answer")
                continue
            }
            #expect(told == reason)
        }
        #expect(world.machine.position == Self.at(100))
    }

    @Test func `the end pauses and is told`() throws {
        var world = try World()
        world.seek(3598, then: .play)
        world.run(seconds: 4)
        #expect(world.replies.last == .end(id: 1, at: .last))
        #expect(world.sent.last?.time == Self.at(3599.96))
    }

    @Test func `steps move by one frame over group borders`() throws {
        var world = try World()
        world.seek(101.96)
        world.feed(.request(.step(id: 2, frames: 1)))
        #expect(world.sent.last?.time == Self.at(102))
        world.feed(.request(.step(id: 3, frames: -1)))
        #expect(world.sent.last?.time == Self.at(101.96))
        let before = world.sent.count
        world.feed(.request(.step(id: 4, frames: -1)))
        #expect(world.sent.last?.time == Self.at(101.92))
        world.feed(.request(.step(id: 5, frames: 1)))
        #expect(world.sent.last?.time == Self.at(101.96))
        #expect(world.sent.count - before == 50)
    }

    @Test func `W32: a lost picture is sent again, at most twice a second`() throws {
        var world = try World()
        world.seek(101)
        let before = world.sent.count
        for _ in 0..<10 { world.feed(.keyFrameRequested) }
        #expect(world.sent.count == before + 26)
        world.now = world.now + 600_000
        world.feed(.keyFrameRequested)
        #expect(world.sent.count == before + 52)
        #expect(world.sent.last?.time == Self.at(101))
    }

    @Test func `resuming after ten minutes goes on with the next frame`() throws {
        var world = try World()
        world.seek(101)
        world.now = world.now + 600_000_000
        world.feed(.request(.play(id: 2, rate: 1)))
        let before = world.sent.count
        world.run(seconds: 0.2)
        #expect(world.sent[before].time == Self.at(101.04))
    }

    @Test func `an answer to an older request is ignored`() throws {
        var world = try World()
        let first = world.machine.handle(
            .request(.seek(id: 1, camera: Self.camera, time: Self.at(50), mode: .exact, then: .pause)), now: world.now)
        guard case .fetch(let token, let request) = first.last else {
            Issue.record("nothing was fetched")
            return
        }
        world.id = 1
        world.seek(200)
        world.feed(.answered(token: token, world.answer(request)))
        #expect(world.machine.position == Self.at(200))
    }

    @Test func `a live camera that delivers nothing is asked for again and again, one that is none any more is not`()
        throws
    {
        var world = try World()
        world.feed(.request(.live(id: 1, camera: Self.camera)))
        for count in 1...2 {
            world.feed(.watching(nil))
            #expect(world.replies.count == count)
            guard case .gap(id: 1, _, _, reason: "offline") = world.replies.last else {
                Issue.record("the viewer was not told")
                return
            }
            world.now = try #require(world.machine.nextTimer)
            #expect(
                world.machine.handle(.timer, now: world.now).contains { if case .watch = $0 { true } else { false } })
        }
        world.feed(.unknownCamera)
        guard case .error(id: 1, code: .unknownCamera, _) = world.replies.last else {
            Issue.record("the viewer was not told")
            return
        }
        #expect(world.machine.nextTimer == nil)
    }
}

@Suite struct ControlMessageTests {
    @Test(arguments: [
        "", "{}", "[]", "null", #"{"type":"seek","id":1}"#, #"{"type":"seek","id":-1,"camera":"x","time":1}"#,
        #"{"type":"play","id":1,"rate":0}"#, #"{"type":"play","id":1,"rate":17}"#, #"{"type":"step","id":1}"#,
        #"{"type":"step","id":1,"frames":99999999999999999999}"#, #"{"type":"dance","id":1}"#,
        #"{"type":"seek","id":1,"camera":"00000000-0000-4000-8000-000000000000","time":9223372036854775807}"#,
    ])
    func `W23: what is no message gets a clear error`(text: String) {
        #expect(throws: PlaybackError(.badMessage, "")) { try ControlRequest(parsing: Array(text.utf8)) }
    }

    @Test func `an oversized message is not read`() {
        let bytes = [UInt8](repeating: UInt8(ascii: " "), count: ControlRequest.byteLimit + 1)
        #expect(throws: PlaybackError(.badMessage, "")) { try ControlRequest(parsing: bytes) }
    }
}
