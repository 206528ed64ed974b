import Core

/// Where things stand in a remote: as in the vault's own folder, so that a plain copy of the bucket is a vault again.
///
/// Objects and witnesses never change. What changes is replaced: the ledger's last bundle, its checkpoint, `vault.json`,
/// epoch files that were re-wrapped, the sealed keys.
enum RemoteLayout {
    static let vaultFile = "vault.json"
    static let checkpoint = "ledger/checkpoint"
    static let objects = "objects/"
    static let epochs = "epochs/"
    /// Checkpoints as they were, `witness/<entries, 12 digits>`: whoever rolls the ledger back has to remove these too, and
    /// where object lock is on he cannot.
    static let witnesses = "witness/"
    /// The ledger's signing key, sealed to the vault's recipients: a restored recorder goes on with the same ledger.
    static let ledgerKey = "keys/ledger.age"
    /// The owner's identity under his passphrase; only where he asked for it.
    static let owner = "keys/owner.age"

    static func object(_ id: ObjectID) -> String {
        let name = id.description
        return objects + name.prefix(2) + "/" + name
    }
    static func object(named key: String) -> ObjectID? {
        guard let name = key.split(separator: "/").last, let id = ObjectID(String(name)), key == object(id) else {
            return nil
        }
        return id
    }
    static func epoch(_ id: EpochID) -> String { epochs + "\(id).age" }
    static func epoch(named key: String) -> EpochID? {
        guard key.hasPrefix(epochs), key.hasSuffix(".age"),
            let id = EpochID(String(key.dropFirst(epochs.count).dropLast(4))), key == epoch(id)
        else { return nil }
        return id
    }
    static func bundle(_ index: Int) -> String { "ledger/entries/" + MerkleTree.path(index) }
    static func witness(_ entries: Int) -> String {
        let digits = String(entries)
        return witnesses + String(repeating: "0", count: max(0, 12 - digits.count)) + digits
    }
    static func witness(named key: String) -> Int? {
        guard key.hasPrefix(witnesses), let entries = Int(key.dropFirst(witnesses.count)), entries >= 0,
            key == witness(entries)
        else { return nil }
        return entries
    }

    /// User metadata of an object: its age header and the payload's nonce, base64. A seek then costs two requests: the end of
    /// the object, which brings this along, and the fragment. Nothing is believed of it that its MAC does not prove.
    static let head = "sudocam-head"
    /// S3 allows 2 KiB of user metadata.
    static let headLimit = 1500
}
