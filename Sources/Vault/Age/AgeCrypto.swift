import CSodium
import Core

/// The primitives of age v1 by libsodium: HKDF-SHA-256, X25519, scrypt; ChaCha20-Poly1305 is `ChunkCipher`'s, and checked
/// here by a second library.
enum AgeCrypto {
    static let tagSize = 16

    /// HKDF-SHA-256 (RFC 5869) with 32 bytes of output: one block of expansion.
    static func hkdf(_ secret: SecretBytes, salt: [UInt8], info: StaticString) throws(VaultError) -> SecretBytes {
        let salt = salt.isEmpty ? [UInt8](repeating: 0, count: 32) : salt
        var pseudoRandomKey = try unsafe secret.withBytes { (bytes) throws(VaultError) in
            unsafe hmac(key: salt, bytes)
        }
        var block = info.withUTF8Buffer { unsafe Array($0) }
        block.append(1)
        var output = unsafe block.withUnsafeBytes { unsafe hmac(key: pseudoRandomKey, $0) }
        wipeBytes(&pseudoRandomKey)
        return SecretBytes(&output)
    }

    /// HMAC-SHA-256 of a header under a key in locked memory.
    static func mac(key: SecretBytes, of message: ArraySlice<UInt8>) throws(VaultError) -> [UInt8] {
        try unsafe key.withBytes { (key) throws(VaultError) in
            var copy = unsafe Array(key)
            defer { wipeBytes(&copy) }
            return unsafe message.withUnsafeBytes { unsafe hmac(key: copy, $0) }
        }
    }

    private static func hmac(key: [UInt8], _ message: UnsafeRawBufferPointer) -> [UInt8] {
        var state = crypto_auth_hmacsha256_state()
        var output = [UInt8](repeating: 0, count: 32)
        unsafe crypto_auth_hmacsha256_init(&state, key, key.count)
        unsafe crypto_auth_hmacsha256_update(
            &state, message.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(message.count))
        unsafe crypto_auth_hmacsha256_final(&state, &output)
        unsafe sodium_memzero(&state, MemoryLayout<crypto_auth_hmacsha256_state>.size)
        return output
    }

    /// Equal in constant time.
    static func equal(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        guard a.count == b.count else { return false }
        return unsafe sodium_memcmp(a, b, a.count) == 0
    }

    static func publicKey(of secret: SecretBytes) throws(VaultError) -> [UInt8] {
        guard secret.count == 32 else { throw VaultError(.invalid, "An X25519 secret has 32 bytes.") }
        var point = [UInt8](repeating: 0, count: 32)
        try unsafe secret.withPointer { (secret) throws(VaultError) in
            _ = unsafe crypto_scalarmult_base(&point, secret)
        }
        return point
    }

    /// Nil for a point of low order (`crypto_scalarmult` refuses an all-zero secret).
    static func sharedSecret(_ secret: SecretBytes, _ point: [UInt8]) throws(VaultError) -> SecretBytes? {
        guard secret.count == 32, point.count == 32 else { return nil }
        var shared = [UInt8](repeating: 0, count: 32)
        let result = try unsafe secret.withPointer { (secret) throws(VaultError) in
            unsafe crypto_scalarmult(&shared, secret, point)
        }
        guard result == 0 else { return nil }
        return SecretBytes(&shared)
    }

    /// scrypt with r = 8, p = 1 (age's), about 2^(logN + 10) bytes of memory while it runs.
    static func scrypt(_ passphrase: SecretBytes, salt: [UInt8], logN: Int) throws(VaultError) -> SecretBytes {
        var key = [UInt8](repeating: 0, count: 32)
        let result = try unsafe passphrase.withPointer { (bytes) throws(VaultError) in
            unsafe crypto_pwhash_scryptsalsa208sha256_ll(
                bytes, passphrase.count, salt, salt.count, 1 << UInt64(logN), 8, 1, &key, key.count)
        }
        guard result == 0 else {
            throw VaultError(
                .noSpace, "scrypt could not get its memory (\(1 << max(0, logN - 10)) MiB).",
                hint: "Free memory and try again.")
        }
        return SecretBytes(&key)
    }

    /// Whether `buffer[0..<count]` opens, without giving out plaintext (a null `m` only checks the tag). By libsodium, and
    /// not by the library that sealed, so that one's fault does not pass as right.
    static func opens(_ buffer: [UInt8], count: Int, key: SecretBytes, nonce: [UInt8]) throws(VaultError) -> Bool {
        guard count >= tagSize, count <= buffer.count, key.count == 32, nonce.count == 12 else { return false }
        return try unsafe key.withPointer { (key) throws(VaultError) in
            unsafe crypto_aead_chacha20poly1305_ietf_decrypt(nil, nil, nil, buffer, UInt64(count), nil, 0, nonce, key)
                == 0
        }
    }
}
