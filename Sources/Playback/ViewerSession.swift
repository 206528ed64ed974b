public import Core
public import Logging
public import Media
public import Vault

/// Where a session's frames and messages go; implemented by the sockets. Nothing here waits.
public protocol ViewerOutput: Sendable {
    func send(_ frame: PlayerMachine.Outgoing)
    func send(_ reply: ControlReply)
    /// Drops what the pacer still holds, at a frame's border.
    func discardQueued()
    /// Ends the connection.
    func close()
}

/// Live frames of a camera; implemented over Ingest's hub.
public protocol LiveSource: Sendable {
    /// Nil when the camera is unknown or delivers nothing now.
    func watch(_ camera: CameraID) -> (group: [TimedUnit], frames: AsyncStream<TimedUnit>)?
    func knows(_ camera: CameraID) -> Bool
}

/// Drives one viewer's `PlayerMachine`: feeds it requests, footage, live frames and time, and does what it says.
public actor ViewerSession {
    private enum Input: Sendable {
        case message([UInt8])
        case answered(token: UInt64, FootageAnswer)
        case live(generation: UInt64, TimedUnit)
        case liveEnded(generation: UInt64)
        case keyFrameRequested
        case timer(generation: UInt64)
    }

    private var machine: PlayerMachine
    private let reader: FootageReader
    private let live: any LiveSource
    private let output: any ViewerOutput
    private let time: any TimeSource
    private let logger: Logger
    private let inputs: AsyncStream<Input>
    private nonisolated let feed: AsyncStream<Input>.Continuation
    private var fetching: Task<Void, Never>?
    /// Those that were overtaken still wait for their disk or remote, each on a thread.
    private var fetchesUnderWay = 0
    private var nextFetch: (token: UInt64, request: FootageRequest)?
    private var watching: Task<Void, Never>?
    private var watchGeneration: UInt64 = 0
    private var timer: Task<Void, Never>?
    private var timerGeneration: UInt64 = 0
    private var budget: MessageBudget

    public init(
        vault: Vault, live: any LiveSource, output: any ViewerOutput, track: String, firstRTP: UInt32,
        time: any TimeSource, logger: Logger
    ) {
        machine = PlayerMachine(track: track, firstRTP: firstRTP)
        reader = FootageReader(vault: vault)
        self.live = live
        self.output = output
        self.time = time
        self.logger = logger
        budget = MessageBudget(now: time.monotonicNow())
        // A viewer that floods us loses messages here, not our memory.
        (inputs, feed) = AsyncStream.makeStream(of: Input.self, bufferingPolicy: .bufferingNewest(4096))
    }

    /// Works until `stop` or cancellation; every task it starts ends with it.
    public func run() async {
        for await input in inputs {
            take(input)
            if Task.isCancelled { break }
        }
        nextFetch = nil
        fetching?.cancel()
        watching?.cancel()
        timer?.cancel()
        await reader.forget()
    }

    public nonisolated func receive(_ message: [UInt8]) { feed.yield(.message(message)) }
    public nonisolated func keyFrameRequested() { feed.yield(.keyFrameRequested) }
    public nonisolated func stop() { feed.finish() }

    private func take(_ input: Input) {
        let now = time.monotonicNow()
        switch input {
        case .message(let bytes):
            switch budget.take(now: now) {
            case .accepted: request(bytes, now)
            case .refused: break
            case .refusedFirst:
                output.send(
                    .error(id: nil, code: .tooManyMessages, message: "Slow down: 200 messages a second are read."))
            case .abusive: output.close()
            }
        case .answered(let token, let answer): perform(machine.handle(.answered(token: token, answer), now: now))
        case .live(let generation, let unit):
            if generation == watchGeneration { perform(machine.handle(.live(unit), now: now)) }
        case .liveEnded(let generation): if generation == watchGeneration { stopWatching() }
        case .keyFrameRequested: perform(machine.handle(.keyFrameRequested, now: now))
        case .timer(let generation):
            if generation == timerGeneration { perform(machine.handle(.timer, now: now)) }
        }
        armTimer(now)
    }

    private func request(_ bytes: [UInt8], _ now: MonotonicTime) {
        do {
            let request = try ControlRequest(parsing: bytes)
            switch request {
            case .seek(let id, let camera, _, _, _), .live(let id, let camera?):
                guard live.knows(camera) else {
                    output.send(.error(id: id, code: .unknownCamera, message: "There is no camera \(camera)."))
                    return
                }
            default: break
            }
            perform(machine.handle(.request(request), now: now))
        } catch {
            output.send(.error(id: nil, code: .badMessage, message: error.reason))
        }
    }

    private func perform(_ actions: [PlayerMachine.Action]) {
        for action in actions {
            switch action {
            case .send(let frame): output.send(frame)
            case .reply(let reply): output.send(reply)
            case .discardQueued: output.discardQueued()
            case .fetch(let token, let request):
                fetching?.cancel()
                nextFetch = (token, request)
                fetchNext()
            case .watch(let camera): watch(camera)
            case .unwatch:
                watchGeneration += 1
                watching?.cancel()
                watching = nil
            }
        }
    }

    /// At once, beside a few that were overtaken; else when one of them ends, and then only the newest.
    private func fetchNext() {
        guard fetchesUnderWay < Self.fetchLimit, let (token, request) = nextFetch else { return }
        nextFetch = nil
        fetchesUnderWay += 1
        fetching = Task { [reader, feed, weak self] in
            if !Task.isCancelled { feed.yield(.answered(token: token, await reader.answer(request))) }
            await self?.fetchEnded()
        }
    }
    private func fetchEnded() {
        fetchesUnderWay -= 1
        fetchNext()
    }
    /// Far fewer than a vault opens at once.
    private static let fetchLimit = 4

    private func watch(_ camera: CameraID) {
        watching?.cancel()
        watchGeneration += 1
        let generation = watchGeneration
        guard let (group, frames) = live.watch(camera) else {
            let isKnown = live.knows(camera)
            perform(machine.handle(isKnown ? .watching(nil) : .unknownCamera, now: time.monotonicNow()))
            return
        }
        perform(machine.handle(.watching(group), now: time.monotonicNow()))
        watching = Task { [feed] in
            for await unit in frames { feed.yield(.live(generation: generation, unit)) }
            feed.yield(.liveEnded(generation: generation))
        }
    }

    /// The camera is recorded no longer; whether it ever comes back, the machine asks again.
    private func stopWatching() {
        watchGeneration += 1
        watching = nil
        perform(machine.handle(.watching(nil), now: time.monotonicNow()))
    }

    private func armTimer(_ now: MonotonicTime) {
        timer?.cancel()
        timerGeneration += 1
        guard let at = machine.nextTimer else { return }
        let generation = timerGeneration
        let wait = max(0, at - now)
        timer = Task { [feed] in
            if wait > 0 {
                do { try await Task.sleep(for: .microseconds(wait)) } catch { return }
            }
            feed.yield(.timer(generation: generation))
        }
    }
}

/// 200 control messages a second, 400 at once; who sends ten times that for long is cut off (W23).
struct MessageBudget: Sendable {
    enum Verdict { case accepted, refusedFirst, refused, abusive }

    private var tokens = 400.0
    private var updated: MonotonicTime
    private var refusals = 0

    init(now: MonotonicTime) { updated = now }

    mutating func take(now: MonotonicTime) -> Verdict {
        tokens = min(400, tokens + Double(now - updated) * 200 / 1_000_000)
        updated = now
        if tokens >= 1 {
            tokens -= 1
            if tokens > 200 { refusals = 0 }
            return .accepted
        }
        refusals += 1
        return refusals > 20_000 ? .abusive : refusals == 1 ? .refusedFirst : .refused
    }
}
