import Core

/// Why rows could not be measured.
struct BenchError: Failure, Equatable {
    enum Code: String, Sendable, Hashable {
        case toolMissing
        /// A program that is measured, or the yardstick's, failed.
        case programFailed
        /// A call of the operating system or a library failed in the yardstick.
        case yardstickFailed
    }

    let code: Code
    let reason: String
    let hint: String?
    let underlying: (any Error)?

    init(_ code: Code, _ reason: String, hint: String? = nil, underlying: (any Error)? = nil) {
        self.code = code
        self.reason = reason
        self.hint = hint
        self.underlying = underlying
    }
    static func == (a: Self, b: Self) -> Bool { a.code == b.code }
}
