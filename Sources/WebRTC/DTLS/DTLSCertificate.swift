import COpenSSL
public import Core

/// The process's DTLS identity: ECDSA P-256, self-signed X.509 v3, and the SSL_CTX of all its sessions.
///
/// `@unchecked Sendable`: nothing changes after `init`; OpenSSL's reference counts are atomic.
@safe public final class DTLSCertificate: @unchecked Sendable {
    /// `sha-256` in SDP's form: upper-case pairs joined by colons.
    public let fingerprint: String
    let context: OpaquePointer

    /// Errors: `.certificate`.
    public init(commonName: String = "SudoCam", validDays: Int = 365, now: WallTime) throws(WebRTCError) {
        let identity = try Identity(commonName: commonName, names: [], validDays: validDays, now: now)
        guard let context = unsafe SSL_CTX_new(DTLS_method()) else { throw Self.failed("SSL_CTX_new") }
        // Order is preference: GCM costs a fifth of AES-CM with HMAC-SHA1 (libsrtp2 on NSS).
        let profiles = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"
        let ready =
            unsafe SSL_CTX_use_certificate(context, identity.certificate) == 1
            && SSL_CTX_use_PrivateKey(context, identity.key) == 1
            // This one answers 0 for success.
            && SSL_CTX_set_tlsext_use_srtp(context, profiles) == 0
            && SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(DTLS1_2_VERSION), nil) == 1
            && SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
        guard ready else {
            unsafe SSL_CTX_free(context)
            throw Self.failed("SSL_CTX")
        }
        // SSL_OP_NO_QUERY_MTU, NO_COMPRESSION, NO_RENEGOTIATION: macros with casts that Swift does not import.
        _ = unsafe SSL_CTX_set_options(context, 1 << 12 | 1 << 17 | 1 << 30)
        // The chain proves nothing here; the fingerprint is compared after the handshake (RFC 8827 §6.5).
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT) { _, _ in 1 }
        unsafe self.context = context
        fingerprint = identity.fingerprint
    }
    deinit { unsafe SSL_CTX_free(context) }

    /// A certificate and key for the page's TLS. `names`: DNS names and IP addresses. The fingerprint is lower-case hex.
    public static func selfSignedPEM(
        names: [String], validDays: Int, now: WallTime
    ) throws(WebRTCError) -> (certificatePEM: String, keyPEM: String, sha256Fingerprint: String) {
        let identity = try Identity(
            commonName: names.first ?? "SudoCam", names: names, validDays: validDays, now: now)
        guard let certificate = unsafe pem({ unsafe PEM_write_bio_X509($0, identity.certificate) }),
            let key = unsafe pem({ unsafe PEM_write_bio_PrivateKey($0, identity.key, nil, nil, 0, nil, nil) })
        else { throw failed("PEM") }
        return (certificate, key, identity.fingerprint.filter { $0 != ":" }.lowercased())
    }

    private static func pem(_ write: (OpaquePointer) -> Int32) -> String? {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { return nil }
        defer { unsafe BIO_free(bio) }
        guard unsafe write(bio) == 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16384)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe BIO_read(bio, $0.baseAddress, Int32($0.count)) }
        return count > 0 ? String(decoding: bytes[..<Int(count)], as: UTF8.self) : nil
    }

    static func failed(_ what: String) -> WebRTCError {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        return WebRTCError(.certificate, "\(what) failed (OpenSSL error \(String(code, radix: 16)))")
    }

    /// Digest of a certificate in SDP's form; nil for an algorithm that OpenSSL does not have.
    static func fingerprint(_ certificate: OpaquePointer, algorithm: String) -> String? {
        guard let digest = unsafe EVP_get_digestbyname(algorithm.replacing("-", with: "").uppercased()) else {
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: 64)
        var count: UInt32 = 0
        guard unsafe X509_digest(certificate, digest, &bytes, &count) == 1, count <= 64 else { return nil }
        return bytes[..<Int(count)].map { Hex.encode([$0]).uppercased() }.joined(separator: ":")
    }
}

/// Owns a key and its certificate.
@safe private final class Identity {
    let key: OpaquePointer
    let certificate: OpaquePointer
    let fingerprint: String

    init(commonName: String, names: [String], validDays: Int, now: WallTime) throws(WebRTCError) {
        guard let generator = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil) else {
            throw DTLSCertificate.failed("EVP_PKEY_CTX_new_id")
        }
        defer { unsafe EVP_PKEY_CTX_free(generator) }
        var made: OpaquePointer?
        guard unsafe EVP_PKEY_keygen_init(generator) == 1,
            unsafe EVP_PKEY_CTX_set_ec_paramgen_curve_nid(generator, NID_X9_62_prime256v1) == 1,
            unsafe EVP_PKEY_keygen(generator, &made) == 1, let key = unsafe made
        else { throw DTLSCertificate.failed("key generation") }
        guard let certificate = unsafe X509_new() else {
            unsafe EVP_PKEY_free(key)
            throw DTLSCertificate.failed("X509_new")
        }
        guard unsafe Self.fill(certificate, key, commonName, names, validDays, now),
            let fingerprint = unsafe DTLSCertificate.fingerprint(certificate, algorithm: "sha-256")
        else {
            unsafe X509_free(certificate)
            unsafe EVP_PKEY_free(key)
            throw DTLSCertificate.failed("certificate")
        }
        unsafe self.key = key
        unsafe self.certificate = certificate
        self.fingerprint = fingerprint
    }
    deinit {
        unsafe X509_free(certificate)
        unsafe EVP_PKEY_free(key)
    }

    private static func fill(
        _ certificate: OpaquePointer, _ key: OpaquePointer, _ commonName: String, _ names: [String], _ days: Int,
        _ now: WallTime
    ) -> Bool {
        // 2: X.509 v3.
        guard unsafe X509_set_version(certificate, 2) == 1 else { return false }
        let serial = unsafe X509_get_serialNumber(certificate)
        unsafe ASN1_INTEGER_set_uint64(serial, UInt64.random(in: 1 ... .max >> 1))
        let seconds = Int(now.microseconds / 1_000_000)
        // One day of slack for clocks that are behind.
        unsafe ASN1_TIME_set(X509_getm_notBefore(certificate), seconds &- 86400)
        unsafe ASN1_TIME_set(X509_getm_notAfter(certificate), seconds &+ max(1, min(days, 36500)) * 86400)
        let name = unsafe X509_get_subject_name(certificate)
        // 64 characters is the bound of a common name (RFC 5280 appendix A).
        let text = Array(commonName.utf8.prefix(64))
        guard
            unsafe X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text, Int32(text.count), -1, 0) == 1,
            unsafe X509_set_issuer_name(certificate, name) == 1,
            unsafe X509_set_pubkey(certificate, key) == 1
        else { return false }
        var extensions: [(Int32, String)] = []
        let entries = names.filter { !$0.contains(",") }.map { name in
            SocketAddress(host: name, port: 0) != nil ? "IP:\(name)" : "DNS:\(name)"
        }
        if !entries.isEmpty {
            extensions = [
                (NID_subject_alt_name, entries.joined(separator: ",")),
                (NID_basic_constraints, "critical,CA:FALSE"),
                (NID_ext_key_usage, "serverAuth"),
            ]
        }
        for (nid, value) in extensions {
            guard let made = unsafe X509V3_EXT_conf_nid(nil, nil, nid, value) else { return false }
            defer { unsafe X509_EXTENSION_free(made) }
            guard unsafe X509_add_ext(certificate, made, -1) == 1 else { return false }
        }
        return unsafe X509_sign(certificate, key, EVP_sha256()) > 0
    }
}
