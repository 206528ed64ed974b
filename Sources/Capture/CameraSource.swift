public import Core
import Foundation
public import Logging
public import Media
import Synchronization

/// What a camera delivers, in order.
public enum CaptureEvent: Sendable {
    case connected(CodecParameters)
    case parametersChanged(CodecParameters)
    case unit(AccessUnit)
    /// Frames that were left out because whoever listens does not keep up.
    case lost(Int)
    /// It went away; the source tries again by itself.
    case disconnected(CaptureError)
}

/// One camera: connects, delivers, and reconnects for ever with a capped back-off (I12).
///
/// libav blocks, so each source has a thread of its own, which ends within a second of the consumer's cancellation.
public final class CameraSource: Sendable {
    private let address: SourceAddress
    private let time: any TimeSource
    private let logger: Logger

    /// No frame for this long counts as offline (I13), µs.
    static let silence: Int64 = 10_000_000
    static let openTimeout: Int64 = 10_000_000
    static let longestPause = 30.0
    static let depth = 1024
    /// 25 frames a second, where the stream does not say.
    static let usualFrameTicks: Int64 = 3600

    public init(_ address: SourceAddress, time: any TimeSource, logger: Logger) {
        self.address = address
        self.time = time
        self.logger = logger
    }

    public func events() -> AsyncStream<CaptureEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: CaptureEvent.self, bufferingPolicy: .bufferingOldest(Self.depth))
        let interrupt = InterruptFlag()
        continuation.onTermination = { _ in interrupt.interrupt() }
        let outlet = Outlet(continuation)
        let thread = Thread { [address, time, logger] in
            Self.run(address, time, logger, interrupt, outlet)
            continuation.finish()
        }
        thread.name = "capture"
        thread.start()
        return stream
    }

    private static func run(
        _ address: SourceAddress, _ time: any TimeSource, _ logger: Logger, _ interrupt: InterruptFlag, _ outlet: Outlet
    ) {
        var pause = 0.5
        while !interrupt.isSet {
            let began = time.monotonicNow()
            do throws(CaptureError) {
                switch address.kind {
                case .test(let settings): try runTest(settings, time, interrupt, outlet)
                case .file(let path, let loops): try runFile(path, loops, time, interrupt, outlet)
                case .rtsp(let url): try runRTSP(url, time, interrupt, outlet)
                }
            } catch {
                if interrupt.isSet { return }
                logger.warning("camera offline", metadata: ["source": "\(address)", "error": "\(error)"])
                outlet.send(.disconnected(error))
                if error.code == .ended { return }
            }
            // Whoever delivered for a while gets a quick second chance.
            if time.monotonicNow() - began > 30_000_000 { pause = 0.5 }
            sleep(pause * Double.random(in: 0.8...1.2), interrupt)
            pause = min(longestPause, pause * 2)
        }
    }

    private static func sleep(_ seconds: Double, _ interrupt: InterruptFlag) {
        var left = seconds
        while left > 0, !interrupt.isSet {
            Thread.sleep(forTimeInterval: min(0.2, left))
            left -= 0.2
        }
    }

    // MARK: Kinds

    private static func runTest(
        _ settings: TestPattern.Settings, _ time: any TimeSource, _ interrupt: InterruptFlag, _ outlet: Outlet
    ) throws(CaptureError) {
        do {
            var pattern = TestPattern(settings)
            let encoder = try Encoder(
                Encoder.Settings(
                    width: settings.width, height: settings.height, rate: settings.rate,
                    keyInterval: settings.keyInterval, bitRate: settings.bitRate, bFrames: settings.bFrames,
                    profile: settings.profile))
            outlet.send(.connected(encoder.parameters))
            let start = (monotonic: time.monotonicNow(), wall: time.wallNow())
            var stamps: [Int64: (WallTime, MonotonicTime)] = [:]
            var frame = 0
            var lastWall = start.wall
            while !interrupt.isSet {
                let due = start.monotonic + Int64(frame) * 1_000_000 / Int64(settings.rate)
                let wait = due - time.monotonicNow()
                if wait > 0 { Thread.sleep(forTimeInterval: Double(wait) / 1_000_000) }
                let (wall, monotonic) = (time.wallNow(), time.monotonicNow())
                // A clock set back must not let timestamps run backwards inside one encoder.
                guard wall >= lastWall else {
                    throw CaptureError(.ended, "The clock was set back; the test camera starts anew.")
                }
                lastWall = wall
                pattern.draw(wall, frame: frame)
                // Ticks from the drawn time itself, so that the recorded time is the time in the picture.
                let pts = (wall - start.wall) * 9 / 100
                stamps[pts] = (wall, monotonic)
                for packet in try encoder.encode(luma: pattern.luma, cb: pattern.cb, cr: pattern.cr, pts: pts) {
                    let stamp = stamps.removeValue(forKey: packet.pts) ?? (wall, monotonic)
                    outlet.send(
                        .unit(
                            AccessUnit(
                                codec: .h264, data: packet.data, isKey: packet.isKey, dts: packet.dts,
                                pts: packet.pts, capturedWall: stamp.0, capturedMonotonic: stamp.1,
                                captureTimeIsExact: true)))
                }
                frame += 1
            }
        } catch let error as CaptureError {
            throw CaptureError(.unreachable, error.reason)
        } catch {
            throw CaptureError(.unusable, "The test picture cannot be made.", underlying: error)
        }
    }

    private static func runFile(
        _ path: String, _ loops: Bool, _ time: any TimeSource, _ interrupt: InterruptFlag, _ outlet: Outlet
    ) throws(CaptureError) {
        var shift: Int64 = 0
        var isFirst = true
        let start = time.monotonicNow()
        while !interrupt.isSet {
            let demuxer = try open("file:" + path, ["protocol_whitelist": "file"], probe: true, interrupt, "The file")
            var first: Int64?
            // In the file's own ticks, as `dts` is.
            var lastDTS: Int64 = 0
            var end = shift
            var frames = 0
            while let frame = try next(demuxer, "The file") {
                if interrupt.isSet { return }
                if isFirst, let parameters = demuxer.parameters {
                    outlet.send(.connected(parameters))
                    isFirst = false
                } else if demuxer.parametersChanged, let parameters = demuxer.parameters {
                    outlet.send(.parametersChanged(parameters))
                }
                let step = frame.duration > 0 ? frame.duration : Self.usualFrameTicks
                let dts = frame.dts ?? frame.pts ?? lastDTS.addingSaturating(step)
                lastDTS = dts
                let base = first ?? dts
                first = base
                // A loop adds its length each time: sums saturate.
                let line = dts.subtractingSaturating(base).addingSaturating(shift)
                end = max(line.addingSaturating(step), end)
                frames += 1
                // Paced like a camera.
                let wait = Ticks.microseconds(line).subtractingSaturating(time.monotonicNow() - start)
                if wait > 0 { sleep(Double(min(wait, 60_000_000)) / 1_000_000, interrupt) }
                let offset = frame.pts.map { $0.subtractingSaturating(dts) } ?? 0
                outlet.send(
                    .unit(
                        AccessUnit(
                            codec: demuxer.codec, data: frame.data, isKey: frame.isKey, dts: line,
                            pts: line.addingSaturating(offset),
                            capturedWall: time.wallNow(), capturedMonotonic: time.monotonicNow())))
            }
            guard frames > 0 else { throw CaptureError(.unusable, "The file \(path) holds no video frame.") }
            guard loops else { throw CaptureError(.ended, "The file \(path) is over.") }
            shift = end
        }
    }

    private static func runRTSP(
        _ url: String, _ time: any TimeSource, _ interrupt: InterruptFlag, _ outlet: Outlet
    ) throws(CaptureError) {
        let options = [
            "rtsp_transport": "tcp", "timeout": "\(openTimeout)", "protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls,crypto",
            "allowed_media_types": "video", "user_agent": "SudoCam",
        ]
        let demuxer = try open(url, options, probe: false, interrupt, "The camera")
        var isFirst = true
        var last: Int64 = 0
        var times = DecodeTimes(depth: 0)
        let began = time.monotonicNow()
        while !interrupt.isSet {
            guard let frame = try next(demuxer, "The camera") else {
                throw CaptureError(.unreachable, "The camera ended the stream.")
            }
            guard let parameters = demuxer.parameters else {
                guard time.monotonicNow() - began < silence else {
                    throw CaptureError(.unusable, "The camera sends pictures but no usable parameter sets.")
                }
                continue
            }
            if isFirst || demuxer.parametersChanged { times.deepen(to: parameters.reorderFrames) }
            if isFirst {
                outlet.send(.connected(parameters))
                isFirst = false
            } else if demuxer.parametersChanged {
                outlet.send(.parametersChanged(parameters))
            }
            let pts = frame.pts ?? frame.dts ?? last + usualFrameTicks
            last = pts
            let dts = times.next(pts: pts)
            outlet.send(
                .unit(
                    AccessUnit(
                        codec: demuxer.codec, data: frame.data, isKey: frame.isKey, dts: dts, pts: pts,
                        capturedWall: time.wallNow(), capturedMonotonic: time.monotonicNow())))
        }
    }

    private static func open(
        _ url: String, _ options: [String: String], probe: Bool, _ interrupt: InterruptFlag, _ what: String
    ) throws(CaptureError) -> Demuxer {
        do {
            return try Demuxer(
                url: url, options: options, probe: probe, interrupt: interrupt, timeout: openTimeout)
        } catch {
            throw wrap(error, what)
        }
    }

    private static func next(_ demuxer: Demuxer, _ what: String) throws(CaptureError) -> Demuxer.Frame? {
        do { return try demuxer.next() } catch { throw wrap(error, what) }
    }

    private static func wrap(_ error: MediaError, _ what: String) -> CaptureError {
        let reason = "\(what): \(error.reason)"
        return switch error.code {
        case .timedOut: CaptureError(.silent, reason, hint: "Is it switched on, and is the address right?")
        case .unsupported, .malformed: CaptureError(.unusable, reason, hint: error.hint)
        default: CaptureError(.unreachable, reason, hint: "Check the address, user and password, and that it is on.")
        }
    }
}

/// Hands events over and counts what did not fit.
private final class Outlet: Sendable {
    private let continuation: AsyncStream<CaptureEvent>.Continuation
    private let lost = Mutex(0)

    init(_ continuation: AsyncStream<CaptureEvent>.Continuation) { self.continuation = continuation }

    func send(_ event: CaptureEvent) {
        lost.withLock { lost in
            if lost > 0, case .enqueued = continuation.yield(.lost(lost)) { lost = 0 }
            if case .dropped = continuation.yield(event) { lost += 1 }
        }
    }
}
