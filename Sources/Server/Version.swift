public enum Version {
    /// Semantic version; goes into the ledger's `open` entries.
    public static let current = "0.1.0"
}
