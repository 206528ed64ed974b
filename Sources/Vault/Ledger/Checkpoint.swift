import CSodium
import Core

/// A signed tree head: c2sp.org/tlog-checkpoint in a c2sp.org/signed-note with one Ed25519 signature.
struct Checkpoint: Sendable, Hashable {
    var vault: VaultID
    /// Entries.
    var count: Int
    var root: MerkleTree.Hash

    static func origin(_ vault: VaultID) -> String { "sudocam/\(vault)" }
    private var text: String { "\(Self.origin(vault))\n\(count)\n\(Base64.encode(root, padded: true))\n" }

    func signed(by key: LedgerKey) throws(VaultError) -> [UInt8] {
        let signature = key.verifier.keyID + (try key.sign(Array(text.utf8)))
        return note(signature)
    }
    private func note(_ signature: [UInt8]) -> [UInt8] {
        Array("\(text)\n\u{2014} \(Self.origin(vault)) \(Base64.encode(signature, padded: true))\n".utf8)
    }

    /// Reads and verifies; any other spelling of the same note is refused too. Errors: `.damaged`.
    init(verifying note: [UInt8], vault: VaultID, key: LedgerVerifier) throws(VaultError) {
        func fail(_ what: String) -> VaultError { VaultError(.damaged, "The ledger's checkpoint \(what).") }
        let lines = note.split(separator: 10, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        guard lines.count == 6, let count = Int(lines[1]), count >= 0,
            let root = Base64.decode(Array(lines[2].utf8), padded: true), root.count == MerkleTree.hashSize,
            let encoded = lines[4].split(separator: " ").last,
            let signature = Base64.decode(Array(encoded.utf8), padded: true), signature.count == 4 + 64
        else { throw fail("is malformed") }
        self.vault = vault
        self.count = count
        self.root = root
        guard self.note(signature) == note, Array(signature.prefix(4)) == key.keyID else {
            throw fail("is of another vault or malformed")
        }
        guard key.verifies(Array(signature.dropFirst(4)), of: Array(text.utf8)) else {
            throw fail("has a wrong signature")
        }
    }
    init(vault: VaultID, count: Int, root: MerkleTree.Hash) {
        self.vault = vault
        self.count = count
        self.root = root
    }
}

/// The public half of a recorder's signing key.
struct LedgerVerifier: Sendable, Hashable {
    let point: [UInt8]
    /// signed-note: the first four bytes of SHA-256(name ‖ "\n" ‖ 0x01 ‖ key).
    let keyID: [UInt8]

    init?(point: [UInt8], vault: VaultID) {
        guard point.count == 32 else { return nil }
        self.point = point
        keyID = Array(Digest.sha256(Array(Checkpoint.origin(vault).utf8) + [10, 1] + point).prefix(4))
    }
    func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard signature.count == 64 else { return false }
        return unsafe crypto_sign_verify_detached(signature, message, UInt64(message.count), point) == 0
    }
}

/// A recorder's Ed25519 signing key, in locked memory.
struct LedgerKey: Sendable {
    /// libsodium's 64-byte form: seed, then public key.
    private let secret: SecretBytes
    let verifier: LedgerVerifier

    static let seedSize = 32

    /// From the seed in `keys/ledger.key`. Errors: `.keys`.
    init(seed: SecretBytes, vault: VaultID) throws(VaultError) {
        guard seed.count == Self.seedSize else {
            throw VaultError(.keys, "The ledger key has \(seed.count) bytes instead of \(Self.seedSize).")
        }
        var point = [UInt8](repeating: 0, count: 32)
        var pair = [UInt8](repeating: 0, count: 64)
        try unsafe seed.withPointer { (seed) throws(VaultError) in
            _ = unsafe crypto_sign_seed_keypair(&point, &pair, seed)
        }
        secret = SecretBytes(&pair)
        guard let verifier = LedgerVerifier(point: point, vault: vault) else {
            throw VaultError(.keys, "The ledger key is malformed.")
        }
        self.verifier = verifier
    }

    func sign(_ message: [UInt8]) throws(VaultError) -> [UInt8] {
        var signature = [UInt8](repeating: 0, count: 64)
        try unsafe secret.withPointer { (secret) throws(VaultError) in
            _ = unsafe crypto_sign_detached(&signature, nil, message, UInt64(message.count), secret)
        }
        return signature
    }
}
