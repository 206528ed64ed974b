import Core

/// A progressive MP4 with the index in front ("faststart"): the header from what is known of each sample, then the caller
/// streams the samples' data in the same order. Cut to the frame by an edit list; nothing is encoded anew.
public struct MovieWriter: Sendable {
    public struct Sample: Sendable, Equatable {
        public var byteCount: Int
        /// 90 kHz ticks until the next sample is decoded.
        public var duration: Int64
        /// Presentation minus decoding time, ticks.
        public var compositionOffset: Int64
        public var isKey: Bool
        /// Index into the descriptions.
        public var description: Int

        public init(byteCount: Int, duration: Int64, compositionOffset: Int64, isKey: Bool, description: Int) {
            self.byteCount = byteCount
            self.duration = duration
            self.compositionOffset = compositionOffset
            self.isKey = isKey
            self.description = description
        }
    }

    private let descriptions: [CodecParameters]
    private let samples: [Sample]
    private let editStart: Int64
    private let editDuration: Int64

    /// - Parameters:
    ///   - editStart: ticks from the first sample's decoding time to what is shown first.
    ///   - editDuration: ticks shown.
    public init(descriptions: [CodecParameters], samples: [Sample], editStart: Int64, editDuration: Int64) {
        self.descriptions = descriptions
        self.samples = samples
        self.editStart = max(0, editStart)
        self.editDuration = max(0, editDuration)
    }

    public var dataByteCount: Int { samples.reduce(0) { $0 + $1.byteCount } }

    /// `ftyp`, `moov` and the head of `mdat`.
    public func header() -> [UInt8] {
        // Chunk offsets depend on the header's own length, which does not depend on their values.
        let length = assemble(dataAt: 0).count
        return assemble(dataAt: UInt64(length))
    }

    private func assemble(dataAt: UInt64) -> [UInt8] {
        let total = samples.reduce(Int64(0)) { $0 + $1.duration }
        let size = descriptions.first
        var out = ByteWriter(reserving: 1024 + samples.count * 16)
        TrackBoxes.fileType(in: &out, brand: "isom", compatible: ["isom", "iso2", "avc1", "mp41"])
        BoxWriter.box("moov", in: &out) { out in
            TrackBoxes.movieHeader(in: &out, duration: UInt64(editDuration))
            BoxWriter.box("trak", in: &out) { out in
                TrackBoxes.trackHeader(
                    in: &out, duration: UInt64(editDuration), width: size?.width ?? 0, height: size?.height ?? 0)
                BoxWriter.box("edts", in: &out) { out in
                    BoxWriter.fullBox("elst", version: 1, in: &out) { out in
                        out.u32(1)
                        out.u64(UInt64(editDuration))
                        out.u64(UInt64(editStart))
                        out.u32(0x0001_0000)
                    }
                }
                BoxWriter.box("mdia", in: &out) { out in
                    TrackBoxes.mediaHeaders(in: &out, duration: UInt64(max(0, total)))
                    BoxWriter.box("minf", in: &out) { out in
                        TrackBoxes.mediaInformationHeaders(in: &out)
                        BoxWriter.box("stbl", in: &out) { sampleTable(in: &$0, dataAt: dataAt) }
                    }
                }
            }
        }
        // 64-bit size: an export may be longer than 4 GiB.
        out.u32(1)
        out.ascii("mdat")
        out.u64(UInt64(dataByteCount) + 16)
        return out.bytes
    }

    private func sampleTable(in out: inout ByteWriter, dataAt: UInt64) {
        TrackBoxes.sampleDescriptions(descriptions, in: &out)
        runs("stts", of: { UInt32(truncatingIfNeeded: $0.duration) }, in: &out)
        if samples.contains(where: { $0.compositionOffset != 0 }) {
            runs("ctts", version: 1, of: { UInt32(truncatingIfNeeded: $0.compositionOffset) }, in: &out)
        }
        let keys = samples.indices.filter { samples[$0].isKey }
        BoxWriter.fullBox("stss", in: &out) { out in
            out.u32(UInt32(truncatingIfNeeded: keys.count))
            for index in keys { out.u32(UInt32(truncatingIfNeeded: index + 1)) }
        }
        BoxWriter.fullBox("stsz", in: &out) { out in
            out.u32(0)
            out.u32(UInt32(truncatingIfNeeded: samples.count))
            for sample in samples { out.u32(UInt32(truncatingIfNeeded: sample.byteCount)) }
        }
        // A chunk a group, so that players need not add up sizes from the beginning; one description in each.
        var chunks: [(first: Int, count: Int, description: Int, offset: UInt64)] = []
        var offset = dataAt
        for (index, sample) in samples.enumerated() {
            if let last = chunks.indices.last, !sample.isKey, chunks[last].description == sample.description {
                chunks[last].count += 1
            } else {
                chunks.append((index, 1, sample.description, offset))
            }
            offset += UInt64(sample.byteCount)
        }
        var entries: [(chunk: Int, count: Int, description: Int)] = []
        for (index, chunk) in chunks.enumerated()
        where entries.last.map({ $0.count != chunk.count || $0.description != chunk.description }) ?? true {
            entries.append((index + 1, chunk.count, chunk.description))
        }
        BoxWriter.fullBox("stsc", in: &out) { out in
            out.u32(UInt32(truncatingIfNeeded: entries.count))
            for entry in entries {
                out.u32(UInt32(truncatingIfNeeded: entry.chunk))
                out.u32(UInt32(truncatingIfNeeded: entry.count))
                out.u32(UInt32(truncatingIfNeeded: entry.description + 1))
            }
        }
        BoxWriter.fullBox("co64", in: &out) { out in
            out.u32(UInt32(truncatingIfNeeded: chunks.count))
            for chunk in chunks { out.u64(chunk.offset) }
        }
    }

    /// (count, value) runs, as `stts` and `ctts` want them.
    private func runs(
        _ type: StaticString, version: UInt8 = 0, of value: (Sample) -> UInt32, in out: inout ByteWriter
    ) {
        var runs: [(count: UInt32, value: UInt32)] = []
        for sample in samples {
            if let last = runs.indices.last, runs[last].value == value(sample) {
                runs[last].count += 1
            } else {
                runs.append((1, value(sample)))
            }
        }
        BoxWriter.fullBox(type, version: version, in: &out) { out in
            out.u32(UInt32(truncatingIfNeeded: runs.count))
            for run in runs {
                out.u32(run.count)
                out.u32(run.value)
            }
        }
    }
}
