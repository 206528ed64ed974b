import Core
import Foundation
import Media

/// One connection to a camera, or one showing of a file; blocks the source's own thread.
protocol SourceSession: Sendable {
    /// Delivers until stopped, or throws why it cannot go on.
    func run(_ outlet: SourceOutlet) throws(CaptureError)
    /// Whether a new attempt makes sense after this error.
    func mayRetry(after error: CaptureError) -> Bool
}

extension SourceSession {
    func mayRetry(after error: CaptureError) -> Bool { error.code != .ended }
}

/// What a session has at hand.
struct SourceOutlet: Sendable {
    let time: any TimeSource
    let queue: EventQueue
    let interrupt: InterruptFlag

    var isStopped: Bool { interrupt.isSet }

    /// - Parameter isFirst: of this session.
    func announce(_ parameters: CodecParameters?, isFirst: inout Bool) {
        guard let parameters else { return }
        queue.push(isFirst ? .connected(parameters) : .parametersChanged(parameters))
        isFirst = false
    }

    /// Delivers a frame that was taken, as far as anybody knows, just now.
    func deliver(_ frame: CodedFrame, codec: Codec, dts: Int64, pts: Int64) {
        queue.push(
            .unit(
                AccessUnit(
                    codec: codec, data: frame.data, isKey: frame.isKey, dts: dts, pts: pts,
                    capturedWall: time.wallNow(), capturedMonotonic: time.monotonicNow(), isDamaged: frame.isDamaged)))
    }

    func deliver(_ frame: SoundFrame, _ parameters: SoundParameters) { queue.push(.sound(frame, parameters)) }
    func lose(sound reason: String) { queue.push(.soundLost(reason)) }

    /// In slices, so that stopping is noticed.
    func sleep(microseconds: Int64) {
        var left = microseconds
        while left > 0, !isStopped {
            Thread.sleep(forTimeInterval: Double(min(200_000, left)) / 1_000_000)
            left -= 200_000
        }
    }
}
