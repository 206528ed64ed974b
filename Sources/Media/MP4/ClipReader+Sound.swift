import Core

/// A clip's sound, which lies beside its pictures: the second `trak`, and a second `traf` in fragments. As little of it is believed
/// as of the pictures; what is wrong with it costs sound only.
extension ClipReader {
    /// One group's sound in order of time, on the pictures' clock: what was gathered with the group's pictures. Some of it may be
    /// heard before the group's first picture.
    public func soundSamples(ofGroup index: Int) async throws(MediaError) -> [Sample] {
        guard sound != nil else { return [] }
        let bytes = try await bytes(ofGroup: index)
        return try soundSamples(bytes, ofGroup: index)
    }

    /// Pictures and sound of one group without their data. Sound that cannot be read is none: the pictures are whole without it.
    public func infos(
        ofGroup index: Int
    ) async throws(MediaError) -> (video: [SampleInfo], sound: [SampleInfo]) {
        let moofs = try await moofs(ofGroup: index)
        let (range, isCut) = (groups[index].bytes, groups[index].isCut)
        var video: [SampleInfo] = []
        for (moof, base) in moofs { video += try Self.samples(moof, at: base) }
        video = try Self.inside(range, video, isCut: isCut)
        guard sound != nil else { return (video, []) }
        do throws(MediaError) {
            var heard: [SampleInfo] = []
            for (moof, base) in moofs { heard += try Self.soundSamples(moof, at: base) }
            return (video, try Self.inside(range, heard, isCut: isCut))
        } catch {
            return (video, [])
        }
    }

    /// Pictures and sound of one group, read at once; of the sound the same as `infos`.
    public func contents(ofGroup index: Int) async throws(MediaError) -> (video: [Sample], sound: [Sample]) {
        let bytes = try await bytes(ofGroup: index)
        let (base, isCut) = (groups[index].bytes.lowerBound, groups[index].isCut)
        let video = Self.filled(try Self.fragments(bytes, at: base, isCut: isCut), bytes, at: base)
        return (video, (try? soundSamples(bytes, ofGroup: index)) ?? [])
    }

    private func soundSamples(_ bytes: [UInt8], ofGroup index: Int) throws(MediaError) -> [Sample] {
        guard sound != nil else { return [] }
        let (range, isCut) = (groups[index].bytes, groups[index].isCut)
        var infos: [SampleInfo] = []
        for box in try Self.boxes(bytes, in: 0..<bytes.count, isCut: isCut) where box.type == "moof" {
            infos += try Self.soundSamples(Array(bytes[box.range]), at: range.lowerBound + box.range.lowerBound)
        }
        return Self.filled(try Self.inside(range, infos, isCut: isCut), bytes, at: range.lowerBound)
    }

    // MARK: Parsing

    /// The first `traf` of a track.
    static func track(_ id: UInt32, _ moof: [UInt8], in content: Range<Int>) throws(MediaError) -> Box? {
        for traf in try boxes(moof, in: content) where traf.type == "traf" {
            guard let head = try boxes(moof, in: traf.content).first(where: { $0.type == "tfhd" }) else { continue }
            var reader = ByteReader(moof[head.content])
            guard (try? reader.u32()) != nil, let found = try? reader.u32(), found == id else { continue }
            return traf
        }
        return nil
    }

    /// Whether a fragment has sound and no picture, as behind the last picture of a clip.
    static func isSoundAlone(_ moof: [UInt8]) throws(MediaError) -> Bool {
        guard let outer = try box(moof[...], at: 0), outer.range.upperBound == moof.count else { return false }
        return try track(TrackBoxes.soundTrackID, moof, in: outer.content) != nil
    }

    /// The sound a `moof` at `base` describes; none is no error.
    static func soundSamples(_ moof: [UInt8], at base: Int) throws(MediaError) -> [SampleInfo] {
        guard let outer = try box(moof[...], at: 0), outer.range.upperBound == moof.count,
            let traf = try track(TrackBoxes.soundTrackID, moof, in: outer.content)
        else { return [] }
        return try samples(of: traf, in: moof, at: base, isSound: true)
    }

    /// What the track of sound in `moov` is; nil where there is none, or none that can be read.
    static func sound(_ bytes: [UInt8], among children: [Box]) -> SoundParameters? {
        for track in children where track.type == "trak" {
            guard let media = child("mdia", bytes, in: track.content),
                let handler = child("hdlr", bytes, in: media), handler.count >= 12,
                bytes[handler].dropFirst(8).prefix(4).elementsEqual("soun".utf8),
                let information = child("minf", bytes, in: media), let table = child("stbl", bytes, in: information),
                let descriptions = child("stsd", bytes, in: table), descriptions.count >= 8,
                let entry = child("mp4a", bytes, in: descriptions.dropFirst(8)), entry.count >= 28,
                // An audio sample entry has 28 bytes before its own boxes (ISO/IEC 14496-12 section 12.2.3).
                let stream = child("esds", bytes, in: entry.dropFirst(28)),
                let configuration = configuration(inDescriptors: Array(bytes[stream].dropFirst(4))),
                let parameters = try? SoundParameters(configuration: configuration)
            else { continue }
            return parameters
        }
        return nil
    }

    /// A box's content.
    private static func child(_ type: String, _ bytes: [UInt8], in range: Range<Int>) -> Range<Int>? {
        (try? boxes(bytes, in: range))?.first { $0.type == type }?.content
    }

    /// DecoderSpecificInfo (tag 5) in a DecoderConfigDescriptor (tag 4) of MPEG-4 audio in an ES_Descriptor (tag 3), ISO/IEC 14496-1
    /// section 7.2.6.
    static func configuration(inDescriptors bytes: [UInt8]) -> [UInt8]? {
        guard let stream = descriptor(3, in: bytes[...]), stream.count >= 3 else { return nil }
        let flags = stream[stream.startIndex + 2]
        var rest = stream.dropFirst(3)
        // streamDependenceFlag, URL_Flag, OCRstreamFlag.
        if flags & 0x80 != 0 { rest = rest.dropFirst(2) }
        if flags & 0x40 != 0 { rest = rest.dropFirst(1 + Int(rest.first ?? 0)) }
        if flags & 0x20 != 0 { rest = rest.dropFirst(2) }
        guard let decoder = descriptor(4, in: rest), decoder.count >= 13, decoder.first == 0x40 else { return nil }
        return descriptor(5, in: decoder.dropFirst(13)).map(Array.init)
    }

    /// The content of the first descriptor with this tag.
    private static func descriptor(_ tag: UInt8, in bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        var reader = ByteReader(bytes)
        while let found = try? reader.u8() {
            var length = 0
            var isLast = false
            // Section 8.3.3: seven bits a byte, at most four of them.
            for _ in 0..<4 where !isLast {
                guard let byte = try? reader.u8() else { return nil }
                length = length << 7 | Int(byte & 0x7F)
                isLast = byte & 0x80 == 0
            }
            guard isLast, let content = try? reader.take(length) else { return nil }
            if found == tag { return content }
        }
        return nil
    }
}
