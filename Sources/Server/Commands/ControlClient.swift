import Core
import Foundation
import Glibc
import Ingest
public import Vault

/// Talks to the running recorder over `vault/control.sock`.
public enum ControlClient {
    /// What `sudocam status --json` prints.
    public struct Status: Codable, Sendable {
        public struct Camera: Codable, Sendable {
            public var id: String
            public var name: String?
            public var state: String
            public var reason: String?
            /// Since when it delivers a picture that does not change; ISO 8601.
            public var frozenSince: String?
        }
        public var version: String
        public var locked: Bool
        public var cameras: [Camera]
        /// Everything kept was read and compared with its name since then; ISO 8601.
        public var verifiedSince: String?
        public var alarms: [String]
        public var remotes: [Remote]

        public struct Remote: Codable, Sendable {
            public var name: String
            public var followed: Bool
            public var lagSeconds: Int64
            public var lagObjects: Int
            public var failure: String?
        }
    }

    public static func status(vault: String) throws(ServerError) -> Status {
        guard let state = try ask(vault, Array("status\n".utf8)).state else {
            throw ServerError(.refused, "The recorder gave no state.")
        }
        return Status(
            version: state.version, locked: state.locked,
            cameras: state.cameras.map {
                Status.Camera(
                    id: $0.id.description, name: $0.name, state: $0.state.rawValue, reason: $0.reason,
                    frozenSince: $0.frozenSince.map(FileTime.iso))
            }, verifiedSince: state.verifiedSince.map(FileTime.iso), alarms: state.alarms,
            remotes: (state.remotes ?? []).map {
                Status.Remote(
                    name: $0.name, followed: $0.followed, lagSeconds: $0.lagSeconds, lagObjects: $0.lagObjects,
                    failure: $0.failure)
            })
    }

    public static func lock(vault: String) throws(ServerError) { _ = try ask(vault, Array("lock\n".utf8)) }

    public static func unlock(vault: String, passphrase: SecretBytes) throws(ServerError) {
        _ = try ask(vault, Array("unlock\n".utf8), secrets: [passphrase])
    }

    /// The recorder reads its `sudocam.yaml` anew and applies what differs.
    ///
    /// Errors: `.configuration` for a file with errors in it, with their lines; nothing has changed then.
    public static func reload(vault: String) throws(ServerError) -> ReloadReport {
        let reply: ControlSocket.Reply
        do throws(ServerError) {
            reply = try ask(vault, Array("reload\n".utf8))
        } catch {
            guard error.code == .noService else { throw error }
            throw ServerError(
                .noService, error.reason,
                hint:
                    "Start it with `sudocam serve`; if the file names another vault by now, give the old one with --vault."
            )
        }
        guard let report = reply.reload else { throw ServerError(.refused, "The recorder gave no answer.") }
        return report
    }

    /// - Parameter secrets: as many as `request` says, in its order.
    static func key(
        vault: String, _ request: KeyCommands.Request, secrets: [SecretBytes],
        progress: (KeyCommands.Progress) -> Void
    ) throws(ServerError) -> KeyCommands.Answer {
        let body: [UInt8]
        do { body = Array(try JSONEncoder().encode(request)) } catch {
            throw ServerError(.refused, "The request cannot be written.", underlying: error)
        }
        let reply = try ask(vault, Array("key\n".utf8) + body + [UInt8(ascii: "\n")], secrets: secrets) { reply in
            if let step = reply.progress { progress(step) }
        }
        guard let answer = reply.key else { throw ServerError(.refused, "The recorder gave no answer.") }
        return answer
    }

    static func retention(
        vault: String, _ request: RetentionCommands.Request
    ) throws(ServerError) -> RetentionCommands.Answer {
        let body: [UInt8]
        do { body = Array(try JSONEncoder().encode(request)) } catch {
            throw ServerError(.refused, "The request cannot be written.", underlying: error)
        }
        guard body.count < ControlSocket.lineLimit - 64 else { throw ServerError(.refused, "The note is too long.") }
        guard let answer = try ask(vault, Array("retention\n".utf8) + body + [UInt8(ascii: "\n")]).retention else {
            throw ServerError(.refused, "The recorder gave no answer.")
        }
        return answer
    }

    static func remote(
        vault: String, _ request: RemoteCommands.Request, progress: (RemoteCommands.Progress) -> Void
    ) throws(ServerError) -> RemoteCommands.Answer {
        let body: [UInt8]
        do { body = Array(try JSONEncoder().encode(request)) } catch {
            throw ServerError(.refused, "The request cannot be written.", underlying: error)
        }
        guard body.count < ControlSocket.lineLimit - 64 else { throw ServerError(.refused, "The request is too long.") }
        let reply = try ask(vault, Array("remote\n".utf8) + body + [UInt8(ascii: "\n")]) { reply in
            if let step = reply.remoteProgress { progress(step) }
        }
        guard let answer = reply.remote else { throw ServerError(.refused, "The recorder gave no answer.") }
        return answer
    }

    /// - Parameters:
    ///   - secrets: sent behind the request, a line each, from locked memory.
    ///   - patience: seconds that an answer is waited for; 0: for ever.
    ///   - step: takes the lines before the last one.
    private static func ask(
        _ vault: String, _ request: [UInt8], secrets: [SecretBytes] = [], patience: Int = 0,
        step: (ControlSocket.Reply) -> Void = { _ in }
    ) throws(ServerError) -> ControlSocket.Reply {
        let descriptor = try connected(vault)
        defer { close(descriptor) }
        var wait = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        guard write(descriptor, request, request.count) == request.count,
            secrets.allSatisfy({ $0.writeLine(to: descriptor) })
        else { throw ServerError(.noService, "The recorder does not listen.") }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            answer += buffer[..<count]
            while let end = answer.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Data(answer[..<end])
                answer.removeSubrange(...end)
                guard let reply = try? JSONDecoder().decode(ControlSocket.Reply.self, from: line) else {
                    throw ServerError(.refused, "The recorder's answer makes no sense.")
                }
                guard reply.isLast else {
                    step(reply)
                    continue
                }
                guard reply.ok else { throw refusal(reply) }
                return reply
            }
        }
        throw ServerError(
            .refused, "The recorder ended before it answered.", hint: "`sudocam status` shows whether it runs.")
    }

    /// The caller closes it. Errors: `.noService`.
    private static func connected(_ vault: String) throws(ServerError) -> Int32 {
        let path = vault + "/control.sock"
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw ServerError(.noService, "No socket could be made.") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let reached = SocketPath(path)
        defer { withExtendedLifetime(reached) {} }
        let bytes = Array(reached.path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            close(descriptor)
            throw ServerError(.noService, "The path \(path) is too long for a socket.")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            close(descriptor)
            throw ServerError(
                .noService, "No recorder answers at \(path).", hint: "Start it with `sudocam serve`.")
        }
        return descriptor
    }

    /// Keeps the running recorder's retention from what is about to be read, until the value is gone, for an hour at most. Nil where
    /// no recorder runs, which then deletes nothing.
    static func lease(vault: String, camera: CameraID, range: TimeRange) -> Lease? {
        guard let descriptor = try? connected(vault) else { return nil }
        let lease = Lease(descriptor)
        let wanted = ControlSocket.Lease(camera: camera, start: range.start, end: range.end)
        guard let json = try? JSONBytes.encode(wanted) else { return nil }
        let request = Array("lease\n".utf8) + json + [UInt8(ascii: "\n")]
        // The answer says that it has begun; a recorder that knows no leases says so, and ends the connection.
        var answer = [UInt8](repeating: 0, count: 1024)
        guard write(descriptor, request, request.count) == request.count, read(descriptor, &answer, answer.count) > 0
        else { return nil }
        return lease
    }
    final class Lease: Sendable {
        private let descriptor: Int32
        fileprivate init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    /// What the running recorder keeps for those who watch or export. Nothing where no recorder runs, or one that does not know the
    /// question or does not answer within seconds: who asks only looks, and is not to wait for it.
    static func leases(vault: String) -> [RetentionLease] {
        let reply = try? ask(vault, Array("leases\n".utf8), patience: 5)
        return (reply?.leases ?? []).compactMap { lease in
            lease.expires.map {
                RetentionLease(camera: lease.camera, range: TimeRange(lease.start, lease.end), expires: $0)
            }
        }
    }

    private static func refusal(_ reply: ControlSocket.Reply) -> ServerError {
        // Of the vault's codes only `wrongPassphrase` has its like here; `tooManyAttempts` is our own.
        let code = reply.code.flatMap(ServerError.Code.init(rawValue:)) ?? .refused
        return ServerError(code == .noService ? .refused : code, reply.message ?? "The recorder refused.")
    }
}
