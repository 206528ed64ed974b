import COpenSSL
import Core

/// One DTLS 1.2 association, server side (`setup:passive`), RFC 5764 and 8827. Owns the SSL.
///
///     handshaking ──fingerprint matches──▶ connected ──close_notify──▶ closed
///          └──────────wrong fingerprint, alert─────────────────────────▶ failed
///
/// Not pure in one point: OpenSSL reads the real clock for its own retransmission timer.
@safe final class DTLSSession {
    enum State: Equatable { case handshaking, connected, closed, failed(String) }
    static let maximumDatagram: Int32 = 1200

    private(set) var state = State.handshaking
    private(set) var keys: SRTPKeys?
    private let ssl: OpaquePointer
    private let queue = DatagramQueue()
    private let certificate: DTLSCertificate
    private let fingerprint: (algorithm: String, value: String)
    /// Decrypted records, for SCTP.
    var received: [[UInt8]] = []
    /// As long as the longest record.
    private var scratch = [UInt8](repeating: 0, count: 16384)

    init(certificate: DTLSCertificate, fingerprint: (algorithm: String, value: String), isClient: Bool = false)
        throws(WebRTCError)
    {
        guard let ssl = unsafe SSL_new(certificate.context) else { throw WebRTCError(.dtls, "SSL_new failed") }
        guard let bio = unsafe queue.makeBIO() else {
            unsafe SSL_free(ssl)
            throw WebRTCError(.dtls, "BIO_new failed")
        }
        // The SSL owns the BIO now, once for both directions.
        unsafe SSL_set_bio(ssl, bio, bio)
        _ = unsafe SSL_ctrl(ssl, SSL_CTRL_SET_MTU, Int(Self.maximumDatagram), nil)
        if isClient { unsafe SSL_set_connect_state(ssl) } else { unsafe SSL_set_accept_state(ssl) }
        // OpenSSL's first retransmission comes after 1 s; here after what the path needs, doubling to 3 s.
        unsafe DTLS_set_timer_cb(ssl) { ssl, last in
            guard last == 0 else { return min(last &* 2, 3_000_000) }
            let asked = unsafe UInt32(clamping: UInt(bitPattern: SSL_get_ex_data(ssl, DTLSSession.firstTimeoutIndex)))
            return asked > 0 ? asked : 200_000
        }
        self.certificate = certificate
        self.fingerprint = fingerprint
        unsafe self.ssl = ssl
    }
    deinit { unsafe SSL_free(ssl) }

    /// Application data (`SSL_set_app_data`) is ex_data 0: here the first timeout in µs, as a pointer's bits.
    private static let firstTimeoutIndex: Int32 = 0

    /// What ICE measured, µs: a lost flight is sent again after two round trips, not sooner than 50 ms.
    func measured(roundTrip: Int64) {
        guard state == .handshaking else { return }
        let timeout = UInt(min(max(50_000, 2 * roundTrip), 1_000_000))
        _ = unsafe SSL_set_ex_data(ssl, Self.firstTimeoutIndex, UnsafeMutableRawPointer(bitPattern: timeout))
    }

    func takeOutput() -> [[UInt8]] {
        defer { queue.outbound = [] }
        return queue.outbound
    }

    /// Starts or continues the handshake; a client calls it once without a datagram.
    func handle(_ datagram: [UInt8]?) {
        // Bounded: what OpenSSL does not take at once it may drop, as the network may.
        if let datagram, queue.inbound.count < 32 { queue.inbound.append(datagram) }
        if state == .handshaking { handshake() }
        if state == .connected { read() }
    }

    private func handshake() {
        ERR_clear_error()
        let result = unsafe SSL_do_handshake(ssl)
        guard result == 1 else {
            let error = unsafe SSL_get_error(ssl, result)
            if error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE {
                state = .failed("handshake, OpenSSL error \(String(ERR_peek_last_error(), radix: 16))")
            }
            ERR_clear_error()
            return
        }
        guard let peer = unsafe SSL_get1_peer_certificate(ssl) else {
            state = .failed("no certificate")
            return
        }
        defer { unsafe X509_free(peer) }
        let actual = unsafe DTLSCertificate.fingerprint(peer, algorithm: fingerprint.algorithm)
        guard let actual, actual == fingerprint.value.uppercased() else {
            state = .failed("the certificate is not the one of the offer")
            return
        }
        keys = exportKeys()
        state = .connected
        // SCTP packets may exceed the handshake's bound (RFC 8261 §5).
        _ = unsafe SSL_ctrl(ssl, SSL_CTRL_SET_MTU, 1400, nil)
    }

    private func read() {
        while true {
            ERR_clear_error()
            let count = unsafe scratch.withUnsafeMutableBytes { unsafe SSL_read(ssl, $0.baseAddress, Int32($0.count)) }
            if count > 0 {
                received.append(Array(scratch[..<Int(count)]))
                continue
            }
            switch unsafe SSL_get_error(ssl, count) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE:
                // A record OpenSSL silently dropped may leave others behind it.
                if queue.inbound.isEmpty { return }
            case SSL_ERROR_ZERO_RETURN:
                state = .closed
                return
            default:
                state = .failed("OpenSSL error \(String(ERR_peek_last_error(), radix: 16))")
                ERR_clear_error()
                return
            }
        }
    }

    /// One record; dropped unless connected.
    func send(_ bytes: [UInt8]) {
        guard state == .connected, !bytes.isEmpty else { return }
        ERR_clear_error()
        _ = unsafe bytes.withUnsafeBytes { unsafe SSL_write(ssl, $0.baseAddress, Int32(clamping: $0.count)) }
    }

    /// Sends close_notify.
    func close() {
        if state == .connected {
            _ = unsafe SSL_shutdown(ssl)
        }
        if state == .connected || state == .handshaking { state = .closed }
    }

    /// Microseconds until OpenSSL wants to send its flight again; nil when none is due.
    var timeout: Int64? {
        guard state == .handshaking else { return nil }
        var time = timeval()
        guard unsafe SSL_ctrl(ssl, DTLS_CTRL_GET_TIMEOUT, 0, &time) == 1 else { return nil }
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_usec)
    }
    func handleTimeout() {
        guard let timeout, timeout <= 0 else { return }
        if unsafe SSL_ctrl(ssl, DTLS_CTRL_HANDLE_TIMEOUT, 0, nil) < 0 { state = .failed("no answer to the handshake") }
        ERR_clear_error()
    }

    private func exportKeys() -> SRTPKeys? {
        guard let selected = unsafe SSL_get_selected_srtp_profile(ssl) else { return nil }
        guard let profile = unsafe SRTPKeys.Profile(rawValue: UInt16(truncatingIfNeeded: selected.pointee.id)) else {
            return nil
        }
        let (key, salt) = (profile.keyLength, profile.saltLength)
        var material = [UInt8](repeating: 0, count: 2 * (key + salt))
        let count = material.count
        let label = "EXTRACTOR-dtls_srtp"
        let done = unsafe SSL_export_keying_material(ssl, &material, count, label, label.utf8.count, nil, 0, 0)
        guard done == 1 else { return nil }
        // RFC 5764 §4.2: client key, server key, client salt, server salt.
        let client = Array(material[..<key] + material[(2 * key)..<(2 * key + salt)])
        let server = Array(material[key..<(2 * key)] + material[(2 * key + salt)...])
        return unsafe SSL_is_server(ssl) == 1
            ? SRTPKeys(profile: profile, own: server, other: client)
            : SRTPKeys(profile: profile, own: client, other: server)
    }
}
