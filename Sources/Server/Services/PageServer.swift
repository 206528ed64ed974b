import Core
import Glibc
import Hummingbird
import HummingbirdTLS
import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle
import UnixSignals
import Vault

/// The page's server: address, host names and certificate.
struct PageServer {
    let configuration: Configuration
    let recorder: RecorderServices
    let time: any TimeSource
    let logger: Logger

    /// Errors: `.portInUse`, `.cannotListen`, `.certificate`.
    /// - Parameter ready: called once it listens, with the page's address and, under TLS, the certificate's SHA-256 fingerprint.
    func service(
        ready: @escaping @Sendable (_ url: String, _ fingerprint: String?) -> Void
    ) throws -> any Service {
        let listen = configuration.listen
        let tls =
            try listen.isLoopback && configuration.tls == nil
            ? nil : PageCertificate(configuration, now: time.wallNow())
        let routes = Routes(recorder: recorder, isSecure: tls != nil, hostNames: hostNames)
        try Self.checkPort(listen)
        let url = "\(tls == nil ? "http" : "https")://\(listen.host.contains(":") ? "[\(listen.host)]" : listen.host):"
        return Application(
            router: routes.router(),
            server: try tls.map { tls in
                try .tls(
                    .http1(configuration: .init(idleTimeout: Self.idleTimeout)), tlsConfiguration: tls.configuration)
            } ?? .http1(configuration: .init(idleTimeout: Self.idleTimeout)),
            configuration: ApplicationConfiguration(
                address: .hostname(listen.host, port: listen.port), serverName: "SudoCam",
                availableConnectionsDelegate: .maximum(Self.connectionLimit, logger: logger.quiet)),
            onServerRunning: { channel in
                ready("\(url)\(channel.localAddress?.port ?? listen.port)/", tls?.fingerprint)
            }, logger: logger.quiet)
    }

    /// How long a connection may be there without a request.
    private static let idleTimeout = TimeAmount.seconds(30)
    /// Whoever can reach the page can open connections, without a password. They must never take the files that recording needs: more
    /// wait unaccepted.
    private static let connectionLimit = max(32, min(1024, fileLimit / 4))
    /// Files that this process may have open. That number is left as it is: most systems give 1024 to whoever does not ask, because of
    /// `select(2)` (systemd.exec(5), "LimitNOFILE"), which Foundation and OpenSSL do call.
    private static var fileLimit: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }

    private var hostNames: Set<String> {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, buffer.count - 1)
        let own = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
        return [own, own + ".local", configuration.listen.host.lowercased()]
    }

    /// The server library would report a bare errno, after the other services have started.
    private static func checkPort(_ listen: Configuration.Listen) throws(ServerError) {
        guard listen.port != 0, !listen.host.contains(":"),
            let address = try? SocketAddress(
                ipAddress: listen.host == "localhost" ? "127.0.0.1" : listen.host, port: listen.port)
        else { return }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        let result = address.withSockAddr { pointer, size in Glibc.bind(descriptor, pointer, socklen_t(size)) }
        guard result != 0 else { return }
        let inUse = errno == EADDRINUSE
        throw ServerError(
            inUse ? .portInUse : .cannotListen,
            "\(listen.host):\(listen.port) \(inUse ? "is in use by another program" : "cannot be listened on: \(String(cString: strerror(errno)))").",
            hint: "Choose another address under `listen` in sudocam.yaml.")
    }
}

extension ServiceGroup {
    /// Runs them until SIGTERM or SIGINT, or until one ends; stopped in reverse order.
    static func runAll(_ services: [any Service], logger: Logger) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map { service in
                    .init(
                        service: service, successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup)
                }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger.quiet))
        try await group.run()
    }
}

extension Logger {
    /// For libraries: warnings and worse.
    var quiet: Logger {
        var quiet = self
        quiet.logLevel = max(.warning, logLevel)
        return quiet
    }
}
