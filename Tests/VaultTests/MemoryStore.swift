import Core
import Synchronization
import Vault

@testable import Vault

/// An object store in memory that does what S3 promises and no more, and fails where a test says so. What real servers do is
/// tested beside one (`S3ServerTests`); this one can be cut at every request.
final class MemoryStore: RemoteStore {
    struct Object: Sendable, Equatable {
        var bytes: [UInt8]
        var metadata: [String: String] = [:]
    }
    enum Fault: Sendable {
        /// The request never arrives.
        case before(VaultError)
        /// It was carried out, and the answer is lost.
        case after(VaultError)
        /// A part comes with a bit turned on the way.
        case turned
    }
    struct Call: Sendable, Equatable {
        var method: String
        var key: String
    }
    struct Rights: OptionSet, Sendable {
        let rawValue: Int
        static let read = Rights(rawValue: 1)
        static let delete = Rights(rawValue: 2)
        static let list = Rights(rawValue: 4)
        static let all: Rights = [.read, .delete, .list]
    }
    private struct State {
        var objects: [String: Object] = [:]
        var calls: [Call] = []
        var rights = Rights.all
        var lockedUntil: WallTime?
        var sendsMetadata = true
        var confirms = true
        var fault: (@Sendable (Int, Call) -> Fault?)?
        /// Whether the call under way has a bit turned.
        var turns = false
    }
    private let state = Mutex(State())

    static let unreachable = VaultError(.unreachable, "The remote does not answer.")

    var objects: [String: Object] {
        get { state.withLock { $0.objects } }
        set { state.withLock { $0.objects = newValue } }
    }
    var calls: [Call] { state.withLock { $0.calls } }
    func forgetCalls() { state.withLock { $0.calls = [] } }
    func allow(_ rights: Rights) { state.withLock { $0.rights = rights } }
    func lock(until time: WallTime?) { state.withLock { $0.lockedUntil = time } }
    func set(sendsMetadata: Bool) { state.withLock { $0.sendsMetadata = sendsMetadata } }
    func set(confirms: Bool) { state.withLock { $0.confirms = confirms } }
    func set(fault: (@Sendable (Int, Call) -> Fault?)?) { state.withLock { $0.fault = fault } }
    func puts(_ prefix: String) -> [String] {
        calls.filter { $0.method == "PUT" && $0.key.hasPrefix(prefix) }.map(\.key)
    }

    private func call<Value>(
        _ method: String, _ key: String, needs right: Rights? = nil, _ body: (inout State) throws(VaultError) -> Value
    ) throws(VaultError) -> Value {
        var lost: VaultError?
        let result: Result<Value, VaultError> = state.withLock { state in
            let call = Call(method: method, key: key)
            let fault = state.fault?(state.calls.count, call)
            state.calls.append(call)
            state.turns = if case .turned = fault { true } else { false }
            do throws(VaultError) {
                if case .before(let error) = fault { throw error }
                if case .after(let error) = fault { lost = error }
                if let right, !state.rights.contains(right) {
                    throw VaultError(.refused, "The remote refuses \(method) of \(key) (AccessDenied).")
                }
                return .success(try body(&state))
            } catch {
                return .failure(error)
            }
        }
        if let lost { throw lost }
        return try result.get()
    }
    private static func missing(_ key: String) -> VaultError {
        VaultError(.notFound, "The remote has no such object (\(key)).")
    }

    func put(
        _ key: String, _ body: HTTPBody, _ options: PutOptions, progress: (@Sendable (Int64, Int64) -> Void)?
    ) async throws(VaultError) -> PutOutcome {
        let bytes = try body.read(at: 0, limit: body.count)
        return try call("PUT", key) { (state) throws(VaultError) in
            if let sha256 = options.sha256, Digest.sha256(bytes) != sha256 {
                throw VaultError(.unreachable, "The remote cannot serve PUT of \(key) now (BadDigest).")
            }
            guard options.replaces || state.objects[key] == nil else { return .present }
            state.objects[key] = Object(
                bytes: bytes, metadata: Dictionary(options.metadata.map { ($0.name, $0.value) }) { a, _ in a })
            return .stored(isConfirmed: state.confirms)
        }
    }

    func part(_ key: String, _ part: RemotePart.Request) async throws(VaultError) -> RemotePart {
        try call("GET", key, needs: .read) { (state) throws(VaultError) in
            guard let object = state.objects[key] else { throw Self.missing(key) }
            let count = object.bytes.count
            let range =
                switch part {
                case .range(let range): range
                case .suffix(let length): max(0, count - length)..<count
                }
            guard range.lowerBound < count, range.upperBound <= count else {
                throw VaultError(.remoteFault, "The remote sends another part than was asked for (\(key)).")
            }
            var bytes = Array(object.bytes[range])
            if state.turns { bytes[0] ^= 1 }
            return RemotePart(
                bytes: bytes, range: range, count: count,
                metadata: state.sendsMetadata ? object.metadata : [:])
        }
    }

    func part(
        _ key: String, _ range: Range<Int>, into file: any OpenFile, at offset: Int,
        progress: (@Sendable (Int64, Int64) -> Void)?
    ) async throws(VaultError) {
        let part = try await part(key, .range(range))
        try file.write(part.bytes, 0..<part.bytes.count, at: offset)
    }

    func contents(_ key: String, limit: Int) async throws(VaultError) -> [UInt8] {
        try call("GET", key, needs: .read) { (state) throws(VaultError) in
            guard let object = state.objects[key] else { throw Self.missing(key) }
            guard object.bytes.count <= limit else { throw VaultError(.remoteFault, "\(key) is too large.") }
            return object.bytes
        }
    }

    func head(_ key: String) async throws(VaultError) -> Int? {
        try call("HEAD", key, needs: .read) { $0.objects[key]?.bytes.count }
    }

    func delete(_ key: String, isForAllVersions: Bool) async throws(VaultError) -> RemoteDeletion {
        try call("DELETE", key) { state in
            guard state.rights.contains(.delete) else { return .refused("AccessDenied") }
            if let until = state.lockedUntil { return .locked(until: until) }
            state.objects[key] = nil
            return .deleted(versions: isForAllVersions ? 1 : 0)
        }
    }

    func list(
        _ prefix: String, after: String?, pageSize: Int, page take: ([ListPage.Object]) throws(VaultError) -> Void
    ) async throws(VaultError) {
        var last = after
        while true {
            let from = last
            let page = try call("LIST", prefix, needs: .list) { state in
                state.objects.keys.filter { key in key.hasPrefix(prefix) && from.map { key > $0 } ?? true }.sorted()
                    .prefix(pageSize).map { ListPage.Object(key: $0, size: state.objects[$0]?.bytes.count ?? 0) }
            }
            try take(page)
            guard page.count == pageSize, let end = page.last else { return }
            last = end.key
        }
    }
}
