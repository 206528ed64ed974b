public import Core
import Foundation
public import Logging
import Media

/// One camera: connects, delivers, and reconnects for ever with a capped back-off (I12).
///
/// libav blocks, so each source has a thread of its own, which ends soon after its consumer is cancelled or goes. Only name
/// resolution cannot be interrupted; a thread in it is left behind, and nobody waits for it longer than a second.
public final class CameraSource: Sendable {
    private let name: String
    private let session: any SourceSession
    private let time: any TimeSource
    private let logger: Logger

    /// No frame for this long counts as offline (I13), µs.
    static let silence: Int64 = 10_000_000

    /// - Parameter sound: whether to deliver the camera's sound.
    public convenience init(_ address: SourceAddress, sound: Bool = true, time: any TimeSource, logger: Logger) {
        self.init(address, sound: sound, silence: Self.silence, time: time, logger: logger)
    }

    convenience init(
        _ address: SourceAddress, sound: Bool = true, silence: Int64, time: any TimeSource, logger: Logger
    ) {
        let session: any SourceSession =
            switch address.kind {
            case .test(let settings): TestSession(settings: settings)
            case .file(let path, let loops): FileSession(path: path, loops: loops, silence: silence, sound: sound)
            case .rtsp(let url): RTSPSession(url: url, silence: silence, sound: sound)
            }
        self.init(named: address.description, session, time: time, logger: logger)
    }

    /// - Parameter name: for the log; holds no password.
    init(named name: String, _ session: any SourceSession, time: any TimeSource, logger: Logger) {
        self.name = name
        self.session = session
        self.time = time
        self.logger = logger
    }

    /// Starts the source anew at each call.
    public func events() -> CaptureEvents {
        let lease = Lease(queue: EventQueue(), interrupt: InterruptFlag())
        let outlet = SourceOutlet(time: time, queue: lease.queue, interrupt: lease.interrupt)
        let thread = Thread { [name, session, logger] in
            Self.run(session, name, outlet, logger)
            outlet.queue.finish()
        }
        thread.name = "capture"
        thread.start()
        return CaptureEvents(lease: lease)
    }

    private static func run(_ session: any SourceSession, _ name: String, _ outlet: SourceOutlet, _ logger: Logger) {
        var backoff = Backoff()
        var generator = SystemRandomNumberGenerator()
        var lastReason: String?
        while !outlet.isStopped {
            let began = outlet.time.monotonicNow()
            do throws(CaptureError) {
                try session.run(outlet)
            } catch {
                if outlet.isStopped { return }
                // Once for each trouble, not once for each attempt.
                if error.reason != lastReason {
                    logger.warning("camera offline", metadata: ["source": "\(name)", "error": "\(error)"])
                }
                lastReason = error.reason
                outlet.queue.push(.disconnected(error))
                guard session.mayRetry(after: error) else { return }
            }
            let connected = outlet.time.monotonicNow() - began
            if connected >= Backoff.worthwhile { lastReason = nil }
            outlet.sleep(microseconds: backoff.next(connected: connected, using: &generator))
        }
    }
}
