/// What SudoCam needs of an H.265 sequence parameter set (ITU-T H.265 section 7.3.2.2.1).
struct H265SequenceParameters: Equatable {
    /// The 12 bytes of general profile, tier and level, as `hvcC` repeats them.
    var profileTierLevel: [UInt8] = []
    /// sps_seq_parameter_set_id, and that of the video parameter set it belongs to.
    var id: UInt32
    var videoSet: UInt32
    var temporalLayers: UInt32
    var temporalNesting: Bool
    var chromaFormat: UInt32
    var bitDepthLuma: UInt32
    var bitDepthChroma: UInt32
    /// Pixels after the conformance window.
    var width = 0
    var height = 0
    var reorderFrames = 0

    /// - Parameter unit: the whole NAL unit, both header bytes included.
    init(_ unit: ArraySlice<UInt8>) throws(MediaError) {
        guard unit.count >= 16, H265NAL.type(unit) == H265NAL.sps else {
            throw MediaError(.malformed, "This is not an H.265 sequence parameter set.")
        }
        var bits = BitReader(unit.dropFirst(2))
        videoSet = bits.bits(4)
        temporalLayers = bits.bits(3) + 1
        temporalNesting = bits.flag()
        guard temporalLayers <= 7 else { throw Self.broken }
        for _ in 0..<12 { profileTierLevel.append(UInt8(bits.bits(8))) }
        Self.skipSubLayers(&bits, count: Int(temporalLayers) - 1)
        id = bits.ue()
        guard id <= 15 else { throw Self.broken }
        chromaFormat = bits.ue()
        guard chromaFormat <= 3 else { throw Self.broken }
        if chromaFormat == 3 { bits.skip(1) }
        let fullWidth = UInt64(bits.ue())
        let fullHeight = UInt64(bits.ue())
        var (left, right, top, bottom): (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        if bits.flag() {
            left = UInt64(bits.ue())
            right = UInt64(bits.ue())
            top = UInt64(bits.ue())
            bottom = UInt64(bits.ue())
        }
        bitDepthLuma = bits.ue() &+ 8
        bitDepthChroma = bits.ue() &+ 8
        _ = bits.ue()
        let allLayers = bits.flag()
        for _ in (allLayers ? 0 : Int(temporalLayers) - 1)..<Int(temporalLayers) {
            _ = bits.ue()
            // The highest layer stands last and is what a decoder of the whole stream needs.
            reorderFrames = Int(min(16, bits.ue()))
            _ = bits.ue()
        }
        guard !bits.isExhausted, bitDepthLuma <= 16, bitDepthChroma <= 16, fullWidth <= 16384, fullHeight <= 16384
        else { throw Self.broken }
        let cropX: UInt64 = chromaFormat == 1 || chromaFormat == 2 ? 2 : 1
        let cropY: UInt64 = chromaFormat == 1 ? 2 : 1
        guard (left + right) * cropX < fullWidth, (top + bottom) * cropY < fullHeight else { throw Self.broken }
        width = Int(fullWidth - (left + right) * cropX)
        height = Int(fullHeight - (top + bottom) * cropY)
    }

    private static let broken = MediaError(.malformed, "An H.265 sequence parameter set makes no sense.")

    /// Section 7.3.3, the part after general_level_idc.
    private static func skipSubLayers(_ bits: inout BitReader, count: Int) {
        guard count > 0 else { return }
        var present: [(profile: Bool, level: Bool)] = []
        for _ in 0..<count { present.append((bits.flag(), bits.flag())) }
        bits.skip(2 * (8 - count))
        for layer in present {
            if layer.profile { bits.skip(88) }
            if layer.level { bits.skip(8) }
        }
    }
}
