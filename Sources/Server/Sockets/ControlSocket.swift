import Core
import Foundation
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Vault

/// `vault/control.sock`: the command line's way to the running recorder. Whoever may write to the socket file (mode 0600,
/// by `Hardening`) may ask; unlocking still takes the passphrase.
///
/// A line of text in (`status`, `lock`, `reload` or `leases`; `unlock` followed by a line with the passphrase; `retention`, `remote` or
/// `lease` followed by a line of JSON; or `key` followed by a line of JSON and the secrets it says will follow, a line each), a line of
/// JSON out; of a `key` or `remote` that takes long, lines with its progress before that.
struct ControlSocket: Service {
    let path: String
    let recorder: RecorderServices
    /// Nil where there is nothing to reload.
    let reload: ReloadService?
    let logger: Logger

    static let lineLimit = 8192

    func run() async throws {
        unlink(path)
        let address = SocketPath(path)
        defer { withExtendedLifetime(address) {} }
        let server: NIOAsyncChannel<NIOAsyncChannel<ByteBuffer, ByteBuffer>, Never>
        do {
            server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(unixDomainSocketPath: address.path) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                    }
                }
        } catch {
            logger.warning(
                "the command line cannot reach this recorder", metadata: ["path": "\(path)", "error": "\(error)"])
            try? await gracefulShutdown()
            return
        }
        try await withGracefulShutdownHandler {
            try await server.executeThenClose { connections in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await connection in connections {
                        group.addTask {
                            // Whoever only keeps the connection, as a lease does, does not keep the recorder from its end; what was
                            // asked by then is answered.
                            await withGracefulShutdownHandler {
                                await serve(connection)
                            } onGracefulShutdown: {
                                connection.channel.close(mode: .input, promise: nil)
                            }
                        }
                    }
                }
            }
        } onGracefulShutdown: {
            server.channel.close(promise: nil)
        }
        unlink(path)
    }

    private func serve(_ connection: NIOAsyncChannel<ByteBuffer, ByteBuffer>) async {
        try? await connection.executeThenClose { inbound, outbound in
            var bytes: [UInt8] = []
            // Never moved to another place while it grows: what may be a secret in it is wiped, and would stay where it was.
            bytes.reserveCapacity(2 * Self.lineLimit)
            defer { for index in bytes.indices { bytes[index] = 0 } }
            // As long as the other side keeps the connection, and no longer than leases last.
            var lease: RetentionLeaseToken?
            defer { withExtendedLifetime(lease) {} }
            for try await part in inbound {
                guard lease == nil else { continue }
                bytes += part.readableBytesView
                guard bytes.count <= Self.lineLimit else { return }
                @Sendable func write(_ reply: Reply) async throws {
                    var line = (try? JSONBytes.encode(reply)) ?? []
                    line.append(UInt8(ascii: "\n"))
                    try await outbound.write(ByteBuffer(bytes: line))
                }
                let reply: Reply
                if bytes.starts(with: "lease\n".utf8) {
                    guard let end = bytes.dropFirst(6).firstIndex(of: UInt8(ascii: "\n")) else { continue }
                    let wanted = try? JSONDecoder().decode(Lease.self, from: Data(bytes[6..<end]))
                    guard let wanted, wanted.start < wanted.end else { return try await write(.malformed) }
                    lease = recorder.vault.lease(
                        camera: wanted.camera, range: TimeRange(wanted.start, wanted.end))
                    try await write(Reply(ok: true))
                    continue
                }
                if bytes.starts(with: "key\n".utf8) {
                    guard let order = KeyOrder(&bytes) else { continue }
                    reply = await perform(order) { progress in
                        try? await write(Reply(ok: true, progress: progress))
                    }
                } else if bytes.starts(with: "remote\n".utf8) {
                    guard let request = Self.remoteRequest(bytes) else { continue }
                    switch request {
                    case .success(let request):
                        reply = await perform(request) { try await write(Reply(ok: true, remoteProgress: $0)) }
                    case .failure: reply = .malformed
                    }
                } else {
                    guard let answer = await answer(&bytes) else { continue }
                    reply = answer
                }
                try await write(reply)
                return
            }
        }
    }

    /// What a program beside the recorder reads for a while, or what the recorder keeps for all who read.
    struct Lease: Codable, Sendable {
        var camera: CameraID
        var start: WallTime
        var end: WallTime
        /// The recorder says that; who asks for a lease does not.
        var expires: WallTime?
    }

    struct Reply: Codable, Sendable {
        var ok: Bool
        var code: String?
        var message: String?
        var state: StateReport?
        var retention: RetentionCommands.Answer?
        var key: KeyCommands.Answer?
        var remote: RemoteCommands.Answer?
        var reload: ReloadReport?
        var leases: [Lease]?
        /// Not the last line.
        var progress: KeyCommands.Progress?
        var remoteProgress: RemoteCommands.Progress?

        var isLast: Bool { progress == nil && remoteProgress == nil }
        static var malformed: Reply { Reply(ok: false, code: "malformed", message: "The request makes no sense.") }
        static func tooManyAttempts(_ seconds: Int) -> Reply {
            Reply(
                ok: false, code: ServerError.Code.tooManyAttempts.rawValue,
                message: "Too many wrong passphrases; this one was not tried. Wait \(seconds) s.")
        }
    }

    /// Nil while the request is not complete.
    private func answer(_ bytes: inout [UInt8]) async -> Reply? {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        switch String(decoding: bytes[..<end], as: UTF8.self) {
        case "status": return Reply(ok: true, state: await recorder.report(loggedIn: true))
        case "lock":
            await recorder.lock()
            return Reply(ok: true)
        case "leases":
            return Reply(
                ok: true,
                leases: recorder.vault.leases().map {
                    Lease(camera: $0.camera, start: $0.range.start, end: $0.range.end, expires: $0.expires)
                })
        case "reload":
            guard let reload else {
                return Reply(
                    ok: false, code: ServerError.Code.refused.rawValue,
                    message: "What plays another recorder's vault reloads nothing; restart it.")
            }
            do {
                return Reply(ok: true, reload: try await reload.reload())
            } catch {
                return Reply(ok: false, code: error.code.rawValue, message: error.description)
            }
        case "unlock":
            guard let second = bytes[(end + 1)...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            var passphrase = Array(bytes[(end + 1)..<second])
            for index in bytes.indices { bytes[index] = 0 }
            if let seconds = recorder.accounts.attempt(address: "control") {
                return .tooManyAttempts(seconds)
            }
            do {
                try await recorder.unlock(passphrase: SecretBytes(&passphrase))
                recorder.accounts.succeeded(address: "control")
                return Reply(ok: true)
            } catch {
                if error.code == .wrongPassphrase { recorder.accounts.failed(address: "control") }
                return Reply(ok: false, code: error.code.rawValue, message: error.description)
            }
        case "retention":
            guard let second = bytes[(end + 1)...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            guard
                let request = try? JSONDecoder().decode(
                    RetentionCommands.Request.self, from: Data(bytes[(end + 1)..<second]))
            else { return .malformed }
            do {
                let names = Dictionary(
                    recorder.recording.cameras.map { ($0.id, $0.configuration.key) }, uniquingKeysWith: { a, _ in a })
                return Reply(
                    ok: true, retention: try await RetentionCommands.perform(request, recorder.vault, names))
            } catch {
                return Reply(ok: false, code: error.code.rawValue, message: error.description)
            }
        default:
            return Reply(
                ok: false, code: "unknown-command",
                message: "Known are status, lock, unlock, reload, retention, remote, lease, leases and key.")
        }
    }
}
