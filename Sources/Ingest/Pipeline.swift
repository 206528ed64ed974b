public import Core
public import Logging
public import Media
import Synchronization
public import Vault

/// One camera: from its access units to hub and recorder. The caller (Server) hands in what Capture delivers.
///
/// `accept` never waits: frames go to the hub at once and into a queue for the recorder, bounded in bytes. When the disk
/// stalls longer than the queue lasts, whole frames up to the next key frame are left out, counted, and entered as a gap.
public actor Pipeline {
    public struct Status: Sendable, Equatable {
        public enum State: String, Sendable, Codable { case connecting, recording, offline, failing }
        public var state: State = .connecting
        /// Since when.
        public var since: WallTime
        /// Why it is offline or failing, in a sentence.
        public var reason: String?
        public var codec: String?
        public var width = 0
        public var height = 0
        /// Since when the camera delivers a picture that does not change; nil while it changes.
        public var frozenSince: WallTime?
    }

    public nonisolated let camera: CameraID
    public nonisolated let hub: Hub
    public nonisolated let recorder: Recorder

    public private(set) var name: String
    private let vault: Vault
    private let time: any TimeSource
    private let logger: Logger
    private var parameters: CodecParameters?
    private var line: TimeLine?
    private var run = RunID.random()
    private enum Held {
        case unit(AccessUnit, TimeLine.Input)
        case sound(SoundFrame, SoundParameters)
    }
    /// Until the time line is settled, in order of arrival.
    private var held: [Held] = []
    private var heldSounds = 0
    /// The sound that came last in this run.
    private var sound: SoundParameters?
    /// What the log said of sound already.
    private var complaints: Set<String> = []
    private var lastTime: WallTime?
    /// Of this run.
    private var lastPicture: WallTime?
    private var gapReason: GapReason
    private let queue: RecordingQueue
    public private(set) var status: Status
    private let changed: @Sendable () -> Void
    private var stillness = StillnessMachine()
    private let (looks, seen) = AsyncStream.makeStream(
        of: StillnessMachine.Look.self, bufferingPolicy: .bufferingNewest(1))

    /// - Parameters:
    ///   - lastRecorded: where this camera's footage ended before this start; the time since becomes a gap.
    ///   - queueBytes: how much waits for a slow disk: 16 s at 32 Mbit/s, two minutes at 4.
    public init(
        camera: CameraID, name: String, vault: Vault, policy: Recorder.Policy, lastRecorded: WallTime?,
        time: any TimeSource, logger: Logger, queueBytes: Int = 64 << 20,
        statusChanged: @escaping @Sendable () -> Void
    ) {
        self.camera = camera
        self.name = name
        self.vault = vault
        self.time = time
        self.logger = logger
        hub = Hub(camera: camera)
        recorder = Recorder(
            camera: camera, cameraName: name, vault: vault, policy: policy, time: time, logger: logger)
        queue = RecordingQueue(limit: queueBytes)
        lastTime = lastRecorded
        gapReason = .stopped
        status = Status(since: time.wallNow())
        changed = statusChanged
    }

    /// Works off the queue until `stop`; the one task that waits for the disk.
    public nonisolated func runRecorder() async {
        for await item in queue.items {
            switch item {
            case .unit(let unit):
                queue.took(unit.unit.data.count)
                do {
                    // A frame that no clip took says nothing: the next key frame may fail as the last one did.
                    if try await recorder.record(unit) { await recorded() }
                } catch {
                    await recordingFailed(error)
                }
            case .sound(let sound):
                queue.took(RecordingQueue.weight(sound.frame))
                await recorder.record(sound)
            case .gap(let range, let reason):
                await recorder.endRun()
                do {
                    try await vault.recordGap(camera: camera, range: range, reason: reason)
                } catch {
                    let name = await name
                    logger.error("a gap could not be entered", metadata: ["camera": "\(name)", "error": "\(error)"])
                }
            case .event(let event):
                do {
                    try await vault.recordEvent(event)
                } catch {
                    let name = await name
                    logger.error("an event could not be entered", metadata: ["camera": "\(name)", "error": "\(error)"])
                }
            case .clockStep(let from, let to):
                do {
                    try await vault.recordClockStep(from: from, to: to)
                } catch {
                    logger.error("a clock step could not be entered", metadata: ["error": "\(error)"])
                }
            case .runEnded:
                await recorder.endRun()
            }
        }
        await recorder.stop()
    }

    /// Works off the key frames that may show a picture that stands still until `stop`; behind, it leaves some out.
    public nonisolated func watchPicture() async {
        for await look in looks {
            guard let picture = await PictureGrid.decoding(look.unit) else { continue }
            await saw(picture, look)
        }
    }

    /// The source is over for good: what is open becomes a clip, and what goes on ends.
    public func sourceEnded() { leave() }

    public nonisolated func stop() {
        seen.finish()
        queue.finish()
    }

    /// The run goes on; the next clip carries the new name.
    public func rename(_ name: String) async {
        self.name = name
        await recorder.rename(name)
    }

    /// Another source delivers from now on: what is open becomes a clip, and the next frame begins a new run.
    public func sourceChanged() {
        leave()
        setState(.connecting, nil)
    }

    public func connected(_ parameters: CodecParameters) {
        self.parameters = parameters
        startRun()
        describe(parameters)
        setState(.recording, nil)
    }

    public func parametersChanged(_ parameters: CodecParameters) {
        self.parameters = parameters
        describe(parameters)
        changed()
    }

    /// - Parameter why: a sentence for the person who looks at the page.
    public func disconnected(_ why: String) {
        leave()
        setState(.offline, why)
    }

    private func leave() {
        if line != nil { queue.push(.runEnded) }
        forgetLine()
        gapReason = .disconnected
        hub.clear()
        tell(stillness.end())
    }

    /// Frames were left out before they came here.
    public func lost(frames: Int) { queue.overflow(frames) }

    public func accept(_ unit: AccessUnit) {
        place(unit)
        // What is left of it is evidence all the same: recorded, and counted.
        if unit.isDamaged { queue.damaged() }
    }

    /// How far sound may lie from the picture that came last, µs: further away, its clock is another one.
    private static let soundReach: Int64 = 10_000_000
    /// What waits for the time line: 12 s of 1024 samples at 48 kHz.
    private static let heldSoundLimit = 600

    /// Sound on the clock of the units. It goes beside the pictures, never in their way: what has no place among them is left out.
    public func accept(_ frame: SoundFrame, _ parameters: SoundParameters) {
        guard line != nil, self.parameters != nil else {
            queue.lostSound()
            return
        }
        sound = parameters
        if line?.isSettled == false {
            guard heldSounds < Self.heldSoundLimit else {
                queue.lostSound()
                return
            }
            heldSounds += 1
            held.append(.sound(frame, parameters))
        } else {
            deliver(frame, parameters)
        }
    }

    /// Sound that is left out before it comes here.
    public func soundLost(_ reason: String) {
        queue.lostSound()
        guard complaints.count < 16, complaints.insert(reason).inserted else { return }
        logger.warning("sound is left out", metadata: ["camera": "\(name)", "reason": "\(reason)"])
    }

    private func deliver(_ frame: SoundFrame, _ parameters: SoundParameters) {
        guard let time = line?.place(sound: frame.pts), let picture = lastPicture,
            abs(time - picture) <= Self.soundReach, queue.admit(frame)
        else {
            queue.lostSound()
            return
        }
        queue.push(.sound(TimedSound(frame: frame, time: time, run: run, parameters: parameters)))
    }

    private func place(_ unit: AccessUnit) {
        let input = TimeLine.Input(
            dts: unit.dts, pts: unit.pts, arrival: unit.capturedMonotonic, wall: unit.capturedWall,
            isExact: unit.captureTimeIsExact)
        if line == nil { line = TimeLine(first: input) }
        guard let verdict = line?.place(input) else { return }
        switch verdict {
        case .hold:
            held.append(.unit(unit, input))
        case .settled:
            let ready = held + [.unit(unit, input)]
            (held, heldSounds) = ([], 0)
            for item in ready {
                switch item {
                case .unit(let unit, let input):
                    if let placement = line?.settle(input) { deliver(unit, placement) }
                case .sound(let frame, let parameters): deliver(frame, parameters)
                }
            }
        case .placed(let placement):
            deliver(unit, placement)
        case .drop:
            queue.dropped()
        case .newRun(let reason):
            logger.notice("a new run begins", metadata: ["camera": "\(name)", "reason": "\(reason.rawValue)"])
            if reason == .clockStep {
                gapReason = .clockStep
                let last = lastTime ?? unit.capturedWall
                queue.push(.clockStep(from: last, to: unit.capturedWall))
                // Set back, the clock comes by that time again: an outage until then is one all the same.
                if unit.capturedWall < last { lastTime = nil }
            }
            queue.push(.runEnded)
            startRun()
            line = nil
            place(unit)
        }
    }

    private func startRun() {
        tell(stillness.end())
        run = .random()
        forgetLine()
    }

    private func forgetLine() {
        line = nil
        (held, heldSounds) = ([], 0)
        (sound, lastPicture) = (nil, nil)
    }

    private func deliver(_ unit: AccessUnit, _ placement: TimeLine.Placement) {
        guard let parameters else { return }
        let timed = TimedUnit(
            unit: unit, time: placement.time, decodeTime: placement.decodeTime, run: run, parameters: parameters,
            sound: sound)
        lastPicture = timed.time
        hub.publish(timed)
        switch stillness.take(timed) {
        case .look(let look): seen.yield(look)
        case .told(let finding): tell(finding)
        case nil: break
        }
        guard queue.admit(unit) else {
            gapReason = .overload
            return
        }
        enterGap(before: timed)
        lastTime = max(timed.time, lastTime ?? timed.time)
        queue.push(.unit(timed))
    }

    /// A hole longer than this between two frames is a gap with a reason; shorter ones are a camera's ordinary jitter.
    static let gapThreshold: Int64 = 2_000_000

    private func enterGap(before unit: TimedUnit) {
        guard let last = lastTime, unit.decodeTime - last > Self.gapThreshold else {
            gapReason = .noSignal
            return
        }
        queue.push(.gap(TimeRange(last, unit.time), gapReason))
        gapReason = .noSignal
    }

    private func saw(_ picture: PictureGrid, _ look: StillnessMachine.Look) {
        guard look.unit.run == run else { return }
        tell(stillness.see(picture, at: look.unit.time))
    }

    private func tell(_ finding: StillnessMachine.Finding?) {
        guard let finding else { return }
        let event = EventRecord(event: finding.event, camera: camera, range: finding.range, label: .frozen)
        queue.push(.event(event))
        let since = finding.isOver ? nil : finding.range.start
        guard status.frozenSince != since else { return }
        status.frozenSince = since
        logger.notice(
            finding.isOver ? "the picture moves again" : "the picture does not change any more",
            metadata: ["camera": "\(name)", "since": "\(finding.range.start)"])
        changed()
    }

    private func describe(_ parameters: CodecParameters) {
        status.codec = parameters.codecString
        status.width = parameters.width
        status.height = parameters.height
    }

    private func recorded() {
        if status.state == .failing { setState(.recording, nil) }
    }

    private func recordingFailed(_ error: IngestError) {
        // At each key frame again, while the disk is full: once is enough for the log.
        if status.state != .failing || status.reason != error.description {
            logger.error("recording failed", metadata: ["camera": "\(name)", "error": "\(error)"])
        }
        setState(.failing, error.description)
    }

    private func setState(_ state: Status.State, _ reason: String?) {
        guard status.state != state || status.reason != reason else { return }
        if status.state != state { status.since = time.wallNow() }
        status.state = state
        status.reason = reason
        changed()
    }

    public nonisolated var overflowedFrames: Int { queue.counts.overflowed }
    public nonisolated var droppedFrames: Int { queue.counts.dropped }
    /// Frames that came with parts missing; they are recorded.
    public nonisolated var damagedFrames: Int { queue.counts.damaged }
    /// Pieces of sound that could not be read, or had no place among the pictures; further ones are counted by the recorder.
    public nonisolated var lostSounds: Int { queue.counts.lostSounds }
}
