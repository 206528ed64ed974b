public import Core

/// What can go wrong in `Capture`; two errors are equal when their codes are.
public struct CaptureError: Failure, Equatable {
    public enum Code: String, Sendable, Hashable {
        /// A source's address that cannot be used.
        case badAddress
        /// The camera or file could not be opened, or went away.
        case unreachable
        /// Connected, but nothing came.
        case silent
        /// Not H.264 or H.265, or broken.
        case unusable
        /// A file that does not loop is over.
        case ended
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
