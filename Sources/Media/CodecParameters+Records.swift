import Core

/// Decoder configuration records (ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1).
extension CodecParameters {
    /// The content of an `avcC` box; empty for other codecs.
    public func avcC() -> [UInt8] {
        guard codec == .h264, let first = sps.first, first.count >= 4 else { return [] }
        var out = ByteWriter(reserving: 64)
        out.append([1, first[1], first[2], first[3], 0xFF, 0xE0 | UInt8(truncatingIfNeeded: sps.count)])
        for unit in sps { Self.put(unit, &out) }
        out.u8(UInt8(truncatingIfNeeded: pps.count))
        for unit in pps { Self.put(unit, &out) }
        out.append(recordFields)
        return out.bytes
    }

    /// The content of an `hvcC` box; empty for other codecs.
    public func hvcC() -> [UInt8] {
        guard codec == .h265 else { return [] }
        var out = ByteWriter(reserving: 256)
        out.append(recordFields)
        out.u8(3)
        for (type, units) in [(H265NAL.vps, vps), (H265NAL.sps, sps), (H265NAL.pps, pps)] {
            out.u8(0x80 | type)
            out.u16(UInt16(truncatingIfNeeded: units.count))
            for unit in units { Self.put(unit, &out) }
        }
        return out.bytes
    }

    /// `avcC()` or `hvcC()`, whichever fits.
    public var configurationRecord: [UInt8] { codec == .h264 ? avcC() : hvcC() }

    private static func put(_ unit: [UInt8], _ out: inout ByteWriter) {
        out.u16(UInt16(truncatingIfNeeded: unit.count))
        out.append(unit)
    }

    static func units(avcC bytes: [UInt8]) throws(EndOfBytes) -> [[UInt8]] {
        var reader = ByteReader(bytes)
        try reader.skip(5)
        var units: [[UInt8]] = []
        for _ in 0..<Int(try reader.u8() & 31) { units.append(Array(try reader.take(Int(try reader.u16())))) }
        for _ in 0..<Int(try reader.u8()) { units.append(Array(try reader.take(Int(try reader.u16())))) }
        return units
    }

    static func units(hvcC bytes: [UInt8]) throws(EndOfBytes) -> [[UInt8]] {
        var reader = ByteReader(bytes)
        try reader.skip(22)
        var units: [[UInt8]] = []
        for _ in 0..<Int(try reader.u8()) {
            try reader.skip(1)
            for _ in 0..<Int(try reader.u16()) { units.append(Array(try reader.take(Int(try reader.u16())))) }
        }
        return units
    }

    /// Bytes of each NAL unit's length in a stream with this extradata; nil where it is Annex B.
    static func lengthSize(ofExtradata bytes: [UInt8], _ codec: Codec) -> Int? {
        guard !AnnexB.isStart(bytes[...]) else { return nil }
        let index = codec == .h264 ? 4 : 21
        guard bytes.count > index, bytes[0] == 1 || codec == .h265 else { return nil }
        return Int(bytes[index] & 3) + 1
    }
}
