import Core
import Dispatch
import Logging
import Media
import Synchronization
import TestKit
import Testing
import Vault

@testable import Playback

/// What a session answers to whoever sends more than it can use.
@Suite struct ViewerSessionTests {
    private final class Output: ViewerOutput {
        let replies = Mutex<[ControlReply]>([])
        let isClosed = Mutex(false)
        func send(_ frame: PlayerMachine.Outgoing) {}
        func send(_ reply: ControlReply) { replies.withLock { $0.append(reply) } }
        func discardQueued() {}
        func close() { isClosed.withLock { $0 = true } }

        func hasClock(id wanted: UInt32) -> Bool {
            replies.withLock { replies in
                replies.contains { reply in
                    if case .clock(wanted, _, _, _, _, _, _, _) = reply { true } else { false }
                }
            }
        }
        func count(_ wanted: ControlReply.ErrorCode) -> Int {
            replies.withLock { $0.count { if case .error(nil, wanted, _) = $0 { true } else { false } } }
        }
    }
    private struct SilentCameras: LiveSource {
        func watch(_ camera: CameraID) -> (group: [TimedUnit], frames: AsyncStream<TimedUnit>)? { nil }
        func knows(_ camera: CameraID) -> Bool { true }
    }
    private struct NoCamera: LiveSource {
        func watch(_ camera: CameraID) -> (group: [TimedUnit], frames: AsyncStream<TimedUnit>)? { nil }
        func knows(_ camera: CameraID) -> Bool { false }
    }

    @Test func `W23: garbage is answered like any message, 400 at once, then once that it is too much`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open(.read)
        let output = Output()
        let session = ViewerSession(
            vault: vault, live: NoCamera(), output: output, track: "0", firstRTP: 0, time: temporary.time,
            logger: Logger(label: "test"))
        for number in 0..<4000 { session.receive(number % 2 == 0 ? [] : Array("{\"type\":\"seek\"".utf8)) }
        session.stop()
        await session.run()
        #expect(output.count(.badMessage) == 400)
        #expect(output.count(.tooManyMessages) == 1)
        #expect(output.replies.withLock { $0.count } == 401 && !output.isClosed.withLock { $0 })
        await vault.close()
    }

    @Test func `W23: 200 messages a second are read, and who goes on for long is cut off`() {
        var now = MonotonicTime(microseconds: 0)
        var budget = MessageBudget(now: now)
        func take(_ count: Int) -> [MessageBudget.Verdict: Int] {
            var verdicts: [MessageBudget.Verdict: Int] = [:]
            for _ in 0..<count { verdicts[budget.take(now: now), default: 0] += 1 }
            return verdicts
        }
        #expect(take(1000) == [.accepted: 400, .refusedFirst: 1, .refused: 599])
        now = now + 1_000_000
        #expect(take(1000) == [.accepted: 200, .refused: 800])
        // Whoever keeps quiet for a while begins anew.
        now = now + 2_000_000
        #expect(take(500) == [.accepted: 400, .refusedFirst: 1, .refused: 99])
        #expect(take(19_900) == [.refused: 19_900])
        #expect(take(2) == [.abusive: 2])
    }

    @Test func `who seeks faster than footage opens has a few openings under way, and gets the last`() async throws {
        let starts = (0..<12).map { FootageReaderTests.starts[0] + Int64($0) * 60_000_000 }
        let gate = DispatchGroup()
        gate.enter()
        let opened = Mutex<Set<String>>([])
        let files = GatedFileSystem(beforeReading: { path in
            guard path.contains("/objects/") else { return }
            opened.withLock { _ = $0.insert(path) }
            gate.wait()
        })
        let (kept, vault, camera) = try await FootageReaderTests.footage(starts, files: files)
        defer { withExtendedLifetime(kept) {} }
        let output = Output()
        let session = ViewerSession(
            vault: vault, live: SilentCameras(), output: output, track: "0", firstRTP: 0, time: SystemTime(),
            logger: Logger(label: "test"))
        async let ran: Void = session.run()
        for (number, start) in starts.enumerated() {
            session.receive(
                Array(
                    #"{"type":"seek","id":\#(number),"camera":"\#(camera)","time":\#(start.microseconds + 500_000)}"#
                        .utf8))
            // Behind the seek, so that it was taken; and a moment in which its file may be opened.
            session.receive([])
            while output.count(.badMessage) <= number { try await Task.sleep(for: .milliseconds(1)) }
            try await Task.sleep(for: .milliseconds(20))
        }
        while opened.withLock(\.isEmpty) { try await Task.sleep(for: .milliseconds(1)) }
        gate.leave()
        while !output.hasClock(id: 11) { try await Task.sleep(for: .milliseconds(1)) }
        #expect((1...5).contains(opened.withLock(\.count)))
        session.stop()
        await ran
        await vault.close()
    }
}
