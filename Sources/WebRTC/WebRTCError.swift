public import Core

/// What can go wrong in `WebRTC`; two errors are equal when their codes are.
public struct WebRTCError: Failure, Equatable {
    public enum Code: String, Sendable, Hashable {
        case invalid
        /// The offer or fragment cannot be used.
        case sdp
        /// A STUN, RTP, RTCP or DCEP message breaks its format.
        case packet
        case certificate
        case dtls
        case srtp
        case sctp
        /// The data channel does not exist, or not any more.
        case noChannel
        /// More waits for the network than the high-water mark allows; try again later.
        case sendBufferFull
        /// The message exceeds the negotiated maximum.
        case messageTooLarge
    }

    public let code: Code
    public let reason: String
    public let hint: String?
    public let underlying: (any Error)?

    public init(_ code: Code, _ reason: String, hint: String? = nil, underlying: (any Error)? = nil) {
        self.code = code
        self.reason = reason
        self.hint = hint
        self.underlying = underlying
    }
    public static func == (a: Self, b: Self) -> Bool { a.code == b.code }
}
