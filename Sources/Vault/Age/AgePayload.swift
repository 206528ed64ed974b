import Core

/// Where the chunks of an age payload stand (age.md, "Payload"): any chunk opens alone.
struct AgePayload: Sendable, Hashable {
    static let chunkSize = 65536
    static let sealedChunkSize = chunkSize + AgeCrypto.tagSize
    static let nonceSize = 16

    /// First byte of chunk 0: behind the header and the nonce.
    let start: Int
    /// Bytes of the whole file.
    let fileCount: Int

    /// Errors: `.headerFailure` when the nonce is cut, `.payloadFailure` when a length cannot be.
    init(headerCount: Int, fileCount: Int) throws(VaultError) {
        start = headerCount + Self.nonceSize
        self.fileCount = fileCount
        guard fileCount >= start else { throw VaultError(.headerFailure, "The age payload's nonce is cut off.") }
    }

    var sealedCount: Int { fileCount - start }
    var chunkCount: Int { (sealedCount + Self.sealedChunkSize - 1) / Self.sealedChunkSize }
    /// Bytes of plaintext if every chunk opens.
    var plainCount: Int { max(0, sealedCount - chunkCount * AgeCrypto.tagSize) }

    /// Bytes of a chunk in the file.
    func sealedRange(_ chunk: Int) -> Range<Int> {
        let lower = start + chunk * Self.sealedChunkSize
        return lower..<min(lower + Self.sealedChunkSize, fileCount)
    }

    /// 11 bytes of counter, one byte "this is the last chunk".
    static func nonce(_ chunk: Int, isLast: Bool) -> [UInt8] {
        var nonce = [UInt8](repeating: 0, count: 12)
        for index in 0..<8 { nonce[10 - index] = UInt8(truncatingIfNeeded: chunk >> (8 * index)) }
        nonce[11] = isLast ? 1 : 0
        return nonce
    }

    static func key(fileKey: SecretBytes, nonce: [UInt8]) throws(VaultError) -> SecretBytes {
        try AgeCrypto.hkdf(fileKey, salt: nonce, info: "payload")
    }
}

/// Small age files as a whole: keys. Clips go through `ClipWriter` and `ObjectReader`.
enum AgeFile {
    static func seal(_ plaintext: SecretBytes, stanzas: (SecretBytes) throws(VaultError) -> [AgeStanza])
        throws(VaultError)
        -> [UInt8]
    {
        guard plaintext.count <= AgePayload.chunkSize else {
            throw VaultError(.invalid, "A key file has at most one chunk.")
        }
        let fileKey = SecretBytes.random(count: AgeWrapping.fileKeySize)
        let header = try AgeHeader(stanzas: stanzas(fileKey), fileKey: fileKey)
        let nonce = randomBytes(AgePayload.nonceSize)
        let key = try AgePayload.key(fileKey: fileKey, nonce: nonce)
        var buffer = [UInt8](repeating: 0, count: plaintext.count + AgeCrypto.tagSize)
        try unsafe plaintext.withBytes { (bytes) throws(VaultError) in
            unsafe buffer.withUnsafeMutableBytes { unsafe $0.copyMemory(from: bytes) }
        }
        try ChunkCipher.seal(&buffer, count: plaintext.count, key: key, nonce: AgePayload.nonce(0, isLast: true))
        return header.bytes + nonce + buffer
    }

    static func seal(_ plaintext: SecretBytes, to recipients: [AgeRecipient]) throws(VaultError) -> [UInt8] {
        try seal(plaintext) { (fileKey) throws(VaultError) in
            var stanzas: [AgeStanza] = []
            for recipient in recipients { stanzas.append(try AgeWrapping.wrap(fileKey, to: recipient)) }
            return stanzas
        }
    }

    /// Opens chunk after chunk, in order, and hands each to `chunk`; nothing unauthenticated comes out.
    ///
    /// Errors: age's classes, `.headerFailure` to `.payloadFailure`.
    static func open(
        _ file: [UInt8], fileKey unwrap: (AgeHeader) throws(VaultError) -> SecretBytes,
        chunk: (ArraySlice<UInt8>) -> Void
    ) throws(VaultError) {
        let header = try AgeHeader(parsing: file)
        let fileKey = try unwrap(header)
        try header.check(fileKey: fileKey)
        let payload = try AgePayload(headerCount: header.count, fileCount: file.count)
        let key = try AgePayload.key(fileKey: fileKey, nonce: Array(file[header.count..<payload.start]))
        guard payload.chunkCount > 0 else { throw VaultError(.payloadFailure, "The age payload has no chunk.") }
        for index in 0..<payload.chunkCount {
            let isLast = index == payload.chunkCount - 1
            var buffer = Array(file[payload.sealedRange(index)])
            defer { wipeBytes(&buffer) }
            guard
                try ChunkCipher.open(
                    &buffer, count: buffer.count, key: key, nonce: AgePayload.nonce(index, isLast: isLast))
            else {
                // A whole chunk under the other mark is good in itself: the file is cut off behind it, or goes on where
                // it should end. As age does, it comes out before the error.
                var again = Array(file[payload.sealedRange(index)])
                defer { wipeBytes(&again) }
                if again.count == AgePayload.sealedChunkSize,
                    try ChunkCipher.open(
                        &again, count: again.count, key: key, nonce: AgePayload.nonce(index, isLast: !isLast))
                {
                    chunk(again.dropLast(AgeCrypto.tagSize))
                }
                throw VaultError(.payloadFailure, "Chunk \(index) of the age payload does not open.")
            }
            if isLast, index > 0, buffer.count == AgeCrypto.tagSize {
                throw VaultError(.payloadFailure, "The last chunk of the age payload is empty.")
            }
            chunk(buffer.dropLast(AgeCrypto.tagSize))
        }
    }

    /// A secret of at most one chunk.
    static func openSecret(
        _ file: [UInt8], fileKey unwrap: (AgeHeader) throws(VaultError) -> SecretBytes
    ) throws(VaultError) -> SecretBytes {
        var secret: SecretBytes?
        try open(file, fileKey: unwrap) { chunk in
            var bytes = Array(chunk)
            secret = SecretBytes(&bytes)
        }
        guard let secret else { throw VaultError(.payloadFailure, "The age file is empty.") }
        return secret
    }
}
