public import Core

/// What can go wrong in `Server`; two errors are equal when their codes are.
public struct ServerError: Failure, Equatable {
    public enum Code: String, Sendable, Hashable {
        case configuration
        case portInUse
        case cannotListen
        case certificate
        case noService
        case refused
        case wrongPassphrase
        /// So many were wrong that this one was not tried.
        case tooManyAttempts = "too-many-attempts"
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
