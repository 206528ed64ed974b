import Core

/// An RTP packet (RFC 3550 §5.1) with one-byte header extensions (RFC 8285 §4.2).
public struct RTPPacket: Sendable, Equatable {
    public var payloadType: UInt8
    public var marker: Bool
    public var sequence: UInt16
    public var timestamp: UInt32
    public var ssrc: UInt32
    /// Ids 1–14, 1–16 bytes each.
    public var extensions: [UInt8: [UInt8]]
    public var payload: [UInt8]

    public init(
        payloadType: UInt8, marker: Bool, sequence: UInt16, timestamp: UInt32, ssrc: UInt32,
        extensions: [UInt8: [UInt8]] = [:], payload: [UInt8]
    ) {
        self.payloadType = payloadType
        self.marker = marker
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = ssrc
        self.extensions = extensions
        self.payload = payload
    }

    public init(parsing bytes: [UInt8]) throws(WebRTCError) {
        do throws(EndOfBytes) {
            var reader = ByteReader(bytes)
            let first = try reader.u8()
            guard first >> 6 == 2 else { throw EndOfBytes(wanted: 0, left: 0) }
            let second = try reader.u8()
            marker = second & 0x80 != 0
            payloadType = second & 0x7F
            sequence = try reader.u16()
            timestamp = try reader.u32()
            ssrc = try reader.u32()
            try reader.skip(Int(first & 15) * 4)
            extensions = [:]
            if first & 0x10 != 0 {
                let profile = try reader.u16()
                var block = ByteReader(try reader.take(Int(try reader.u16()) * 4))
                while profile == 0xBEDE, let head = try? block.u8() {
                    if head == 0 { continue }
                    if head >> 4 == 15 { break }
                    extensions[head >> 4] = Array(try block.take(Int(head & 15) + 1))
                }
            }
            payload = Array(reader.rest())
            if first & 0x20 != 0 {
                guard let padding = payload.last, padding > 0, Int(padding) <= payload.count else {
                    throw EndOfBytes(wanted: 1, left: 0)
                }
                payload.removeLast(Int(padding))
            }
        } catch {
            throw WebRTCError(.packet, "RTP: bad packet", underlying: error)
        }
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 40 + payload.count)
        writer.u8(extensions.isEmpty ? 0x80 : 0x90)
        writer.u8((marker ? 0x80 : 0) | payloadType & 0x7F)
        writer.u16(sequence)
        writer.u32(timestamp)
        writer.u32(ssrc)
        if !extensions.isEmpty {
            var block = ByteWriter()
            for (id, value) in extensions.sorted(by: { $0.key < $1.key }) where !value.isEmpty && value.count <= 16 {
                block.u8(id << 4 | UInt8(value.count - 1))
                block.append(value)
            }
            block.zeros((4 - block.count % 4) % 4)
            writer.u16(0xBEDE)
            writer.u16(UInt16(block.count / 4))
            writer.append(block.bytes)
        }
        writer.append(payload)
        return writer.bytes
    }
}
