import CSRTP

/// Keying material of both directions: master key, then salt.
struct SRTPKeys: Equatable {
    /// RFC 5764 §4.1.2, RFC 7714 §14.2.
    enum Profile: UInt16 {
        case aes128cmSHA1 = 0x0001
        case aes128gcm = 0x0007
        case aes256gcm = 0x0008
        var keyLength: Int { self == .aes256gcm ? 32 : 16 }
        var saltLength: Int { self == .aes128cmSHA1 ? 14 : 12 }
    }
    var profile: Profile
    var own: [UInt8]
    var other: [UInt8]
}

/// Protects outgoing RTP and RTCP and opens incoming RTCP. Owns two libsrtp sessions.
@safe final class SRTPContext {
    private let outbound: srtp_t
    private let inbound: srtp_t
    private var scratch = [UInt8](repeating: 0, count: 2048)
    /// 0 is srtp_err_status_ok.
    private static let ready: Bool = srtp_init() == srtp_err_status_ok

    init(_ keys: SRTPKeys) throws(WebRTCError) {
        guard Self.ready else { throw WebRTCError(.srtp, "srtp_init failed") }
        let outbound = try unsafe Self.make(keys.profile, keys.own, ssrc_any_outbound)
        let inbound: srtp_t
        do throws(WebRTCError) {
            unsafe inbound = try Self.make(keys.profile, keys.other, ssrc_any_inbound)
        } catch {
            unsafe srtp_dealloc(outbound)
            throw error
        }
        unsafe self.outbound = outbound
        unsafe self.inbound = inbound
    }
    deinit {
        unsafe srtp_dealloc(outbound)
        unsafe srtp_dealloc(inbound)
    }

    private static func make(
        _ profile: SRTPKeys.Profile, _ key: [UInt8], _ direction: srtp_ssrc_type_t
    ) throws(WebRTCError) -> srtp_t {
        var policy = unsafe srtp_policy_t()
        switch profile {
        case .aes128cmSHA1:
            unsafe srtp_crypto_policy_set_rtp_default(&policy.rtp)
            unsafe srtp_crypto_policy_set_rtcp_default(&policy.rtcp)
        case .aes128gcm:
            unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp)
            unsafe srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp)
        case .aes256gcm:
            unsafe srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp)
            unsafe srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp)
        }
        unsafe policy.ssrc.type = direction
        unsafe policy.window_size = 1024
        unsafe policy.allow_repeat_tx = 1
        var session: srtp_t?
        var key = key
        let status = unsafe key.withUnsafeMutableBufferPointer { key in
            unsafe policy.key = key.baseAddress
            return unsafe srtp_create(&session, &policy)
        }
        guard status == srtp_err_status_ok, let session = unsafe session else {
            throw WebRTCError(.srtp, "srtp_create failed with \(status.rawValue)")
        }
        return unsafe session
    }

    /// nil when libsrtp refuses the packet.
    func protectRTP(_ packet: [UInt8]) -> [UInt8]? {
        unsafe run(packet) { bytes, length in unsafe srtp_protect(outbound, bytes, length) }
    }
    func protectRTCP(_ packet: [UInt8]) -> [UInt8]? {
        unsafe run(packet) { bytes, length in unsafe srtp_protect_rtcp(outbound, bytes, length) }
    }
    func unprotectRTCP(_ packet: [UInt8]) -> [UInt8]? {
        unsafe run(packet) { bytes, length in unsafe srtp_unprotect_rtcp(inbound, bytes, length) }
    }
    func unprotectRTP(_ packet: [UInt8]) -> [UInt8]? {
        unsafe run(packet) { bytes, length in unsafe srtp_unprotect(inbound, bytes, length) }
    }

    private func run(
        _ packet: [UInt8], _ body: (UnsafeMutableRawPointer, UnsafeMutablePointer<Int32>) -> srtp_err_status_t
    ) -> [UInt8]? {
        // 144 is SRTP_MAX_TRAILER_LEN, and 4 the SRTCP index.
        guard packet.count >= 8, packet.count + 148 <= scratch.count else { return nil }
        return unsafe scratch.withUnsafeMutableBytes { buffer in
            unsafe buffer.copyBytes(from: packet)
            var length = Int32(packet.count)
            guard let base = buffer.baseAddress else { return nil }
            guard unsafe body(base, &length) == srtp_err_status_ok, length >= 0, Int(length) <= buffer.count else {
                return nil
            }
            return unsafe Array(buffer[..<Int(length)])
        }
    }
}
