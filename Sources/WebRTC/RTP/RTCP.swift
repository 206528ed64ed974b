import Core

/// The RTCP packets a video sender meets (RFC 3550 §6, RFC 4585, RFC 5104, draft-holmer-rmcat-transport-wide-cc-extensions-01).
public enum RTCPPacket: Sendable, Equatable {
    public struct Report: Sendable, Equatable {
        public var ssrc: UInt32
        /// 256ths.
        public var fractionLost: UInt8
        public var highestSequence: UInt32
        public var jitter: UInt32
    }
    case senderReport(ssrc: UInt32, reports: [Report])
    case receiverReport(ssrc: UInt32, reports: [Report])
    case nack(media: UInt32, sequences: [UInt16])
    case pictureLoss(media: UInt32)
    case fullIntraRequest(media: [UInt32])
    /// Arrival times in 250 µs units, relative to one another; nil for lost.
    case transport(base: UInt16, arrivals: [Int64?])
    case goodbye(ssrcs: [UInt32])
    case other(type: UInt8, format: UInt8)

    /// All packets of a compound or reduced-size packet; what follows a broken one is lost.
    public static func parse(_ bytes: [UInt8]) -> [RTCPPacket] {
        var reader = ByteReader(bytes)
        var packets: [RTCPPacket] = []
        while reader.remaining >= 4 {
            guard let first = try? reader.u8(), first >> 6 == 2, let type = try? reader.u8(),
                let words = try? reader.u16(), let body = try? reader.take(Int(words) * 4)
            else { break }
            var inner = ByteReader(body)
            guard let packet = try? parse(type: type, format: first & 31, &inner) else { break }
            packets.append(packet)
        }
        return packets
    }

    private static func parse(type: UInt8, format: UInt8, _ reader: inout ByteReader) throws(EndOfBytes) -> RTCPPacket {
        switch (type, format) {
        case (200, _):
            let ssrc = try reader.u32()
            try reader.skip(20)
            return .senderReport(ssrc: ssrc, reports: try reports(format, &reader))
        case (201, _):
            return .receiverReport(ssrc: try reader.u32(), reports: try reports(format, &reader))
        case (203, _):
            var ssrcs: [UInt32] = []
            for _ in 0..<format { ssrcs.append(try reader.u32()) }
            return .goodbye(ssrcs: ssrcs)
        case (205, 1):
            try reader.skip(4)
            let media = try reader.u32()
            var sequences: [UInt16] = []
            while reader.remaining >= 4 {
                let id = try reader.u16()
                let mask = try reader.u16()
                sequences.append(id)
                for bit in 0..<16 where mask >> UInt16(bit) & 1 == 1 { sequences.append(id &+ UInt16(bit) &+ 1) }
            }
            return .nack(media: media, sequences: sequences)
        case (205, 15):
            try reader.skip(8)
            return try transport(&reader)
        case (206, 1):
            try reader.skip(4)
            return .pictureLoss(media: try reader.u32())
        case (206, 4):
            try reader.skip(8)
            var media: [UInt32] = []
            while reader.remaining >= 8 {
                media.append(try reader.u32())
                try reader.skip(4)
            }
            return .fullIntraRequest(media: media)
        default:
            return .other(type: type, format: format)
        }
    }

    private static func reports(_ count: UInt8, _ reader: inout ByteReader) throws(EndOfBytes) -> [Report] {
        var reports: [Report] = []
        for _ in 0..<count {
            let ssrc = try reader.u32()
            let lost = try reader.u8()
            try reader.skip(3)
            let highest = try reader.u32()
            let jitter = try reader.u32()
            try reader.skip(8)
            reports.append(Report(ssrc: ssrc, fractionLost: lost, highestSequence: highest, jitter: jitter))
        }
        return reports
    }

    /// §3.1 of the draft: status chunks, then one delta for each packet received.
    private static func transport(_ reader: inout ByteReader) throws(EndOfBytes) -> RTCPPacket {
        let base = try reader.u16()
        let count = Int(try reader.u16())
        // Reference time in 64 ms; 24 bits, signed. One unit is 256 × 250 µs.
        let reference = try reader.u24()
        try reader.skip(1)
        var symbols: [UInt8] = []
        while symbols.count < count {
            let chunk = try reader.u16()
            if chunk & 0x8000 == 0 {
                let symbol = UInt8(chunk >> 13 & 3)
                symbols.append(
                    contentsOf: repeatElement(symbol, count: min(Int(chunk & 0x1FFF), count - symbols.count)))
                // A run of nothing makes no progress; the loop must still end with the bytes.
            } else if chunk & 0x4000 == 0 {
                for bit in 0..<14 { symbols.append(UInt8(chunk >> (13 - UInt16(bit)) & 1)) }
            } else {
                for pair in 0..<7 { symbols.append(UInt8(chunk >> (12 - 2 * UInt16(pair)) & 3)) }
            }
        }
        var time = Int64(reference) * 256
        var arrivals: [Int64?] = []
        for symbol in symbols.prefix(count) {
            switch symbol {
            case 1:
                time += Int64(try reader.u8())
                arrivals.append(time)
            case 2:
                time += Int64(Int16(bitPattern: try reader.u16()))
                arrivals.append(time)
            default: arrivals.append(nil)
            }
        }
        return .transport(base: base, arrivals: arrivals)
    }

    /// SR and SDES CNAME in one compound. `ntp`: 32.32 seconds of any clock that only moves forward.
    static func senderReport(ssrc: UInt32, ntp: UInt64, rtpTimestamp: UInt32, packets: UInt32, octets: UInt32)
        -> [UInt8]
    {
        var writer = ByteWriter(reserving: 56)
        writer.u32(0x80C8_0006)
        writer.u32(ssrc)
        writer.u64(ntp)
        writer.u32(rtpTimestamp)
        writer.u32(packets)
        writer.u32(octets)
        writer.u32(0x81CA_0004)
        writer.u32(ssrc)
        writer.u8(1)
        writer.u8(7)
        writer.ascii("sudocam")
        writer.zeros(3)
        return writer.bytes
    }
}
