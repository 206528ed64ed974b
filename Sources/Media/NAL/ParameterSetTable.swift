/// The parameter sets of one stream by their ids, from in band and out of band; answers which of them a picture needs.
///
/// Sets of different ids stand side by side, a later one of the same id replaces the earlier (ITU-T H.264 section 7.4.1.2.1,
/// H.265 section 7.4.2.4.2). What does not parse changes nothing.
struct ParameterSetTable: Sendable {
    private struct Sequence: Sendable {
        var unit: [UInt8]
        /// H.265: id of the video parameter set.
        var videoSet: UInt32
    }
    private struct Picture: Sendable {
        var unit: [UInt8]
        var sequence: UInt32
    }

    private let codec: Codec
    private var videos: [UInt32: [UInt8]] = [:]
    private var sequences: [UInt32: Sequence] = [:]
    private var pictures: [UInt32: Picture] = [:]

    /// Bytes; real sets have tens to hundreds, and 255 of them must not fill memory.
    private static let largest = 16 << 10

    init(codec: Codec) { self.codec = codec }

    /// Takes a NAL unit of any kind; keeps it where it is a parameter set.
    mutating func note(_ unit: ArraySlice<UInt8>) {
        guard unit.count <= Self.largest else { return }
        switch codec {
        case .h264:
            switch H264NAL.type(unit) {
            case H264NAL.sps:
                guard let set = try? H264SequenceParameters(unit) else { return }
                sequences[set.id] = Sequence(unit: Array(unit), videoSet: 0)
            case H264NAL.pps: notePicture(unit, header: 1, largestID: 255, largestSequence: 31)
            default: return
            }
        case .h265:
            switch H265NAL.type(unit) {
            case H265NAL.vps:
                var bits = BitReader(unit.dropFirst(2))
                let id = bits.bits(4)
                if !bits.isExhausted { videos[id] = Array(unit) }
            case H265NAL.sps:
                guard let set = try? H265SequenceParameters(unit) else { return }
                sequences[set.id] = Sequence(unit: Array(unit), videoSet: set.videoSet)
            case H265NAL.pps: notePicture(unit, header: 2, largestID: 63, largestSequence: 15)
            default: return
            }
        }
    }

    /// ITU-T H.264 section 7.3.2.2, H.265 section 7.3.2.3.1: both begin with their own id and the sequence set's.
    private mutating func notePicture(
        _ unit: ArraySlice<UInt8>, header: Int, largestID: UInt32, largestSequence: UInt32
    ) {
        var bits = BitReader(unit.dropFirst(header))
        let (id, sequence) = (bits.ue(), bits.ue())
        guard !bits.isExhausted, id <= largestID, sequence <= largestSequence else { return }
        pictures[id] = Picture(unit: Array(unit), sequence: sequence)
    }

    /// The sequence set that is active with this picture, and the picture sets that belong to it.
    /// - Parameter slice: a NAL unit of the picture.
    /// - Returns: nil where a set it needs is not known.
    func parameters(of slice: ArraySlice<UInt8>, leastReorder: Int) -> CodecParameters? {
        guard let id = pictureSet(of: slice), let picture = pictures[id] else { return nil }
        guard let sequence = sequences[picture.sequence] else { return nil }
        var units: [[UInt8]] = []
        if codec == .h265 {
            // Some cameras number their only video parameter set otherwise than the sequence set says.
            units += videos[sequence.videoSet].map { [$0] } ?? sorted(videos)
        }
        units.append(sequence.unit)
        units += sorted(pictures.filter { $0.value.sequence == picture.sequence }).map(\.unit)
        return try? CodecParameters(codec: codec, units: units, leastReorder: leastReorder)
    }

    /// Everything known, for pictures that name a set nobody has seen.
    func parameters(leastReorder: Int) -> CodecParameters? {
        let units = sorted(videos) + sorted(sequences).map(\.unit) + sorted(pictures).map(\.unit)
        return try? CodecParameters(codec: codec, units: units, leastReorder: leastReorder)
    }

    private func sorted<Value>(_ table: [UInt32: Value]) -> [Value] { table.sorted { $0.key < $1.key }.map(\.value) }

    /// pic_parameter_set_id (H.264 section 7.3.3), slice_pic_parameter_set_id (H.265 section 7.3.6.1).
    private func pictureSet(of slice: ArraySlice<UInt8>) -> UInt32? {
        var bits: BitReader
        switch codec {
        case .h264:
            bits = BitReader(slice.dropFirst())
            _ = (bits.ue(), bits.ue())
        case .h265:
            bits = BitReader(slice.dropFirst(2))
            bits.skip((16...23).contains(H265NAL.type(slice)) ? 2 : 1)
        }
        let id = bits.ue()
        return bits.isExhausted ? nil : id
    }
}
