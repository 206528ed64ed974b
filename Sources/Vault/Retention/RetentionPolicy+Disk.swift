/// What no owner can mean. A slip in one number must not empty a vault.
extension RetentionPolicy {
    /// A smaller budget is a slip: none at all, or a number without its unit.
    public static let smallestBudget = 1_000_000

    /// A full disk takes whatever there is, `minimum` or not, and one that is to keep more than half of its file system free may
    /// be full for ever: that is a slip, 1TB for 1GB. Errors: `.invalid`.
    /// - Parameter diskBytes: the size of the file system the vault lies on.
    func check(diskBytes: Int) throws(VaultError) {
        guard freeBytes > diskBytes / 2 else { return }
        throw VaultError(
            .invalid,
            "`keep-free` is \(freeBytes / 1_000_000) MB, more than half of the vault's file system (\(diskBytes / 1_000_000) MB): to reach that, everything might have to go.",
            hint: "Set `keep-free` under `retention` in sudocam.yaml to at most \(diskBytes / 2_000_000)MB.")
    }
}

extension Vault {
    /// Whether a policy can be meant for the disk this vault lies on. Asked before it is set. Errors: `.invalid`, the disk's.
    public func check(_ policy: RetentionPolicy) throws(VaultError) {
        try policy.check(diskBytes: try files.space(layout.root).total)
    }
}
