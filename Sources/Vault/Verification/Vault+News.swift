import Core

/// What a verification finds while somebody writes, looked at again: a file may have come or gone between the reading of the ledger
/// and that of a folder.
extension Vault {
    /// A commit renames the object first and enters it then, and a removal is entered first: what is that young, or just being taken
    /// away, gets a moment.
    func withoutNews(
        _ findings: [VerificationFinding], _ ledger: FollowedLedger
    ) async throws(VaultError) -> [VerificationFinding] {
        var kept = findings
        let seen = try rewrappings(findings)
        var rounds = 0
        var unmoved = 0
        while true {
            let before = kept
            kept = try await reads.run { [self] () throws(VaultError) in try stillSo(before, ledger, seen) }
            rounds += 1
            unmoved = kept.count < before.count ? 0 : unmoved + 1
            var isWaiting = unmoved < Self.removalPatience && kept.contains { $0.kind == .notDeleted }
            if !isWaiting, rounds < Self.commitPatience {
                for finding in kept where try isYoung(finding) { isWaiting = true }
            }
            guard isWaiting else { break }
            do { try await Task.sleep(for: .milliseconds(250)) } catch { break }
        }
        return kept
    }

    /// Quarters of a second that a commit may take from its rename to its ledger entry.
    private static let commitPatience = 20
    /// Quarters of a second in which none of the files that a removal takes away goes.
    private static let removalPatience = 4

    /// Those that the ledger, as it is now, does not explain.
    /// - Parameter seen: when files were written that may be a re-wrapping's in progress.
    func stillSo(
        _ findings: [VerificationFinding], _ ledger: FollowedLedger,
        _ seen: [VerificationFinding.Subject: Int64] = [:]
    ) throws(VaultError) -> [VerificationFinding] {
        guard findings.contains(where: Self.mayBeNews) else { return findings }
        try ledger.catchUp()
        if mode == .read, !ledger.isVouched { try index.catchUp(self.ledger, skipsDamage: true) }
        var objects = ListedObjects(ledger)
        var kept: [VerificationFinding] = []
        for finding in findings where try !isExplained(finding, ledger, &objects, seen) { kept.append(finding) }
        return kept
    }

    /// What somebody who writes meanwhile may have caused.
    private static func mayBeNews(_ finding: VerificationFinding) -> Bool {
        switch (finding.kind, finding.subject) {
        case (.extra, _), (.notDeleted, _), (.damaged, .vaultFile): true
        case (.damaged, .epoch), (.missing, .epoch), (.damaged, .object), (.missing, .object): true
        default: false
        }
    }

    private func isExplained(
        _ finding: VerificationFinding, _ ledger: FollowedLedger, _ objects: inout ListedObjects,
        _ seen: [VerificationFinding.Subject: Int64]
    ) throws(VaultError) -> Bool {
        if !ledger.isVouched, try isKnownToIndex(finding) { return true }
        switch (finding.kind, finding.subject) {
        case (.extra, .object(let object)), (.notDeleted, .object(let object)):
            if try files.attributes(layout.object(object)) == nil { return true }
            return try objects.fate(of: object) != .unlisted
        case (.missing, .object(let object)):
            if try objects.fate(of: object) != .here { return true }
            // It was brought back.
            return try files.attributes(layout.object(object)) != nil
        case (.damaged, .object(let object)): return try objects.fate(of: object) == .unlisted
        case (.extra, .epoch(let epoch)): return ledger.lists(epoch)
        case (.notDeleted, .epoch(let epoch)): return try files.attributes(layout.epoch(epoch)) == nil
        case (.damaged, .epoch(let epoch)), (.missing, .epoch(let epoch)):
            guard let file = ledger.epochFile(epoch) else { return try files.attributes(layout.epoch(epoch)) == nil }
            return try isEpochFile(epoch, file)
        case (.extra, .file(let path)):
            // A file that is being re-wrapped: renamed by now, written anew by now, or named by the ledger by now.
            guard let name = Self.rewrapped(path), let epoch = KeyChanges.epoch(name) else { return false }
            guard let modified = try files.attributes(layout.epochs + "/" + name)?.modified,
                modified == seen[finding.subject]
            else { return true }
            return try isPending(name, ledger.epochFile(epoch))
        case (.damaged, .vaultFile): return try isVaultFile(ledger.vaultFile)
        default: return false
        }
    }

    /// Behind entries that cannot be read the ledger is not known, and the index may have taken it in before: what it knows is no
    /// finding beside the damage, which is one.
    private func isKnownToIndex(_ finding: VerificationFinding) throws(VaultError) -> Bool {
        switch (finding.kind, finding.subject) {
        case (.extra, .object(let object)): return try index.knowsObject(object)
        case (.extra, .epoch(let epoch)): return try index.knowsEpoch(epoch)
        case (.damaged, .epoch(let epoch)):
            guard let file = try index.epochFile(epoch) else { return false }
            return try isEpochFile(epoch, file)
        case (.missing, .epoch(let epoch)): return try index.isShredded(epoch)
        case (.damaged, .vaultFile): return try isVaultFile(index.vaultFileDigest())
        default: return false
        }
    }

    /// When the files were written that may be a re-wrapping's in progress.
    private func rewrappings(
        _ findings: [VerificationFinding]
    ) throws(VaultError) -> [VerificationFinding.Subject: Int64] {
        var seen: [VerificationFinding.Subject: Int64] = [:]
        for finding in findings {
            guard case .file(let path) = finding.subject, let name = Self.rewrapped(path) else { continue }
            seen[finding.subject] = try files.attributes(layout.epochs + "/" + name)?.modified
        }
        return seen
    }

    /// The file's name, of a path `epochs/<name>`.
    private static func rewrapped(_ path: String) -> String? {
        path.hasPrefix("epochs/") ? String(path.dropFirst(7)) : nil
    }

    /// Written so lately that its entry may be on its way.
    private func isYoung(_ finding: VerificationFinding) throws(VaultError) -> Bool {
        let path: String
        switch (finding.kind, finding.subject) {
        case (.extra, .object(let object)): path = layout.object(object)
        case (.extra, .epoch(let epoch)), (.damaged, .epoch(let epoch)): path = layout.epoch(epoch)
        case (.damaged, .vaultFile): path = layout.vaultFile
        case (.extra, .file(let name)) where Self.rewrapped(name) != nil: path = layout.root + "/" + name
        default: return false
        }
        // What was extra and is gone now is looked at again.
        guard let attributes = try files.attributes(path) else { return finding.kind == .extra }
        return abs(time.wallNow().microseconds - attributes.modified) < 10_000_000
    }
}

/// What the ledger says of objects that are asked for shard by shard: one shard's is kept.
private struct ListedObjects {
    enum Fate {
        /// Its bytes have to lie here.
        case here
        /// They may lie in a remote only.
        case evicted
        /// Never entered, or removed.
        case unlisted
    }
    private let ledger: FollowedLedger
    private var shard: Int?
    private var listed: Set<ObjectID> = []
    private var evicted: Set<ObjectID> = []

    init(_ ledger: FollowedLedger) { self.ledger = ledger }

    mutating func fate(of object: ObjectID) throws(VaultError) -> Fate {
        let wanted = Int(object.digest.first ?? 0)
        if wanted != shard {
            let new = try ledger.shard(wanted)
            (listed, evicted) = (Set(new.clips.map(\.object)), new.evicted)
            shard = wanted
        }
        guard listed.contains(object) else { return .unlisted }
        return evicted.contains(object) ? .evicted : .here
    }
}
