/// What every target's error struct has: equality by `code`, a sentence for a person, and what to do now.
///
/// Each target declares its own (`VaultError`, `MediaError`, …) so that a caller can be exhaustive about where it came from.
public protocol Failure: Error, Sendable, CustomStringConvertible {
    associatedtype Code: Hashable & Sendable & RawRepresentable<String>
    var code: Code { get }
    /// What happened and where, in one sentence without a secret in it.
    var reason: String { get }
    /// What the operator does now; nil where nothing can be done.
    var hint: String? { get }
    var underlying: (any Error)? { get }
}

extension Failure {
    public var description: String {
        var text = reason
        if let underlying { text += " (\(underlying))" }
        if let hint { text += " " + hint }
        return text
    }
}
