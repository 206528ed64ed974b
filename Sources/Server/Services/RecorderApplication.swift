import CProcess
public import Core
import Foundation
import Glibc
import Hummingbird
import HummingbirdTLS
public import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle
import UnixSignals
import Vault
import WebRTC

/// The recorder as a whole: opens the vault, puts the services together, runs them until SIGTERM or SIGINT.
public struct RecorderApplication: Sendable {
    private let configuration: Configuration
    private let time: any TimeSource
    private let logger: Logger
    private let acceptsOlderCopy: Bool

    /// - Parameter acceptsOlderCopy: a vault that is behind, or beside, what was seen of it goes on, and its ledger says so.
    public init(
        configuration: Configuration, acceptsOlderCopy: Bool = false, time: (any TimeSource)? = nil, logger: Logger
    ) {
        self.configuration = configuration
        self.acceptsOlderCopy = acceptsOlderCopy
        self.time = time ?? SystemTime { sudocam_wall_clock_is_synchronised() }
        self.logger = logger
    }

    /// - Parameter ready: called once everything listens, with the page's address and, under TLS, the certificate's
    ///   SHA-256 fingerprint.
    public func run(ready: @escaping @Sendable (_ url: String, _ fingerprint: String?) -> Void) async throws {
        Hardening.apply()
        let (vault, pin) = try await PinStore(configuration).openWriting(
            configuration, time: time, acceptsOlderCopy: acceptsOlderCopy)
        do {
            try await run(vault, pin, ready)
        } catch {
            await vault.close()
            throw error
        }
        await vault.close()
    }

    private func run(
        _ vault: Vault, _ pin: CheckpointPin,
        _ ready: @escaping @Sendable (_ url: String, _ fingerprint: String?) -> Void
    ) async throws {
        vault.setRetention(configuration.retentionPolicy(vault: vault.id))
        let changes = ChangeStream()
        let accounts = Accounts(time: time, idleMinutes: configuration.lockAfterMinutes)
        let recording = try await RecordingService(
            configuration: configuration, vault: vault, time: time, logger: logger,
            statusChanged: { changes.changed() })
        let media = try await MediaEndpoint(
            configuration: configuration, vault: vault, live: recording,
            certificate: try DTLSCertificate(now: time.wallNow()), time: time, logger: logger)
        let services = RecorderServices(
            vault: vault, recording: recording, media: media, accounts: accounts, changes: changes, time: time)
        for alarm in vault.openingAlarms { services.raise(alarm: alarm) }
        if let alarm = vault.diskPressure.alarm { services.raise(alarm: alarm, topic: DiskPressure.topic) }
        try await media.bind()

        let listen = configuration.listen
        let tls =
            try listen.isLoopback && configuration.tls == nil
            ? nil : PageCertificate(configuration, now: time.wallNow())
        let routes = Routes(recorder: services, isSecure: tls != nil, hostNames: hostNames)
        try Self.checkPort(listen)
        let url = "\(tls == nil ? "http" : "https")://\(listen.host.contains(":") ? "[\(listen.host)]" : listen.host):"
        let page = Application(
            router: routes.router(),
            server: try tls.map { try .tls(tlsConfiguration: $0.configuration) } ?? .http1(),
            configuration: ApplicationConfiguration(
                address: .hostname(listen.host, port: listen.port), serverName: "SudoCam"),
            onServerRunning: { channel in
                ready("\(url)\(channel.localAddress?.port ?? listen.port)/", tls?.fingerprint)
            }, logger: quiet)
        let control = ControlSocket(path: configuration.vault + "/control.sock", recorder: services, logger: logger)
        let retention = RetentionService(recorder: services, logger: logger)
        let scrub = ScrubService(recorder: services, settings: configuration.scrub, logger: logger)
        let keys = KeyService(recorder: services, unlock: configuration.unlock, logger: logger)
        let pins = PinService(recorder: services, store: PinStore(configuration), first: pin, logger: logger)
        let watch = IdleLock(
            recorder: services, changes: changes, locksWhenIdle: configuration.unlock == nil, logger: logger)
        // Stopped in reverse order: the page first, the recorder last.
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: ([pins, recording, media, retention, keys, scrub, control, watch, page] as [any Service]).map
                {
                    service in
                    .init(
                        service: service, successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup)
                }, gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
        try await group.run()
    }

    private var quiet: Logger {
        var quiet = logger
        quiet.logLevel = max(.warning, logger.logLevel)
        return quiet
    }

    private var hostNames: Set<String> {
        var buffer = [CChar](repeating: 0, count: 256)
        gethostname(&buffer, buffer.count - 1)
        let own = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercased()
        return Set(configuration.hostNames.map { $0.lowercased() } + [own, own + ".local", configuration.listen.host])
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

/// No core files, no attaching by other users, files for their owner only, and memory that is given back is overwritten. For the
/// recorder and for every command: secrets pass through all of them.
package enum Hardening {
    package static func apply() {
        umask(0o077)
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        _ = sudocam_no_dump()
        // Swift's runtime would print registers and memory of a crash, by a second process that may not look into this one and
        // waits for ever. A crash shall end the process, and whoever started it shall see that.
        for number in [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGTRAP] { signal(number, SIG_DFL) }
        // Frames pass through many buffers of libav, Swift and NIO; `mallopt(3)` M_PERTURB fills each when it is freed, so that
        // a closed clip's plaintext does not linger (`docs/threat-model.md`).
        _ = sudocam_fill_freed_memory(0x5A)
    }
}

/// Locks the vault once nobody has used it for a while, and passes the vault's alarms on.
struct IdleLock: Service {
    let recorder: RecorderServices
    let changes: ChangeStream
    /// False when the owner has the vault unlocked by itself: then only `lock` locks it, and sessions end alone.
    let locksWhenIdle: Bool
    let logger: Logger

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await event in recorder.vault.events {
                    switch event {
                    case .alarm(let text):
                        logger.error("alarm", metadata: ["alarm": "\(text)"])
                        // What follows the colon is this time's path and reason: one alarm of a kind is enough.
                        recorder.raise(alarm: text, topic: String(text.prefix { $0 != ":" }))
                    case .disk(let pressure): tell(pressure)
                    case .committed, .gap, .deleted, .locked, .unlocked: changes.changed()
                    }
                }
            }
            group.addTask {
                while (try? await Task.sleep(for: .seconds(10))) != nil {
                    guard locksWhenIdle, recorder.vault.isUnlocked, recorder.accounts.allIdle() else { continue }
                    if await recorder.media.counts().sessions == 0 { await recorder.lock() }
                }
            }
            group.addTask { try? await gracefulShutdown() }
            // Whichever ends first: only the shutdown does.
            await group.next()
            group.cancelAll()
        }
        changes.close()
    }

    private func tell(_ pressure: DiskPressure) {
        guard let text = pressure.alarm else {
            logger.notice("there is space on the disk again")
            return recorder.clear(topic: DiskPressure.topic)
        }
        logger.error("alarm", metadata: ["alarm": "\(text)"])
        recorder.raise(alarm: text, topic: DiskPressure.topic)
    }
}

extension DiskPressure {
    static let topic = "disk"
    var alarm: String? {
        switch self {
        case .none: nil
        case .full: "The disk is full; the oldest footage is deleted so that recording goes on."
        case .stopped:
            "The disk is full and nothing may be deleted: what is left is on hold, being read, or being recorded. Recording stops until there is space."
        }
    }
}

/// The page's certificate: the owner's own, or one made at first start and kept beside the vault's keys.
struct PageCertificate {
    let configuration: TLSConfiguration
    let fingerprint: String

    init(_ settings: Configuration, now: WallTime) throws(ServerError) {
        do {
            let (certificatePath, keyPath): (String, String)
            if let own = settings.tls {
                (certificatePath, keyPath) = (own.certificate, own.key)
            } else {
                (certificatePath, keyPath) = (settings.vault + "/keys/page.crt", settings.vault + "/keys/page.key")
                if !FileManager.default.fileExists(atPath: certificatePath) {
                    let made = try DTLSCertificate.selfSignedPEM(
                        names: Self.names(settings), validDays: 3650, now: now)
                    try SecretFile.write(made.keyPEM, to: keyPath)
                    try SecretFile.write(made.certificatePEM, to: certificatePath)
                }
            }
            let chain = try NIOSSLCertificate.fromPEMFile(certificatePath)
            guard let leaf = chain.first else {
                throw ServerError(.certificate, "\(certificatePath) holds no certificate.")
            }
            configuration = .makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem)))
            fingerprint = ObjectID.hash(of: try leaf.toDERBytes()).digest.map { byte in
                let text = String(byte, radix: 16, uppercase: true)
                return text.count < 2 ? "0" + text : text
            }.joined(separator: ":")
        } catch let error as ServerError {
            throw error
        } catch {
            throw ServerError(
                .certificate, "The page's certificate cannot be used.",
                hint: "Check `tls` in sudocam.yaml, or delete keys/page.crt and keys/page.key to have new ones made.",
                underlying: error)
        }
    }

    private static func names(_ settings: Configuration) -> [String] {
        var names = settings.hostNames + ["localhost", "127.0.0.1"]
        if !["0.0.0.0", "::"].contains(settings.listen.host) { names.append(settings.listen.host) }
        return names
    }
}
