import Core

/// Writes ISO base media boxes (ISO/IEC 14496-12): size and type first, content after.
enum BoxWriter {
    static func box(_ type: StaticString, in out: inout ByteWriter, _ content: (inout ByteWriter) -> Void) {
        let start = out.count
        out.u32(0)
        out.ascii(type)
        content(&out)
        out.patchU32(UInt32(truncatingIfNeeded: out.count - start), at: start)
    }

    static func fullBox(
        _ type: StaticString, version: UInt8 = 0, flags: UInt32 = 0, in out: inout ByteWriter,
        _ content: (inout ByteWriter) -> Void
    ) {
        box(type, in: &out) { out in
            out.u8(version)
            out.u24(flags)
            content(&out)
        }
    }
}

/// The boxes that say what kind of track this is; the same for clips and exports.
enum TrackBoxes {
    static let timescale: UInt32 = 90_000
    static let trackID: UInt32 = 1

    static func fileType(in out: inout ByteWriter, brand: StaticString, compatible: [StaticString]) {
        BoxWriter.box("ftyp", in: &out) { out in
            out.ascii(brand)
            out.u32(0x200)
            for other in compatible { out.ascii(other) }
        }
    }

    /// - Parameter duration: in the movie's timescale (90 kHz); 0 for fragmented movies.
    static func movieHeader(in out: inout ByteWriter, duration: UInt64) {
        BoxWriter.fullBox("mvhd", version: 1, in: &out) { out in
            out.zeros(16)
            out.u32(timescale)
            out.u64(duration)
            out.u32(0x0001_0000)
            out.u16(0x0100)
            out.zeros(10)
            matrix(in: &out)
            out.zeros(24)
            out.u32(trackID + 1)
        }
    }

    static func trackHeader(in out: inout ByteWriter, duration: UInt64, width: Int, height: Int) {
        BoxWriter.fullBox("tkhd", version: 1, flags: 3, in: &out) { out in
            out.zeros(16)
            out.u32(trackID)
            out.u32(0)
            out.u64(duration)
            out.zeros(16)
            matrix(in: &out)
            out.u32(UInt32(truncatingIfNeeded: width) << 16)
            out.u32(UInt32(truncatingIfNeeded: height) << 16)
        }
    }

    static func mediaHeaders(in out: inout ByteWriter, duration: UInt64) {
        BoxWriter.fullBox("mdhd", version: 1, in: &out) { out in
            out.zeros(16)
            out.u32(timescale)
            out.u64(duration)
            // "und", packed ISO 639-2.
            out.u16(0x55C4)
            out.u16(0)
        }
        BoxWriter.fullBox("hdlr", in: &out) { out in
            out.u32(0)
            out.ascii("vide")
            out.zeros(12)
            out.ascii("SudoCam")
            out.u8(0)
        }
    }

    static func mediaInformationHeaders(in out: inout ByteWriter) {
        BoxWriter.fullBox("vmhd", flags: 1, in: &out) { $0.zeros(8) }
        BoxWriter.box("dinf", in: &out) { out in
            BoxWriter.fullBox("dref", in: &out) { out in
                out.u32(1)
                BoxWriter.fullBox("url ", flags: 1, in: &out) { _ in }
            }
        }
    }

    static func sampleDescriptions(_ descriptions: [CodecParameters], in out: inout ByteWriter) {
        BoxWriter.fullBox("stsd", in: &out) { out in
            out.u32(UInt32(truncatingIfNeeded: descriptions.count))
            for parameters in descriptions { sampleEntry(parameters, in: &out) }
        }
    }

    /// ISO/IEC 14496-15: `avc3` and `hev1` would allow parameter sets in band; players know `avc1` and `hvc1` better, and
    /// both tolerate repeated sets in band.
    private static func sampleEntry(_ parameters: CodecParameters, in out: inout ByteWriter) {
        BoxWriter.box(parameters.codec == .h264 ? "avc1" : "hvc1", in: &out) { out in
            out.zeros(6)
            out.u16(1)
            out.zeros(16)
            out.u16(UInt16(truncatingIfNeeded: parameters.width))
            out.u16(UInt16(truncatingIfNeeded: parameters.height))
            out.u32(0x0048_0000)
            out.u32(0x0048_0000)
            out.u32(0)
            out.u16(1)
            out.zeros(32)
            out.u16(24)
            out.u16(0xFFFF)
            BoxWriter.box(parameters.codec == .h264 ? "avcC" : "hvcC", in: &out) { out in
                out.append(parameters.configurationRecord)
            }
        }
    }

    private static func matrix(in out: inout ByteWriter) {
        for value: UInt32 in [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000] { out.u32(value) }
    }
}
