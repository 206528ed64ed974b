public import Core

/// What can go wrong in `Media`; two errors are equal when their codes are.
public struct MediaError: Failure, Equatable {
    public enum Code: String, Sendable, Hashable {
        /// A value asked for that makes no sense (a caller's fault).
        case invalid
        /// Bytes that break their own format.
        case malformed
        /// Well formed, but nothing SudoCam can do.
        case unsupported
        /// A source, a file or a network address, could not be opened.
        case openFailed
        /// A source that was open failed.
        case readFailed
        /// The bytes end before what they announce.
        case truncated
        /// Nothing came within the time allowed.
        case timedOut
        /// The caller asked to stop.
        case interrupted
        /// An encoder or decoder refused.
        case codecFailed
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
