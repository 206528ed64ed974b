import Core
import Foundation
import Testing
@testable import WebRTC

struct SDPTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "shared/fixtures/sdp")
    static let hasFixtures = FileManager.default.fileExists(atPath: folder.appending(path: "out_cr.txt").path)

    static func offer(_ file: String) throws -> String {
        let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
        guard let start = text.range(of: "v=0") else { return "" }
        let body = text[start.lowerBound...]
        return String(body.range(of: "\n\n").map { body[..<$0.lowerBound] } ?? body)
    }
    static let own = Negotiation.Own(
        credentials: .init(ufrag: "abcd", password: "0123456789012345678901"), fingerprint: "AA", addresses: [],
        ssrc: 1,
        rtxSSRC: 2, sessionID: 3, maximumMessage: 16384)

    @Test(.enabled(if: hasFixtures, "../shared/fixtures/sdp is absent"))
    func `W25 Chromium's offer is answered with 42e01f, its payload types and the audio rejected`() throws {
        let negotiation = try Negotiation(offer: try Self.offer("out_cr.txt"), acceptVideo: true)
        #expect(negotiation.video?.payload == 108)
        #expect(negotiation.video?.rtxPayload == 109)
        #expect(negotiation.maximumMessage == 262_144)
        let answer = negotiation.answer(Self.own)
        #expect(answer.contains("m=video 9 UDP/TLS/RTP/SAVPF 108 109\r\n"))
        #expect(answer.contains("m=audio 0 "))
        #expect(answer.contains("a=group:BUNDLE 0 2\r\n"))
        #expect(answer.contains("profile-level-id=42e01f") && !answer.contains("profile-level-id=64"))
        let parsed = try SessionDescription(parsing: answer)
        #expect(parsed.media.map(\.kind) == ["video", "audio", "application"])
    }
    @Test(.enabled(if: hasFixtures, "../shared/fixtures/sdp is absent"))
    func `Firefox without H.264 gets a data channel and the video rejected`() throws {
        let negotiation = try Negotiation(offer: try Self.offer("out_ff.txt"), acceptVideo: true)
        #expect(negotiation.video == nil)
        #expect(negotiation.dataIndex != nil)
        #expect(negotiation.answer(Self.own).contains("m=video 0 "))
    }
    @Test func `an offer that lacks the essentials is refused with a reason`() {
        let texts = [
            "", "hello", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96",
            "v=0\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=fingerprint:md5 AA\r\nm=application 9 UDP/DTLS/SCTP x\r\na=mid:0",
        ]
        for text in texts {
            #expect(throws: WebRTCError(.sdp, "")) { _ = try Negotiation(offer: text, acceptVideo: true) }
        }
    }
    @Test func `W11 candidates that are TCP, mDNS names or garbage are skipped`() throws {
        let text = """
            a=candidate:1 1 udp 2113937151 1234-5678.local 50000 typ host
            a=candidate:2 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active
            a=candidate:3 1 udp 1 192.0.2.7 99999 typ host
            a=candidate:nonsense
            a=candidate:4 1 UDP 2113937151 192.0.2.7 50000 typ host generation 0
            a=candidate:5 1 udp 2113937151 fd00::7 50001 typ host
            """
        let found = try SessionDescription(parsing: text).candidates
        #expect(found.map(\.address.description) == ["192.0.2.7:50000", "[fd00::7]:50001"])
    }
    @Test func `a certificate for the page names its hosts`() throws {
        let made = try DTLSCertificate.selfSignedPEM(
            names: ["sudocam.local", "192.0.2.1"], validDays: 10, now: WallTime(seconds: 1_800_000_000))
        #expect(made.certificatePEM.hasPrefix("-----BEGIN CERTIFICATE-----"))
        #expect(made.keyPEM.contains("PRIVATE KEY"))
        #expect(made.sha256Fingerprint.count == 64)
    }
}
