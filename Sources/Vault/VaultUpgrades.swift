/// How a vault of an older format becomes one of this version's: step by step, `vault.json` by `vault.json`.
///
/// Reading an older vault upgrades in memory and writes nothing. Writing to one first checks the ledger against its signed
/// checkpoint, keeps the old file as `vault.json.<format>`, and then puts the new one in its place; the start's `open` entry
/// names its digest. Cut off in between, either file is whole, and the next start goes on.
struct VaultUpgrades: Sendable {
    struct Step: Sendable {
        /// The format it takes; it gives the next.
        var from: Int
        var upgrade: @Sendable ([UInt8]) throws(VaultError) -> [UInt8]
    }
    var steps: [Step]

    /// Format 1 is the first.
    static let known = VaultUpgrades(steps: [])

    /// What stands in `vault.json` as this version writes it, and the format it had.
    ///
    /// Errors: `.newerFormat`, `.damaged`; also for an older format that no step takes.
    func current(_ bytes: [UInt8], path: String) throws(VaultError) -> (bytes: [UInt8], format: Int) {
        var bytes = bytes
        let format = try VaultFile.format(of: bytes, path: path)
        var now = format
        while now < VaultFile.format {
            guard let step = steps.first(where: { $0.from == now }) else {
                throw VaultError(.damaged, "\(path) is of format \(now), which no version of SudoCam wrote.")
            }
            bytes = try step.upgrade(bytes)
            now = try VaultFile.format(of: bytes, path: path)
            guard now == step.from + 1 else {
                throw VaultError(.invalid, "The upgrade from format \(step.from) gave format \(now).")
            }
        }
        return (bytes, format)
    }
}

extension Vault {
    /// Before anything else is written: an older `vault.json` makes way; true when it did. Errors: `.damaged` when the ledger is not what was signed:
    /// an upgrade would make the last good state harder to find.
    static func upgrade(
        _ layout: Layout, _ files: any FileSystem, _ ledger: LedgerReader, _ upgrades: VaultUpgrades,
        _ alarms: inout [String]
    ) throws(VaultError) -> Bool {
        let old = try files.contents(layout.vaultFile)
        let (new, format) = try upgrades.current(old, path: layout.vaultFile)
        guard format < VaultFile.format else { return false }
        let file = try VaultFile(parsing: new, path: layout.vaultFile)
        let examination = try LedgerRepair(ledger: ledger, vault: file.id, verifier: file.ledger).examine()
        guard examination.verdict == .vouched else {
            throw VaultError(
                .damaged, "The vault is of format \(format), and its ledger is not what its checkpoint signs.",
                hint: "Nothing was upgraded. Run verify and repair with the version that wrote it, then this one.")
        }
        try files.replace(layout.vaultFile + ".\(format)", with: old)
        try files.replace(layout.vaultFile, with: new)
        alarms.append("The vault was upgraded from format \(format) to \(VaultFile.format).")
        return true
    }
}
