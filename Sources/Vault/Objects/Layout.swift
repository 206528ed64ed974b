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
    var scrub: String { root + "/scrub.json" }
    var remotes: String { root + "/remotes" }
    /// Parts of objects that were read from remotes.
    var cache: String { root + "/cache" }

    func epoch(_ id: EpochID) -> String { epochs + "/\(id).age" }
    func remote(_ name: String) -> String { remotes + "/\(name).json" }
    func remoteState(_ name: String) -> String { remotes + "/\(name).sqlite" }
    func remoteCache(_ name: String) -> String { cache + "/\(name)" }
    func shard(_ name: String) -> String { objects + "/" + name }
    func object(_ id: ObjectID) -> String {
        let name = id.description
        return objects + "/" + name.prefix(2) + "/" + name
    }
    /// A part that is whole, until its entry is committed.
    func part(_ id: ObjectID) -> String { open + "/\(id).part" }
    /// As it stands in a copy of the vault.
    func relative(_ path: String) -> String { String(path.dropFirst(root.count + 1)) }
    static let shards: [String] = (0...255).map { Hex.encode([UInt8($0)]) }
}

/// The last step before the ledger: a durable file under its final name.
///
/// The name in `open/` stays until the entry is committed, so that a start finds everything unfinished there and need not
/// look through the objects.
enum Publishing {
    /// Gives a synced part its object's name too, durably. Fine when it has it already.
    static func link(_ part: String, _ object: ObjectID, _ layout: Layout, _ files: any FileSystem) throws(VaultError) {
        let path = layout.object(object)
        do throws(VaultError) {
            try files.link(part, to: path)
        } catch {
            // A name is a digest, and only synced bytes ever get one: what stands there is the same.
            guard error.code == .exists else { throw error }
        }
        try files.syncDirectory(parent(of: path))
    }

    /// Whether this file system can do that. Errors: `.unsupported`.
    static func probe(_ layout: Layout, _ files: any FileSystem) throws(VaultError) {
        let name = layout.open + "/probe"
        do throws(VaultError) {
            try files.remove(name)
            try files.link(layout.lock, to: name)
            try files.remove(name)
        } catch {
            // Anything else, a full disk for example, is met and told where it matters.
            if error.code == .unsupported { throw error }
        }
    }
}
