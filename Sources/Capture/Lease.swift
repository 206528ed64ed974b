import Dispatch
import Media

/// Whoever takes a source's events holds this; when it goes, the source stops. The source's thread does not hold it.
final class Lease: Sendable {
    let queue: EventQueue
    let interrupt: InterruptFlag

    /// How long a stopped source may keep its consumer waiting.
    static let patience = DispatchTimeInterval.seconds(1)

    init(queue: EventQueue, interrupt: InterruptFlag) {
        self.queue = queue
        self.interrupt = interrupt
    }
    deinit { stop() }

    func stop() {
        guard !interrupt.isSet else { return }
        interrupt.interrupt()
        queue.cancel()
        DispatchQueue.global().asyncAfter(deadline: .now() + Self.patience) { [queue] in queue.finish() }
    }
}
