public import Core
import Synchronization

/// Clocks that a test moves by hand; wall and monotonic time can be stepped apart.
public final class ManualTime: TimeSource {
    private let state: Mutex<(wall: WallTime, monotonic: MonotonicTime)>
    private let synchronised = Mutex(false)

    public init(
        wall: WallTime = WallTime(seconds: 1_764_000_000), monotonic: MonotonicTime = MonotonicTime(microseconds: 0)
    ) {
        state = Mutex((wall, monotonic))
    }
    public func wallNow() -> WallTime { state.withLock { $0.wall } }
    public func monotonicNow() -> MonotonicTime { state.withLock { $0.monotonic } }
    public func isWallSynchronised() -> Bool { synchronised.withLock { $0 } }
    public func setSynchronised(_ value: Bool) { synchronised.withLock { $0 = value } }
    /// Both clocks go on.
    public func advance(microseconds: Int64) {
        state.withLock {
            $0.wall = $0.wall + microseconds
            $0.monotonic = $0.monotonic + microseconds
        }
    }
    /// Only the wall clock moves, as when somebody sets it.
    public func stepWall(microseconds: Int64) { state.withLock { $0.wall = $0.wall + microseconds } }
}
