import Core
import Media

/// An RTSP camera over TCP.
struct RTSPSession: SourceSession {
    let url: String
    /// No frame for this long counts as offline (I13), µs.
    let silence: Int64

    func run(_ outlet: SourceOutlet) throws(CaptureError) {
        do {
            let demuxer = try Demuxer(url: url, source: .rtsp, interrupt: outlet.interrupt, timeout: silence)
            var isFirst = true
            while !outlet.isStopped {
                guard let frame = try demuxer.next() else {
                    throw CaptureError(.unreachable, "The camera ended the stream.")
                }
                outlet.announce(frame.newParameters, isFirst: &isFirst)
                outlet.deliver(frame, codec: demuxer.codec, dts: frame.dts, pts: frame.pts)
            }
        } catch let error as CaptureError {
            throw error
        } catch let error as MediaError {
            throw Self.wrap(error)
        } catch {
            throw CaptureError(.unreachable, "The camera failed.", underlying: error)
        }
    }

    private static func wrap(_ error: MediaError) -> CaptureError {
        let reason = "The camera: \(error.reason)"
        return switch error.code {
        case .timedOut: CaptureError(.silent, reason, hint: "Is it switched on, and is the address right?")
        case .unsupported, .malformed: CaptureError(.unusable, reason, hint: error.hint)
        default: CaptureError(.unreachable, reason, hint: "Check the address, user and password, and that it is on.")
        }
    }
}
