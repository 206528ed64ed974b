/// A coded frame as a demuxer has it, before anybody has given it a capture time.
public struct CodedFrame: Sendable {
    /// NAL units, each behind a big-endian 4-byte length; the bytes of each are as the source sent them.
    public var data: [UInt8]
    /// Decoding can begin here (H.264: IDR; H.265: IRAP).
    public var isKey: Bool
    /// 90 kHz ticks; jump where the source's do.
    public var dts: Int64
    public var pts: Int64
    /// 90 kHz ticks; 0 where the source does not say.
    public var duration: Int64
    /// Parts of it, or of what came before it, were missing when it came.
    public var isDamaged: Bool
    /// Set where this frame needs other parameters than the one before; always on the first.
    public var newParameters: CodecParameters?

    public init(
        data: [UInt8], isKey: Bool, dts: Int64, pts: Int64, duration: Int64 = 0, isDamaged: Bool = false,
        newParameters: CodecParameters? = nil
    ) {
        self.data = data
        self.isKey = isKey
        self.dts = dts
        self.pts = pts
        self.duration = duration
        self.isDamaged = isDamaged
        self.newParameters = newParameters
    }
}
