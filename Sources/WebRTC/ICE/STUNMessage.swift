import COpenSSL
import Core

/// A STUN message as ICE uses it (RFC 8489, RFC 8445 §7.1). Method Binding only.
public struct STUNMessage: Sendable, Equatable {
    public enum Class: UInt16, Sendable { case request = 0, indication = 0x10, success = 0x100, failure = 0x110 }
    public enum Attribute {
        public static let username: UInt16 = 0x0006
        public static let integrity: UInt16 = 0x0008
        public static let errorCode: UInt16 = 0x0009
        public static let unknownAttributes: UInt16 = 0x000A
        public static let xorMappedAddress: UInt16 = 0x0020
        public static let priority: UInt16 = 0x0024
        public static let useCandidate: UInt16 = 0x0025
        public static let fingerprint: UInt16 = 0x8028
        public static let iceControlled: UInt16 = 0x8029
        public static let iceControlling: UInt16 = 0x802A
    }
    /// RFC 8489 §5.
    static let cookie: UInt32 = 0x2112_A442

    public var kind: Class
    /// 12 bytes.
    public var transaction: [UInt8]
    public var attributes: [(type: UInt16, value: [UInt8])] = []
    /// Where MESSAGE-INTEGRITY began in the parsed bytes.
    private var integrityOffset: Int?
    private var raw: [UInt8] = []

    public init(_ kind: Class, transaction: [UInt8]) {
        self.kind = kind
        self.transaction = transaction
    }

    /// Checks the header, the lengths and, if there is one, FINGERPRINT. Attributes behind MESSAGE-INTEGRITY are ignored (RFC 8489 §14.5).
    public init(parsing bytes: [UInt8]) throws(WebRTCError) {
        guard bytes.count >= 20, bytes.count % 4 == 0 else { throw WebRTCError(.packet, "STUN: bad size") }
        do {
            var reader = ByteReader(bytes)
            let type = try reader.u16()
            let length = Int(try reader.u16())
            guard let kind = Class(rawValue: type & 0x110), type & ~0x110 == 1 else {
                throw WebRTCError(.packet, "STUN: not a Binding")
            }
            guard try reader.u32() == Self.cookie, length == bytes.count - 20 else {
                throw WebRTCError(.packet, "STUN: wrong cookie or length")
            }
            self.kind = kind
            transaction = Array(try reader.take(12))
            while !reader.isAtEnd {
                let offset = reader.offset
                let type = try reader.u16()
                let count = Int(try reader.u16())
                let value = Array(try reader.take(count))
                try reader.skip((4 - count % 4) % 4)
                if type == Attribute.fingerprint {
                    guard value.count == 4, reader.isAtEnd, value == Self.fingerprint(Array(bytes[..<offset])) else {
                        throw WebRTCError(.packet, "STUN: wrong fingerprint")
                    }
                } else if integrityOffset != nil {
                    continue
                } else if type == Attribute.integrity {
                    integrityOffset = offset
                }
                attributes.append((type, value))
            }
            raw = bytes
        } catch let error as WebRTCError {
            throw error
        } catch {
            throw WebRTCError(.packet, "STUN: cut short")
        }
    }

    public static func == (a: Self, b: Self) -> Bool {
        a.kind == b.kind && a.transaction == b.transaction
            && a.attributes.elementsEqual(b.attributes) { $0.type == $1.type && $0.value == $1.value }
    }

    public subscript(_ type: UInt16) -> [UInt8]? { attributes.first { $0.type == type }?.value }
    public var username: String? { self[Attribute.username].map { String(decoding: $0, as: UTF8.self) } }
    /// Comprehension-required attributes that ICE does not know (RFC 8489 §14).
    public var unknownRequired: [UInt16] {
        let known: Set<UInt16> = [0x01, 0x06, 0x08, 0x09, 0x0A, 0x14, 0x15, 0x1C, 0x1D, 0x1E, 0x20, 0x24, 0x25]
        return attributes.map(\.type).filter { $0 < 0x8000 && !known.contains($0) }
    }
    public var errorCode: Int? {
        self[Attribute.errorCode].flatMap { $0.count >= 4 ? Int($0[2] & 7) * 100 + Int($0[3]) : nil }
    }

    /// Short-term credentials (RFC 8489 §9.1). False without MESSAGE-INTEGRITY.
    public func isAuthentic(password: String) -> Bool {
        guard let integrityOffset, let value = self[Attribute.integrity], value.count == 20 else { return false }
        var signed = Array(raw[..<integrityOffset])
        Self.setLength(&signed, integrityOffset + 24 - 20)
        let expected = Self.hmac(signed, key: password)
        return zip(value, expected).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0 && expected.count == 20
    }

    public var mappedAddress: SocketAddress? {
        guard let value = self[Attribute.xorMappedAddress], value.count >= 8 else { return nil }
        let mask = [0x21, 0x12, 0xA4, 0x42] + transaction
        let port = (UInt16(value[2]) << 8 | UInt16(value[3])) ^ 0x2112
        return SocketAddress(bytes: zip(value[4...], mask).map { $0 ^ $1 }, port: port)
    }

    public mutating func add(_ type: UInt16, _ value: [UInt8] = []) { attributes.append((type, value)) }
    public mutating func addMapped(_ address: SocketAddress) {
        let mask = [0x21, 0x12, 0xA4, 0x42] + transaction
        let port = address.port ^ 0x2112
        add(
            Attribute.xorMappedAddress,
            [0, address.isIPv4 ? 1 : 2, UInt8(port >> 8), UInt8(truncatingIfNeeded: port)]
                + zip(address.bytes, mask).map { $0 ^ $1 })
    }
    public mutating func addError(_ code: Int, _ reason: String) {
        add(Attribute.errorCode, [0, 0, UInt8(clamping: code / 100), UInt8(clamping: code % 100)] + Array(reason.utf8))
    }

    /// The bytes for the network, with MESSAGE-INTEGRITY (if there is a password) and FINGERPRINT.
    public func encoded(password: String?) -> [UInt8] {
        var writer = ByteWriter(reserving: 128)
        writer.u16(1 | kind.rawValue)
        writer.u16(0)
        writer.u32(Self.cookie)
        writer.append(transaction)
        for (type, value) in attributes {
            writer.u16(type)
            writer.u16(UInt16(clamping: value.count))
            writer.append(value)
            writer.zeros((4 - value.count % 4) % 4)
        }
        if let password {
            Self.setLength(&writer.bytes, writer.count + 24 - 20)
            let code = Self.hmac(writer.bytes, key: password)
            writer.u16(Attribute.integrity)
            writer.u16(20)
            writer.append(code)
        }
        let code = Self.fingerprint(writer.bytes)
        writer.u16(Attribute.fingerprint)
        writer.u16(4)
        writer.append(code)
        Self.setLength(&writer.bytes, writer.count - 20)
        return writer.bytes
    }

    private static func setLength(_ bytes: inout [UInt8], _ length: Int) {
        bytes[2] = UInt8(truncatingIfNeeded: length >> 8)
        bytes[3] = UInt8(truncatingIfNeeded: length)
    }

    /// FINGERPRINT over `bytes` as they stand before it; the length covers the attribute itself (RFC 8489 §14.7).
    private static func fingerprint(_ bytes: [UInt8]) -> [UInt8] {
        var copy = bytes
        setLength(&copy, bytes.count + 8 - 20)
        let value = CRC32.checksum(copy) ^ 0x5354_554E
        return (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32($0))) }
    }

    static func hmac(_ bytes: [UInt8], key: String) -> [UInt8] {
        let key = Array(key.utf8)
        var out = [UInt8](repeating: 0, count: 20)
        var count: UInt32 = 20
        unsafe key.withUnsafeBytes { key in
            unsafe bytes.withUnsafeBufferPointer { bytes in
                unsafe out.withUnsafeMutableBufferPointer { out in
                    _ = unsafe HMAC(
                        EVP_sha1(), key.baseAddress, Int32(key.count), bytes.baseAddress, bytes.count, out.baseAddress,
                        &count)
                }
            }
        }
        return out
    }
}

/// CRC-32 of ISO 3309 (RFC 8489 §14.7).
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~0) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
    }
}
