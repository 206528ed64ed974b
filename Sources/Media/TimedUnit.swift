public import Core

/// An access unit with its place on the wall clock, as the time line of its run gave it: what recorder and live viewers share.
public struct TimedUnit: Sendable {
    public var unit: AccessUnit
    /// When the picture was taken (presentation time on the wall clock).
    public var time: WallTime
    /// Decoding time on the same clock; differs from `time` only in streams with B-frames.
    public var decodeTime: WallTime
    public var run: RunID
    public var parameters: CodecParameters

    public init(unit: AccessUnit, time: WallTime, decodeTime: WallTime, run: RunID, parameters: CodecParameters) {
        self.unit = unit
        self.time = time
        self.decodeTime = decodeTime
        self.run = run
        self.parameters = parameters
    }
}
