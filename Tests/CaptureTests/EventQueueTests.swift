import Core
import Media
import TestKit
import Testing

@testable import Capture

@Suite struct EventQueueTests {
    private let parameters: CodecParameters

    init() throws { parameters = try SyntheticClip(frames: 1, keyInterval: 1).parameters }

    private func unit(_ number: Int, isKey: Bool = false, bytes: Int = 100) -> CaptureEvent {
        .unit(
            AccessUnit(
                codec: .h264, data: [UInt8](repeating: 0, count: bytes), isKey: isKey, dts: Int64(number),
                pts: Int64(number), capturedWall: WallTime(seconds: 0),
                capturedMonotonic: MonotonicTime(microseconds: 0)))
    }
    /// As `k3 u4 lost2 new on off`.
    private func word(_ event: CaptureEvent?) -> String {
        switch event {
        case .unit(let unit): (unit.isKey ? "k" : "u") + "\(unit.dts)"
        case .lost(let count): "lost\(count)"
        case .parametersChanged(let parameters): "new\(parameters.width)"
        case .connected: "on"
        case .sound(let frame, _): "s\(frame.pts)"
        case .soundLost: "mute"
        case .disconnected: "off"
        case nil: "end"
        }
    }
    /// Everything that waits, after `finish`.
    private func drain(_ queue: EventQueue) async -> String {
        queue.finish()
        var words: [String] = []
        while let event = await queue.next() { words.append(word(event)) }
        return words.joined(separator: " ")
    }

    @Test func `what goes in comes out, in order`() async {
        let queue = EventQueue()
        queue.push(.connected(parameters))
        queue.push(unit(0, isKey: true))
        queue.push(unit(1))
        queue.push(.disconnected(CaptureError(.silent, "")))
        #expect(await drain(queue) == "on k0 u1 off")
        #expect(await queue.next() == nil)
    }

    @Test
    func `S9: when bytes run out, the rest of the group goes too, and the loss is told before the next key frame`()
        async
    {
        let queue = EventQueue(byteLimit: 1000)
        queue.push(.connected(parameters))
        queue.push(unit(0, isKey: true, bytes: 600))
        queue.push(unit(1, bytes: 300))
        // No room; the small ones after it would fit, but nothing can decode them.
        queue.push(unit(2, bytes: 200))
        queue.push(unit(3, bytes: 10))
        // A key frame too early: less than half the queue is free.
        queue.push(unit(4, isKey: true, bytes: 10))
        queue.push(unit(5, bytes: 10))
        for expected in ["on", "k0", "u1"] { #expect(word(await queue.next()) == expected) }
        queue.push(unit(6, bytes: 10))
        queue.push(unit(7, isKey: true, bytes: 10))
        queue.push(unit(8, bytes: 10))
        #expect(await drain(queue) == "lost5 k7 u8")
    }

    @Test func `S9: the number of units is bounded too`() async {
        let queue = EventQueue(unitLimit: 4)
        for number in 0..<100 { queue.push(unit(number, isKey: number % 10 == 0, bytes: 1)) }
        #expect(await drain(queue) == "k0 u1 u2 u3 lost96")
    }

    @Test func `S9: sound is bounded, and takes no room that pictures need`() async throws {
        let sound = try SoundParameters(configuration: [0x15, 0x88])
        func piece(_ number: Int, bytes: Int) -> CaptureEvent {
            .sound(SoundFrame(data: [UInt8](repeating: 0, count: bytes), pts: Int64(number), duration: 1), sound)
        }
        let queue = EventQueue(byteLimit: 1000)
        for number in 0..<10 { queue.push(piece(number, bytes: 100)) }
        queue.push(unit(0, isKey: true, bytes: 600))
        queue.push(unit(1, bytes: 200))
        queue.push(piece(10, bytes: 1))
        for expected in ["s0", "s1", "k0", "u1"] { #expect(word(await queue.next()) == expected) }
        queue.push(piece(11, bytes: 250))
        #expect(await drain(queue) == "s11")
        let short = EventQueue(unitLimit: 4)
        for number in 0..<100 { short.push(number % 2 == 0 ? piece(number, bytes: 0) : .soundLost("x")) }
        for number in 0..<4 { short.push(unit(number, isKey: number == 0)) }
        #expect(await drain(short) == "s0 mute s2 mute k0 u1 u2 u3")
    }

    @Test func `connections, parameters and disconnections are never dropped`() async {
        let queue = EventQueue(byteLimit: 1000)
        queue.push(unit(0, isKey: true, bytes: 1000))
        queue.push(unit(1, bytes: 1))
        queue.push(.disconnected(CaptureError(.silent, "")))
        queue.push(.connected(parameters))
        // Still no room, and a group without its key frame.
        queue.push(unit(2, isKey: true, bytes: 1))
        queue.push(.parametersChanged(parameters))
        queue.push(unit(3, isKey: true, bytes: 1))
        queue.push(unit(4, bytes: 1))
        queue.push(.disconnected(CaptureError(.silent, "")))
        #expect(await drain(queue) == "k0 lost1 off on lost1 new320 lost2 off")
    }

    @Test func `after a loss that was told with another event, frames still wait for a key frame`() async {
        let queue = EventQueue(unitLimit: 2)
        queue.push(unit(0, isKey: true))
        queue.push(unit(1))
        queue.push(unit(2))
        queue.push(.parametersChanged(parameters))
        for expected in ["k0", "u1"] { #expect(word(await queue.next()) == expected) }
        queue.push(unit(3))
        queue.push(unit(4, isKey: true))
        #expect(await drain(queue) == "lost1 new320 lost1 k4")
    }

    @Test func `a camera that changes its parameters at every lost frame fills no memory`() async throws {
        let other = try SyntheticClip(frames: 1, keyInterval: 1, width: 640, height: 360).parameters
        let queue = EventQueue(unitLimit: 1)
        queue.push(unit(0, isKey: true))
        for number in 0..<1000 { queue.push(.parametersChanged(number % 2 == 0 ? parameters : other)) }
        #expect(await drain(queue) == "k0 new640")
    }

    @Test func `a frame larger than the queue passes through an empty one`() async {
        let queue = EventQueue(byteLimit: 10)
        queue.push(unit(0, isKey: true, bytes: 5000))
        queue.push(unit(1, bytes: 1))
        #expect(word(await queue.next()) == "k0")
        queue.push(unit(2, isKey: true, bytes: 5000))
        #expect(await drain(queue) == "lost1 k2")
    }

    @Test func `a taker that waits gets what comes, from another thread, in order`() async {
        let queue = EventQueue()
        let taker = Task {
            var numbers: [Int64] = []
            while let event = await queue.next() { if case .unit(let unit) = event { numbers.append(unit.dts) } }
            return numbers
        }
        for number in 0..<2000 {
            queue.push(unit(number, isKey: true, bytes: 1))
            if number % 100 == 0 { await Task.yield() }
        }
        queue.finish()
        #expect(await taker.value == Array(0..<2000))
    }

    @Test func `a cancelled queue gives nothing more, and lets its taker go when it is finished`() async {
        let queue = EventQueue()
        queue.push(unit(0, isKey: true))
        queue.cancel()
        queue.push(unit(1))
        let taker = Task { await queue.next() }
        await Task.yield()
        queue.finish()
        #expect(await taker.value == nil)
        #expect(await queue.next() == nil)
    }
}
