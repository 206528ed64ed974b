import Glibc

/// Where time comes from; injected, so that tests own it. Pure code takes `now` as an argument instead.
public protocol TimeSource: Sendable {
    func wallNow() -> WallTime
    func monotonicNow() -> MonotonicTime
    /// Whether something outside the machine (NTP, GPS, the owner's phone) vouches for the wall clock.
    func isWallSynchronised() -> Bool
}

/// The machine's clocks: CLOCK_REALTIME and CLOCK_BOOTTIME (goes on during suspend, so that a run does not shrink).
public struct SystemTime: TimeSource {
    private let isSynchronised: @Sendable () -> Bool

    /// - Parameter isSynchronised: asks whoever keeps the wall clock right; nobody by default.
    public init(isSynchronised: @escaping @Sendable () -> Bool = { false }) { self.isSynchronised = isSynchronised }
    public func wallNow() -> WallTime { WallTime(microseconds: Self.read(CLOCK_REALTIME)) }
    public func monotonicNow() -> MonotonicTime { MonotonicTime(microseconds: Self.read(CLOCK_BOOTTIME)) }

    public func isWallSynchronised() -> Bool { isSynchronised() }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
