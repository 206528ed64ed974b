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
    static let soundTrackID: UInt32 = 2

    static func fileType(in out: inout ByteWriter, brand: StaticString, compatible: [StaticString]) {
        BoxWriter.box("ftyp", in: &out) { out in
            out.ascii(brand)
            out.u32(0x200)
            for other in compatible { out.ascii(other) }
        }
    }

    /// - Parameter duration: in the movie's timescale (90 kHz); 0 for fragmented movies.
    static func movieHeader(in out: inout ByteWriter, duration: UInt64, hasSound: Bool) {
        BoxWriter.fullBox("mvhd", version: 1, in: &out) { out in
            out.zeros(16)
            out.u32(timescale)
            out.u64(duration)
            out.u32(0x0001_0000)
            out.u16(0x0100)
            out.zeros(10)
            matrix(in: &out)
            out.zeros(24)
            out.u32((hasSound ? soundTrackID : trackID) + 1)
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

    static func soundTrackHeader(in out: inout ByteWriter, duration: UInt64) {
        BoxWriter.fullBox("tkhd", version: 1, flags: 3, in: &out) { out in
            out.zeros(16)
            out.u32(soundTrackID)
            out.u32(0)
            out.u64(duration)
            out.zeros(12)
            // Full volume, 8.8.
            out.u16(0x0100)
            out.zeros(2)
            matrix(in: &out)
            out.zeros(8)
        }
    }

    static func mediaHeaders(in out: inout ByteWriter, duration: UInt64, handler: StaticString = "vide") {
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
            out.ascii(handler)
            out.zeros(12)
            out.ascii("SudoCam")
            out.u8(0)
        }
    }

    static func mediaInformationHeaders(in out: inout ByteWriter, isSound: Bool = false) {
        if isSound {
            BoxWriter.fullBox("smhd", in: &out) { $0.zeros(4) }
        } else {
            BoxWriter.fullBox("vmhd", flags: 1, in: &out) { $0.zeros(8) }
        }
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

    static func sampleDescriptions(_ descriptions: [SoundParameters], in out: inout ByteWriter) {
        BoxWriter.fullBox("stsd", in: &out) { out in
            out.u32(UInt32(truncatingIfNeeded: descriptions.count))
            for parameters in descriptions { sampleEntry(parameters, in: &out) }
        }
    }

    /// ISO/IEC 14496-14 section 5.6: MPEG-4 audio, whose configuration stands in an elementary stream descriptor.
    private static func sampleEntry(_ parameters: SoundParameters, in out: inout ByteWriter) {
        BoxWriter.box("mp4a", in: &out) { out in
            out.zeros(6)
            out.u16(1)
            out.zeros(8)
            out.u16(UInt16(truncatingIfNeeded: parameters.channels))
            out.u16(16)
            out.zeros(4)
            // 16.16: higher rates stand in the configuration only.
            out.u32(parameters.sampleRate < 1 << 16 ? UInt32(parameters.sampleRate) << 16 : 0)
            BoxWriter.fullBox("esds", in: &out) { $0.append(elementaryStream(parameters)) }
        }
    }

    /// ISO/IEC 14496-1 section 7.2.6.5: descriptors of a tag, a length and what they hold, here always shorter than 128 bytes.
    private static func elementaryStream(_ parameters: SoundParameters) -> [UInt8] {
        func descriptor(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] { [tag, UInt8(content.count)] + content }
        // MPEG-4 audio (0x40), an audio stream (5 << 2 | 1); buffer and bit rates are not said.
        let decoder = descriptor(
            4, [0x40, 0x15] + [UInt8](repeating: 0, count: 11) + descriptor(5, parameters.configuration))
        return descriptor(3, [0, 0, 0] + decoder + descriptor(6, [2]))
    }

    /// ISO/IEC 14496-12 section 8.6.6.
    /// - Parameters:
    ///   - empty: ticks of nothing in front.
    ///   - start: ticks of the track that are not shown.
    static func edits(empty: UInt64 = 0, start: UInt64, duration: UInt64, in out: inout ByteWriter) {
        BoxWriter.box("edts", in: &out) { out in
            BoxWriter.fullBox("elst", version: 1, in: &out) { out in
                out.u32(empty > 0 ? 2 : 1)
                if empty > 0 {
                    out.u64(empty)
                    out.u64(.max)
                    out.u32(0x0001_0000)
                }
                out.u64(duration)
                out.u64(start)
                out.u32(0x0001_0000)
            }
        }
    }

    private static func matrix(in out: inout ByteWriter) {
        for value: UInt32 in [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000] { out.u32(value) }
    }
}
