import Core
import Foundation
import Glibc
import Synchronization

/// A folder of footage or keys in clear: whole, or not there. It is filled under a name of its own beside its place (mode 0700), and
/// gets its name last.
///
/// ```
/// planned ──begin──▶ begun ──publish──▶ over, under its name
///    └────────────────┴──error, signal──▶ over, nothing of it left
/// ```
/// What stands under the other name by somebody else's doing is never touched: only what `begin` made is removed.
public final class OutputFolder: Abandonable {
    /// As it was asked for.
    public let path: String
    /// Where it is filled.
    let part: String
    private enum State { case planned, begun, over }
    private let state = Mutex(State.planned)

    /// Nothing is made yet. Errors: `.refused` when something stands there.
    public convenience init(_ path: String) throws(ServerError) {
        try self.init(path, mark: String(Core.UUID.random().description.prefix(8)))
    }

    /// - Parameter mark: what tells `part` from other attempts at the same place.
    init(_ path: String, mark: String) throws(ServerError) {
        // A shell that completes names puts a slash there.
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        self.path = path
        part = "\(path).\(mark).part"
        try refuseOther()
    }

    private func refuseOther() throws(ServerError) {
        guard !FileManager.default.fileExists(atPath: path) else {
            throw ServerError(.refused, "\(path) is there already.", hint: "Choose another place with --output.")
        }
    }

    /// Makes `part`, lets `fill` fill it, and gives it its name. After an error nothing of it is left.
    func write<Value>(_ fill: () async throws -> Value) async throws -> Value {
        do {
            try begin()
            let value = try await fill()
            try publish()
            return value
        } catch {
            state.withLock { discard(&$0) }
            throw error
        }
    }

    private func begin() throws(ServerError) {
        try state.withLock { (state) throws(ServerError) in
            try Self.make(part)
            state = .begun
        }
    }

    private func publish() throws(ServerError) {
        try state.withLock { (state) throws(ServerError) in
            try refuseOther()
            guard rename(part, path) == 0 else {
                throw ServerError(
                    .refused, "\(path) cannot be written: \(unsafe String(cString: strerror(errno))).",
                    hint: "Choose another place with --output.")
            }
            state = .over
        }
    }

    /// A folder within `part`.
    func makeFolder(_ name: String) throws(ServerError) { try Self.make(part + "/" + name) }

    private static func make(_ path: String) throws(ServerError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        } catch {
            throw ServerError(
                .refused, "\(path) cannot be made.", hint: "Choose another place with --output.",
                underlying: FoundationReason(error))
        }
    }

    public func abandon(_ end: (_ left: String?) -> Never) {
        state.withLock { state in
            guard state != .over else { return }
            discard(&state)
            end(FileManager.default.fileExists(atPath: part) ? part : nil)
        }
    }

    private func discard(_ state: inout State) {
        defer { state = .over }
        guard state == .begun else { return }
        // Again while there is something: whoever fills it may make one more file meanwhile.
        for _ in 0..<100 where FileManager.default.fileExists(atPath: part) {
            try? FileManager.default.removeItem(atPath: part)
        }
    }
}
