public import Core
import Media
import Vault

/// What can go wrong in `Playback`; two errors are equal when their codes are.
public struct PlaybackError: Failure, Equatable {
    public enum Code: String, Sendable, Hashable {
        /// A control message that is none.
        case badMessage
        case unknownCamera
        /// The vault was locked.
        case locked
        /// H.265, or B-frames that cannot be left out.
        case unsupportedCodec
        /// A clip could not be opened or read.
        case damaged
        /// Nothing is recorded in the range that was asked for.
        case nothingRecorded
        /// A movie cannot hold one picture, or be silent, as long as that.
        case gapTooLong
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

    /// Whether an error comes of the vault being locked, also when the MP4 reader carries it.
    static func isLock(_ error: any Error) -> Bool {
        if let error = error as? VaultError { return error.code == .locked }
        return (error as? MediaError)?.underlying.map(isLock) ?? false
    }
}
