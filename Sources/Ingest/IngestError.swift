public import Core

/// What can go wrong in `Ingest`; two errors are equal when their codes are.
public struct IngestError: Failure, Equatable {
    public enum Code: String, Sendable, Hashable {
        /// The vault did not take what was recorded.
        case vaultFailed
        /// The stream's parameter sets or frames cannot be put into an MP4.
        case streamUnusable
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
