public struct PeerConfiguration: Sendable {
    public var certificate: DTLSCertificate
    /// Host candidates, best first: the addresses the caller's sockets are bound to.
    public var localAddresses: [SocketAddress]
    public var acceptsVideo: Bool
    /// Bytes of one data channel message, both ways.
    public var maximumMessageBytes: Int
    /// Bytes that may wait for a slow reader of the data channels.
    public var sendHighWaterMark: Int

    public init(
        certificate: DTLSCertificate, localAddresses: [SocketAddress], acceptsVideo: Bool = true,
        maximumMessageBytes: Int = 16384, sendHighWaterMark: Int = 262_144
    ) {
        self.certificate = certificate
        self.localAddresses = localAddresses
        self.acceptsVideo = acceptsVideo
        self.maximumMessageBytes = maximumMessageBytes
        self.sendHighWaterMark = sendHighWaterMark
    }
}

public enum PeerCloseReason: Sendable, Hashable {
    case local
    /// close_notify or an abort of SCTP.
    case remote
    /// 30 s without an authentic STUN message (RFC 7675).
    case consentExpired
    /// Wrong certificate, no keys, or nothing within 30 s.
    case handshakeFailed(String)
}

public enum PeerEvent: Sendable, Equatable {
    /// DTLS is up and the certificate is the offer's; video may be sent.
    case connected
    case channelOpened(id: UInt16, label: String)
    case message(channel: UInt16, bytes: [UInt8], isText: Bool)
    case channelClosed(id: UInt16)
    /// PLI or FIR; at most one in 500 ms.
    case keyFrameRequested
    /// The last event.
    case closed(PeerCloseReason)
}

public enum PeerOutput: Sendable, Equatable {
    case transmit(Datagram)
    case event(PeerEvent)
}

public struct PeerStatistics: Sendable, Equatable {
    public var datagramsReceived = 0
    /// Not authentic, not understood, or not on a known path.
    public var datagramsDropped = 0
    public var datagramsSent = 0
    public var bytesSent = 0
    public var videoPackets = 0
    public var retransmissions = 0
    public var keyFrameRequests = 0
    public var messagesRejected = 0
    /// Microseconds, by ICE.
    public var roundTrip: Int64?
    public init() {}
}
