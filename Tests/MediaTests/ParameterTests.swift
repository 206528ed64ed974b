import Media
import Testing

@Suite struct ParameterTests {
    /// Annotated by hand after ITU-T H.264 section 7.3.2.1.1: baseline, 640x480, no VUI.
    @Test func `a set written by hand is read`() throws {
        // 67: reference, type 7; 42 c0 1e: profile 66, constraint sets 0 and 1, level 3.0
        // ue 0 id; ue 0 frame_num; ue 2 order type; ue 1 reference frame; 0 gaps; ue 39; ue 29; 1 frames only; 1 direct; 0 crop; 0 VUI; stop
        // 1 1 011 010 0 00000101000 000011110 1 1 0 0 1
        let set: [UInt8] = [0x67, 0x42, 0xC0, 0x1E, 0b1101_1010, 0b0000_0010, 0b1000_0000, 0b1111_0110, 0b0100_0000]
        let parameters = try CodecParameters(codec: .h264, units: [set, [0x68, 0xCE, 0x3C, 0x80]])
        #expect(parameters.width == 640 && parameters.height == 480)
        #expect(parameters.reorderFrames == 0)
        #expect(parameters.codecString == "avc1.42C01E" || parameters.codecString == "avc1.42c01e")
        #expect(
            parameters.avcC() == [1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 9] + set + [1, 0, 4, 0x68, 0xCE, 0x3C, 0x80])
    }

    @Test func `sets that are missing or broken are refused`() {
        for units in [
            [], [[0x67]], [[0x68, 1]], [[0x67, 1, 2], [0x68, 1]], [[0x67, 0x42, 0, 0x1E, 0xFF], [0x68]],
        ] as [[[UInt8]]] {
            #expect(throws: MediaError(.malformed, "")) { _ = try CodecParameters(codec: .h264, units: units) }
            #expect(throws: MediaError(.malformed, "")) { _ = try CodecParameters(codec: .h265, units: units) }
        }
    }

    @Test func `annex B is split at both kinds of start code, without empty units and trailing zeros`() {
        let units = AnnexB.split([9, 0, 0, 1, 0x65, 1, 0, 0, 0, 1, 0, 0, 1, 0x41, 0, 0, 3, 0, 0, 0, 0, 1, 0x06, 0, 0])
        #expect(units.map(Array.init) == [[0x65, 1], [0x41, 0, 0, 3], [0x06]])
        #expect(AnnexB.split([]).isEmpty && AnnexB.split([0, 0, 1]).isEmpty && AnnexB.split([0, 0]).isEmpty)
        let framed = NALUnits.lengthPrefixed(units)
        #expect(NALUnits(framed).map(Array.init) == [[0x65, 1], [0x41, 0, 0, 3], [0x06]])
        #expect(AnnexB.join(lengthPrefixed: [0, 0, 0, 2, 0x65, 1]) == [0, 0, 0, 1, 0x65, 1])
    }
}
