import CCrypto
import CSodium

/// ChaCha20-Poly1305 (RFC 8439) without anything around it: one call a chunk, out of place, no allocation.
protocol BareCipher: SendableMetatype {
    static var name: String { get }
    init() throws
    /// Seals `source[range]` into the front of `target`, tag behind it.
    mutating func seal(_ source: [UInt8], _ range: Range<Int>, into target: inout [UInt8], counter: Int) throws
    /// Opens `source[0..<count]`, tag included, into `target`.
    mutating func open(_ source: [UInt8], count: Int, into target: inout [UInt8], counter: Int) throws
}

enum Bare {
    static let chunkSize = 65536
    static let tagSize = 16
    static let sealedChunkSize = chunkSize + tagSize
    static let key = [UInt8](repeating: 7, count: 32)

    static func nonce(_ counter: Int) -> [UInt8] {
        var nonce = [UInt8](repeating: 0, count: 12)
        for index in 0..<8 { nonce[10 - index] = UInt8(truncatingIfNeeded: counter >> (8 * index)) }
        return nonce
    }

    static func failure(_ call: String) -> BenchError { BenchError(.yardstickFailed, "\(call) failed.") }

    /// The faster of libcrypto and libsodium on this machine: the yardstick is the best a program could do.
    static func fastestCipher() throws -> any BareCipher.Type {
        let times = try [OpenSSLCipher.self as any BareCipher.Type, SodiumCipher.self].map { type in
            (type: type, seconds: try seconds(type))
        }
        return times.min { $0.seconds < $1.seconds }?.type ?? OpenSSLCipher.self
    }
    private static func seconds(_ type: any BareCipher.Type) throws -> Double {
        var cipher = try type.init()
        let source = [UInt8](repeating: 1, count: chunkSize)
        var target = [UInt8](repeating: 0, count: sealedChunkSize)
        var best = Double.infinity
        for round in 0..<10 {
            let began = Measurement.now()
            for index in 0..<50 { try cipher.seal(source, 0..<chunkSize, into: &target, counter: round * 50 + index) }
            best = min(best, Measurement.now() - began)
        }
        return best
    }
}

/// By libcrypto's EVP interface.
@safe final class OpenSSLCipher: BareCipher {
    static let name = "libcrypto"
    private let sealing: OpaquePointer
    private let opening: OpaquePointer

    init() throws {
        guard let sealing = unsafe EVP_CIPHER_CTX_new(), let opening = unsafe EVP_CIPHER_CTX_new() else {
            throw Bare.failure("EVP_CIPHER_CTX_new")
        }
        unsafe self.sealing = sealing
        unsafe self.opening = opening
        guard unsafe EVP_EncryptInit_ex(sealing, EVP_chacha20_poly1305(), nil, Bare.key, nil) == 1,
            unsafe EVP_DecryptInit_ex(opening, EVP_chacha20_poly1305(), nil, Bare.key, nil) == 1
        else { throw Bare.failure("EVP_EncryptInit_ex") }
    }
    deinit {
        unsafe EVP_CIPHER_CTX_free(sealing)
        unsafe EVP_CIPHER_CTX_free(opening)
    }

    func seal(_ source: [UInt8], _ range: Range<Int>, into target: inout [UInt8], counter: Int) throws {
        let isSealed = unsafe target.withUnsafeMutableBufferPointer { target in
            unsafe source.withUnsafeBufferPointer { source in
                guard let out = target.baseAddress, let base = source.baseAddress else { return false }
                var count: Int32 = 0
                var rest: Int32 = 0
                return unsafe EVP_EncryptInit_ex(sealing, nil, nil, nil, Bare.nonce(counter)) == 1
                    && EVP_EncryptUpdate(sealing, out, &count, base + range.lowerBound, Int32(range.count)) == 1
                    && EVP_EncryptFinal_ex(sealing, out + Int(count), &rest) == 1
                    && EVP_CIPHER_CTX_ctrl(sealing, EVP_CTRL_AEAD_GET_TAG, Int32(Bare.tagSize), out + range.count) == 1
            }
        }
        guard isSealed else { throw Bare.failure("EVP_EncryptFinal_ex") }
    }

    func open(_ source: [UInt8], count: Int, into target: inout [UInt8], counter: Int) throws {
        let plain = count - Bare.tagSize
        let isOpen = unsafe target.withUnsafeMutableBufferPointer { target in
            unsafe source.withUnsafeBufferPointer { source in
                guard let out = target.baseAddress, let base = source.baseAddress else { return false }
                var count: Int32 = 0
                var rest: Int32 = 0
                let tag = unsafe UnsafeMutableRawPointer(mutating: base + plain)
                return unsafe EVP_DecryptInit_ex(opening, nil, nil, nil, Bare.nonce(counter)) == 1
                    && EVP_CIPHER_CTX_ctrl(opening, EVP_CTRL_AEAD_SET_TAG, Int32(Bare.tagSize), tag) == 1
                    && EVP_DecryptUpdate(opening, out, &count, base, Int32(plain)) == 1
                    && EVP_DecryptFinal_ex(opening, out + Int(count), &rest) == 1
            }
        }
        guard isOpen else { throw Bare.failure("EVP_DecryptFinal_ex") }
    }
}

/// By libsodium.
struct SodiumCipher: BareCipher {
    static let name = "libsodium"

    init() throws {
        guard sodium_init() >= 0 else { throw Bare.failure("sodium_init") }
    }

    func seal(_ source: [UInt8], _ range: Range<Int>, into target: inout [UInt8], counter: Int) throws {
        let result = unsafe source.withUnsafeBufferPointer { source in
            guard let base = source.baseAddress else { return Int32(-1) }
            return unsafe crypto_aead_chacha20poly1305_ietf_encrypt(
                &target, nil, base + range.lowerBound, UInt64(range.count), nil, 0, nil, Bare.nonce(counter), Bare.key)
        }
        guard result == 0 else { throw Bare.failure("crypto_aead_chacha20poly1305_ietf_encrypt") }
    }

    func open(_ source: [UInt8], count: Int, into target: inout [UInt8], counter: Int) throws {
        let result = unsafe crypto_aead_chacha20poly1305_ietf_decrypt(
            &target, nil, nil, source, UInt64(count), nil, 0, Bare.nonce(counter), Bare.key)
        guard result == 0 else { throw Bare.failure("crypto_aead_chacha20poly1305_ietf_decrypt") }
    }
}

/// SHA-256 by libcrypto.
@safe final class BareDigest {
    private let context: OpaquePointer

    init() throws {
        guard let context = unsafe EVP_MD_CTX_new() else { throw Bare.failure("EVP_MD_CTX_new") }
        unsafe self.context = context
        guard unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else { throw Bare.failure("EVP_DigestInit_ex") }
    }
    deinit { unsafe EVP_MD_CTX_free(context) }

    /// Takes in the first `count` bytes.
    func update(_ bytes: [UInt8], count: Int) { _ = unsafe EVP_DigestUpdate(context, bytes, count) }

    func finish() -> [UInt8] {
        var output = [UInt8](repeating: 0, count: 32)
        unsafe EVP_DigestFinal_ex(context, &output, nil)
        return output
    }
}
