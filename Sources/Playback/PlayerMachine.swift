public import Core
public import Media

/// One viewer's player: what to send when, as a pure machine. No clock, task or socket inside; `handle` takes what happened
/// and returns what to do, `nextTimer` says when to call again.
///
/// Invariants: RTP timestamps only move forward, also on a seek backwards (`h26x_packet_buffer.cc` in libwebrtc drops older
/// ones); every clock message precedes the packets it speaks of; the newest request wins and older answers are ignored.
///
///     idle ──seek──▶ (fetch) ──▶ paused ⇄ playing ──edge of the recording──▶ live
///                                  ▲  └──seek, step──▶ (fetch) ──▶ …          │
///                                  └──────────────── pause ───────────────────┘
public struct PlayerMachine: Sendable {
    public enum Event: Sendable {
        case request(ControlRequest)
        case answered(token: UInt64, FootageAnswer)
        /// The hub's current group, possibly empty; `nil`: this camera delivers nothing now.
        case watching([TimedUnit]?)
        /// The camera that was to be watched is none of the recorder's, or no longer.
        case unknownCamera
        case live(TimedUnit)
        case timer
        case keyFrameRequested
    }

    public struct Outgoing: Sendable {
        public var data: [UInt8]
        public var rtp: UInt32
        public var isKey: Bool
        public var parameters: CodecParameters
    }

    public enum Action: Sendable {
        case fetch(token: UInt64, FootageRequest)
        case send(Outgoing)
        case discardQueued
        case reply(ControlReply)
        case watch(CameraID)
        case unwatch
    }

    enum Mode: Sendable { case idle, paused, playing, live }

    /// What is on the viewer's screen: the last frame sent. `group` is nil after live view.
    struct Cursor: Sendable {
        var time: WallTime
        var group: FrameGroup?
        var index: Int
    }

    /// Frame at wall time t is due at `at` + (t − wall) / rate and carries rtp + (t − wall) × 0.09 / rate.
    struct Base: Sendable {
        var rtp: Int64
        var wall: WallTime
        var at: MonotonicTime
        var rate: Double
    }

    enum Purpose: Sendable {
        case seek(time: WallTime, ControlRequest.SeekMode, ControlRequest.Afterwards)
        /// Go on after `cursor` without pre-roll.
        case resume
        case step(Int)
        /// The group that follows in playing direction.
        case next
    }

    struct Pending: Sendable {
        var token: UInt64
        var purpose: Purpose
    }

    /// Timestamps between the frames of a pre-roll burst: 5 ms measured better than 1.
    static let burstStep: Int64 = 450
    static let refreshInterval: Int64 = 500_000
    /// Above this rate, and backwards, key frames only.
    static let everyFrameUpTo = 4.0
    /// Key frames are not sent closer than this, µs.
    static let keyFrameSpacing: Int64 = 66_000
    static let edgeRetry: Int64 = 250_000

    public let track: String
    var mode = Mode.idle
    var rate = 1.0
    var camera: CameraID?
    var id: UInt32 = 0
    var cursor: Cursor?
    /// Where a seek into a gap left the viewer; playing goes on from here.
    var parked: WallTime?
    var base: Base?
    var pending: Pending?
    var upcoming: FrameGroup?
    /// What was found instead of a next group; acted upon when the present one has been played to its end.
    var upcomingGap: FootageAnswer?
    var nextToken: UInt64 = 0
    var lastRTP: Int64
    var lastSent: MonotonicTime?
    var lastRefresh: MonotonicTime?
    var shownSize: (width: Int, height: Int)?
    var retryAt: MonotonicTime?
    var liveWaitsForKey = false
    var liveRun: RunID?
    var actions: [Action] = []

    /// - Parameter firstRTP: random, RFC 3550 section 5.1.
    public init(track: String, firstRTP: UInt32) {
        self.track = track
        lastRTP = Int64(firstRTP)
    }

    /// When `.timer` is wanted; nil while nothing is due.
    public var nextTimer: MonotonicTime? {
        if let retryAt { return retryAt }
        guard mode == .playing, let base else { return nil }
        if let frame = nextFrame { return due(frame.time, base) }
        return upcomingGap == nil ? nil : endOfGroup(base)
    }

    /// What the picture on the screen shows; nil before the first.
    public var position: WallTime? { cursor?.time }

    public mutating func handle(_ event: Event, now: MonotonicTime) -> [Action] {
        actions = []
        switch event {
        case .request(let request): take(request, now)
        case .answered(let token, let answer):
            guard let pending, pending.token == token else { break }
            self.pending = nil
            take(answer, for: pending.purpose, now)
        case .watching(let group): startLive(group, now)
        case .unknownCamera: loseCamera()
        case .live(let unit): takeLive(unit, now)
        case .timer: tick(now)
        case .keyFrameRequested: refresh(now)
        }
        defer { actions = [] }
        return actions
    }

    private mutating func take(_ request: ControlRequest, _ now: MonotonicTime) {
        id = request.id
        retryAt = nil
        switch request {
        case .seek(_, let camera, let time, let mode, let then):
            leaveLive()
            actions.append(.discardQueued)
            if self.camera != camera { forgetUpcoming() }
            self.camera = camera
            parked = nil
            seek(to: time, mode, then, now)
        case .play(_, let rate):
            play(at: rate, now)
        case .pause:
            pause(now)
        case .step(_, let frames):
            pauseQuietly()
            step(frames, now)
        case .live(_, let camera):
            guard let camera = camera ?? self.camera else {
                reply(.error(id: id, code: .unknownCamera, message: "Say which camera is wanted."))
                return
            }
            actions.append(.discardQueued)
            goLive(camera)
        }
    }

    private mutating func take(_ answer: FootageAnswer, for purpose: Purpose, _ now: MonotonicTime) {
        if case .failure(let error) = answer {
            fail(error)
            return
        }
        switch purpose {
        case .seek(let time, let mode, let then): finishSeek(time, mode, then, answer, now)
        case .resume: finishResume(answer, now)
        case .step(let frames): finishStep(frames, answer, now)
        case .next: takeNext(answer, now)
        }
    }

    mutating func fetch(_ request: FootageRequest, _ purpose: Purpose) {
        nextToken += 1
        pending = Pending(token: nextToken, purpose: purpose)
        actions.append(.fetch(token: nextToken, request))
    }

    mutating func forgetUpcoming() {
        upcoming = nil
        upcomingGap = nil
    }

    mutating func reply(_ message: ControlReply) { actions.append(.reply(message)) }

    mutating func fail(_ error: PlaybackError) {
        mode = cursor == nil ? .idle : .paused
        forgetUpcoming()
        let code: ControlReply.ErrorCode =
            switch error.code {
            case .locked: .locked
            case .unsupportedCodec: .unsupportedCodec
            case .unknownCamera: .unknownCamera
            case .badMessage: .badMessage
            case .damaged: .damaged
            case .nothingRecorded, .gapTooLong: .internal
            }
        reply(.error(id: id, code: code, message: error.description))
    }

    // MARK: Sending

    /// The next timestamp: forward in any case, and by at least the time that passed.
    func nextRTP(_ now: MonotonicTime) -> Int64 {
        let passed = lastSent.map { (now - $0) * 9 / 100 } ?? 0
        return lastRTP + max(Self.burstStep, passed)
    }

    mutating func send(_ data: [UInt8], isKey: Bool, rtp: Int64, parameters: CodecParameters, _ now: MonotonicTime) {
        if shownSize.map({ $0 != (parameters.width, parameters.height) }) ?? true {
            shownSize = (parameters.width, parameters.height)
            reply(.resized(id: id, width: parameters.width, height: parameters.height))
        }
        lastRTP = rtp
        lastSent = now
        actions.append(
            .send(Outgoing(data: data, rtp: UInt32(truncatingIfNeeded: rtp), isKey: isKey, parameters: parameters)))
    }

    mutating func sendClock(rtp: Int64, time: WallTime, rate: Double, target: Int64, _ mode: ControlReply.Mode) {
        guard let camera else { return }
        reply(
            .clock(
                id: id, track: track, camera: camera, rtp: UInt32(truncatingIfNeeded: rtp), time: time, rate: rate,
                target: UInt32(truncatingIfNeeded: target), mode: mode))
    }

    /// The frames up to `index` as a burst; the clock first, then the packets. Leaves the cursor on `index`.
    mutating func sendBurst(_ group: FrameGroup, upTo index: Int, keyOnly: Bool, rate: Double, _ now: MonotonicTime) {
        let first = nextRTP(now)
        let shown = keyOnly ? 0 : index
        let target = first + Int64(shown) * Self.burstStep
        let frame = group.frames[shown]
        sendClock(
            rtp: target, time: frame.time, rate: rate, target: target, mode == .playing ? .play : .pause)
        for (offset, frame) in group.frames[0...shown].enumerated() {
            send(
                frame.data, isKey: frame.isKey, rtp: first + Int64(offset) * Self.burstStep,
                parameters: group.parameters, now)
        }
        cursor = Cursor(time: frame.time, group: group, index: shown)
        parked = nil
        base = Base(rtp: target, wall: frame.time, at: now, rate: rate)
    }

    /// A receiver lost the picture: the current position again, at most twice a second (W32).
    private mutating func refresh(_ now: MonotonicTime) {
        if let lastRefresh, now - lastRefresh < Self.refreshInterval { return }
        switch mode {
        case .idle: return
        case .live:
            guard let camera else { return }
            lastRefresh = now
            goLive(camera)
        case .paused, .playing:
            guard let cursor, pending == nil || mode == .playing else { return }
            lastRefresh = now
            if let group = cursor.group {
                actions.append(.discardQueued)
                sendBurst(group, upTo: cursor.index, keyOnly: false, rate: mode == .playing ? rate : 0, now)
            } else if let camera {
                fetch(.at(camera, cursor.time), .seek(time: cursor.time, .exact, .pause))
            }
        }
    }
}
