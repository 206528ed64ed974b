import Core
import Logging
import Media
import NIOCore
import Playback
import Vault
import WebRTC

/// Every viewer's peer, confined to the media event loop: datagrams in, datagrams out, timers.
///
/// A peer is a machine without clock or socket; this is its only driver. After each input its outputs are drained at once.
final class PeerTable {
    struct Counts: Sendable {
        var sessions = 0
        var opened: UInt64 = 0
        var datagramsIn: UInt64 = 0
        var datagramsOut: UInt64 = 0
        var dropped: UInt64 = 0
        var bytesOut: UInt64 = 0
    }

    private struct Entry {
        var peer: Peer
        var viewer: ViewerSession
        var control: UInt16?
        /// Replies before the browser opened its channel.
        var waiting: [String] = []
        var live: CameraID?
        var timer: Scheduled<Void>?
        var isFailing = false
    }

    private let certificate: DTLSCertificate
    private let loop: any EventLoop
    private let time: any TimeSource
    private let logger: Logger
    private var entries: [UUID: Entry] = [:]
    private var demultiplexer = PeerDemultiplexer<UUID>()
    private var sockets: [WebRTC.SocketAddress: any Channel] = [:]
    private var dirty: Set<WebRTC.SocketAddress> = []
    private(set) var counts = Counts()

    init(certificate: DTLSCertificate, loop: any EventLoop, time: any TimeSource, logger: Logger) {
        self.certificate = certificate
        self.loop = loop
        self.time = time
        self.logger = logger
    }

    // MARK: Sockets

    func add(_ channel: any Channel) {
        guard let address = channel.localAddress.flatMap(WebRTC.SocketAddress.init(_:)) else { return }
        sockets[address] = channel
    }

    func closeSockets() {
        for channel in sockets.values { channel.close(promise: nil) }
        sockets = [:]
    }

    func receive(_ envelope: AddressedEnvelope<ByteBuffer>, at local: NIOCore.SocketAddress) {
        counts.datagramsIn += 1
        guard let from = WebRTC.SocketAddress(envelope.remoteAddress), let to = WebRTC.SocketAddress(local) else {
            return
        }
        let datagram = Datagram(
            bytes: Array(envelope.data.readableBytesView), local: to, remote: from)
        guard let id = demultiplexer.peer(for: datagram), let entry = entries[id] else {
            counts.dropped += 1
            return
        }
        if entry.peer.handle(datagram, now: time.monotonicNow()) {
            demultiplexer.learn(id, local: datagram.local, remote: datagram.remote)
        }
        drain(id)
    }

    func flush() {
        for address in dirty { sockets[address]?.flush() }
        dirty.removeAll(keepingCapacity: true)
    }

    // MARK: Sessions

    func open(
        id: UUID, offer: String, live camera: CameraID?, vault: Vault, source: any LiveSource, time: any TimeSource,
        logger: Logger
    ) throws -> (MediaEndpoint.OpenedSession, ViewerSession) {
        guard entries.count < MediaEndpoint.sessionLimit else {
            throw ServerError(
                .refused, "\(entries.count) viewers are connected, which is the limit.", hint: "Close a page.")
        }
        guard !sockets.isEmpty else { throw ServerError(.cannotListen, "The media sockets are closed.") }
        let configuration = PeerConfiguration(
            certificate: certificate, localAddresses: sockets.keys.sorted { "\($0)" < "\($1)" })
        let peer = try Peer(
            offer: offer, configuration: configuration, random: SystemRandomNumberGenerator(), now: time.monotonicNow())
        let output = PeerOutlet(id: id, table: NIOLoopBound(self, eventLoop: loop), loop: loop)
        let viewer = ViewerSession(
            vault: vault, live: source, output: output, track: "0",
            firstRTP: UInt32.random(in: 0...UInt32.max), time: time, logger: logger)
        entries[id] = Entry(peer: peer, viewer: viewer, live: camera)
        demultiplexer.add(id, localUfrag: peer.localUfrag)
        counts.opened += 1
        counts.sessions = entries.count
        drain(id)
        flush()
        return (MediaEndpoint.OpenedSession(id: id, answer: peer.answer, hasVideo: peer.canSendVideo), viewer)
    }

    func addCandidates(_ fragment: String, to id: UUID) throws -> String? {
        guard let entry = entries[id] else { return nil }
        let answer = try entry.peer.addRemoteCandidates(fragment, now: time.monotonicNow())
        demultiplexer.add(id, localUfrag: entry.peer.localUfrag)
        drain(id)
        flush()
        return answer ?? ""
    }

    func close(_ id: UUID) -> Bool {
        guard let entry = entries[id] else { return false }
        entry.peer.close(now: time.monotonicNow())
        drain(id)
        remove(id)
        flush()
        return true
    }

    func closeAll() { for id in Array(entries.keys) { _ = close(id) } }

    private func remove(_ id: UUID) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        entry.timer?.cancel()
        entry.viewer.stop()
        demultiplexer.remove(id)
        counts.sessions = entries.count
    }

    // MARK: From the player

    func send(_ frame: PlayerMachine.Outgoing, to id: UUID) {
        guard let entry = entries[id] else { return }
        entry.peer.sendVideo(
            VideoUnit(
                bytes: frame.data, rtpTimestamp: frame.rtp, isKey: frame.isKey,
                playoutDelay: VideoUnit.PlayoutDelay(minimum: 0, maximum: 0),
                parameterSets: frame.parameters.sps + frame.parameters.pps),
            now: time.monotonicNow())
        drain(id)
        flush()
    }

    func discardQueued(_ id: UUID) { entries[id]?.peer.discardQueuedVideo() }

    func send(_ reply: ControlReply, to id: UUID) {
        guard let entry = entries[id] else { return }
        guard let control = entry.control else {
            if entry.waiting.count < 64 { entries[id]?.waiting.append(reply.json) }
            return
        }
        send(reply.json, on: control, to: id)
        drain(id)
        flush()
    }

    private func send(_ text: String, on channel: UInt16, to id: UUID) {
        guard let entry = entries[id] else { return }
        do {
            try entry.peer.sendMessage(text, on: channel, now: time.monotonicNow())
        } catch {
            // Whoever does not read what he is told is not served further (W22).
            logger.notice("a viewer does not read its messages", metadata: ["session": "\(id)"])
            loop.assumeIsolated().execute { _ = self.close(id) }
        }
    }

    // MARK: From the peer

    private func drain(_ id: UUID) {
        guard let peer = entries[id]?.peer else { return }
        let now = time.monotonicNow()
        while let output = peer.poll(now: now) {
            switch output {
            case .transmit(let datagram): transmit(datagram)
            case .event(let event):
                handle(event, of: id)
                if entries[id] == nil { return }
            }
        }
        arm(id, now)
    }

    private func transmit(_ datagram: Datagram) {
        guard let socket = sockets[datagram.local], let remote = NIOCore.SocketAddress(datagram.remote) else {
            counts.dropped += 1
            return
        }
        var buffer = socket.allocator.buffer(capacity: datagram.bytes.count)
        buffer.writeBytes(datagram.bytes)
        counts.datagramsOut += 1
        counts.bytesOut += UInt64(datagram.bytes.count)
        socket.write(AddressedEnvelope(remoteAddress: remote, data: buffer), promise: nil)
        dirty.insert(datagram.local)
    }

    private func handle(_ event: PeerEvent, of id: UUID) {
        guard let entry = entries[id] else { return }
        switch event {
        case .connected:
            if let camera = entry.live {
                entry.viewer.receive(Array(#"{"type":"live","id":0,"camera":"\#(camera)"}"#.utf8))
            }
        case .channelOpened(let channel, let label):
            guard label == "control" else { return }
            entries[id]?.control = channel
            entries[id]?.waiting = []
            for text in entry.waiting { send(text, on: channel, to: id) }
        case .message(let channel, let bytes, _):
            if channel == entry.control { entry.viewer.receive(bytes) }
        case .channelClosed(let channel):
            if channel == entry.control { entries[id]?.control = nil }
        case .keyFrameRequested: entry.viewer.keyFrameRequested()
        case .closed(let reason):
            logger.debug("a viewer left", metadata: ["session": "\(id)", "reason": "\(reason)"])
            remove(id)
        }
    }

    private func arm(_ id: UUID, _ now: MonotonicTime) {
        entries[id]?.timer?.cancel()
        guard let at = entries[id]?.peer.nextTimeout else {
            entries[id]?.timer = nil
            return
        }
        entries[id]?.timer = loop.assumeIsolated().scheduleTask(in: .microseconds(max(0, at - now))) { [weak self] in
            guard let self, let peer = self.entries[id]?.peer else { return }
            peer.handleTimeout(now: self.time.monotonicNow())
            self.drain(id)
            self.flush()
        }
    }
}

/// What a viewer's session sends, carried to the media loop.
struct PeerOutlet: ViewerOutput {
    let id: UUID
    let table: NIOLoopBound<PeerTable>
    let loop: any EventLoop

    func send(_ frame: PlayerMachine.Outgoing) { loop.execute { [id, table] in table.value.send(frame, to: id) } }
    func send(_ reply: ControlReply) { loop.execute { [id, table] in table.value.send(reply, to: id) } }
    func discardQueued() { loop.execute { [id, table] in table.value.discardQueued(id) } }
    func close() { loop.execute { [id, table] in _ = table.value.close(id) } }
}

extension WebRTC.SocketAddress {
    init?(_ address: NIOCore.SocketAddress) {
        guard let text = address.ipAddress, let port = address.port else { return nil }
        self.init(host: text, port: UInt16(truncatingIfNeeded: port))
    }
}

extension NIOCore.SocketAddress {
    init?(_ address: WebRTC.SocketAddress) {
        guard let made = try? NIOCore.SocketAddress(ipAddress: address.host, port: Int(address.port)) else {
            return nil
        }
        self = made
    }
}
