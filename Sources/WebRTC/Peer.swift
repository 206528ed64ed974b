public import Core

/// One viewer: ICE, DTLS, SRTP, SCTP behind one door, without a socket, thread or clock.
///
///     new ──check, DTLS──▶ connected ──close, silence, wrong certificate──▶ closed
///
/// After every call drain `poll` until nil and set a timer for `nextTimeout`. Not Sendable; and because libusrsctp keeps global state, all
/// peers of a process belong to one serial thread.
public final class Peer {
    public let answer: String
    /// Changes with an ICE restart: tell the demultiplexer.
    public var localUfrag: String { ice.local.ufrag }
    public let canSendVideo: Bool
    public let hasDataChannel: Bool
    public private(set) var isConnected = false
    public private(set) var isClosed = false

    private var ice: ICEAgent
    private let dtls: DTLSSession
    private let sctp: (any SCTPTransport)?
    private var srtp: SRTPContext?
    private var video: VideoSender?
    private var channels: [UInt16: String] = [:]
    private let configuration: PeerConfiguration
    private let maximumSend: Int
    private var outputs: [PeerOutput] = []
    private var outputHead = 0
    private var counters = PeerStatistics()
    private let deadline: MonotonicTime
    private var lastPath: ICEAgent.Path?
    private var early: [Datagram] = []
    private var lastSCTP: MonotonicTime
    private var lastSCTPTick: MonotonicTime
    private var lastKeyRequest: MonotonicTime?

    /// Reads the offer and has the answer ready. Errors: `.sdp`, `.dtls`, `.sctp`.
    public init(
        offer: String, configuration: PeerConfiguration, random: some RandomNumberGenerator, now: MonotonicTime
    ) throws(WebRTCError) {
        var random = random
        let negotiation = try Negotiation(offer: offer, acceptVideo: configuration.acceptsVideo)
        let ssrc = UInt32.random(in: 1 ... .max >> 1, using: &random)
        let own = Negotiation.Own(
            credentials: .init(ufrag: "", password: ""), fingerprint: configuration.certificate.fingerprint,
            addresses: configuration.localAddresses, ssrc: ssrc, rtxSSRC: ssrc &+ 1, sessionID: random.next() >> 2,
            maximumMessage: configuration.maximumMessageBytes)
        let (sequence, rtxSequence): (UInt64, UInt64) = (random.next(), random.next())
        ice = ICEAgent(
            hosts: configuration.localAddresses, remote: negotiation.credentials, remoteIsLite: negotiation.isLite,
            random: random, now: now)
        var complete = own
        complete.credentials = ice.local
        answer = negotiation.answer(complete)
        self.configuration = configuration
        dtls = try DTLSSession(certificate: configuration.certificate, fingerprint: negotiation.fingerprint)
        if negotiation.dataIndex != nil {
            sctp = try UsrsctpAssociation(
                remotePort: negotiation.sctpPort, sendBuffer: configuration.sendHighWaterMark)
        } else {
            sctp = nil
        }
        if let agreed = negotiation.video {
            video = VideoSender(
                agreed, ssrc: ssrc, rtxSSRC: ssrc &+ 1, sequence: UInt16(truncatingIfNeeded: sequence),
                rtxSequence: UInt16(truncatingIfNeeded: rtxSequence), now: now)
        }
        canSendVideo = negotiation.video != nil
        hasDataChannel = negotiation.dataIndex != nil
        maximumSend = min(negotiation.maximumMessage, configuration.maximumMessageBytes)
        deadline = now + 30_000_000
        lastSCTP = now
        lastSCTPTick = now
        for candidate in negotiation.offer.candidates { ice.add(candidate, now: now) }
    }

    /// Trickled candidates (RFC 8840, `application/trickle-ice-sdpfrag`). New credentials restart ICE: then the answer's fragment is returned.
    @discardableResult
    public func addRemoteCandidates(_ fragment: String, now: MonotonicTime) throws(WebRTCError) -> String? {
        let parsed = try SessionDescription(parsing: fragment)
        var reply: String?
        if let ufrag = parsed.first("ice-ufrag"), let password = parsed.first("ice-pwd"), ufrag != ice.remote.ufrag {
            guard SessionDescription.isToken(ufrag), SessionDescription.isToken(password) else {
                throw WebRTCError(.sdp, "the fragment's ICE credentials are malformed")
            }
            ice.restart(remote: .init(ufrag: ufrag, password: password), now: now)
            var lines = [
                "a=ice-options:trickle ice2", "a=ice-ufrag:\(ice.local.ufrag)", "a=ice-pwd:\(ice.local.password)",
            ]
            lines += configuration.localAddresses.enumerated().map { "a=" + ICECandidate.host($1, index: $0) }
            reply = (lines + ["a=end-of-candidates"]).joined(separator: "\r\n") + "\r\n"
        }
        for candidate in parsed.candidates { ice.add(candidate, now: now) }
        pump(now: now)
        return reply
    }

    /// Never throws: what is bad is counted and dropped. True when the path is authentic, for the demultiplexer to learn.
    @discardableResult
    public func handle(_ datagram: Datagram, now: MonotonicTime) -> Bool {
        guard !isClosed else { return false }
        counters.datagramsReceived += 1
        let path = ICEAgent.Path(local: datagram.local, remote: datagram.remote)
        var isGood = false
        switch datagram.kind {
        case .stun:
            isGood = ice.handle(datagram, now: now)
            if isGood, !isConnected, let roundTrip = ice.roundTrip { dtls.measured(roundTrip: roundTrip) }
            if isGood, !early.isEmpty, ice.knows(path) {
                for early in early where early.local == path.local && early.remote == path.remote {
                    dtls.handle(early.bytes)
                }
                early = []
                lastPath = path
            }
        case .dtls:
            isGood = ice.knows(path)
            if isGood {
                lastPath = path
                dtls.handle(datagram.bytes)
            } else if early.count < 8 {
                early.append(datagram)
            }
        case .rtp: isGood = ice.knows(path) && handleRTCP(datagram.bytes, now: now)
        case .other: break
        }
        if !isGood { counters.datagramsDropped += 1 }
        pump(now: now)
        return isGood
    }

    private func handleRTCP(_ bytes: [UInt8], now: MonotonicTime) -> Bool {
        // RFC 5761 §4: 192–223 in the second byte. Nobody sends RTP to us.
        guard bytes.count >= 8, (192...223).contains(bytes[1]), let plain = srtp?.unprotectRTCP(bytes) else {
            return false
        }
        var wantsKey = false
        for packet in RTCPPacket.parse(plain) where video?.handle(packet, now: now) == true { wantsKey = true }
        if wantsKey {
            counters.keyFrameRequests += 1
            if lastKeyRequest.map({ now - $0 >= 500_000 }) ?? true {
                lastKeyRequest = now
                emit(.keyFrameRequested)
            }
        }
        return true
    }

    public func handleTimeout(now: MonotonicTime) {
        guard !isClosed else { return }
        ice.handleTimeout(now: now)
        dtls.handleTimeout()
        video?.run(now: now)
        if isConnected, now - lastSCTPTick >= 10_000 {
            lastSCTPTick = now
            sctp?.handleTimeout(now: now)
        }
        pump(now: now)
        if ice.isExpired(now: now) {
            finish(.consentExpired, now: now)
        } else if !isConnected, now >= deadline {
            finish(.handshakeFailed("no DTLS within 30 s"), now: now)
        }
    }

    public func poll(now: MonotonicTime) -> PeerOutput? {
        if outputHead == outputs.count, !isClosed { pump(now: now) }
        guard outputHead < outputs.count else {
            outputs.removeAll(keepingCapacity: outputs.capacity < 256)
            outputHead = 0
            return nil
        }
        defer { outputHead += 1 }
        return outputs[outputHead]
    }

    /// nil once closed.
    public var nextTimeout: MonotonicTime? {
        guard !isClosed else { return nil }
        var time = ice.nextTimeout
        if !isConnected { time = min(time, deadline) }
        if let media = video?.nextTimeout { time = min(time, media) }
        if isConnected, sctp != nil {
            // usrsctp does not tell when it is due; an association at rest can wait longer.
            time = min(time, lastSCTPTick + (lastSCTPTick - lastSCTP < 2_000_000 ? 10_000 : 100_000))
        } else if let timeout = dtls.timeout {
            time = min(time, lastHandled + timeout)
        }
        return time
    }
    private var lastHandled = MonotonicTime(microseconds: 0)

    // MARK: Data channels

    /// Errors: `.noChannel`, `.messageTooLarge`, `.sendBufferFull` (try again later), `.sctp`.
    public func sendMessage(_ text: String, on channel: UInt16, now: MonotonicTime) throws(WebRTCError) {
        try send(Array(text.utf8), channel, text.isEmpty ? PayloadProtocol.emptyText : PayloadProtocol.text, now: now)
    }
    public func sendMessage(_ bytes: [UInt8], on channel: UInt16, now: MonotonicTime) throws(WebRTCError) {
        try send(bytes, channel, bytes.isEmpty ? PayloadProtocol.emptyBinary : PayloadProtocol.binary, now: now)
    }
    private func send(_ bytes: [UInt8], _ channel: UInt16, _ kind: UInt32, now: MonotonicTime) throws(WebRTCError) {
        guard !isClosed, let sctp, channels[channel] != nil else {
            throw WebRTCError(.noChannel, "data channel \(channel) is not open")
        }
        guard bytes.count <= maximumSend else {
            throw WebRTCError(.messageTooLarge, "\(bytes.count) bytes exceed the maximum of \(maximumSend)")
        }
        lastSCTP = now
        // SCTP has no empty message (RFC 8831 §6.6).
        try sctp.send(bytes.isEmpty ? [0] : bytes, stream: channel, protocolID: kind)
        pump(now: now)
    }

    /// `channelClosed` follows when the other side has answered.
    public func closeChannel(_ channel: UInt16, now: MonotonicTime) {
        guard channels[channel] != nil else { return }
        sctp?.reset(stream: channel)
        pump(now: now)
    }

    // MARK: Video

    /// Dropped unless connected and agreed on.
    public func sendVideo(_ unit: VideoUnit, now: MonotonicTime) {
        guard srtp != nil, !isClosed else { return }
        video?.enqueue(unit, now: now)
        pump(now: now)
    }
    /// Drops what has not begun to leave; a unit whose first packet left is finished, and no sequence number is skipped.
    public func discardQueuedVideo() { video?.discard() }
    public var queuedVideoBytes: Int { video?.queuedBytes ?? 0 }
    /// Bits a second that the pacer allows.
    public var sendBitRate: Int { video?.bitRate ?? 0 }

    public var statistics: PeerStatistics {
        var statistics = counters
        if let video {
            statistics.videoPackets = Int(video.packets)
            statistics.retransmissions = video.retransmitted
        }
        statistics.roundTrip = ice.roundTrip
        return statistics
    }

    /// Aborts SCTP, sends close_notify; then drain `poll` a last time.
    public func close(now: MonotonicTime) {
        guard !isClosed else { return }
        finish(.local, now: now)
    }

    // MARK: Inside

    private func emit(_ event: PeerEvent) { outputs.append(.event(event)) }
    private func transmit(_ bytes: [UInt8]) {
        guard let path = ice.selected ?? lastPath else { return }
        transmit(Datagram(bytes: bytes, local: path.local, remote: path.remote))
    }
    private func transmit(_ datagram: Datagram) {
        counters.datagramsSent += 1
        counters.bytesSent += datagram.bytes.count
        outputs.append(.transmit(datagram))
    }

    /// Carries what one layer has for the next until all are at rest.
    private func pump(now: MonotonicTime) {
        guard !isClosed else { return }
        lastHandled = now
        if !isConnected, dtls.state == .connected { connect(now: now) }
        if let sctp, isConnected {
            if !dtls.received.isEmpty { lastSCTP = now }
            for packet in dtls.received { sctp.handle(packet, now: now) }
            dtls.received = []
            for event in sctp.takeEvents() where !isClosed { handle(event, now: now) }
            for packet in sctp.takePackets() { dtls.send(packet) }
        }
        flush()
        switch dtls.state {
        case .closed: finish(.remote, now: now)
        case .failed(let reason): finish(isConnected ? .remote : .handshakeFailed(reason), now: now)
        default: break
        }
    }

    private func flush() {
        for datagram in ice.output { transmit(datagram) }
        ice.output = []
        for record in dtls.takeOutput() { transmit(record) }
        guard let srtp, let packets = video?.output, !packets.isEmpty else { return }
        video?.output = []
        for packet in packets {
            switch packet {
            case .rtp(let bytes): if let sealed = srtp.protectRTP(bytes) { transmit(sealed) }
            case .rtcp(let bytes): if let sealed = srtp.protectRTCP(bytes) { transmit(sealed) }
            }
        }
    }

    private func connect(now: MonotonicTime) {
        if canSendVideo {
            guard let keys = dtls.keys, let context = try? SRTPContext(keys) else {
                finish(.handshakeFailed("no SRTP keys"), now: now)
                return
            }
            srtp = context
        }
        isConnected = true
        emit(.connected)
        sctp?.connect(now: now)
    }

    private func handle(_ event: SCTPEvent, now: MonotonicTime) {
        lastSCTP = now
        switch event {
        case .connected: break
        case .closed: finish(.remote, now: now)
        case .reset(let stream):
            guard channels.removeValue(forKey: stream) != nil else { return }
            // The browser's channel stays "closing" until ours is reset too (RFC 8831 §6.7).
            sctp?.reset(stream: stream)
            emit(.channelClosed(id: stream))
        case .message(let stream, PayloadProtocol.control, let bytes):
            guard case .open(_, _, _, let label, _)? = try? DCEPMessage(parsing: bytes), channels[stream] == nil else {
                return
            }
            channels[stream] = label
            try? sctp?.send(DCEPMessage.acknowledge.encoded, stream: stream, protocolID: PayloadProtocol.control)
            emit(.channelOpened(id: stream, label: label))
        case .message(let stream, let kind, let bytes):
            let isEmpty = kind == PayloadProtocol.emptyText || kind == PayloadProtocol.emptyBinary
            guard channels[stream] != nil, bytes.count <= configuration.maximumMessageBytes else {
                counters.messagesRejected += 1
                return
            }
            let isText = kind == PayloadProtocol.text || kind == PayloadProtocol.emptyText
            emit(.message(channel: stream, bytes: isEmpty ? [] : bytes, isText: isText))
        }
    }

    private func finish(_ reason: PeerCloseReason, now: MonotonicTime) {
        guard !isClosed else { return }
        isClosed = true
        sctp?.abort()
        for packet in sctp?.takePackets() ?? [] { dtls.send(packet) }
        dtls.close()
        flush()
        counters = statistics
        video = nil
        emit(.closed(reason))
    }
}
