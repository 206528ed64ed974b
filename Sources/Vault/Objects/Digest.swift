import CCrypto
import Core

extension ObjectID {
    /// The SHA-256 of a small file.
    init(hashing bytes: [UInt8]) throws(VaultError) {
        guard let digest = ObjectID(digest: Digest.sha256(bytes)) else {
            throw VaultError(.invalid, "The digest has a wrong size.")
        }
        self = digest
    }
}

/// SHA-256 by libcrypto (libsodium 1.0.18's is six times slower), piece by piece; MD5 where HTTP asks for it.
@safe final class Digest {
    private let context: OpaquePointer

    private init(owned: OpaquePointer) { unsafe context = owned }
    deinit { unsafe EVP_MD_CTX_free(context) }

    /// Errors: `.noSpace` when libcrypto gets no memory.
    static func sha256() throws(VaultError) -> Digest { try unsafe begin(EVP_sha256()) }
    /// For `Content-MD5` alone (RFC 1864): a checksum on the way, no proof of anything.
    static func md5() throws(VaultError) -> Digest { try unsafe begin(EVP_md5()) }

    private static func begin(_ kind: OpaquePointer?) throws(VaultError) -> Digest {
        guard let context = unsafe EVP_MD_CTX_new() else { throw outOfMemory }
        let digest = unsafe Digest(owned: context)
        guard unsafe EVP_DigestInit_ex(context, kind, nil) == 1 else { throw outOfMemory }
        return digest
    }
    private static var outOfMemory: VaultError { VaultError(.noSpace, "libcrypto has no memory for a digest.") }

    func update(_ bytes: [UInt8], _ range: Range<Int>) {
        guard range.upperBound <= bytes.count else { return }
        unsafe bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            _ = unsafe EVP_DigestUpdate(context, base + range.lowerBound, range.count)
        }
    }
    func update(_ bytes: [UInt8]) { update(bytes, 0..<bytes.count) }

    /// A second one that goes on from here.
    func copy() throws(VaultError) -> Digest {
        let other = try Digest.sha256()
        guard unsafe EVP_MD_CTX_copy_ex(other.context, context) == 1 else { throw Self.outOfMemory }
        return other
    }

    /// The 32 bytes (16 of MD5); the digest is used up.
    func finish() -> [UInt8] {
        var output = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 32
        unsafe EVP_DigestFinal_ex(context, &output, &count)
        return Array(output.prefix(Int(count)))
    }

    /// At once, without a context from libcrypto's memory and without a search for the algorithm: of little, both cost more than
    /// the hashing.
    static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        var context = SHA256_CTX()
        unsafe SHA256_Init(&context)
        unsafe SHA256_Update(&context, bytes, bytes.count)
        return finish(&context)
    }

    /// Of a byte and what follows it, as if they were one.
    static func sha256(_ prefix: UInt8, _ bytes: ArraySlice<UInt8>, _ more: ArraySlice<UInt8> = []) -> [UInt8] {
        var context = SHA256_CTX()
        unsafe SHA256_Init(&context)
        var prefix = prefix
        unsafe SHA256_Update(&context, &prefix, 1)
        unsafe bytes.withUnsafeBytes { unsafe update(&context, $0) }
        unsafe more.withUnsafeBytes { unsafe update(&context, $0) }
        return finish(&context)
    }

    /// Of a byte and what follows it, as if they were one; the result comes to 32 bytes of `output`.
    static func sha256(_ prefix: UInt8, _ bytes: ArraySlice<UInt8>, to target: Int, in output: inout [UInt8]) {
        guard target >= 0, target + 32 <= output.count else { return }
        var context = SHA256_CTX()
        unsafe SHA256_Init(&context)
        var prefix = prefix
        unsafe SHA256_Update(&context, &prefix, 1)
        unsafe bytes.withUnsafeBytes { unsafe update(&context, $0) }
        unsafe output.withUnsafeMutableBytes { output in
            guard let base = output.baseAddress else { return }
            unsafe SHA256_Final((base + target).assumingMemoryBound(to: UInt8.self), &context)
        }
    }

    /// Of a byte and 64 that follow it in `bytes`; the 32 of the result come to `target` in `bytes`.
    static func sha256(_ prefix: UInt8, pairAt source: Int, in bytes: inout [UInt8], to target: Int) {
        guard source >= 0, source + 64 <= bytes.count, target >= 0, target + 32 <= bytes.count else { return }
        var context = SHA256_CTX()
        unsafe SHA256_Init(&context)
        var prefix = prefix
        unsafe SHA256_Update(&context, &prefix, 1)
        unsafe bytes.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            unsafe SHA256_Update(&context, base + source, 64)
            unsafe SHA256_Final((base + target).assumingMemoryBound(to: UInt8.self), &context)
        }
    }

    private static func update(_ context: inout SHA256_CTX, _ bytes: UnsafeRawBufferPointer) {
        guard unsafe !bytes.isEmpty else { return }
        unsafe SHA256_Update(&context, bytes.baseAddress, bytes.count)
    }
    private static func finish(_ context: inout SHA256_CTX) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: 32) { output, count in
            unsafe SHA256_Final(output.baseAddress, &context)
            count = 32
        }
    }
}
