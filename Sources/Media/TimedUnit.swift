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
    /// What sound the camera has, as far as is known when this frame comes; nil: none.
    public var sound: SoundParameters?

    public init(
        unit: AccessUnit, time: WallTime, decodeTime: WallTime, run: RunID, parameters: CodecParameters,
        sound: SoundParameters? = nil
    ) {
        self.unit = unit
        self.time = time
        self.decodeTime = decodeTime
        self.run = run
        self.parameters = parameters
        self.sound = sound
    }
}

/// A frame of sound with its place on the wall clock, by the time line of the pictures' run.
public struct TimedSound: Sendable {
    public var frame: SoundFrame
    /// When its first sample was heard.
    public var time: WallTime
    public var run: RunID
    public var parameters: SoundParameters

    public init(frame: SoundFrame, time: WallTime, run: RunID, parameters: SoundParameters) {
        self.frame = frame
        self.time = time
        self.run = run
        self.parameters = parameters
    }
}
