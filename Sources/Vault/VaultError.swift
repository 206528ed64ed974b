public import Core

/// What can go wrong in `Vault`; two errors are equal when their codes are.
public struct VaultError: Failure, Equatable {
    public enum Code: String, Sendable, Hashable {
        /// The caller asked for something that makes no sense.
        case invalid
        /// There is no vault here, or no such object, epoch or file.
        case notFound
        /// A finished vault stands here already.
        case exists
        /// `create` was interrupted; run it again.
        case halfMade
        /// Written by a newer SudoCam.
        case newerFormat
        /// Another process writes.
        case inUse
        /// The medium or the mode does not allow writing.
        case readOnly
        case networkFileSystem
        /// Another vault stands where a known one stood.
        case otherVault
        /// A known vault as it was earlier.
        case olderCopy
        /// A known vault whose ledger does not continue what was seen of it.
        case otherHistory
        /// The owner's identity is not in memory.
        case locked
        case wrongPassphrase
        /// A hold keeps it.
        case held
        /// The vault, the writer or the reader was closed.
        case closed
        case noSpace
        /// The file system lacks something the vault stands on.
        case unsupported
        /// The operating system refused; `reason` names the call and the path.
        case io
        /// Bytes on disk are not what they were.
        case damaged
        case index
        /// age: the armor around the file is malformed.
        case armorFailure
        /// age: the header is malformed or asks for too much work.
        case headerFailure
        /// age: the header's MAC is wrong.
        case macFailure
        /// age: none of the identities opens the file.
        case noMatch
        /// age: a chunk is damaged, missing or in the wrong place.
        case payloadFailure
        /// A key of the vault is missing, malformed, or readable by others.
        case keys
        /// A remote does not answer, or answers that it cannot now; the same may work later.
        case unreachable
        /// A remote answers and says no: credentials, rights, bucket, quota.
        case refused
        /// What a remote answers contradicts itself or what was asked.
        case remoteFault
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
