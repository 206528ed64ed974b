import Core

/// That an entry stands in a signed ledger, as a text of its own: c2sp.org/tlog-proof@v1.
struct TlogProof: Sendable, Hashable {
    static let version = "c2sp.org/tlog-proof@v1"

    /// Position of the entry.
    var index: Int
    /// The audit path, leaf first (RFC 6962, 2.1.1).
    var path: [MerkleTree.Hash]
    /// The signed note.
    var checkpoint: [UInt8]

    var encoded: [UInt8] {
        let lines = [Self.version, "index \(index)"] + path.map { Base64.encode($0, padded: true) } + ["", ""]
        return Array(lines.joined(separator: "\n").utf8) + checkpoint
    }

    init(index: Int, path: [MerkleTree.Hash], checkpoint: [UInt8]) {
        self.index = index
        self.path = path
        self.checkpoint = checkpoint
    }

    /// Errors: `.damaged`. An `extra` line, which we never write, is read over.
    init(parsing bytes: [UInt8]) throws(VaultError) {
        func fail(_ what: String) -> VaultError { VaultError(.damaged, "The ledger proof is malformed: \(what).") }
        var rest = bytes[...]
        func line() throws(VaultError) -> String {
            guard let end = rest.firstIndex(of: 10) else { throw fail("it ends too early") }
            defer { rest = rest[(end + 1)...] }
            guard let text = String(validating: rest[..<end], as: UTF8.self) else { throw fail("it is no text") }
            return text
        }
        guard try line() == Self.version else { throw fail("its version is unknown") }
        var next = try line()
        if next.hasPrefix("extra ") { next = try line() }
        guard next.hasPrefix("index "), let index = Int(next.dropFirst(6)), index >= 0,
            String(index) == next.dropFirst(6)
        else { throw fail("its index") }
        self.index = index
        path = []
        next = try line()
        while !next.isEmpty {
            guard path.count < 63, let hash = Base64.decode(Array(next.utf8), padded: true),
                hash.count == MerkleTree.hashSize
            else { throw fail("hash \(path.count)") }
            path.append(hash)
            next = try line()
        }
        checkpoint = Array(rest)
    }
}

extension LedgerVerifier {
    /// The key as c2sp.org/signed-note writes it down: name, id and key.
    func text(of vault: VaultID) -> String {
        "\(Checkpoint.origin(vault))+\(Hex.encode(keyID))+\(Base64.encode([1] + point, padded: true))"
    }

    /// A key written down, and the vault whose ledger it signs. Nil when it is none of ours.
    static func parse(_ text: String) -> (vault: VaultID, key: LedgerVerifier)? {
        let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        let prefix = "sudocam/"
        guard parts.count == 3, parts[0].hasPrefix(prefix),
            let vault = VaultID(String(parts[0].dropFirst(prefix.count))),
            let bytes = Base64.decode(Array(parts[2].utf8), padded: true), bytes.first == 1,
            let key = LedgerVerifier(point: Array(bytes.dropFirst()), vault: vault),
            Hex.encode(key.keyID) == parts[1]
        else { return nil }
        return (vault, key)
    }
}
