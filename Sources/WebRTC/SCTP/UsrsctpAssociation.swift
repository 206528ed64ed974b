import CUsrsctp
import Core
import Glibc
import Synchronization

/// Where C's callbacks put what they have, found by an opaque number, never by a pointer that could dangle or leak.
///
/// `@unchecked Sendable`: used only inside calls into usrsctp, which its one driving thread makes.
private final class SCTPMailbox: @unchecked Sendable {
    var packets: [[UInt8]] = []
    var events: [SCTPEvent] = []
    /// A message that usrsctp hands over in parts.
    var partial: [UInt16: [UInt8]] = [:]
}

/// usrsctp's global state: initialised once, never finished. One thread drives all associations of the process.
private enum SCTPEnvironment {
    private struct State {
        var next: UInt = 1
        var boxes: [UInt: SCTPMailbox] = [:]
        var clock: MonotonicTime?
    }
    private static let state = Mutex(State())

    private static let start: Void = {
        unsafe sudocam_usrsctp_init_nothreads { address, bytes, count, _, _ in
            guard let bytes = unsafe bytes, let box = SCTPEnvironment.box(UInt(bitPattern: address)) else { return 0 }
            box.packets.append(unsafe Array(UnsafeRawBufferPointer(start: bytes, count: count)))
            return 0
        }
        usrsctp_sysctl_set_sctp_ecn_enable(0)
        usrsctp_sysctl_set_sctp_asconf_enable(0)
        usrsctp_sysctl_set_sctp_auth_enable(0)
        usrsctp_sysctl_set_sctp_nr_outgoing_streams_default(16)
        usrsctp_sysctl_set_sctp_delayed_sack_time_default(20)
        usrsctp_sysctl_set_sctp_rto_min_default(200)
        usrsctp_sysctl_set_sctp_rto_initial_default(500)
        usrsctp_sysctl_set_sctp_rto_max_default(10_000)
        usrsctp_sysctl_set_sctp_init_rto_max_default(3_000)
        usrsctp_sysctl_set_sctp_assoc_rtx_max_default(8)
        usrsctp_sysctl_set_sctp_initial_cwnd(10)
        usrsctp_sysctl_set_sctp_max_burst_default(10)
        usrsctp_sysctl_set_sctp_heartbeat_interval_default(10_000)
    }()

    static func register(_ box: SCTPMailbox) -> UInt {
        _ = start
        return state.withLock { state in
            defer { state.next &+= 1 }
            state.boxes[state.next] = box
            return state.next
        }
    }
    static func forget(_ handle: UInt) { state.withLock { _ = $0.boxes.removeValue(forKey: handle) } }
    static func box(_ handle: UInt) -> SCTPMailbox? { state.withLock { $0.boxes[handle] } }

    /// Moves the one clock of all associations; whoever comes first in a tick moves it for all.
    static func advance(to now: MonotonicTime) {
        let elapsed: Int64 = state.withLock { state in
            let last = state.clock ?? now
            // A clock that went back is another clock (a test's): begin anew.
            guard now >= last else {
                state.clock = now
                return 0
            }
            let elapsed = (now - last) / 1000
            if elapsed > 0 || state.clock == nil { state.clock = last + elapsed * 1000 }
            return elapsed
        }
        if elapsed > 0 { usrsctp_handle_timers(UInt32(min(elapsed, 1000))) }
    }
}

/// One association over DTLS by libusrsctp (AF_CONN). Owns the socket.
@safe final class UsrsctpAssociation: SCTPTransport {
    private let handle: UInt
    private let box: SCTPMailbox
    private var socket: OpaquePointer?
    private let remotePort: UInt16
    private let localPort: UInt16
    private var isConnecting = false
    private var early: [[UInt8]] = []

    /// `sendBuffer` bytes is the high-water mark.
    init(localPort: UInt16 = 5000, remotePort: UInt16, sendBuffer: Int) throws(WebRTCError) {
        let box = SCTPMailbox()
        let handle = SCTPEnvironment.register(box)
        let opaque = unsafe UnsafeMutableRawPointer(bitPattern: handle)
        unsafe usrsctp_register_address(opaque)
        let socket = unsafe usrsctp_socket(
            AF_CONN, Int32(SOCK_STREAM.rawValue), Int32(IPPROTO_SCTP),
            { _, _, data, count, info, flags, handle in
                unsafe UsrsctpAssociation.receive(data, count, info, flags, UInt(bitPattern: handle))
            }, nil, 0, opaque)
        guard let socket = unsafe socket else {
            unsafe usrsctp_deregister_address(opaque)
            SCTPEnvironment.forget(handle)
            throw WebRTCError(.sctp, "usrsctp_socket failed with errno \(errno)")
        }
        self.handle = handle
        self.box = box
        self.localPort = localPort
        self.remotePort = remotePort
        unsafe self.socket = socket
        unsafe usrsctp_set_non_blocking(socket, 1)
        // Aborts on close, so that nothing outlives the session.
        set(SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0))
        set(SOL_SOCKET, SO_SNDBUF, Int32(clamping: sendBuffer))
        set(SOL_SOCKET, SO_RCVBUF, Int32(131_072))
        set(Int32(IPPROTO_SCTP), SCTP_NODELAY, UInt32(1))
        set(Int32(IPPROTO_SCTP), SCTP_FRAGMENT_INTERLEAVE, UInt32(0))
        set(
            Int32(IPPROTO_SCTP), SCTP_ENABLE_STREAM_RESET,
            sctp_assoc_value(assoc_id: UInt32(SCTP_ALL_ASSOC), assoc_value: 1))
        for event in [SCTP_ASSOC_CHANGE, SCTP_STREAM_RESET_EVENT] {
            var subscription = sctp_event()
            subscription.se_assoc_id = UInt32(SCTP_ALL_ASSOC)
            subscription.se_type = UInt16(event)
            subscription.se_on = 1
            set(Int32(IPPROTO_SCTP), SCTP_EVENT, subscription)
        }
        var streams = sctp_initmsg()
        streams.sinit_num_ostreams = 16
        streams.sinit_max_instreams = 16
        set(Int32(IPPROTO_SCTP), SCTP_INITMSG, streams)
        // DTLS and UDP leave this much of a 1280-byte path; no discovery, the path is hidden from SCTP.
        var path = sctp_paddrparams()
        path.spp_flags = UInt32(SPP_PMTUD_DISABLE)
        path.spp_pathmtu = 1172
        set(Int32(IPPROTO_SCTP), SCTP_PEER_ADDR_PARAMS, path)
    }
    deinit { abort() }

    private func set<Value>(_ level: Int32, _ name: Int32, _ value: Value) {
        var value = value
        _ = unsafe withUnsafeBytes(of: &value) { bytes in
            unsafe usrsctp_setsockopt(socket, level, name, bytes.baseAddress, socklen_t(bytes.count))
        }
    }

    private func withAddress(port: UInt16, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = unsafe sockaddr_conn()
        unsafe address.sconn_family = UInt16(AF_CONN)
        unsafe address.sconn_port = port.bigEndian
        unsafe address.sconn_addr = UnsafeMutableRawPointer(bitPattern: handle)
        return unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(MemoryLayout<sockaddr_conn>.size))
            }
        }
    }

    func connect(now: MonotonicTime) {
        guard !isConnecting, let socket = unsafe socket else { return }
        SCTPEnvironment.advance(to: now)
        isConnecting = true
        _ = unsafe withAddress(port: localPort) { unsafe usrsctp_bind(socket, $0, $1) }
        let result = unsafe withAddress(port: remotePort) { unsafe usrsctp_connect(socket, $0, $1) }
        if result != 0 && errno != EINPROGRESS { box.events.append(.closed) }
        // Our INIT goes first; an INIT that came earlier would meet no listener and be refused.
        for packet in early { input(packet) }
        early = []
    }

    func handle(_ packet: [UInt8], now: MonotonicTime) {
        SCTPEnvironment.advance(to: now)
        guard isConnecting else {
            if early.count < 16 { early.append(packet) }
            return
        }
        input(packet)
    }
    private func input(_ packet: [UInt8]) {
        guard unsafe socket != nil else { return }
        unsafe packet.withUnsafeBytes {
            unsafe usrsctp_conninput(UnsafeMutableRawPointer(bitPattern: handle), $0.baseAddress, $0.count, 0)
        }
    }

    func handleTimeout(now: MonotonicTime) { SCTPEnvironment.advance(to: now) }

    func send(_ bytes: [UInt8], stream: UInt16, protocolID: UInt32) throws(WebRTCError) {
        guard let socket = unsafe socket else { throw WebRTCError(.sctp, "the association is closed") }
        var info = sctp_sndinfo()
        info.snd_sid = stream
        info.snd_ppid = protocolID.bigEndian
        info.snd_flags = UInt16(SCTP_EOR)
        let sent = unsafe bytes.withUnsafeBytes { bytes in
            unsafe usrsctp_sendv(
                socket, bytes.baseAddress, bytes.count, nil, 0, &info, socklen_t(MemoryLayout<sctp_sndinfo>.size),
                UInt32(SCTP_SENDV_SNDINFO), 0)
        }
        guard sent < 0 else { return }
        if errno == EWOULDBLOCK || errno == EAGAIN || errno == EMSGSIZE {
            throw WebRTCError(.sendBufferFull, "the data channel's reader is slow", hint: "Send again later.")
        }
        throw WebRTCError(.sctp, "usrsctp_sendv failed with errno \(errno)")
    }

    func reset(stream: UInt16) {
        guard let socket = unsafe socket else { return }
        // sctp_reset_streams ends in a flexible array: association, flags, count, list.
        var request = [UInt16](repeating: 0, count: 5)
        request[2] = UInt16(SCTP_STREAM_RESET_OUTGOING)
        request[3] = 1
        request[4] = stream
        _ = unsafe request.withUnsafeBytes { bytes in
            unsafe usrsctp_setsockopt(
                socket, Int32(IPPROTO_SCTP), SCTP_RESET_STREAMS, bytes.baseAddress, socklen_t(bytes.count))
        }
    }

    func abort() {
        guard let open = unsafe socket else { return }
        unsafe socket = nil
        unsafe usrsctp_close(open)
        unsafe usrsctp_deregister_address(UnsafeMutableRawPointer(bitPattern: handle))
        SCTPEnvironment.forget(handle)
    }

    func takePackets() -> [[UInt8]] {
        defer { box.packets = [] }
        return box.packets
    }
    func takeEvents() -> [SCTPEvent] {
        defer { box.events = [] }
        return box.events
    }

    private static func receive(
        _ data: UnsafeMutableRawPointer?, _ count: Int, _ info: sctp_rcvinfo, _ flags: Int32, _ handle: UInt
    ) -> Int32 {
        guard let data = unsafe data else { return 1 }
        // The callback owns the buffer.
        defer { unsafe free(data) }
        guard let box = SCTPEnvironment.box(handle) else { return 1 }
        let bytes = unsafe UnsafeRawBufferPointer(start: data, count: count)
        if flags & MSG_NOTIFICATION == 0 {
            var message = box.partial.removeValue(forKey: info.rcv_sid) ?? []
            unsafe message.append(contentsOf: bytes)
            guard flags & Int32(truncatingIfNeeded: Int(MSG_EOR)) != 0 else {
                // What no honest sender exceeds ends the association instead of filling memory.
                if message.count > 1 << 20 { box.events.append(.closed) } else { box.partial[info.rcv_sid] = message }
                return 1
            }
            box.events.append(
                .message(stream: info.rcv_sid, protocolID: UInt32(bigEndian: info.rcv_ppid), bytes: message))
            return 1
        }
        // Every notification begins with type, flags and length.
        guard count >= 8 else { return 1 }
        switch unsafe Int32(bytes.loadUnaligned(as: UInt16.self)) {
        case SCTP_ASSOC_CHANGE where count >= 10:
            switch unsafe Int32(bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self)) {
            case SCTP_COMM_UP: box.events.append(.connected)
            case SCTP_COMM_LOST, SCTP_SHUTDOWN_COMP, SCTP_CANT_STR_ASSOC: box.events.append(.closed)
            default: break
            }
        case SCTP_STREAM_RESET_EVENT where count >= 12:
            let flags = unsafe Int32(bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
            guard flags & SCTP_STREAM_RESET_INCOMING_SSN != 0 else { break }
            for offset in stride(from: 12, through: count - 2, by: 2) {
                box.events.append(.reset(stream: unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
            }
        default: break
        }
        return 1
    }
}
