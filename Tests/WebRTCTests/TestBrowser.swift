import Core
import Testing

@testable import WebRTC

/// The other side of a Peer, on a virtual clock and a link that can lose: checks, DTLS client, SCTP, SRTP.
///
/// It shares the C libraries with the Peer but drives them from the other role; real second stacks are in `PeerInteropTests`.
final class TestBrowser {
    let certificate: DTLSCertificate
    let peer: Peer
    let dtls: DTLSSession
    let sctp: UsrsctpAssociation
    var srtp: SRTPContext?
    var now = MonotonicTime(microseconds: 1_000_000)
    var server: SocketAddress
    var address: SocketAddress
    var events: [PeerEvent] = []
    var received: [SCTPEvent] = []
    var media: [RTPPacket] = []
    /// Everything the peer sent, by kind.
    var checksSeen: [STUNMessage] = []
    var answersSeen: [STUNMessage] = []
    var lastSent: [Datagram] = []
    var random = Seeded(1)
    var lossPercent = 0
    var ufrag = "brow"
    var password = "0123456789012345678901"
    var remoteUfrag: String
    var remotePassword: String
    var answersChecks = true
    /// Sends the ClientHello as three fragments: first without the middle one, then all, last first.
    var fragmentsHello = false

    static func offer(ufrag: String, password: String, fingerprint: String, extra: String = "") -> String {
        """
        v=0
        o=- 1 2 IN IP4 127.0.0.1
        s=-
        t=0 0
        \(extra)a=group:BUNDLE 0 1
        m=video 9 UDP/TLS/RTP/SAVPF 96 102 103
        a=ice-ufrag:\(ufrag)
        a=ice-pwd:\(password)
        a=fingerprint:sha-256 \(fingerprint)
        a=setup:actpass
        a=mid:0
        a=recvonly
        a=rtcp-mux
        a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid
        a=rtpmap:96 VP8/90000
        a=rtpmap:102 H264/90000
        a=rtcp-fb:102 nack
        a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
        a=rtpmap:103 rtx/90000
        a=fmtp:103 apt=102
        a=candidate:1 1 udp 2113937151 1234-5678.local 50000 typ host
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel
        a=ice-ufrag:\(ufrag)
        a=ice-pwd:\(password)
        a=mid:1
        a=sctp-port:5000
        a=max-message-size:262144

        """
    }

    init(wrongFingerprint: Bool = false, extra: String = "", addresses: [String] = ["192.0.2.1"]) throws {
        server = try #require(SocketAddress(host: "192.0.2.1", port: 8555))
        address = try #require(SocketAddress(host: "192.0.2.9", port: 40000))
        certificate = try DTLSCertificate(now: WallTime(seconds: 1_800_000_000))
        let servers = try DTLSCertificate(now: WallTime(seconds: 1_800_000_000))
        let print = wrongFingerprint ? servers.fingerprint : certificate.fingerprint
        peer = try Peer(
            offer: Self.offer(ufrag: ufrag, password: password, fingerprint: print, extra: extra),
            configuration: .init(
                certificate: servers, localAddresses: addresses.compactMap { SocketAddress(host: $0, port: 8555) },
                sendHighWaterMark: 65536),
            random: Seeded(2), now: now)
        let answer = try SessionDescription(parsing: peer.answer)
        remoteUfrag = answer.first("ice-ufrag") ?? ""
        remotePassword = answer.first("ice-pwd") ?? ""
        dtls = try DTLSSession(
            certificate: certificate, fingerprint: ("sha-256", servers.fingerprint), isClient: true)
        sctp = try UsrsctpAssociation(remotePort: 5000, sendBuffer: 262_144)
    }

    func check(nominate: Bool, controlled: Bool = false, tieBreaker: UInt8 = 255) {
        var message = STUNMessage(.request, transaction: (0..<12).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        message.add(STUNMessage.Attribute.username, Array("\(remoteUfrag):\(ufrag)".utf8))
        message.add(STUNMessage.Attribute.priority, [1, 2, 3, 4])
        let role = controlled ? STUNMessage.Attribute.iceControlled : STUNMessage.Attribute.iceControlling
        message.add(role, [UInt8](repeating: tieBreaker, count: 8))
        if nominate { message.add(STUNMessage.Attribute.useCandidate) }
        deliver(message.encoded(password: remotePassword))
    }
    func deliver(_ bytes: [UInt8]) {
        if Int(random.next() % 100) < lossPercent, (64...).contains(bytes[0]) { return }
        peer.handle(Datagram(bytes: bytes, local: server, remote: address), now: now)
        drain()
    }

    /// Moves the clock in steps of 5 ms.
    func advance(_ milliseconds: Int, until isDone: () -> Bool = { false }) {
        for _ in 0..<max(1, milliseconds / 5) {
            if isDone() { return }
            now = now + 5_000
            peer.handleTimeout(now: now)
            sctp.handleTimeout(now: now)
            drain()
        }
    }

    func drain() {
        while true {
            var isIdle = true
            while let output = peer.poll(now: now) {
                isIdle = false
                switch output {
                case .event(let event): events.append(event)
                case .transmit(let datagram): take(datagram)
                }
            }
            for packet in sctp.takePackets() { dtls.send(packet) }
            received += sctp.takeEvents()
            var records = dtls.takeOutput()
            if fragmentsHello, let hello = records.first {
                fragmentsHello = false
                let (first, again) = (Self.fragments(hello, from: 40), Self.fragments(hello, from: 50))
                records = [first[0], first[2]] + again.reversed()
            }
            for record in records {
                isIdle = false
                peer.handle(Datagram(bytes: record, local: server, remote: address), now: now)
            }
            if isIdle { return }
        }
    }

    /// The handshake message of `record` in three records of their own (RFC 6347 §4.2.2, §4.2.3).
    static func fragments(_ record: [UInt8], from sequence: UInt8) -> [[UInt8]] {
        let body = Array(record[25...])
        let step = (body.count + 2) / 3
        return (0..<3).map { index in
            let part = body[(index * step)..<min((index + 1) * step, body.count)]
            func u24(_ value: Int) -> [UInt8] { [16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
            let length = part.count + 12
            return record[..<10] + [sequence + UInt8(index), UInt8(length >> 8), UInt8(truncatingIfNeeded: length)]
                + record[13..<19]
                + u24(index * step) + u24(part.count) + part
        }
    }

    private func take(_ datagram: Datagram) {
        lastSent.append(datagram)
        switch datagram.kind {
        case .stun:
            guard let message = try? STUNMessage(parsing: datagram.bytes) else { return }
            guard message.kind == .request else {
                answersSeen.append(message)
                return
            }
            checksSeen.append(message)
            guard answersChecks, message.isAuthentic(password: password) else { return }
            var answer = STUNMessage(.success, transaction: message.transaction)
            answer.addMapped(datagram.local)
            peer.handle(
                Datagram(bytes: answer.encoded(password: password), local: datagram.local, remote: datagram.remote),
                now: now)
        case .dtls:
            dtls.handle(datagram.bytes)
            if dtls.state == .connected, srtp == nil, let keys = dtls.keys {
                srtp = try? SRTPContext(keys)
                sctp.connect(now: now)
            }
            for packet in dtls.received { sctp.handle(packet, now: now) }
            dtls.received = []
        case .rtp:
            if Int(random.next() % 100) < lossPercent { return }
            if let plain = srtp?.unprotectRTP(datagram.bytes), let packet = try? RTPPacket(parsing: plain) {
                media.append(packet)
            }
        case .other: break
        }
    }

    func connect() {
        check(nominate: true)
        dtls.handle(nil)
        drain()
        advance(1000) { self.received.contains(.connected) }
    }
    func open(_ stream: UInt16, _ label: String) throws {
        let open = DCEPMessage.open(channelType: 0, priority: 0, reliability: 0, label: label, protocolName: "")
        try sctp.send(open.encoded, stream: stream, protocolID: 50)
    }
    func sendRTCP(_ bytes: [UInt8]) {
        if let sealed = srtp?.protectRTCP(bytes) { deliver(sealed) }
    }
}
