import Core

/// One access unit to send.
public struct VideoUnit: Sendable {
    /// Renderer's bounds in milliseconds; 0/0 is "as soon as possible".
    public struct PlayoutDelay: Sendable, Hashable {
        public var minimum: Int
        public var maximum: Int
        public init(minimum: Int, maximum: Int) {
            self.minimum = minimum
            self.maximum = maximum
        }
    }
    /// NAL units, each behind its length in four bytes, as in MP4.
    public var bytes: [UInt8]
    /// 90 kHz; never older than the unit before.
    public var rtpTimestamp: UInt32
    public var isKey: Bool
    public var playoutDelay: PlayoutDelay?
    /// SPS then PPS, put before a key frame that has none of its own.
    public var parameterSets: [[UInt8]]

    public init(
        bytes: [UInt8], rtpTimestamp: UInt32, isKey: Bool, playoutDelay: PlayoutDelay? = nil,
        parameterSets: [[UInt8]] = []
    ) {
        self.bytes = bytes
        self.rtpTimestamp = rtpTimestamp
        self.isKey = isKey
        self.playoutDelay = playoutDelay
        self.parameterSets = parameterSets
    }
}

/// RTP payloads of H.264, packetization mode 1 (RFC 6184 §5): single NAL units, STAP-A, FU-A.
public enum H264Packetizer {
    /// NAL units of length-prefixed `bytes`; stops at the first length that does not fit. Empty ones, delimiters (9) and filler (12) are left out.
    public static func split(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var reader = ByteReader(bytes)
        var units: [ArraySlice<UInt8>] = []
        while let length = try? reader.u32(), let unit = try? reader.take(Int(length)) {
            guard let first = unit.first else { continue }
            let type = first & 31
            if type != 9 && type != 12 && type != 0 && type < 24 { units.append(unit) }
        }
        return units
    }

    /// The unit's NAL units in order; parameter sets are added where a key frame lacks them (libwebrtc wants them in each IDR's unit).
    public static func units(of unit: VideoUnit) -> [ArraySlice<UInt8>] {
        var units = split(unit.bytes)
        let types = units.map { ($0.first ?? 0) & 31 }
        guard unit.isKey || types.contains(5) else { return units }
        let missing = unit.parameterSets.filter { set in
            guard let type = set.first.map({ $0 & 31 }) else { return false }
            return (type == 7 || type == 8) && !types.contains(type)
        }
        units.insert(contentsOf: missing.map { $0[...] }, at: 0)
        return units
    }

    /// Payloads of at most `maximum` bytes, in order; the caller sets the marker on the last.
    public static func payloads(_ units: [ArraySlice<UInt8>], maximum: Int) -> [[UInt8]] {
        let maximum = max(64, maximum)
        var payloads: [[UInt8]] = []
        var pending: [ArraySlice<UInt8>] = []
        var size = 1
        func flush() {
            if pending.count == 1 {
                payloads.append(Array(pending[0]))
            } else if pending.count > 1 {
                var writer = ByteWriter(reserving: size)
                // F and NRI: the worst and the most important of the parts (§5.7).
                let nri = pending.map { ($0.first ?? 0) & 0x60 }.max() ?? 0
                let forbidden = pending.reduce(UInt8(0)) { $0 | (($1.first ?? 0) & 0x80) }
                writer.u8(forbidden | nri | 24)
                for unit in pending {
                    writer.u16(UInt16(clamping: unit.count))
                    writer.append(unit)
                }
                payloads.append(writer.bytes)
            }
            pending = []
            size = 1
        }
        for unit in units where !unit.isEmpty {
            if unit.count > maximum {
                flush()
                fragment(unit, maximum: maximum, into: &payloads)
                continue
            }
            if size + 2 + unit.count > maximum { flush() }
            pending.append(unit)
            size += 2 + unit.count
        }
        flush()
        return payloads
    }

    /// FU-A (§5.8) in parts of about one size; a unit that comes here always makes two or more.
    private static func fragment(_ unit: ArraySlice<UInt8>, maximum: Int, into payloads: inout [[UInt8]]) {
        guard let header = unit.first else { return }
        let body = unit.dropFirst()
        let room = maximum - 2
        let parts = max(2, (body.count + room - 1) / room)
        let step = (body.count + parts - 1) / parts
        var offset = body.startIndex
        while offset < body.endIndex {
            let end = min(offset + step, body.endIndex)
            var payload: [UInt8] = []
            payload.reserveCapacity(2 + end - offset)
            payload.append(header & 0xE0 | 28)
            payload.append((offset == body.startIndex ? 0x80 : 0) | (end == body.endIndex ? 0x40 : 0) | header & 31)
            payload.append(contentsOf: body[offset..<end])
            payloads.append(payload)
            offset = end
        }
    }
}
