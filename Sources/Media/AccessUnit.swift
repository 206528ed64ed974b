public import Core

public enum Codec: String, Sendable, Hashable, Codable {
    case h264
    case h265
}

/// One coded frame.
public struct AccessUnit: Sendable {
    public var codec: Codec
    /// NAL units, each behind a big-endian 4-byte length; the bytes of each are as the camera sent them.
    public var data: [UInt8]
    /// Decoding can begin here (H.264: IDR; H.265: IRAP).
    public var isKey: Bool
    /// 90 kHz ticks of the run's media clock, unwrapped; may jump where the camera's clock does.
    public var dts: Int64
    public var pts: Int64
    /// When the picture was taken if the source knows it, else when it arrived.
    public var capturedWall: WallTime
    public var capturedMonotonic: MonotonicTime
    /// The source knows when the picture was taken.
    public var captureTimeIsExact: Bool
    /// Parts of it, or of what came before it, were missing when it came.
    public var isDamaged: Bool

    public init(
        codec: Codec, data: [UInt8], isKey: Bool, dts: Int64, pts: Int64, capturedWall: WallTime,
        capturedMonotonic: MonotonicTime, captureTimeIsExact: Bool = false, isDamaged: Bool = false
    ) {
        self.codec = codec
        self.data = data
        self.isKey = isKey
        self.dts = dts
        self.pts = pts
        self.capturedWall = capturedWall
        self.capturedMonotonic = capturedMonotonic
        self.captureTimeIsExact = captureTimeIsExact
        self.isDamaged = isDamaged
    }
}
