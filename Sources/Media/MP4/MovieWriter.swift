import Core

/// A progressive MP4 with the index in front ("faststart"): the header from what is known of each sample, then the caller
/// streams the samples' data in the same order: pictures, or, where there is sound, section by section its pictures and its sound.
/// Cut to the frame by an edit list; nothing is encoded anew.
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

    /// A second track.
    public struct Sound: Sendable {
        public struct Sample: Sendable, Equatable {
            public var byteCount: Int
            /// When it is heard: ticks on the pictures' track; rises from one to the next, and may begin before 0.
            public var time: Int64
            /// Ticks; counts for the last one, the others last until the next.
            public var duration: Int64
            /// Index into the descriptions.
            public var description: Int

            public init(byteCount: Int, time: Int64, duration: Int64, description: Int) {
                self.byteCount = byteCount
                self.time = time
                self.duration = duration
                self.description = description
            }
        }
        public var descriptions: [SoundParameters]
        public var samples: [Sample]
        /// How many pictures, then how many pieces of sound follow one another in the data; all of them, in the end.
        public var sections: [(pictures: Int, sounds: Int)]

        /// The longest time from one sample to the next, ticks.
        public var longest: Int64 { zip(samples, samples.dropFirst()).map { $1.time - $0.time }.max() ?? 0 }

        public init(descriptions: [SoundParameters], samples: [Sample], sections: [(pictures: Int, sounds: Int)]) {
            self.descriptions = descriptions
            self.samples = samples
            self.sections = sections
        }
    }

    /// Ticks; ISO/IEC 14496-12 section 8.6.1.2 has 32 bits for them.
    public static let longestSample = Int64(UInt32.max)

    private struct Chunk {
        var count: Int
        var description: Int
        var offset: UInt64
    }

    private let descriptions: [CodecParameters]
    private let sound: Sound?
    private let samples: [Sample]
    private let editStart: Int64
    private let editDuration: Int64

    /// - Parameters:
    ///   - editStart: ticks from the first sample's decoding time to what is shown first.
    ///   - editDuration: ticks shown.
    ///   - sound: nil, or nothing in it: there is one track.
    public init(
        descriptions: [CodecParameters], samples: [Sample], editStart: Int64, editDuration: Int64, sound: Sound? = nil
    ) {
        self.descriptions = descriptions
        self.sound = sound?.samples.isEmpty == false ? sound : nil
        self.samples = samples
        self.editStart = max(0, editStart)
        self.editDuration = max(0, editDuration)
    }

    public var dataByteCount: Int {
        samples.reduce(0) { $0 + $1.byteCount } + (sound?.samples.reduce(0) { $0 + $1.byteCount } ?? 0)
    }

    /// `ftyp`, `moov` and the head of `mdat`.
    public func header() -> [UInt8] {
        // Chunk offsets depend on the header's own length, which does not depend on their values.
        let length = assemble(dataAt: 0).count
        return assemble(dataAt: UInt64(length))
    }

    private func assemble(dataAt: UInt64) -> [UInt8] {
        let total = samples.reduce(Int64(0)) { $0 + $1.duration }
        let size = descriptions.first
        let chunks = chunks(dataAt: dataAt)
        var out = ByteWriter(reserving: 1024 + samples.count * 16 + (sound?.samples.count ?? 0) * 12)
        TrackBoxes.fileType(in: &out, brand: "isom", compatible: ["isom", "iso2", "avc1", "mp41"])
        BoxWriter.box("moov", in: &out) { out in
            TrackBoxes.movieHeader(in: &out, duration: UInt64(editDuration), hasSound: sound != nil)
            BoxWriter.box("trak", in: &out) { out in
                TrackBoxes.trackHeader(
                    in: &out, duration: UInt64(editDuration), width: size?.width ?? 0, height: size?.height ?? 0)
                TrackBoxes.edits(start: UInt64(editStart), duration: UInt64(editDuration), in: &out)
                BoxWriter.box("mdia", in: &out) { out in
                    TrackBoxes.mediaHeaders(in: &out, duration: UInt64(max(0, total)))
                    BoxWriter.box("minf", in: &out) { out in
                        TrackBoxes.mediaInformationHeaders(in: &out)
                        BoxWriter.box("stbl", in: &out) { sampleTable(in: &$0, chunks.pictures) }
                    }
                }
            }
            if let sound { track(sound, chunks.sounds, in: &out) }
        }
        // 64-bit size: an export may be longer than 4 GiB.
        out.u32(1)
        out.ascii("mdat")
        out.u64(UInt64(dataByteCount) + 16)
        return out.bytes
    }

    private func sampleTable(in out: inout ByteWriter, _ chunks: [Chunk]) {
        TrackBoxes.sampleDescriptions(descriptions, in: &out)
        Self.runs("stts", samples.map { UInt32(truncatingIfNeeded: $0.duration) }, in: &out)
        if samples.contains(where: { $0.compositionOffset != 0 }) {
            Self.runs(
                "ctts", version: 1, samples.map { UInt32(truncatingIfNeeded: $0.compositionOffset) }, in: &out)
        }
        let keys = samples.indices.filter { samples[$0].isKey }
        BoxWriter.fullBox("stss", in: &out) { out in
            out.u32(UInt32(truncatingIfNeeded: keys.count))
            for index in keys { out.u32(UInt32(truncatingIfNeeded: index + 1)) }
        }
        Self.sizesAndPlaces(samples.map(\.byteCount), chunks, in: &out)
    }

    private func track(_ sound: Sound, _ chunks: [Chunk], in out: inout ByteWriter) {
        guard let first = sound.samples.first, let last = sound.samples.last else { return }
        let total = max(1, last.time - first.time + last.duration)
        let durations = sound.samples.indices.map { index in
            index + 1 < sound.samples.count
                ? sound.samples[index + 1].time - sound.samples[index].time : sound.samples[index].duration
        }
        // It begins with the picture; where it begins later there is nothing until then.
        let empty = min(max(0, first.time - editStart), editDuration)
        let start = max(0, editStart - first.time)
        let shown = max(0, min(editDuration - empty, total - start))
        BoxWriter.box("trak", in: &out) { out in
            TrackBoxes.soundTrackHeader(in: &out, duration: UInt64(empty + shown))
            TrackBoxes.edits(empty: UInt64(empty), start: UInt64(start), duration: UInt64(shown), in: &out)
            BoxWriter.box("mdia", in: &out) { out in
                TrackBoxes.mediaHeaders(in: &out, duration: UInt64(total), handler: "soun")
                BoxWriter.box("minf", in: &out) { out in
                    TrackBoxes.mediaInformationHeaders(in: &out, isSound: true)
                    BoxWriter.box("stbl", in: &out) { out in
                        TrackBoxes.sampleDescriptions(sound.descriptions, in: &out)
                        Self.runs("stts", durations.map { UInt32(truncatingIfNeeded: max(0, $0)) }, in: &out)
                        Self.sizesAndPlaces(sound.samples.map(\.byteCount), chunks, in: &out)
                    }
                }
            }
        }
    }

    /// A chunk a group, so that players need not add up sizes from the beginning; one description in each.
    private func chunks(dataAt: UInt64) -> (pictures: [Chunk], sounds: [Chunk]) {
        var chunks: (pictures: [Chunk], sounds: [Chunk]) = ([], [])
        var offset = dataAt
        func add(_ byteCount: Int, _ description: Int, isNew: Bool, to list: inout [Chunk]) {
            if let last = list.indices.last, !isNew, list[last].description == description {
                list[last].count += 1
            } else {
                list.append(Chunk(count: 1, description: description, offset: offset))
            }
            offset += UInt64(byteCount)
        }
        let sections = sound?.sections ?? [(samples.count, 0)]
        var (picture, heard) = (0, 0)
        for section in sections {
            for place in 0..<section.pictures {
                let sample = samples[picture]
                add(
                    sample.byteCount, sample.description, isNew: sample.isKey || place == 0 && sound != nil,
                    to: &chunks.pictures)
                picture += 1
            }
            for place in 0..<section.sounds {
                guard let sample = sound?.samples[heard] else { break }
                add(sample.byteCount, sample.description, isNew: place == 0, to: &chunks.sounds)
                heard += 1
            }
        }
        return chunks
    }

    private static func sizesAndPlaces(_ sizes: [Int], _ chunks: [Chunk], in out: inout ByteWriter) {
        BoxWriter.fullBox("stsz", in: &out) { out in
            out.u32(0)
            out.u32(UInt32(truncatingIfNeeded: sizes.count))
            for size in sizes { out.u32(UInt32(truncatingIfNeeded: size)) }
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
    private static func runs(
        _ type: StaticString, version: UInt8 = 0, _ values: [UInt32], in out: inout ByteWriter
    ) {
        var runs: [(count: UInt32, value: UInt32)] = []
        for value in values {
            if let last = runs.indices.last, runs[last].value == value {
                runs[last].count += 1
            } else {
                runs.append((1, value))
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
