import Core

/// One stanza of an age header: how the file key is wrapped, or, for SudoCam's own, who the object is.
struct AgeStanza: Sendable, Hashable {
    var arguments: [String]
    var body: [UInt8] = []
}

/// The header of an age v1 file (age.md, "Header"): parsed strictly, written canonically.
struct AgeHeader: Sendable {
    static let version = "age-encryption.org/v1"
    /// No header of ours comes near it; a longer one is refused before it costs memory.
    static let sizeLimit = 65536

    var stanzas: [AgeStanza]
    /// HMAC-SHA-256 over `authenticated`.
    var mac: [UInt8]
    /// The header's bytes up to and including `---`.
    var authenticated: [UInt8]
    /// Bytes of the header; the payload's nonce follows.
    var count: Int

    /// Seals `stanzas` under the file key.
    init(stanzas: [AgeStanza], fileKey: SecretBytes) throws(VaultError) {
        var text = Self.version + "\n"
        for stanza in stanzas {
            text += "-> " + stanza.arguments.joined(separator: " ") + "\n"
            let body = Array(Base64.encode(stanza.body).utf8)
            for start in stride(from: 0, through: body.count, by: 64) {
                text += String(decoding: body[start..<min(start + 64, body.count)], as: UTF8.self) + "\n"
            }
        }
        text += "---"
        self.stanzas = stanzas
        authenticated = Array(text.utf8)
        mac = try Self.mac(of: authenticated, fileKey: fileKey)
        count = authenticated.count + 1 + 43 + 1
    }
    var bytes: [UInt8] { authenticated + Array((" " + Base64.encode(mac) + "\n").utf8) }

    /// Reads a header from the beginning of a file. Errors: `.headerFailure`, also when the bytes end too early.
    init(parsing bytes: [UInt8]) throws(VaultError) {
        var position = 0
        func fail(_ what: String) -> VaultError {
            VaultError(.headerFailure, "The age header is malformed at byte \(position): \(what).")
        }
        func line() throws(VaultError) -> ArraySlice<UInt8> {
            guard let end = bytes[position...].prefix(Self.sizeLimit).firstIndex(of: 10) else {
                throw fail("no end of line")
            }
            defer { position = end + 1 }
            return bytes[position..<end]
        }
        guard try line().elementsEqual(Self.version.utf8) else {
            position = 0
            throw fail("not age version 1")
        }
        stanzas = []
        while true {
            let start = position
            let first = try line()
            if first.starts(with: "---".utf8) {
                guard first.count == 4 + 43, first[start + 3] == 32, let mac = Base64.decode(first.dropFirst(4)),
                    mac.count == 32
                else { throw fail("MAC") }
                self.mac = mac
                authenticated = Array(bytes[..<(start + 3)])
                count = position
                guard !stanzas.isEmpty else { throw fail("no stanza") }
                return
            }
            guard first.starts(with: "-> ".utf8) else { throw fail("neither a stanza nor a MAC") }
            let arguments = first.dropFirst(3).split(separator: 32, omittingEmptySubsequences: false)
            guard arguments.allSatisfy({ !$0.isEmpty && $0.allSatisfy { (33...126).contains($0) } }) else {
                throw fail("stanza argument")
            }
            var body: [UInt8] = []
            while true {
                let next = try line()
                guard next.count <= 64, let part = Base64.decode(next) else { throw fail("stanza body") }
                body += part
                guard position <= Self.sizeLimit else { throw fail("too long") }
                if next.count < 64 { break }
            }
            stanzas.append(AgeStanza(arguments: arguments.map { String(decoding: $0, as: UTF8.self) }, body: body))
        }
    }

    /// Errors: `.macFailure`.
    func check(fileKey: SecretBytes) throws(VaultError) {
        guard AgeCrypto.equal(try Self.mac(of: authenticated, fileKey: fileKey), mac) else {
            throw VaultError(.macFailure, "The age header's MAC is wrong: the header was altered.")
        }
    }

    private static func mac(of bytes: [UInt8], fileKey: SecretBytes) throws(VaultError) -> [UInt8] {
        try AgeCrypto.mac(key: AgeCrypto.hkdf(fileKey, salt: [], info: "header"), of: bytes[...])
    }
}
