import Core

/// Where things stand in a vault's folder.
struct Layout: Sendable {
    let root: String

    init(_ root: String) {
        self.root = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
    }
    var vaultFile: String { root + "/vault.json" }
    var lock: String { root + "/lock" }
    var keys: String { root + "/keys" }
    var owner: String { keys + "/owner.age" }
    var ledgerKey: String { keys + "/ledger.key" }
    var epochs: String { root + "/epochs" }
    var objects: String { root + "/objects" }
    var open: String { root + "/open" }
    var ledger: String { root + "/ledger" }
    var quarantine: String { root + "/quarantine" }
    var index: String { root + "/index.sqlite" }
    var ballast: String { root + "/ballast" }

    func epoch(_ id: EpochID) -> String { epochs + "/\(id).age" }
    func shard(_ name: String) -> String { objects + "/" + name }
    func object(_ id: ObjectID) -> String {
        let name = id.description
        return objects + "/" + name.prefix(2) + "/" + name
    }
    /// As it stands in a copy of the vault.
    func relative(_ path: String) -> String { String(path.dropFirst(root.count + 1)) }
    static let shards: [String] = (0...255).map { Hex.encode([UInt8($0)]) }
}

/// The last step before the ledger: a durable file under its final name.
enum Publishing {
    /// Renames a synced part to its object and makes the name durable.
    static func move(_ part: String, _ object: ObjectID, _ layout: Layout, _ files: any FileSystem) throws(VaultError) {
        let path = layout.object(object)
        try files.rename(part, to: path)
        try files.syncDirectory(parent(of: path))
    }
}
