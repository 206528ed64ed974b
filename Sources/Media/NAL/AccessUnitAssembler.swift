import Core

/// Turns a stream's packets into frames: one framing, parameter sets followed in and out of band, no time missing.
///
/// Tolerates what cameras send (I6): start codes inside length-prefixed units, empty units, packets without a picture (their
/// units join the next frame), parameter sets that are missing before some key frames, come late, change, or are broken.
/// NAL units go through untouched. New parameters are told at key frames only, since only there a decoder takes them up.
public struct AccessUnitAssembler: Sendable {
    public enum Timing: Sendable {
        /// Decoding times are the container's; where it has none they are made up from the frames before.
        case container
        /// There are presentation times only, as in RTP: decoding times follow from the order of the frames.
        case presentationOnly
    }

    public let codec: Codec
    /// What the last key frame needs, or what the container or SDP said before the first; nil until all sets are known.
    public private(set) var parameters: CodecParameters?
    /// Pictures came that cannot be decoded because their parameter sets did not.
    public private(set) var lacksParameters = false

    private let leastReorder: Int
    private let timing: Timing
    private var lengthSize: Int?
    private var table: ParameterSetTable
    private var announced: CodecParameters?
    /// Units of packets that held no picture.
    private var waiting: [ArraySlice<UInt8>] = []
    private var isDamaged = false
    private var decodeTimes = DecodeTimes(depth: 0)
    private var last: (dts: Int64, pts: Int64)?
    private var step = AccessUnitAssembler.usualStep

    /// 25 frames a second, where the stream does not say, 90 kHz.
    static let usualStep: Int64 = 3600
    /// What may wait for a picture: units, bytes.
    private static let mostWaiting = (units: 64, bytes: 1 << 20)

    /// - Parameters:
    ///   - extradata: Annex B, `avcC` or `hvcC`; empty where all sets are in band.
    ///   - leastReorder: frames of reordering that were observed, for streams that do not declare it.
    public init(codec: Codec, extradata: [UInt8] = [], leastReorder: Int = 0, timing: Timing = .container) {
        self.codec = codec
        self.leastReorder = leastReorder
        self.timing = timing
        table = ParameterSetTable(codec: codec)
        learn(extradata: extradata)
        parameters = table.parameters(leastReorder: leastReorder)
    }

    /// The container changed its decoder configuration (`AV_PKT_DATA_NEW_EXTRADATA`); it holds from the next packet on.
    public mutating func learn(extradata: [UInt8]) {
        guard !extradata.isEmpty else { return }
        // Junk must not change the framing of what is being read well.
        guard let sets = try? CodecParameters(codec: codec, extradata: extradata) else {
            if announced == nil { lengthSize = CodecParameters.lengthSize(ofExtradata: extradata, codec) }
            return
        }
        lengthSize = CodecParameters.lengthSize(ofExtradata: extradata, codec)
        for unit in sets.units { table.note(unit[...]) }
    }

    /// Takes the next packet in decoding order.
    /// - Parameters:
    ///   - dts: 90 kHz; nil where the packet has none.
    ///   - pts: likewise.
    ///   - duration: 90 kHz; 0 where it has none.
    ///   - isCorrupt: the demuxer knows that bytes are missing (`AV_PKT_FLAG_CORRUPT`).
    /// - Returns: nil for a packet without a whole picture, and for pictures before all parameter sets are known.
    public mutating func assemble(
        _ packet: [UInt8], dts: Int64?, pts: Int64?, duration: Int64 = 0, isCorrupt: Bool = false
    ) -> CodedFrame? {
        let (found, isWhole) = split(packet)
        if isCorrupt || !isWhole { isDamaged = true }
        let units = waiting + found
        guard let picture = units.first(where: isPicture) else {
            wait(units)
            return nil
        }
        waiting = []
        for unit in units { table.note(unit) }
        let isKey = units.contains(where: isKey)
        if isKey || parameters == nil {
            parameters =
                table.parameters(of: picture, leastReorder: leastReorder)
                ?? parameters ?? table.parameters(leastReorder: leastReorder)
        }
        guard let parameters else {
            lacksParameters = true
            return nil
        }
        lacksParameters = false
        let isNew = announced == nil || isKey && parameters != announced
        if isNew {
            announced = parameters
            decodeTimes.deepen(to: parameters.reorderFrames)
        }
        let time = place(dts, pts, duration)
        defer { isDamaged = false }
        return CodedFrame(
            data: NALUnits.lengthPrefixed(units), isKey: isKey, dts: time.dts, pts: time.pts,
            duration: max(0, duration), isDamaged: isDamaged, newParameters: isNew ? parameters : nil)
    }

    /// Copies, so that a small unit does not keep a large packet in memory.
    private mutating func wait(_ units: [ArraySlice<UInt8>]) {
        waiting = []
        var bytes = 0
        for unit in units.reversed() {
            bytes += unit.count
            guard waiting.count < Self.mostWaiting.units, bytes <= Self.mostWaiting.bytes else { break }
            waiting.append(Array(unit)[...])
        }
        waiting.reverse()
    }

    private func split(_ packet: [UInt8]) -> (units: [ArraySlice<UInt8>], isWhole: Bool) {
        guard let lengthSize else { return (AnnexB.split(packet), true) }
        let framed = NALUnits(packet, lengthSize: lengthSize)
        let isWhole = framed.isWhole
        // Start codes where the container promises lengths. A short one, 00 00 01, would be a length of 256 to 511.
        if !isWhole, packet.starts(with: [0, 0, 0, 1]) { return (AnnexB.split(packet), true) }
        return (framed.flatMap { AnnexB.isStart($0) ? AnnexB.split($0) : [$0] }, isWhole)
    }

    private func isPicture(_ unit: ArraySlice<UInt8>) -> Bool {
        codec == .h264 ? H264NAL.isPicture(unit) : H265NAL.isPicture(unit)
    }
    private func isKey(_ unit: ArraySlice<UInt8>) -> Bool {
        codec == .h264
            ? H264NAL.type(unit) == H264NAL.idr : H265NAL.isRandomAccess(unit) && H265NAL.isPicture(unit)
    }

    /// Fills in what the packet lacks from the frames before it; jumps stay, for a time line to judge.
    private mutating func place(_ dts: Int64?, _ pts: Int64?, _ duration: Int64) -> (dts: Int64, pts: Int64) {
        let placed: (dts: Int64, pts: Int64)
        switch timing {
        case .presentationOnly:
            let shown = pts ?? dts ?? last.map { $0.pts.addingSaturating(step) } ?? 0
            placed = (decodeTimes.next(pts: shown), shown)
        case .container:
            let next = last.map { $0.dts.addingSaturating(step) }
            let reorder = Int64(parameters?.reorderFrames ?? leastReorder)
            let decoded: Int64 =
                if let dts {
                    dts
                } else if let pts {
                    // Matroska has presentation times only; libavformat begins to derive the others after a few frames.
                    reorder == 0 ? pts : min(pts, next ?? pts.subtractingSaturating(reorder * step(duration)))
                } else {
                    next ?? 0
                }
            placed = (decoded, pts ?? decoded)
        }
        if let last {
            let way = placed.dts.subtractingSaturating(last.dts)
            if (1..<90_000).contains(way) { step = way }
        }
        if timing == .container { step = step(duration) }
        last = placed
        return placed
    }
    private func step(_ duration: Int64) -> Int64 { (1..<90_000).contains(duration) ? duration : step }
}
