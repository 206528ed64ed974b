import Core
import Media
import Synchronization
import Vault

/// What waits for the recorder of one camera: bounded in bytes, never blocking who pushes.
final class RecordingQueue: Sendable {
    enum Item: Sendable {
        case unit(TimedUnit)
        case sound(TimedSound)
        case gap(TimeRange, GapReason)
        case event(EventRecord)
        case clockStep(from: WallTime, to: WallTime)
        case runEnded
    }

    struct Counts: Sendable {
        var bytes = 0
        var overflowed = 0
        var dropped = 0
        var damaged = 0
        /// Pieces of sound that were left out.
        var lostSounds = 0
        /// After a frame was left out the rest of its group cannot be decoded.
        var waitsForKey = false
    }

    let items: AsyncStream<Item>
    private let continuation: AsyncStream<Item>.Continuation
    private let limit: Int
    private let state = Mutex(Counts())

    init(limit: Int) {
        self.limit = limit
        (items, continuation) = AsyncStream.makeStream(of: Item.self)
    }

    var counts: Counts { state.withLock { $0 } }

    /// Whether there is room for this frame; if so it is counted and must be pushed. False while the disk does not keep up.
    func admit(_ unit: AccessUnit) -> Bool {
        state.withLock { state in
            if state.waitsForKey, unit.isKey, state.bytes < limit / 2 { state.waitsForKey = false }
            guard !state.waitsForKey, state.bytes + unit.data.count <= limit else {
                state.waitsForKey = true
                state.overflowed += 1
                return false
            }
            state.bytes += unit.data.count
            return true
        }
    }

    /// The same for sound, which is left out long before pictures are: three quarters of the room are theirs alone.
    func admit(_ frame: SoundFrame) -> Bool {
        state.withLock { state in
            guard state.bytes + Self.weight(frame) <= limit / 4 else { return false }
            state.bytes += Self.weight(frame)
            return true
        }
    }
    /// Tiny frames fill memory by their number.
    static func weight(_ frame: SoundFrame) -> Int { frame.data.count + 256 }

    func push(_ item: Item) { continuation.yield(item) }
    func took(_ bytes: Int) { state.withLock { $0.bytes -= bytes } }
    func overflow(_ frames: Int) { state.withLock { $0.overflowed += frames } }
    func dropped() { state.withLock { $0.dropped += 1 } }
    func lostSound(_ count: Int = 1) { state.withLock { $0.lostSounds += count } }
    func damaged() { state.withLock { $0.damaged += 1 } }
    func finish() { continuation.finish() }
}
