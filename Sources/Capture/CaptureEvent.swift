public import Media

/// What a camera delivers, in order. After `connected` come units and sound, until `disconnected`; then, sooner or later,
/// `connected`.
public enum CaptureEvent: Sendable {
    case connected(CodecParameters)
    /// From the next unit on, which is a key frame.
    case parametersChanged(CodecParameters)
    case unit(AccessUnit)
    /// On the clock of the units' `pts`; each frame says what it is.
    case sound(SoundFrame, SoundParameters)
    /// Sound that is left out, and why; the same sentence for each piece that has the same trouble.
    case soundLost(String)
    /// Frames that were left out because whoever listens does not keep up; the next unit is a key frame.
    case lost(Int)
    /// It went away, or an attempt failed; the source tries again by itself unless the error is `.ended`.
    case disconnected(CaptureError)
}

/// A source's events. For one task at a time; when it is cancelled, or lets go of the iterator, the source stops.
public struct CaptureEvents: AsyncSequence, Sendable {
    public typealias Element = CaptureEvent
    public typealias Failure = Never

    let lease: Lease

    public struct AsyncIterator: AsyncIteratorProtocol {
        let lease: Lease

        /// Nil when the source is over. After cancellation: when its thread has said farewell to the camera, a second later
        /// at the latest (name resolution cannot be interrupted; such a thread is left behind).
        public mutating func next() async -> CaptureEvent? {
            let lease = lease
            return await withTaskCancellationHandler {
                await lease.queue.next()
            } onCancel: {
                lease.stop()
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(lease: lease) }
}
