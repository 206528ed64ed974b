import Core
import Synchronization

/// Ends a blocking call of libav from another thread, or when its time is up. libav asks about ten times a second.
public final class InterruptFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    /// Closing goes on although the flag is set, for as long as the deadline allows.
    private let closing = Atomic<Bool>(false)
    /// CLOCK_BOOTTIME µs after which the present call is given up; 0: never.
    private let deadline = Atomic<Int64>(0)

    public init() {}
    public func interrupt() { flag.store(true, ordering: .releasing) }
    public var isSet: Bool { flag.load(ordering: .acquiring) }

    /// Real time: a blocked system call knows no other.
    func allow(microseconds: Int64) {
        deadline.store(SystemTime().monotonicNow().microseconds.addingSaturating(microseconds), ordering: .releasing)
    }
    /// For a last word to the other side, though interrupted.
    func allowClosing(microseconds: Int64) {
        allow(microseconds: microseconds)
        closing.store(true, ordering: .releasing)
    }
    func closed() {
        closing.store(false, ordering: .releasing)
        deadline.store(0, ordering: .releasing)
    }
    var isOverdue: Bool {
        let limit = deadline.load(ordering: .acquiring)
        return limit > 0 && SystemTime().monotonicNow().microseconds > limit
    }
    var isOver: Bool { isOverdue || isSet && !closing.load(ordering: .acquiring) }
}
