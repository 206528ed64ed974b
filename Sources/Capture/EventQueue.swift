import Media
import Synchronization

/// From the thread that reads a camera to the task that takes its events; bounded by bytes and count, for one taker.
///
/// When the taker falls behind, what waits is kept and what comes is left out and counted, up to the next key frame for which
/// there is room: a frame whose reference is missing must not be recorded as if whole. Sound is left out before any picture is.
/// Everything else always goes in.
final class EventQueue: Sendable {
    private struct State {
        var events: [CaptureEvent] = []
        /// Events before this index are taken.
        var head = 0
        /// Of units and sound that wait.
        var bytes = 0
        var units = 0
        /// Pieces of sound, and reasons why there is none.
        var sounds = 0
        /// Left out since the last event that went in.
        var lost = 0
        /// After a frame was left out the rest of its group cannot be decoded.
        var waitsForKey = false
        var isCancelled = false
        var isFinished = false
        var waiter: CheckedContinuation<CaptureEvent?, Never>?
    }

    private let state = Mutex(State())
    private let byteLimit: Int
    private let unitLimit: Int

    /// - Parameters:
    ///   - byteLimit: bytes of units and sound.
    ///   - unitLimit: units; at 60 a second these are a minute.
    init(byteLimit: Int = 32 << 20, unitLimit: Int = 4096) {
        self.byteLimit = byteLimit
        self.unitLimit = unitLimit
    }

    /// Never waits.
    func push(_ event: CaptureEvent) {
        let (waiter, first) = state.withLock { state -> (CheckedContinuation<CaptureEvent?, Never>?, CaptureEvent?) in
            guard !state.isFinished, !state.isCancelled else { return (nil, nil) }
            switch event {
            case .unit(let unit): guard admit(unit, &state) else { return (nil, nil) }
            case .sound(let frame, _): guard admitSound(frame.data.count, &state) else { return (nil, nil) }
            case .soundLost: guard admitSound(0, &state) else { return (nil, nil) }
            default: break
            }
            tellLost(&state)
            append(event, &state)
            guard let waiter = state.waiter else { return (nil, nil) }
            state.waiter = nil
            return (waiter, Self.take(&state))
        }
        waiter?.resume(returning: first)
    }

    private func admit(_ unit: AccessUnit, _ state: inout State) -> Bool {
        // Half a queue of room: a taker that is barely too slow shall lose long stretches seldom, not every second frame.
        if state.waitsForKey, unit.isKey, state.bytes <= byteLimit / 2, state.units <= unitLimit / 2 {
            state.waitsForKey = false
        }
        // A frame larger than the whole queue passes through an empty one.
        let hasRoom =
            state.units == 0 || state.bytes + unit.data.count <= byteLimit && state.units < unitLimit
        guard hasRoom, !state.waitsForKey else {
            state.waitsForKey = true
            state.lost += 1
            return false
        }
        state.bytes += unit.data.count
        state.units += 1
        return true
    }

    /// Three quarters of the room are the units' alone.
    private func admitSound(_ byteCount: Int, _ state: inout State) -> Bool {
        guard state.bytes + byteCount <= byteLimit / 4, state.sounds < unitLimit else { return false }
        state.bytes += byteCount
        state.sounds += 1
        return true
    }

    private func tellLost(_ state: inout State) {
        guard state.lost > 0 else { return }
        state.events.append(.lost(state.lost))
        state.lost = 0
    }

    private func append(_ event: CaptureEvent, _ state: inout State) {
        // With no unit between them only the latest counts; a camera that changes its mind at every frame fills no memory.
        if case .parametersChanged = event, state.head < state.events.count,
            case .parametersChanged = state.events[state.events.count - 1]
        {
            state.events.removeLast()
        }
        state.events.append(event)
    }

    /// The next event; nil when all is over.
    func next() async -> CaptureEvent? {
        await withCheckedContinuation { continuation in
            let (answer, former) = state.withLock {
                state -> (CaptureEvent??, CheckedContinuation<CaptureEvent?, Never>?) in
                if let event = Self.take(&state) { return (.some(event), nil) }
                if state.isFinished { return (.some(nil), nil) }
                defer { state.waiter = continuation }
                return (nil, state.waiter)
            }
            // There is one taker; should there be two, nobody hangs.
            former?.resume(returning: nil)
            if let answer { continuation.resume(returning: answer) }
        }
    }

    /// Nobody wants what waits, nor what comes. The taker is let go by `finish`.
    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            state.events = []
            state.head = 0
        }
    }

    /// Nothing more comes; what waits can still be taken.
    func finish() {
        let (waiter, last) = state.withLock { state -> (CheckedContinuation<CaptureEvent?, Never>?, CaptureEvent?) in
            if !state.isCancelled { tellLost(&state) }
            state.isFinished = true
            guard let waiter = state.waiter else { return (nil, nil) }
            state.waiter = nil
            return (waiter, Self.take(&state))
        }
        waiter?.resume(returning: last)
    }

    private static func take(_ state: inout State) -> CaptureEvent? {
        guard state.head < state.events.count else { return nil }
        let event = state.events[state.head]
        // The frame's memory goes with its taker, not with the array.
        state.events[state.head] = .lost(0)
        state.head += 1
        switch event {
        case .unit(let unit):
            state.bytes -= unit.data.count
            state.units -= 1
        case .sound(let frame, _):
            state.bytes -= frame.data.count
            state.sounds -= 1
        case .soundLost: state.sounds -= 1
        default: break
        }
        if state.head == state.events.count {
            state.events.removeAll(keepingCapacity: true)
            state.head = 0
        } else if state.head >= 512 {
            state.events.removeFirst(state.head)
            state.head = 0
        }
        return event
    }
}
