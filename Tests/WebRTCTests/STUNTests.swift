import Core
import Testing
import WebRTC

struct STUNTests {
    /// RFC 5769 §2.1, sample request; password VOkJxbRl1RmTxUk/WvJxBt.
    static let request = """
        000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1
        51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf
        """
    /// §2.2, sample IPv4 response.
    static let response = """
        0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599
        fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96
        """
    /// §2.3, sample IPv6 response.
    static let response6 = """
        010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5
        bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c
        """
    static func bytes(_ text: String) throws -> [UInt8] { try #require(Hex.decode(text.filter { !$0.isWhitespace })) }

    @Test func `the sample request of RFC 5769 is authentic under its password only`() throws {
        let message = try STUNMessage(parsing: try Self.bytes(Self.request))
        #expect(message.kind == .request)
        #expect(message.username == "evtj:h6vY")
        #expect(message.isAuthentic(password: "VOkJxbRl1RmTxUk/WvJxBt"))
        #expect(!message.isAuthentic(password: "VOkJxbRl1RmTxUk/WvJxBu"))
        #expect(message.unknownRequired.isEmpty)
    }
    @Test func `the sample responses of RFC 5769 carry the mapped address`() throws {
        let message = try STUNMessage(parsing: try Self.bytes(Self.response))
        #expect(message.isAuthentic(password: "VOkJxbRl1RmTxUk/WvJxBt"))
        #expect(message.mappedAddress == SocketAddress(host: "192.0.2.1", port: 32853))
        let six = try STUNMessage(parsing: try Self.bytes(Self.response6))
        #expect(six.mappedAddress == SocketAddress(host: "2001:db8:1234:5678:11:2233:4455:6677", port: 32853))
    }
    @Test func `what is encoded parses back and any flipped bit is noticed`() throws {
        var message = STUNMessage(.success, transaction: Array(1...12))
        let address = try #require(SocketAddress(host: "fd00::2", port: 5000))
        message.addMapped(address)
        let bytes = message.encoded(password: "secret")
        let parsed = try STUNMessage(parsing: bytes)
        #expect(parsed.isAuthentic(password: "secret"))
        #expect(parsed.mappedAddress == address)
        // Behind the integrity stands only the fingerprint.
        for index in bytes.indices.dropLast(8) {
            var broken = bytes
            broken[index] ^= 1
            let isAccepted = (try? STUNMessage(parsing: broken))?.isAuthentic(password: "secret") ?? false
            #expect(!isAccepted)
        }
    }
    @Test func `garbage of any length is refused without a trap`() {
        var random = Seeded(7)
        for count in 0..<300 {
            var bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            if count >= 20 {
                bytes.replaceSubrange(
                    0..<8, with: [0, 1, 0, UInt8(truncatingIfNeeded: count - 20), 0x21, 0x12, 0xA4, 0x42])
            }
            _ = try? STUNMessage(parsing: bytes)
            _ = RTCPPacket.parse(bytes)
            _ = try? RTPPacket(parsing: bytes)
            _ = try? DCEPMessage(parsing: bytes)
            _ = H264Packetizer.split(bytes)
            _ = try? SessionDescription(parsing: String(decoding: bytes, as: UTF8.self))
        }
    }
}

/// SplitMix64, so that a failing test fails again.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
