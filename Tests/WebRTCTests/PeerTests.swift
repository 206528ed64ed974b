import Core
import Testing
@testable import WebRTC

extension PeerTestSuite {
    @Suite(.serialized) struct PeerTests {
        @Test
        func
            `W4 W19 an offer with only mDNS candidates connects, and a message before the ACK arrives once and in order`()
            throws
        {
            let browser = try TestBrowser()
            browser.connect()
            #expect(browser.events.first == .connected)
            try browser.open(0, "control")
            try browser.sctp.send(Array("one".utf8), stream: 0, protocolID: 51)
            try browser.sctp.send([0], stream: 0, protocolID: 57)
            browser.advance(100)
            #expect(
                browser.events == [
                    .connected, .channelOpened(id: 0, label: "control"),
                    .message(channel: 0, bytes: Array("one".utf8), isText: true),
                    .message(channel: 0, bytes: [], isText: false),
                ])
            try browser.peer.sendMessage("answer", on: 0, now: browser.now)
            browser.advance(100)
            #expect(browser.received.contains(.message(stream: 0, protocolID: 50, bytes: [2])))
            #expect(browser.received.contains(.message(stream: 0, protocolID: 51, bytes: Array("answer".utf8))))
        }
        @Test func `W2 the reply leaves from the address the check arrived at`() throws {
            let browser = try TestBrowser(addresses: ["192.0.2.1", "198.51.100.1"])
            browser.server = try #require(SocketAddress(host: "198.51.100.1", port: 8555))
            browser.connect()
            #expect(browser.events.first == .connected)
            #expect(browser.lastSent.allSatisfy { $0.local == browser.server })
        }
        @Test func `W7 a rival for the controlled role gets 487 or its way, by tie-breaker`() throws {
            let strong = try TestBrowser()
            strong.check(nominate: false, controlled: true, tieBreaker: 255)
            // Theirs is larger: they should control, so they are told to switch.
            #expect(strong.answersSeen.map(\.errorCode) == [487])
            let weak = try TestBrowser()
            weak.check(nominate: false, controlled: true, tieBreaker: 0)
            weak.advance(500)
            // Ours is larger: we control, and nominate what works.
            #expect(weak.answersSeen.first?.kind == .success)
            #expect(weak.checksSeen.contains { $0[STUNMessage.Attribute.useCandidate] != nil })
        }
        @Test func `W7 two checks refused with 487 change the role once`() throws {
            let browser = try TestBrowser()
            browser.answersChecks = false
            for port in [40001, 40002] {
                try browser.peer.addRemoteCandidates(
                    "a=candidate:1 1 udp 1 192.0.2.9 \(port) typ host\r\n", now: browser.now)
            }
            browser.advance(150)
            let sent = browser.lastSent
            #expect(sent.count == 2)
            for datagram in sent {
                let check = try STUNMessage(parsing: datagram.bytes)
                #expect(check[STUNMessage.Attribute.iceControlled] != nil)
                var refusal = STUNMessage(.failure, transaction: check.transaction)
                refusal.addError(487, "Role Conflict")
                browser.peer.handle(
                    Datagram(
                        bytes: refusal.encoded(password: browser.password), local: datagram.local,
                        remote: datagram.remote), now: browser.now)
            }
            browser.checksSeen = []
            browser.advance(200)
            #expect(!browser.checksSeen.isEmpty)
            #expect(browser.checksSeen.allSatisfy { $0[STUNMessage.Attribute.iceControlling] != nil })
        }
        @Test func `W10 a viewer that moves more often than pairs are kept is followed`() throws {
            let browser = try TestBrowser()
            browser.connect()
            try browser.open(0, "control")
            browser.advance(100)
            for move in 0..<100 {
                browser.address = try #require(SocketAddress(host: "192.0.2.9", port: UInt16(41000 + move)))
                browser.check(nominate: true)
                browser.lastSent = []
                try browser.peer.sendMessage("here", on: 0, now: browser.now)
                browser.drain()
                let records = browser.lastSent.filter { $0.kind == .dtls }
                #expect(!records.isEmpty)
                #expect(records.allSatisfy { $0.remote == browser.address })
                browser.advance(300)
            }
        }
        @Test func `W11 a flood of candidates does not keep out the one that checks`() throws {
            let browser = try TestBrowser()
            // Nobody lives at the flood's addresses.
            browser.answersChecks = false
            let flood = (0..<100).map { "a=candidate:\($0) 1 udp 1 198.51.100.7 \(1000 + $0) typ host\r\n" }.joined()
            try browser.peer.addRemoteCandidates(flood, now: browser.now)
            browser.connect()
            #expect(browser.events.first == .connected)
        }
        @Test func `W7 a lite offer makes this side control and nominate`() throws {
            let browser = try TestBrowser(extra: "a=ice-lite\n")
            try browser.peer.addRemoteCandidates("a=candidate:1 1 udp 1 192.0.2.9 40000 typ host\r\n", now: browser.now)
            browser.advance(500)
            #expect(browser.checksSeen.contains { $0[STUNMessage.Attribute.useCandidate] != nil })
            browser.dtls.handle(nil)
            browser.drain()
            #expect(browser.events.first == .connected)
        }
        @Test func `W8 checks without USE-CANDIDATE are answered for minutes, and silence ends the session after 30 s`()
            throws
        {
            let browser = try TestBrowser()
            browser.connect()
            browser.answersChecks = false
            for _ in 0..<24 {
                browser.answersSeen = []
                browser.check(nominate: false)
                #expect(browser.answersSeen.count == 1)
                browser.advance(5000)
            }
            #expect(!browser.peer.isClosed)
            browser.advance(31_000)
            #expect(browser.events.last == .closed(.consentExpired))
        }
        @Test func `W10 an ICE restart changes credentials and path and keeps DTLS`() throws {
            let browser = try TestBrowser()
            browser.connect()
            try browser.open(0, "control")
            browser.advance(100)
            browser.ufrag = "next"
            browser.password = "abcdefghijabcdefghijab"
            let reply = try browser.peer.addRemoteCandidates(
                "a=ice-ufrag:next\r\na=ice-pwd:abcdefghijabcdefghijab\r\n", now: browser.now)
            let answer = try SessionDescription(parsing: try #require(reply))
            // The old path still carries data.
            try browser.peer.sendMessage("old", on: 0, now: browser.now)
            browser.remoteUfrag = try #require(answer.first("ice-ufrag"))
            browser.remotePassword = try #require(answer.first("ice-pwd"))
            #expect(browser.remoteUfrag == browser.peer.localUfrag)
            browser.address = try #require(SocketAddress(host: "203.0.113.5", port: 1234))
            browser.check(nominate: true)
            browser.lastSent = []
            try browser.peer.sendMessage("new", on: 0, now: browser.now)
            browser.advance(100)
            #expect(browser.received.contains(.message(stream: 0, protocolID: 51, bytes: Array("new".utf8))))
            #expect(browser.lastSent.allSatisfy { $0.remote == browser.address })
            #expect(browser.events.filter { $0 == .connected }.count == 1)
        }
        @Test func `W14 a fragmented, reordered and partly lost ClientHello completes the handshake`() throws {
            let browser = try TestBrowser()
            browser.fragmentsHello = true
            browser.connect()
            #expect(browser.events.first == .connected)
        }
        @Test func `W16 a wrong fingerprint ends the session without keys`() throws {
            let browser = try TestBrowser(wrongFingerprint: true)
            browser.connect()
            #expect(!browser.events.contains(.connected))
            guard case .closed(.handshakeFailed)? = browser.events.last else {
                Issue.record("not closed: \(browser.events)")
                return
            }
            browser.peer.sendVideo(RTPTests.unit(100, 1), now: browser.now)
            #expect(browser.media.isEmpty)
        }
        @Test func `W17 a ClientHello before the first check is kept and answered`() throws {
            let browser = try TestBrowser()
            browser.dtls.handle(nil)
            browser.drain()
            #expect(browser.lastSent.isEmpty)
            browser.check(nominate: false)
            browser.drain()
            #expect(browser.events.first == .connected)
        }
        @Test func `W20 a closed data channel is reset from both ends and its id can be used again`() throws {
            let browser = try TestBrowser()
            browser.connect()
            try browser.open(2, "a")
            browser.advance(100)
            browser.sctp.reset(stream: 2)
            browser.advance(1000)
            #expect(browser.events.last == .channelClosed(id: 2))
            #expect(browser.received.contains(.reset(stream: 2)))
            try browser.open(2, "b")
            browser.advance(500)
            #expect(browser.events.last == .channelOpened(id: 2, label: "b"))
        }
        @Test func `W22 a reader that stops leaves bounded memory and a typed error`() throws {
            let browser = try TestBrowser()
            browser.connect()
            try browser.open(0, "control")
            browser.advance(100)
            // Nobody drains the peer: nothing is acknowledged.
            var sent = 0
            #expect(throws: WebRTCError(.sendBufferFull, "")) {
                for _ in 0..<1000 {
                    try browser.peer.sendMessage([UInt8](repeating: 1, count: 8192), on: 0, now: browser.now)
                    sent += 8192
                }
            }
            #expect(sent <= 1 << 20)
            #expect(throws: WebRTCError(.messageTooLarge, "")) {
                try browser.peer.sendMessage([UInt8](repeating: 1, count: 16385), on: 0, now: browser.now)
            }
            #expect(throws: WebRTCError(.noChannel, "")) { try browser.peer.sendMessage("x", on: 4, now: browser.now) }
            browser.advance(2000)
            try browser.peer.sendMessage("again", on: 0, now: browser.now)
        }
        @Test func `W23 oversized and garbage messages are counted and harm nothing`() throws {
            let browser = try TestBrowser()
            browser.connect()
            try browser.open(0, "control")
            try browser.sctp.send([UInt8](repeating: 7, count: 60_000), stream: 0, protocolID: 51)
            try browser.sctp.send([3, 255, 255], stream: 4, protocolID: 50)
            try browser.sctp.send([1], stream: 6, protocolID: 51)
            browser.advance(1000)
            try browser.sctp.send([65], stream: 0, protocolID: 51)
            browser.advance(200)
            #expect(browser.events.last == .message(channel: 0, bytes: [65], isText: true))
            #expect(browser.peer.statistics.messagesRejected == 2)
            for count in [0, 1, 12, 13, 100] {
                for first: UInt8 in [0, 22, 128, 200] { browser.deliver([first] + [UInt8](repeating: 9, count: count)) }
            }
            #expect(!browser.peer.isClosed)
        }
        @Test func `W31 W32 losses are resent on request and a PLI asks for one key frame in 500 ms`() throws {
            let browser = try TestBrowser()
            browser.connect()
            browser.lossPercent = 20
            let whole = RTPTests.nal(5, 50_000)
            browser.peer.sendVideo(
                VideoUnit(bytes: RTPTests.avcc([whole]), rtpTimestamp: 9, isKey: true), now: browser.now)
            browser.advance(100)
            let ssrc = try #require(browser.media.first { $0.payloadType == 102 }).ssrc
            browser.lossPercent = 0
            var have: [UInt16: [UInt8]] = [:]
            for packet in browser.media where packet.payloadType == 102 { have[packet.sequence] = packet.payload }
            let first = try #require(have.keys.min())
            for missing in (0..<60).map({ first &- 3 &+ UInt16($0) }) where have[missing] == nil {
                browser.sendRTCP(
                    [0x81, 205, 0, 3, 0, 0, 0, 1] + (0..<4).map { UInt8(truncatingIfNeeded: ssrc >> (24 - 8 * $0)) }
                        + [UInt8(missing >> 8), UInt8(truncatingIfNeeded: missing), 0, 0])
            }
            browser.advance(100)
            for packet in browser.media where packet.payloadType == 103 {
                have[UInt16(packet.payload[0]) << 8 | UInt16(packet.payload[1])] = Array(packet.payload.dropFirst(2))
            }
            #expect(RTPTests.depacketize(have.sorted { $0.key < $1.key }.map(\.value)) == [whole])
            for _ in 0..<3 {
                browser.sendRTCP(
                    [0x81, 206, 0, 2, 0, 0, 0, 1] + (0..<4).map { UInt8(truncatingIfNeeded: ssrc >> (24 - 8 * $0)) })
                browser.advance(100)
            }
            #expect(browser.events.filter { $0 == .keyFrameRequested }.count == 1)
        }
        @Test func `a Binding indication, which nobody signs, teaches no path`() throws {
            let browser = try TestBrowser()
            let message = STUNMessage(.indication, transaction: Array(1...12))
            let datagram = Datagram(
                bytes: message.encoded(password: nil), local: browser.server, remote: browser.address)
            #expect(!browser.peer.handle(datagram, now: browser.now))
        }
        @Test func `W37 a new resolution needs nothing but parameter sets in the key frame`() throws {
            let browser = try TestBrowser()
            browser.connect()
            for (index, size) in [20, 30].enumerated() {
                browser.peer.sendVideo(
                    VideoUnit(
                        bytes: RTPTests.avcc([RTPTests.nal(5, 3000)]), rtpTimestamp: UInt32(index), isKey: true,
                        parameterSets: [RTPTests.nal(7, size), RTPTests.nal(8, 5)]), now: browser.now)
            }
            browser.advance(100)
            let units = RTPTests.depacketize(browser.media.map(\.payload))
            #expect(units.map { $0[0] & 31 } == [7, 8, 5, 7, 8, 5])
            #expect(units[3] == RTPTests.nal(7, 30))
        }
        @Test func `closing says goodbye and the demultiplexer forgets`() throws {
            let browser = try TestBrowser()
            var demultiplexer = PeerDemultiplexer<Int>()
            demultiplexer.add(7, localUfrag: browser.peer.localUfrag)
            demultiplexer.learn(7, local: browser.server, remote: browser.address)
            let datagram = Datagram(bytes: [22, 0], local: browser.server, remote: browser.address)
            #expect(demultiplexer.peer(for: datagram) == 7)
            browser.connect()
            browser.peer.close(now: browser.now)
            browser.drain()
            #expect(browser.events.last == .closed(.local))
            #expect(browser.dtls.state == .closed || browser.received.contains(.closed))
            #expect(browser.peer.nextTimeout == nil)
            demultiplexer.remove(7)
            #expect(demultiplexer.peer(for: datagram) == nil)
        }
    }
}
