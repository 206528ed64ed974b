/// What a decoder must know before the first frame: the parameter sets, and what they say.
public struct CodecParameters: Sendable, Equatable {
    public let codec: Codec
    /// H.265 only.
    public let vps: [[UInt8]]
    public let sps: [[UInt8]]
    public let pps: [[UInt8]]
    /// Pixels.
    public let width: Int
    public let height: Int
    /// How many frames may come before one that is shown earlier; 0: no B-frames, or the stream does not say.
    public let reorderFrames: Int
    /// RFC 6381, as `avc1.640028` or `hvc1.1.6.L93.B0`.
    public let codecString: String
    /// The bytes of `hvcC` before its parameter sets, or of `avcC` after them.
    let recordFields: [UInt8]

    /// From whole NAL units; the first sequence parameter set decides size and profile.
    /// - Parameter leastReorder: frames of reordering that were observed, for streams that do not declare it.
    public init(codec: Codec, units: [[UInt8]], leastReorder: Int = 0) throws(MediaError) {
        switch codec {
        case .h264:
            try self.init(h264: units, leastReorder)
        case .h265:
            try self.init(h265: units, leastReorder)
        }
    }

    private init(h264 units: [[UInt8]], _ leastReorder: Int) throws(MediaError) {
        sps = Self.distinct(units.filter { H264NAL.type($0[...]) == H264NAL.sps }, most: 31)
        pps = Self.distinct(units.filter { H264NAL.type($0[...]) == H264NAL.pps }, most: 255)
        guard let first = sps.first, !pps.isEmpty else { throw Self.incomplete(.h264) }
        let set = try H264SequenceParameters(first[...])
        codec = .h264
        vps = []
        width = set.width
        height = set.height
        reorderFrames = set.reorderFrames ?? min(16, max(0, leastReorder))
        codecString = "avc1." + Self.hex([set.profile, set.constraints, set.level])
        // ISO/IEC 14496-15 section 5.3.3.1.2: only these profiles have the four bytes.
        recordFields =
            [100, 110, 122, 144].contains(set.profile)
            ? [
                0xFC | UInt8(truncatingIfNeeded: set.chromaFormat),
                0xF8 | UInt8(truncatingIfNeeded: set.bitDepthLuma &- 8) & 7,
                0xF8 | UInt8(truncatingIfNeeded: set.bitDepthChroma &- 8) & 7, 0,
            ] : []
    }

    private init(h265 units: [[UInt8]], _ leastReorder: Int) throws(MediaError) {
        vps = Self.distinct(units.filter { H265NAL.type($0[...]) == H265NAL.vps }, most: 16)
        sps = Self.distinct(units.filter { H265NAL.type($0[...]) == H265NAL.sps }, most: 16)
        pps = Self.distinct(units.filter { H265NAL.type($0[...]) == H265NAL.pps }, most: 64)
        guard let first = sps.first, !pps.isEmpty, !vps.isEmpty else { throw Self.incomplete(.h265) }
        let set = try H265SequenceParameters(first[...])
        codec = .h265
        width = set.width
        height = set.height
        reorderFrames = max(set.reorderFrames, min(16, max(0, leastReorder)))
        codecString = Self.h265String(set.profileTierLevel)
        recordFields =
            [1] + set.profileTierLevel + [
                0xF0, 0, 0xFC, 0xFC | UInt8(truncatingIfNeeded: set.chromaFormat),
                0xF8 | UInt8(truncatingIfNeeded: set.bitDepthLuma &- 8) & 7,
                0xF8 | UInt8(truncatingIfNeeded: set.bitDepthChroma &- 8) & 7, 0, 0,
                UInt8(truncatingIfNeeded: set.temporalLayers) << 3 | (set.temporalNesting ? 4 : 0) | 3,
            ]
    }

    /// Annex B, `avcC` or `hvcC`, as libavcodec calls extradata.
    public init(codec: Codec, extradata: [UInt8], leastReorder: Int = 0) throws(MediaError) {
        if AnnexB.isStart(extradata[...]) {
            try self.init(codec: codec, units: AnnexB.split(extradata).map(Array.init), leastReorder: leastReorder)
            return
        }
        let units: [[UInt8]]
        do {
            units = try codec == .h264 ? Self.units(avcC: extradata) : Self.units(hvcC: extradata)
        } catch {
            throw MediaError(.malformed, "The stream's decoder configuration is cut short.", underlying: error)
        }
        try self.init(codec: codec, units: units, leastReorder: leastReorder)
    }

    /// All parameter sets in the order a decoder wants them.
    public var units: [[UInt8]] { vps + sps + pps }
    public var annexB: [UInt8] { units.reduce(into: []) { $0 += [0, 0, 0, 1] + $1 } }

    private static func incomplete(_ codec: Codec) -> MediaError {
        MediaError(.malformed, "The \(codec.rawValue) stream's parameter sets are not complete.")
    }
    /// Empty and oversized sets are junk; repeated ones are common.
    private static func distinct(_ units: [[UInt8]], most: Int) -> [[UInt8]] {
        var kept: [[UInt8]] = []
        for unit in units where !kept.contains(unit) && unit.count <= 0xFFFF && kept.count < most { kept.append(unit) }
        return kept
    }
    private static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef")
        return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    /// ISO/IEC 14496-15 annex E.3.
    private static func h265String(_ bytes: [UInt8]) -> String {
        guard bytes.count == 12 else { return "hvc1" }
        let space = ["", "A", "B", "C"][Int(bytes[0] >> 6)]
        var compatibility: UInt32 = 0
        for bit in 0..<32 where bytes[1 + bit / 8] >> UInt8(7 - bit % 8) & 1 == 1 { compatibility |= 1 << UInt32(bit) }
        var constraints = Array(bytes[5..<11])
        while constraints.last == 0 { constraints.removeLast() }
        let tail = constraints.map { "." + String($0, radix: 16, uppercase: true) }.joined()
        let tier = bytes[0] >> 5 & 1 == 1 ? "H" : "L"
        return "hvc1.\(space)\(bytes[0] & 31).\(String(compatibility, radix: 16, uppercase: true)).\(tier)\(bytes[11])"
            + tail
    }
}
