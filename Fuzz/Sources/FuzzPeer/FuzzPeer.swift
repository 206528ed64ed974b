import Core

@testable import WebRTC

private struct Counter: RandomNumberGenerator {
    var value: UInt64 = 1
    mutating func next() -> UInt64 {
        value = value &* 6_364_136_223_846_793_005 &+ 1
        return value
    }
}

private let certificate = try! DTLSCertificate(now: WallTime(seconds: 1_800_000_000))
private let offer = """
    v=0
    o=- 1 2 IN IP4 127.0.0.1
    s=-
    t=0 0
    a=group:BUNDLE 0 1
    m=video 9 UDP/TLS/RTP/SAVPF 102
    a=ice-ufrag:brow
    a=ice-pwd:0123456789012345678901
    a=fingerprint:sha-256 \(certificate.fingerprint)
    a=setup:actpass
    a=mid:0
    a=recvonly
    a=rtcp-mux
    a=rtpmap:102 H264/90000
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel
    a=ice-ufrag:brow
    a=ice-pwd:0123456789012345678901
    a=mid:1
    a=sctp-port:5000
    a=max-message-size:262144

    """

/// libFuzzer's entry point: datagrams from anybody at the door of a session, one after another, each behind its length byte.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    var now = MonotonicTime(microseconds: 1_000_000)
    guard let local = SocketAddress(host: "192.0.2.1", port: 8555),
        let remote = SocketAddress(host: "192.0.2.9", port: 40000),
        let peer = try? Peer(
            offer: offer, configuration: .init(certificate: certificate, localAddresses: [local]), random: Counter(),
            now: now)
    else { return 0 }
    var demultiplexer = PeerDemultiplexer<Int>()
    demultiplexer.add(1, localUfrag: peer.localUfrag)
    var rest = bytes[...]
    while let length = rest.popFirst() {
        let datagram = Datagram(bytes: Array(rest.prefix(Int(length))), local: local, remote: remote)
        rest = rest.dropFirst(Int(length))
        if demultiplexer.peer(for: datagram) != nil || length & 1 == 0 { peer.handle(datagram, now: now) }
        now = now + 1_000
        while peer.poll(now: now) != nil {}
    }
    peer.handleTimeout(now: now)
    peer.close(now: now)
    while peer.poll(now: now) != nil {}
    return 0
}
