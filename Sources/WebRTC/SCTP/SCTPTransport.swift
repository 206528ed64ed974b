import Core

enum SCTPEvent: Equatable {
    case connected
    case message(stream: UInt16, protocolID: UInt32, bytes: [UInt8])
    /// The other side will send nothing more on this stream.
    case reset(stream: UInt16)
    case closed
}

/// What a peer needs of SCTP over DTLS (RFC 8261); the border at which the C library can be replaced.
protocol SCTPTransport: AnyObject {
    func connect(now: MonotonicTime)
    func handle(_ packet: [UInt8], now: MonotonicTime)
    func handleTimeout(now: MonotonicTime)
    /// Ordered and reliable. Errors: `.sendBufferFull`, `.sctp`.
    func send(_ bytes: [UInt8], stream: UInt16, protocolID: UInt32) throws(WebRTCError)
    func reset(stream: UInt16)
    func abort()
    func takePackets() -> [[UInt8]]
    func takeEvents() -> [SCTPEvent]
}
