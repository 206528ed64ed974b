import Core

/// Wrapping and unwrapping of file keys: age.md, "X25519 recipient stanza" and "scrypt recipient stanza".
enum AgeWrapping {
    static let fileKeySize = 16
    /// Work factors this reader accepts: below, guessing is cheap; above, a hostile file eats all memory (22 = 4 GiB).
    static let workFactors = 1...22
    private static let zeroNonce = [UInt8](repeating: 0, count: 12)

    static func wrap(_ fileKey: SecretBytes, to recipient: AgeRecipient) throws(VaultError) -> AgeStanza {
        let ephemeral = try AgeIdentity.random()
        guard let shared = try AgeCrypto.sharedSecret(ephemeral.secret, recipient.point) else {
            throw VaultError(.invalid, "The recipient \(recipient) is a point of low order.")
        }
        let share = ephemeral.recipient.point
        let key = try AgeCrypto.hkdf(
            shared, salt: share + recipient.point, info: "age-encryption.org/v1/X25519")
        return AgeStanza(arguments: ["X25519", Base64.encode(share)], body: try seal(fileKey, under: key))
    }

    static func wrap(
        _ fileKey: SecretBytes, passphrase: SecretBytes, workFactor: Int
    ) throws(VaultError) -> AgeStanza {
        let salt = randomBytes(16)
        let key = try scryptKey(passphrase, salt: salt, workFactor: workFactor)
        return AgeStanza(
            arguments: ["scrypt", Base64.encode(salt), String(workFactor)], body: try seal(fileKey, under: key))
    }

    /// The file key, by the first identity that opens a stanza. Errors: `.headerFailure`, `.noMatch`.
    static func unwrap(_ header: AgeHeader, identities: [AgeIdentity]) throws(VaultError) -> SecretBytes {
        try checkScryptStandsAlone(header)
        for identity in identities {
            for stanza in header.stanzas where stanza.arguments.first == "X25519" {
                guard stanza.arguments.count == 2, let share = Base64.decode(Array(stanza.arguments[1].utf8)),
                    share.count == 32, stanza.body.count == fileKeySize + AgeCrypto.tagSize
                else { throw VaultError(.headerFailure, "An X25519 stanza is malformed.") }
                guard let shared = try AgeCrypto.sharedSecret(identity.secret, share) else {
                    throw VaultError(.headerFailure, "An X25519 stanza holds a point of low order.")
                }
                let key = try AgeCrypto.hkdf(
                    shared, salt: share + identity.recipient.point, info: "age-encryption.org/v1/X25519")
                if let fileKey = try open(stanza.body, under: key) { return fileKey }
            }
        }
        throw VaultError(.noMatch, "None of the identities opens this age file.")
    }

    /// The file key of a file sealed with a passphrase. Errors: `.headerFailure`, `.noMatch`.
    static func unwrap(
        _ header: AgeHeader, passphrase: SecretBytes, workFactors: ClosedRange<Int> = workFactors
    ) throws(VaultError) -> SecretBytes {
        try checkScryptStandsAlone(header)
        guard let stanza = header.stanzas.first(where: { $0.arguments.first == "scrypt" }) else {
            throw VaultError(.noMatch, "This age file is not sealed with a passphrase.")
        }
        let digits = stanza.arguments.count == 3 ? Array(stanza.arguments[2].utf8) : []
        guard let salt = Base64.decode(Array((stanza.arguments.dropFirst().first ?? "").utf8)), salt.count == 16,
            let first = digits.first, first != UInt8(ascii: "0"), digits.allSatisfy({ (48...57).contains($0) }),
            let workFactor = Int(stanza.arguments[2]), stanza.body.count == fileKeySize + AgeCrypto.tagSize
        else { throw VaultError(.headerFailure, "The scrypt stanza is malformed.") }
        guard workFactors.contains(workFactor) else {
            throw VaultError(.headerFailure, "The scrypt work factor \(workFactor) is outside \(workFactors).")
        }
        let key = try scryptKey(passphrase, salt: salt, workFactor: workFactor)
        guard let fileKey = try open(stanza.body, under: key) else {
            throw VaultError(.noMatch, "The passphrase does not open this age file.")
        }
        return fileKey
    }

    private static func checkScryptStandsAlone(_ header: AgeHeader) throws(VaultError) {
        guard header.stanzas.count > 1, header.stanzas.contains(where: { $0.arguments.first == "scrypt" }) else {
            return
        }
        throw VaultError(.headerFailure, "A scrypt stanza must be the only one.")
    }

    private static func scryptKey(
        _ passphrase: SecretBytes, salt: [UInt8], workFactor: Int
    ) throws(VaultError) -> SecretBytes {
        guard workFactors.contains(workFactor) else {
            throw VaultError(.invalid, "The scrypt work factor \(workFactor) is outside \(workFactors).")
        }
        return try AgeCrypto.scrypt(
            passphrase, salt: Array("age-encryption.org/v1/scrypt".utf8) + salt, logN: workFactor)
    }

    private static func seal(_ fileKey: SecretBytes, under key: SecretBytes) throws(VaultError) -> [UInt8] {
        var buffer = try unsafe fileKey.withBytes { (bytes) throws(VaultError) in unsafe Array(bytes) }
        let count = buffer.count
        buffer.reserveCapacity(count + AgeCrypto.tagSize)
        buffer += [UInt8](repeating: 0, count: AgeCrypto.tagSize)
        try ChunkCipher.seal(&buffer, count: count, key: key, nonce: zeroNonce)
        return buffer
    }
    private static func open(_ body: [UInt8], under key: SecretBytes) throws(VaultError) -> SecretBytes? {
        var buffer = body
        guard try ChunkCipher.open(&buffer, count: buffer.count, key: key, nonce: zeroNonce) else { return nil }
        defer { wipeBytes(&buffer) }
        var fileKey = Array(buffer.prefix(fileKeySize))
        return SecretBytes(&fileKey)
    }
}
