/// What was agreed on for video.
struct VideoAgreement: Sendable {
    var mid: String
    var payload: UInt8
    var rtxPayload: UInt8?
    var midExtension: UInt8?
    var playoutDelayExtension: UInt8?
    var transportExtension: UInt8?
    var nack = false
}

/// From an offer to what this side will do, and the answer's text (RFC 8829 §5.3, RFC 8839, 8841, 8843).
struct Negotiation {
    var credentials: ICEAgent.Credentials
    var isLite: Bool
    var fingerprint: (algorithm: String, value: String)
    var video: VideoAgreement?
    var videoIndex: Int?
    var dataIndex: Int?
    var sctpPort: UInt16 = 5000
    /// Bytes the other side takes in one message.
    var maximumMessage = 65536
    let offer: SessionDescription

    /// Errors: `.sdp` when there is no BUNDLE-able section, no credentials, no usable fingerprint, or the other side insists on being passive.
    init(offer text: String, acceptVideo: Bool) throws(WebRTCError) {
        offer = try SessionDescription(parsing: text)
        guard let ufrag = offer.first("ice-ufrag"), let password = offer.first("ice-pwd"),
            SessionDescription.isToken(ufrag), SessionDescription.isToken(password)
        else { throw WebRTCError(.sdp, "the offer has no ICE credentials") }
        credentials = ICEAgent.Credentials(ufrag: ufrag, password: password)
        isLite = offer["ice-lite"] != nil
        let fingerprints = (offer.attributes + offer.media.flatMap(\.attributes)).filter { $0.name == "fingerprint" }
            .map { $0.value.split(separator: " ").map(String.init) }
        guard
            let print = fingerprints.first(where: {
                $0.count == 2 && ["sha-256", "sha-384", "sha-512"].contains($0[0].lowercased())
            })
        else { throw WebRTCError(.sdp, "the offer has no fingerprint of SHA-256 or better") }
        fingerprint = (print[0].lowercased(), print[1])
        guard offer.first("setup") != "passive" else {
            throw WebRTCError(.sdp, "the offer insists on the passive DTLS role", hint: "Offer a=setup:actpass.")
        }
        for (index, section) in offer.media.enumerated() {
            guard let mid = section["mid"], SessionDescription.isToken(mid), mid.utf8.count <= 16,
                section.port != "0" || section["bundle-only"] != nil
            else { continue }
            if section.kind == "video", videoIndex == nil, acceptVideo, let agreed = Self.video(section, mid: mid) {
                video = agreed
                videoIndex = index
            } else if section.kind == "application", dataIndex == nil, section.transport.hasSuffix("DTLS/SCTP") {
                dataIndex = index
                sctpPort = section["sctp-port"].flatMap { UInt16($0) } ?? 5000
                // RFC 8841 §6: 64 KiB unless said, 0 is no limit.
                let limit = section["max-message-size"].flatMap { Int($0) } ?? 65536
                maximumMessage = limit <= 0 ? .max : limit
            }
        }
        guard videoIndex != nil || dataIndex != nil else {
            throw WebRTCError(.sdp, "the offer has neither H.264 video nor a data channel")
        }
    }

    /// The first H.264 payload in packetization mode 1; constrained baseline is preferred because every browser decodes it.
    private static func video(_ section: SessionDescription.Media, mid: String) -> VideoAgreement? {
        let direction = ["recvonly", "sendrecv", "sendonly", "inactive"].first { section[$0] != nil } ?? "sendrecv"
        guard direction == "recvonly" || direction == "sendrecv" else { return nil }
        let usable = section.formats.filter { format in
            section.parameters("rtpmap", payload: format).contains { $0.lowercased().hasPrefix("h264/90000") }
                && section.parameters("fmtp", payload: format).contains { $0.contains("packetization-mode=1") }
        }
        func has(_ profile: String) -> (String) -> Bool {
            { format in
                section.parameters("fmtp", payload: format).contains {
                    $0.lowercased().contains("profile-level-id=" + profile)
                }
            }
        }
        guard let format = usable.first(where: has("42e0")) ?? usable.first(where: has("42")) ?? usable.first,
            let payload = UInt8(format), payload < 128
        else { return nil }
        var agreed = VideoAgreement(mid: mid, payload: payload)
        agreed.rtxPayload =
            section.formats.first { candidate in
                section.parameters("rtpmap", payload: candidate).contains { $0.lowercased() == "rtx/90000" }
                    && section.parameters("fmtp", payload: candidate).contains { parameters in
                        parameters.split(separator: ";").contains { $0 == "apt=\(format)" }
                    }
            }.flatMap { UInt8($0) }
        agreed.midExtension = section.headerExtension(HeaderExtension.mid)
        agreed.playoutDelayExtension = section.headerExtension(HeaderExtension.playoutDelay)
        agreed.transportExtension = section.headerExtension(HeaderExtension.transport)
        agreed.nack = section.parameters("rtcp-fb", payload: format).contains("nack")
        return agreed
    }

    struct Own {
        var credentials: ICEAgent.Credentials
        var fingerprint: String
        var addresses: [SocketAddress]
        var ssrc: UInt32
        var rtxSSRC: UInt32
        var sessionID: UInt64
        var maximumMessage: Int
    }

    func answer(_ own: Own) -> String {
        var lines = ["v=0", "o=- \(own.sessionID) 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        let accepted = [videoIndex, dataIndex].compactMap(\.self).sorted()
        lines.append("a=group:BUNDLE " + accepted.compactMap { offer.media[$0]["mid"] }.joined(separator: " "))
        lines += ["a=ice-options:trickle ice2", "a=msid-semantic: WMS *"]
        for (index, section) in offer.media.enumerated() {
            let formats = section.formats.filter(SessionDescription.isToken)
            let head = "m=\(Self.token(section.kind)) %PORT \(Self.token(section.transport))"
            if index == videoIndex, let video {
                let payloads = [video.payload] + (video.rtxPayload.map { [$0] } ?? [])
                lines.append(
                    head.replacing("%PORT", with: "9") + " " + payloads.map(String.init).joined(separator: " "))
                lines += transport(own, mid: video.mid, isFirst: index == accepted.first)
                lines += self.lines(video, own)
            } else if index == dataIndex, let mid = section["mid"] {
                lines.append(head.replacing("%PORT", with: "9") + " webrtc-datachannel")
                lines += transport(own, mid: mid, isFirst: index == accepted.first)
                lines += ["a=sctp-port:5000", "a=max-message-size:\(own.maximumMessage)"]
            } else {
                lines.append(
                    head.replacing("%PORT", with: "0") + " " + (formats.isEmpty ? "0" : formats.joined(separator: " ")))
                lines.append("c=IN IP4 0.0.0.0")
                if let mid = section["mid"], SessionDescription.isToken(mid) { lines.append("a=mid:\(mid)") }
                if section.kind != "application" { lines.append("a=inactive") }
            }
        }
        return lines.joined(separator: "\r\n") + "\r\n"
    }
    private static func token(_ text: String) -> String { SessionDescription.isToken(text) ? text : "unknown" }

    private func transport(_ own: Own, mid: String, isFirst: Bool) -> [String] {
        var lines = [
            "c=IN IP4 0.0.0.0", "a=mid:\(mid)", "a=ice-ufrag:\(own.credentials.ufrag)",
            "a=ice-pwd:\(own.credentials.password)", "a=fingerprint:sha-256 \(own.fingerprint)", "a=setup:passive",
        ]
        if isFirst {
            lines += own.addresses.enumerated().map { "a=" + ICECandidate.host($1, index: $0) }
            lines.append("a=end-of-candidates")
        }
        return lines
    }

    private func lines(_ video: VideoAgreement, _ own: Own) -> [String] {
        var lines = ["a=sendonly", "a=rtcp-mux", "a=rtcp-rsize"]
        let extensions = [
            (video.midExtension, HeaderExtension.mid), (video.playoutDelayExtension, HeaderExtension.playoutDelay),
            (video.transportExtension, HeaderExtension.transport),
        ]
        for case (let id?, let uri) in extensions { lines.append("a=extmap:\(id) \(uri)") }
        lines.append("a=rtpmap:\(video.payload) H264/90000")
        for feedback in ["nack", "nack pli", "ccm fir"] + (video.transportExtension == nil ? [] : ["transport-cc"]) {
            lines.append("a=rtcp-fb:\(video.payload) \(feedback)")
        }
        // Whatever the stream is: Chromium refuses High in SDP and decodes it in band.
        lines.append("a=fmtp:\(video.payload) level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
        if let rtx = video.rtxPayload {
            lines += ["a=rtpmap:\(rtx) rtx/90000", "a=fmtp:\(rtx) apt=\(video.payload)"]
            lines.append("a=ssrc-group:FID \(own.ssrc) \(own.rtxSSRC)")
        }
        lines.append("a=msid:sudocam video")
        for ssrc in [own.ssrc] + (video.rtxPayload == nil ? [] : [own.rtxSSRC]) {
            lines.append("a=ssrc:\(ssrc) cname:sudocam")
        }
        return lines
    }
}

enum HeaderExtension {
    static let mid = "urn:ietf:params:rtp-hdrext:sdes:mid"
    static let playoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
    static let transport = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
}
