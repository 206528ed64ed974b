import Core

/// `vault.json` in memory: whoever is sealed to from now on.
struct Sealing: Sendable {
    var file: VaultFile
    /// SHA-256 of `vault.json`.
    var digest: ObjectID
    /// A change was interrupted by an error: files under `.new` wait for `settleRecipients`. Touched on the lane `begin` only.
    var isUnsettled = false
    /// The same of epoch files. Touched on the lane `retention` only.
    var areEpochsUnsettled = false
}

/// How files with keys change, so that a cut at any point leaves either the old or the new ones, and a start needs no key to
/// tell which:
///
/// 1. the new file stands beside the old one as `….new`, synced, its folder synced;
/// 2. the ledger names its digest: **this is the change**;
/// 3. it is renamed over the old one, and the folder synced.
///
/// A `….new` that the ledger's last word names is renamed at the next start; any other is removed. `keys/owner.age.new` belongs
/// to the `vault.json.new` beside it and goes first, so that none is left without the other.
struct KeyChanges {
    static let suffix = ".new"

    let layout: Layout
    let files: any FileSystem
    let index: Index

    func write(_ bytes: [UInt8], for path: String) throws(VaultError) {
        try files.remove(path + Self.suffix)
        let file = try files.open(path + Self.suffix, .create)
        try file.write(bytes, 0..<bytes.count, at: 0)
        try file.sync()
    }

    func publish(_ path: String) throws(VaultError) { try files.rename(path + Self.suffix, to: path) }

    /// `vault.json` as the ledger has it: for a reader, who finishes nothing, the one that only waits for its rename.
    func sealing(_ upgrades: VaultUpgrades = .known) throws(VaultError) -> Sealing {
        var path = layout.vaultFile + Self.suffix
        let bytes: [UInt8]
        if let entered = try enteredChange() {
            bytes = entered
        } else {
            path = layout.vaultFile
            bytes = try files.contents(path)
        }
        let current = try upgrades.current(bytes, path: path).bytes
        return Sealing(file: try VaultFile(parsing: current, path: path), digest: try ObjectID(hashing: bytes))
    }

    /// The `vault.json.new` that the ledger's last word names. Read once: for a reader beside a recorder it may have been renamed a
    /// moment later, and then `vault.json` is the one.
    private func enteredChange() throws(VaultError) -> [UInt8]? {
        let bytes: [UInt8]
        do throws(VaultError) { bytes = try files.contents(layout.vaultFile + Self.suffix) } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
        return try ObjectID(hashing: bytes) == index.vaultFileDigest() ? bytes : nil
    }

    /// `vault.json` and `keys/owner.age`.
    func settleRecipients() throws(VaultError) {
        let vaultFile = layout.vaultFile + Self.suffix
        let owner = layout.owner + Self.suffix
        if try enteredChange() != nil {
            if try files.attributes(owner) != nil {
                try publish(layout.owner)
                try files.syncDirectory(layout.keys)
            }
            try publish(layout.vaultFile)
            try files.syncDirectory(layout.root)
        }
        // A passphrase's change is one rename: what it left unrenamed is nobody's.
        for path in [owner, layout.owner + ".tmp", vaultFile] where try files.attributes(path) != nil {
            try files.remove(path)
            try files.syncDirectory(parent(of: path))
        }
    }

    func settleEpochs() throws(VaultError) {
        var isChanged = false
        for name in try files.list(layout.epochs) where name.hasSuffix(".age" + Self.suffix) {
            let path = layout.epochs + "/" + name
            // Of a shredded epoch the index gives out no digest: its key never comes back.
            if let epoch = Self.epoch(name), let digest = try index.epochFile(epoch),
                try ObjectID(hashing: try files.contents(path)) == digest
            {
                try publish(layout.epoch(epoch))
            } else {
                try files.remove(path)
            }
            isChanged = true
        }
        if isChanged { try files.syncDirectory(layout.epochs) }
    }

    /// Whose re-wrapped file `<uuid>.age.new` is.
    static func epoch(_ name: String) -> EpochID? {
        name.hasSuffix(".age" + suffix) ? EpochID(String(name.dropLast(4 + suffix.count))) : nil
    }
}
