import Core
import Testing
@testable import WebRTC

struct RTPTests {
    /// An independent reading of RFC 6184 §5: payloads back to NAL units.
    static func depacketize(_ payloads: [[UInt8]]) -> [[UInt8]] {
        var units: [[UInt8]] = []
        for payload in payloads {
            switch payload[0] & 31 {
            case 24:
                var index = 1
                while index + 2 <= payload.count {
                    let count = Int(payload[index]) << 8 | Int(payload[index + 1])
                    units.append(Array(payload[(index + 2)..<(index + 2 + count)]))
                    index += 2 + count
                }
            case 28:
                if payload[1] & 0x80 != 0 { units.append([payload[0] & 0xE0 | payload[1] & 31]) }
                units[units.count - 1] += payload[2...]
                // Never a whole unit in one fragment.
                #expect(payload[1] & 0xC0 != 0xC0)
            default: units.append(payload)
            }
        }
        return units
    }
    static func avcc(_ units: [[UInt8]]) -> [UInt8] {
        units.flatMap { unit in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: unit.count >> $0) } + unit }
    }
    static func nal(_ type: UInt8, _ count: Int) -> [UInt8] {
        [0x60 | type] + (1..<max(2, count)).map { UInt8($0 % 251) }
    }

    @Test(arguments: [2, 500, 1139, 1140, 1141, 1142, 2280, 2281, 5000, 70000])
    func `W29 parameter sets and slices of every size survive packetizing`(size: Int) {
        let units = [Self.nal(7, 600), Self.nal(8, 700), Self.nal(6, 1500), Self.nal(5, size), Self.nal(5, 40)]
        let payloads = H264Packetizer.payloads(units.map { $0[...] }, maximum: 1140)
        #expect(payloads.allSatisfy { $0.count <= 1140 })
        #expect(Self.depacketize(payloads) == units)
    }
    @Test func `W28 missing parameter sets are put before a key frame, delimiters and filler are left out`() {
        let unit = VideoUnit(
            bytes: Self.avcc([Self.nal(9, 2), [], Self.nal(5, 30), Self.nal(12, 9)]), rtpTimestamp: 0, isKey: true,
            parameterSets: [Self.nal(7, 20), Self.nal(8, 5)])
        #expect(H264Packetizer.units(of: unit).map { $0.first.map { $0 & 31 } } == [7, 8, 5])
        let whole = VideoUnit(
            bytes: Self.avcc([Self.nal(7, 21), Self.nal(8, 6), Self.nal(5, 30)]), rtpTimestamp: 0, isKey: true,
            parameterSets: unit.parameterSets)
        #expect(H264Packetizer.units(of: whole).map(\.count) == [21, 6, 30])
    }
    @Test func `lengths that do not fit end the unit without a trap`() {
        #expect(H264Packetizer.split([0, 0, 0, 2, 0x65, 1, 255, 255, 255, 255, 1]).map(Array.init) == [[0x65, 1]])
    }
    @Test func `an RTP packet with extensions parses back`() throws {
        let packet = RTPPacket(
            payloadType: 108, marker: true, sequence: 65535, timestamp: .max, ssrc: 7,
            extensions: [9: [0x30], 5: [0, 1, 2], 4: [1, 2]], payload: [1, 2, 3])
        #expect(try RTPPacket(parsing: packet.encoded) == packet)
    }
    @Test func `W32 a PLI inside a compound of another SSRC is found`() {
        let report: [UInt8] = [0x80, 201, 0, 1, 0, 0, 0, 9]
        let loss: [UInt8] = [0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 5]
        #expect(RTCPPacket.parse(report + loss) == [.receiverReport(ssrc: 9, reports: []), .pictureLoss(media: 5)])
    }
    @Test func `a NACK lists the packet and its bitmask`() {
        let bytes: [UInt8] = [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 5, 0xFF, 0xFF, 0x80, 0x01]
        #expect(RTCPPacket.parse(bytes) == [.nack(media: 5, sequences: [65535, 0, 15])])
    }
    @Test func `transport feedback gives arrivals in quarter milliseconds`() {
        // Base 10, three packets, reference 1 (64 ms); run of two small deltas, then a vector with one lost.
        let bytes: [UInt8] = [
            0x8F, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 5, 0, 10, 0, 3, 0, 0, 1, 0, 0x20, 0x02, 0x80, 0x00, 4, 8, 0, 0,
        ]
        #expect(RTCPPacket.parse(bytes) == [.transport(base: 10, arrivals: [260, 268, nil])])
    }
    @Test func `DCEP open parses back`() throws {
        let open = DCEPMessage.open(channelType: 0, priority: 256, reliability: 0, label: "control", protocolName: "")
        #expect(try DCEPMessage(parsing: open.encoded) == open)
        #expect(throws: WebRTCError(.packet, "")) { try DCEPMessage(parsing: Array(open.encoded.dropLast())) }
    }

    // MARK: Sender

    static func sender(now: MonotonicTime) -> VideoSender {
        var agreed = VideoAgreement(mid: "0", payload: 108)
        agreed.rtxPayload = 109
        agreed.midExtension = 9
        agreed.transportExtension = 4
        return VideoSender(agreed, ssrc: 5, rtxSSRC: 6, sequence: 65535, rtxSequence: 1, now: now)
    }
    static func drain(_ sender: inout VideoSender) -> (rtp: [RTPPacket], reports: Int) {
        defer { sender.output = [] }
        var result: (rtp: [RTPPacket], reports: Int) = ([], 0)
        for output in sender.output {
            switch output {
            case .rtp(let bytes): if let packet = try? RTPPacket(parsing: bytes) { result.rtp.append(packet) }
            case .rtcp: result.reports += 1
            }
        }
        return result
    }
    static func unit(_ size: Int, _ timestamp: UInt32) -> VideoUnit {
        VideoUnit(bytes: avcc([nal(1, size)]), rtpTimestamp: timestamp, isKey: false)
    }

    @Test func `W31 a resent packet has version 2, the MID and the original sequence number`() throws {
        var now = MonotonicTime(microseconds: 0)
        var sender = Self.sender(now: now)
        sender.enqueue(Self.unit(3000, 1), now: now)
        let sent = Self.drain(&sender).rtp
        now = now + 50_000
        _ = sender.handle(.nack(media: 5, sequences: [sent[1].sequence, sent[1].sequence, 9999]), now: now)
        let resent = Self.drain(&sender).rtp
        #expect(resent.count == 1)
        let packet = try #require(resent.first)
        #expect(packet.ssrc == 6 && packet.payloadType == 109 && packet.timestamp == 1)
        #expect(packet.extensions[9] == Array("0".utf8))
        #expect(
            packet.payload == [UInt8(sent[1].sequence >> 8), UInt8(truncatingIfNeeded: sent[1].sequence)]
                + sent[1].payload)
        // Two seconds later the history has let it go.
        now = now + 3_000_000
        sender.run(now: now)
        _ = sender.handle(.nack(media: 5, sequences: [sent[1].sequence]), now: now)
        #expect(Self.drain(&sender).rtp.isEmpty)
    }
    @Test func `W34 discarding drops whole units only and leaves no gap in sequence numbers`() {
        var now = MonotonicTime(microseconds: 0)
        var sender = Self.sender(now: now)
        for index in 0..<5 { sender.enqueue(Self.unit(100_000, UInt32(index)), now: now) }
        var packets = Self.drain(&sender).rtp
        #expect(packets.count < 60)
        #expect(sender.queuedBytes > 400_000)
        sender.discard()
        sender.enqueue(Self.unit(500, 100), now: now)
        for _ in 0..<200 where sender.queuedBytes > 0 {
            now = now + 5_000
            sender.run(now: now)
        }
        packets += Self.drain(&sender).rtp
        #expect(Set(packets.map(\.timestamp)) == [0, 100])
        #expect(packets.filter(\.marker).map(\.timestamp) == [0, 100])
        #expect(zip(packets, packets.dropFirst()).allSatisfy { $1.sequence == $0.sequence &+ 1 })
        let bytes = Self.depacketize(packets.filter { $0.timestamp == 0 }.map(\.payload))
        #expect(bytes == [Self.nal(1, 100_000)])
        #expect(sender.queuedBytes == 0)
    }
    @Test func `sender reports come at most a second apart while media flows and never while paused`() {
        var now = MonotonicTime(microseconds: 0)
        var sender = Self.sender(now: now)
        var reports = 0
        for index in 0..<300 {
            sender.enqueue(Self.unit(500, UInt32(index)), now: now)
            reports += Self.drain(&sender).reports
            now = now + 33_333
        }
        #expect((10...12).contains(reports))
        now = now + 2_000_000
        for _ in 0..<100 {
            now = now + 100_000
            sender.run(now: now)
        }
        #expect(Self.drain(&sender).reports == 0)
        #expect(sender.nextTimeout == nil)
    }
    @Test func `heavy loss slows the pacer and its end lets it recover`() {
        let now = MonotonicTime(microseconds: 0)
        var sender = Self.sender(now: now)
        let start = sender.bitRate
        func report(_ lost: UInt8) -> RTCPPacket {
            .receiverReport(ssrc: 1, reports: [.init(ssrc: 5, fractionLost: lost, highestSequence: 0, jitter: 0)])
        }
        for _ in 0..<50 { _ = sender.handle(report(128), now: now) }
        #expect(sender.bitRate == 2_000_000)
        for _ in 0..<100 { _ = sender.handle(report(0), now: now) }
        #expect(sender.bitRate == start)
    }
}
