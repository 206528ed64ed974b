public import Core
public import Media
import Synchronization

/// One camera's live frames, handed to whoever watches; nobody who watches can slow the camera down.
///
/// The hub keeps the current group (key frame and what followed), so that a new viewer has a picture at once. A viewer that
/// does not keep up loses frames up to the next key frame and is told so by the missing run of frames, never by waiting.
public final class Hub: Sendable {
    public let camera: CameraID
    private let state = Mutex(State())

    private struct State {
        var group: [TimedUnit] = []
        var groupBytes = 0
        var viewers: [UInt64: Viewer] = [:]
        var nextViewer: UInt64 = 0
        var isClosed = false
    }

    private struct Viewer {
        var continuation: AsyncStream<TimedUnit>.Continuation
        var waitsForKey = false
    }

    /// A camera that never sends a second key frame must not fill memory.
    static let groupLimit = 32 << 20
    static let viewerDepth = 128

    public init(camera: CameraID) { self.camera = camera }

    /// The latest frame's time; nil while nothing arrives.
    public var latest: WallTime? { state.withLock { $0.group.last?.time } }

    public func publish(_ unit: TimedUnit) {
        state.withLock { state in
            if unit.unit.isKey || state.groupBytes > Self.groupLimit || state.group.last?.run != unit.run {
                state.group.removeAll(keepingCapacity: true)
                state.groupBytes = 0
            }
            if unit.unit.isKey || !state.group.isEmpty {
                state.group.append(unit)
                state.groupBytes += unit.unit.data.count
            }
            for (key, viewer) in state.viewers {
                if viewer.waitsForKey, !unit.unit.isKey { continue }
                let result = viewer.continuation.yield(unit)
                if case .dropped = result {
                    state.viewers[key]?.waitsForKey = true
                } else {
                    state.viewers[key]?.waitsForKey = false
                }
            }
        }
    }

    /// The camera went away: the picture in the hub is no longer live.
    public func clear() {
        state.withLock { state in
            state.group = []
            state.groupBytes = 0
        }
    }

    /// The camera is recorded no longer: every viewer's frames end, and whoever comes now gets none.
    public func close() {
        let viewers = state.withLock { state in
            state.isClosed = true
            state.group = []
            state.groupBytes = 0
            return Array(state.viewers.values)
        }
        for viewer in viewers { viewer.continuation.finish() }
    }

    /// The current group, then every new frame. Ends when the consumer stops listening, or with `close`.
    public func watch() -> (group: [TimedUnit], frames: AsyncStream<TimedUnit>) {
        let (stream, continuation) = AsyncStream.makeStream(
            of: TimedUnit.self, bufferingPolicy: .bufferingOldest(Self.viewerDepth))
        let (group, key) = state.withLock { state -> ([TimedUnit], UInt64?) in
            guard !state.isClosed else { return ([], nil) }
            let key = state.nextViewer
            state.nextViewer += 1
            state.viewers[key] = Viewer(continuation: continuation, waitsForKey: state.group.isEmpty)
            return (state.group, key)
        }
        guard let key else {
            continuation.finish()
            return (group, stream)
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.viewers.removeValue(forKey: key) }
        }
        return (group, stream)
    }

    public var viewerCount: Int { state.withLock { $0.viewers.count } }
}
