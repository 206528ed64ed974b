/// What SudoCam needs of an H.264 sequence parameter set (ITU-T H.264 section 7.3.2.1.1).
struct H264SequenceParameters: Equatable {
    var profile: UInt8
    var constraints: UInt8
    var level: UInt8
    /// seq_parameter_set_id.
    var id: UInt32
    var chromaFormat: UInt32 = 1
    var bitDepthLuma: UInt32 = 8
    var bitDepthChroma: UInt32 = 8
    /// Pixels after cropping.
    var width = 0
    var height = 0
    /// max_num_reorder_frames; nil where the stream does not say.
    var reorderFrames: Int?

    /// Profiles whose sets carry chroma format and bit depth.
    static let highProfiles: Set<UInt8> = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]

    /// - Parameter unit: the whole NAL unit, header byte included. Junk after the set is ignored (I6).
    init(_ unit: ArraySlice<UInt8>) throws(MediaError) {
        guard unit.count >= 4, H264NAL.type(unit) == H264NAL.sps else {
            throw MediaError(.malformed, "This is not an H.264 sequence parameter set.")
        }
        var bits = BitReader(unit.dropFirst())
        profile = UInt8(bits.bits(8))
        constraints = UInt8(bits.bits(8))
        level = UInt8(bits.bits(8))
        id = bits.ue()
        guard id <= 31 else { throw Self.broken }
        if Self.highProfiles.contains(profile) {
            chromaFormat = bits.ue()
            if chromaFormat == 3 { bits.skip(1) }
            bitDepthLuma = bits.ue() &+ 8
            bitDepthChroma = bits.ue() &+ 8
            bits.skip(1)
            if bits.flag() { Self.skipScalingLists(&bits, count: chromaFormat == 3 ? 12 : 8) }
        }
        guard chromaFormat <= 3, bitDepthLuma <= 14, bitDepthChroma <= 14 else { throw Self.broken }
        _ = bits.ue()
        let orderType = bits.ue()
        if orderType == 0 {
            _ = bits.ue()
        } else if orderType == 1 {
            bits.skip(1)
            _ = bits.se()
            _ = bits.se()
            let count = bits.ue()
            guard count <= 255 else { throw Self.broken }
            for _ in 0..<count { _ = bits.se() }
        }
        _ = bits.ue()
        bits.skip(1)
        let widthInMacroblocks = UInt64(bits.ue()) + 1
        let heightInMapUnits = UInt64(bits.ue()) + 1
        let frameOnly = UInt64(bits.bit1())
        if frameOnly == 0 { bits.skip(1) }
        bits.skip(1)
        var (left, right, top, bottom): (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        if bits.flag() {
            left = UInt64(bits.ue())
            right = UInt64(bits.ue())
            top = UInt64(bits.ue())
            bottom = UInt64(bits.ue())
        }
        guard !bits.isExhausted, widthInMacroblocks <= 1024, heightInMapUnits <= 1024 else { throw Self.broken }
        let cropX: UInt64 = chromaFormat == 1 || chromaFormat == 2 ? 2 : 1
        let cropY: UInt64 = (chromaFormat == 1 ? 2 : 1) * (2 - frameOnly)
        let fullWidth = widthInMacroblocks * 16
        let fullHeight = heightInMapUnits * 16 * (2 - frameOnly)
        guard (left + right) * cropX < fullWidth, (top + bottom) * cropY < fullHeight else { throw Self.broken }
        width = Int(fullWidth - (left + right) * cropX)
        height = Int(fullHeight - (top + bottom) * cropY)
        if bits.flag() {
            reorderFrames = Self.reorderFrames(&bits)
        } else if orderType == 2 || profile == 66 {
            reorderFrames = 0
        }
        if reorderFrames == nil, orderType == 2 || profile == 66 { reorderFrames = 0 }
    }

    private static let broken = MediaError(.malformed, "An H.264 sequence parameter set makes no sense.")

    private static func skipScalingLists(_ bits: inout BitReader, count: Int) {
        for index in 0..<count where bits.flag() {
            var last: Int32 = 8
            var next: Int32 = 8
            for _ in 0..<(index < 6 ? 16 : 64) {
                if next != 0 { next = (last &+ bits.se()) & 0xFF }
                last = next == 0 ? last : next
            }
        }
    }

    /// Video usability information, annex E.1.1; nil where it is cut or silent.
    private static func reorderFrames(_ bits: inout BitReader) -> Int? {
        if bits.flag(), bits.bits(8) == 255 { bits.skip(32) }
        if bits.flag() { bits.skip(1) }
        if bits.flag() {
            bits.skip(4)
            if bits.flag() { bits.skip(24) }
        }
        if bits.flag() {
            _ = bits.ue()
            _ = bits.ue()
        }
        if bits.flag() { bits.skip(65) }
        let nal = bits.flag()
        if nal { skipHRD(&bits) }
        let vcl = bits.flag()
        if vcl { skipHRD(&bits) }
        if nal || vcl { bits.skip(1) }
        bits.skip(1)
        guard bits.flag() else { return nil }
        bits.skip(1)
        for _ in 0..<4 { _ = bits.ue() }
        let reorder = bits.ue()
        guard !bits.isExhausted, reorder <= 16 else { return nil }
        return Int(reorder)
    }

    private static func skipHRD(_ bits: inout BitReader) {
        let count = min(32, bits.ue() &+ 1)
        bits.skip(8)
        for _ in 0..<count {
            _ = bits.ue()
            _ = bits.ue()
            bits.skip(1)
        }
        bits.skip(20)
    }
}
