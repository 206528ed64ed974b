import Core
import Media

/// An RTSP camera over TCP.
struct RTSPSession: SourceSession {
    let url: String
    /// No frame for this long counts as offline (I13), µs.
    let silence: Int64
    let sound: Bool

    func run(_ outlet: SourceOutlet) throws(CaptureError) {
        do {
            let demuxer = try Demuxer(
                url: url, source: .rtsp, interrupt: outlet.interrupt, timeout: silence, sound: sound)
            var isFirst = true
            while !outlet.isStopped {
                switch try demuxer.next() {
                case .video(let frame):
                    outlet.announce(frame.newParameters, isFirst: &isFirst)
                    outlet.deliver(frame, codec: demuxer.codec, dts: frame.dts, pts: frame.pts)
                case .sound(let frame, let parameters): outlet.deliver(frame, parameters)
                case .soundLost(let reason): outlet.lose(sound: reason)
                case nil: throw CaptureError(.unreachable, "The camera ended the stream.")
                }
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
