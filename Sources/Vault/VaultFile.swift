import Core

/// `vault.json`: what the vault is. No secrets; its SHA-256 stands in the ledger's `open` entries.
struct VaultFile: Sendable, Hashable {
    static let format = 1

    var id: VaultID
    /// Who every epoch is sealed to: the owner first.
    var recipients: [AgeRecipient]
    /// The one whose identity is written down somewhere safe; nil when it was removed.
    var recovery: AgeRecipient?
    /// Ed25519 public key of the ledger.
    var ledger: LedgerVerifier

    var encoded: [UInt8] {
        Array(
            """
            {
              "format": \(Self.format),
              "id": \(JSON.quote(id.description)),
              "recipients": [
            \(recipients.map { "    " + JSON.quote($0.description) }.joined(separator: ",\n"))
              ],
              "recovery": \(recovery.map { JSON.quote($0.description) } ?? "null"),
              "ledger": \(JSON.quote(Base64.encode(ledger.point, padded: true)))
            }

            """.utf8)
    }

    init(id: VaultID, recipients: [AgeRecipient], recovery: AgeRecipient?, ledger: LedgerVerifier) {
        self.id = id
        self.recipients = recipients
        self.recovery = recovery
        self.ledger = ledger
    }

    /// The format alone, which every version can read. Errors: `.newerFormat`, `.damaged`.
    static func format(of bytes: [UInt8], path: String) throws(VaultError) -> Int {
        guard let format = JSON(bytes)?["format"]?.integer.flatMap(Int.init(exactly:)), format >= 0 else {
            throw VaultError(.damaged, "\(path) is malformed.", hint: "Restore it from a backup or a remote.")
        }
        guard format <= Self.format else {
            throw VaultError(
                .newerFormat, "\(path) is of format \(format); this SudoCam knows up to \(Self.format).",
                hint: "Install a newer SudoCam.")
        }
        return format
    }

    /// Errors: `.newerFormat`, `.damaged`.
    init(parsing bytes: [UInt8], path: String) throws(VaultError) {
        let format = try Self.format(of: bytes, path: path)
        let json = JSON(bytes) ?? .null
        let recipients = json["recipients"]?.array?.compactMap { $0.string.flatMap { AgeRecipient($0) } } ?? []
        guard format == Self.format, let id = json["id"]?.string.flatMap({ VaultID($0) }),
            recipients.count == json["recipients"]?.array?.count, !recipients.isEmpty,
            let point = json["ledger"]?.string.flatMap({ Base64.decode(Array($0.utf8), padded: true) }),
            let ledger = LedgerVerifier(point: point, vault: id)
        else { throw VaultError(.damaged, "\(path) is malformed.", hint: "Restore it from a backup or a remote.") }
        // Before there were commands for keys the second was the recovery identity's.
        let second = recipients.dropFirst().first
        let recovery = json["recovery"] == nil ? second : json["recovery"]?.string.flatMap { AgeRecipient($0) }
        self.init(id: id, recipients: recipients, recovery: recovery, ledger: ledger)
    }
}
