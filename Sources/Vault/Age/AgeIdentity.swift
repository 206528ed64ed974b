import Core

/// Who a file is sealed to: an X25519 public key, as text `age1…`.
public struct AgeRecipient: Sendable, Hashable, CustomStringConvertible {
    let point: [UInt8]

    /// Exactly 32 bytes.
    init?(point: [UInt8]) {
        guard point.count == 32 else { return nil }
        self.point = point
    }
    /// Nil unless it is `age1…` with a right checksum.
    public init?(_ text: String) {
        guard let (prefix, bytes) = Bech32.decode(Array(text.utf8)), prefix == "age", text.first == "a" else {
            return nil
        }
        self.init(point: bytes)
    }
    public var description: String {
        String(decoding: Bech32.encode(prefix: "age", point), as: UTF8.self)
    }
}

/// An X25519 secret key in locked memory, as text `AGE-SECRET-KEY-1…`.
public struct AgeIdentity: Sendable {
    let secret: SecretBytes
    public let recipient: AgeRecipient

    /// Errors: `.invalid` unless there are 32 bytes.
    init(secret: SecretBytes) throws(VaultError) {
        guard let recipient = AgeRecipient(point: try AgeCrypto.publicKey(of: secret)) else {
            throw VaultError(.invalid, "An X25519 secret has 32 bytes.")
        }
        self.secret = secret
        self.recipient = recipient
    }
    package static func random() throws(VaultError) -> AgeIdentity { try AgeIdentity(secret: .random(count: 32)) }

    /// Reads the text form; white space around it and lines that begin with `#` are ignored, as in age's key files.
    public init(text: SecretBytes) throws(VaultError) {
        let secret = try unsafe text.withBytes { (bytes) throws(VaultError) -> SecretBytes? in
            var copy = unsafe Array(bytes)
            defer { wipeBytes(&copy) }
            for line in copy.split(separator: 10) {
                var line = line.filter { $0 > 32 }
                defer { wipeBytes(&line) }
                if line.isEmpty || line.first == UInt8(ascii: "#") { continue }
                guard line.first == UInt8(ascii: "A"), case (let prefix, var key)? = Bech32.decode(line),
                    prefix == "age-secret-key-", key.count == 32
                else { return nil }
                return SecretBytes(&key)
            }
            return nil
        }
        guard let secret else {
            throw VaultError(
                .keys, "This is not an age identity.", hint: "It begins with AGE-SECRET-KEY-1 and stands on one line.")
        }
        try self.init(secret: secret)
    }

    /// What a small age file sealed to this identity holds. Errors: age's classes.
    package func open(_ file: [UInt8]) throws(VaultError) -> SecretBytes {
        try AgeFile.openSecret(file) { (header) throws(VaultError) in
            try AgeWrapping.unwrap(header, identities: [self])
        }
    }

    /// As a passphrase age file: `keys/owner.age`.
    func sealed(_ passphrase: SecretBytes, workFactor: Int) throws(VaultError) -> [UInt8] {
        let text = try text()
        defer { text.wipe() }
        return try AgeFile.seal(text) { (fileKey) throws(VaultError) in
            [try AgeWrapping.wrap(fileKey, passphrase: passphrase, workFactor: workFactor)]
        }
    }

    /// `AGE-SECRET-KEY-1…` and a newline.
    public func text() throws(VaultError) -> SecretBytes {
        var bytes = try unsafe secret.withBytes { (bytes) throws(VaultError) in unsafe Array(bytes) }
        var lower = Bech32.encode(prefix: "age-secret-key-", bytes)
        wipeBytes(&bytes)
        var upper = lower.map { (97...122).contains($0) ? $0 - 32 : $0 } + [10]
        wipeBytes(&lower)
        return SecretBytes(&upper)
    }
}
