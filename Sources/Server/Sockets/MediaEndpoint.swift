import Core
import Logging
import NIOCore
import NIOPosix
import Playback
import ServiceLifecycle
import Vault
import WebRTC

/// The UDP side: one socket per interface address, one port, one event loop for every viewer.
///
/// One loop, because usrsctp keeps global state that one thread owns; each frame is a short hop, so 50 sessions fit on a core.
final class MediaEndpoint: Service {
    struct OpenedSession: Sendable {
        var id: UUID
        var answer: String
        var hasVideo: Bool
    }

    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let loop: any EventLoop
    private let table: NIOLoopBound<PeerTable>
    private let vault: Vault
    private let time: any TimeSource
    private let logger: Logger
    private let addresses: [NIOCore.SocketAddress]
    private let sessions: AsyncStream<ViewerSession>
    private let newSession: AsyncStream<ViewerSession>.Continuation
    private let live: any LiveSource

    static let sessionLimit = 256

    /// Binds nothing yet; `bind` does.
    init(
        configuration: Configuration, vault: Vault, live: any LiveSource, certificate: DTLSCertificate,
        time: any TimeSource, logger: Logger
    ) async throws(ServerError) {
        loop = group.next()
        self.vault = vault
        self.time = time
        self.logger = logger
        self.live = live
        addresses = try Self.addresses(configuration)
        (sessions, newSession) = AsyncStream.makeStream(of: ViewerSession.self)
        let loop = loop
        do {
            table = try await loop.submit {
                NIOLoopBound(
                    PeerTable(certificate: certificate, loop: loop, time: time, logger: logger), eventLoop: loop)
            }.get()
        } catch {
            throw ServerError(.cannotListen, "The media endpoint could not be set up.", underlying: error)
        }
    }

    /// Interface addresses a viewer may reach us at; containers' bridges would only lead browsers astray (W1).
    private static func addresses(_ configuration: Configuration) throws(ServerError) -> [NIOCore.SocketAddress] {
        do {
            if !configuration.mediaAddresses.isEmpty {
                return try configuration.mediaAddresses.map {
                    try NIOCore.SocketAddress(ipAddress: $0, port: configuration.mediaPort)
                }
            }
            var found: [NIOCore.SocketAddress] = []
            for device in try System.enumerateDevices() {
                let isBridge = ["docker", "veth", "br-", "virbr", "cni", "podman"].contains {
                    device.name.hasPrefix($0)
                }
                guard !isBridge, var address = device.address, let text = address.ipAddress else { continue }
                // Link-local addresses need a scope that no candidate can carry.
                guard !text.lowercased().hasPrefix("fe80"), !text.hasPrefix("169.254.") else { continue }
                address.port = configuration.mediaPort
                found.append(address)
            }
            return found
        } catch {
            throw ServerError(
                .configuration, "The media addresses cannot be used.",
                hint: "List this machine's addresses under `media-addresses`.", underlying: error)
        }
    }

    /// Opens the sockets. Afterwards sessions can be opened.
    func bind() async throws(ServerError) {
        var bound = 0
        var lastError: (any Error)?
        for address in addresses {
            do {
                let table = table
                let channel = try await DatagramBootstrap(group: loop)
                    .channelOption(.socketOption(.so_rcvbuf), value: 1 << 20)
                    .channelOption(.socketOption(.so_sndbuf), value: 4 << 20)
                    .channelOption(.datagramVectorReadMessageCount, value: 32)
                    .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 32 * 2048))
                    .channelOption(.writeBufferWaterMark, value: .init(low: 4 << 20, high: 16 << 20))
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(DatagramInlet(table: table.value))
                        }
                    }
                    .bind(to: address).get()
                try await loop.submit { table.value.add(channel) }.get()
                bound += 1
            } catch {
                lastError = error
                logger.warning("no media on this address", metadata: ["address": "\(address)", "error": "\(error)"])
            }
        }
        guard bound > 0 else {
            let inUse = (lastError as? IOError)?.errnoCode == EADDRINUSE
            throw ServerError(
                inUse ? .portInUse : .cannotListen,
                "UDP port \(addresses.first?.port ?? 0) \(inUse ? "is in use" : "cannot be opened on any address").",
                hint: "Choose another `media-port` in sudocam.yaml.", underlying: lastError)
        }
    }

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.endOnShutdown() }
            await withDiscardingTaskGroup { viewers in
                for await session in sessions { viewers.addTask { await session.run() } }
                await closeAll()
            }
            group.cancelAll()
        }
        let table = table
        try? await loop.submit { table.value.closeSockets() }.get()
        try? await group.shutdownGracefully()
    }

    private func endOnShutdown() async {
        try? await gracefulShutdown()
        newSession.finish()
    }

    // MARK: Sessions

    func openSession(offer: String, live camera: CameraID?, account: String) async throws(ServerError) -> OpenedSession
    {
        let id = UUID.random()
        let table = table
        let (vault, live, time, logger) = (vault, live, time, logger)
        let result: Result<(OpenedSession, ViewerSession), ServerError>
        do {
            result = try await loop.submit { () -> Result<(OpenedSession, ViewerSession), ServerError> in
                do {
                    return .success(
                        try table.value.open(
                            id: id, offer: offer, live: camera, vault: vault, source: live, time: time, logger: logger)
                    )
                } catch let error as ServerError {
                    return .failure(error)
                } catch {
                    return .failure(ServerError(.refused, "The offer cannot be answered.", underlying: error))
                }
            }.get()
        } catch {
            throw ServerError(.refused, "The recorder is stopping.", underlying: error)
        }
        let (session, viewer) = try result.get()
        newSession.yield(viewer)
        return session
    }

    /// The answer to trickled candidates: empty, or a new fragment after an ICE restart; nil for an unknown session.
    func addCandidates(_ fragment: String, to id: UUID) async throws(ServerError) -> String? {
        let table = table
        do {
            return try await loop.submit { try table.value.addCandidates(fragment, to: id) }.get()
        } catch {
            throw ServerError(.refused, "These candidates cannot be used.", underlying: error)
        }
    }

    func closeSession(_ id: UUID) async -> Bool {
        let table = table
        return (try? await loop.submit { table.value.close(id) }.get()) ?? false
    }

    /// Ends every connection at once: after locking or log-out (W41).
    func closeAll() async {
        let table = table
        try? await loop.submit { table.value.closeAll() }.get()
    }

    func counts() async -> PeerTable.Counts {
        let table = table
        return (try? await loop.submit { table.value.counts }.get()) ?? PeerTable.Counts()
    }
}

/// Hands datagrams to the table; one a socket.
private final class DatagramInlet: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let table: PeerTable
    init(table: PeerTable) { self.table = table }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard let local = context.localAddress else { return }
        table.receive(envelope, at: local)
    }
    func channelReadComplete(context: ChannelHandlerContext) { table.flush() }
    /// An ICMP "port unreachable" of one viewer is no reason to close everybody's socket.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
