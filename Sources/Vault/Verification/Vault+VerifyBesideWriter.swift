import Core

/// What a verification finds while somebody writes, looked at again: a file may have come or gone between the reading of the ledger
/// and that of a folder.
extension Vault {
    /// The findings that remain when whoever writes has had a moment: a commit renames the object first and enters it then, and a
    /// removal is entered first. Errors: the disk's.
    func settled(
        _ findings: [VerificationFinding], by ledger: FollowedLedger
    ) async throws(VaultError) -> [VerificationFinding] {
        var kept = findings
        let seen = try rewrappings(findings)
        var unmoved = 0
        repeat {
            let before = kept
            kept = try await reads.run { [self] () throws(VaultError) in try unexplained(before, by: ledger, seen) }
            unmoved = kept.count < before.count ? 0 : unmoved + 1
            var isUnderWay = kept.contains { $0.kind == .notDeleted }
            if !isUnderWay { for finding in kept where try isYoung(finding) { isUnderWay = true } }
            guard isUnderWay, unmoved < Self.patience else { break }
            do { try await Task.sleep(for: .milliseconds(250)) } catch { break }
        } while true
        return kept
    }

    /// Quarters of a second in which none of what is under way ends: a commit between its rename and its entry, a removal between
    /// its entry and the last of its files.
    private static let patience = 20

    /// Those that the ledger, as it is now, does not explain. Errors: the disk's.
    /// - Parameter seen: when files were written that may be a re-wrapping's in progress.
    func unexplained(
        _ findings: [VerificationFinding], by ledger: FollowedLedger,
        _ seen: [VerificationFinding.Subject: Int64] = [:]
    ) throws(VaultError) -> [VerificationFinding] {
        guard findings.contains(where: Self.mayBeNews) else { return findings }
        try ledger.catchUp()
        if mode == .read, !ledger.isVouched { try index.catchUp(self.ledger, skipsDamage: true) }
        var objects = ListedObjects(ledger)
        var kept: [VerificationFinding] = []
        for finding in findings where try !isExplained(finding, ledger, &objects, seen) {
            // Recorded and removed since, and its file is about to go.
            var finding = finding
            if finding.kind == .extra, case .object(let object) = finding.subject,
                try objects.fate(of: object) == .removed
            {
                finding = VerificationFinding(.notDeleted, finding.subject, VerificationFinding.removedByEntry)
            }
            kept.append(finding)
        }
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
            return try objects.fate(of: object).isListed
        case (.missing, .object(let object)):
            guard case .here(let clip) = try objects.fate(of: object) else { return true }
            return try isBack(clip)
        case (.damaged, .object(let object)): return try !objects.fate(of: object).isListed
        case (.extra, .epoch(let epoch)): return ledger.lists(epoch)
        case (.notDeleted, .epoch(let epoch)): return try files.attributes(layout.epoch(epoch)) == nil
        case (.damaged, .epoch(let epoch)):
            guard let file = ledger.epochFile(epoch) else { return try files.attributes(layout.epoch(epoch)) == nil }
            return try isEpochFile(epoch, file)
        case (.missing, .epoch(let epoch)):
            guard let file = ledger.epochFile(epoch) else { return true }
            return try hashes(layout.epoch(epoch), to: file)
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

    /// Whether an object was given up for a remote's copy and brought back since; it is read as any other.
    private func isBack(_ clip: ClipRecord) throws(VaultError) -> Bool {
        guard try files.attributes(layout.object(clip.object)) != nil else { return false }
        var findings: [VerificationFinding] = []
        _ = try ObjectVerification(layout: layout, files: files, options: VerificationOptions(), open: nil)
            .check(clip, &findings)
        return findings.isEmpty
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
    enum Fate: Equatable {
        /// Its bytes have to lie here.
        case here(ClipRecord)
        /// They may lie in a remote only.
        case evicted
        case removed
        /// Never entered, or withdrawn by `repair`.
        case unlisted

        var isListed: Bool {
            switch self {
            case .here, .evicted: true
            case .removed, .unlisted: false
            }
        }
    }
    private let ledger: FollowedLedger
    private var number: Int?
    private var clips: [ObjectID: ClipRecord] = [:]
    private var shard = LedgerVerification.Shard()

    init(_ ledger: FollowedLedger) { self.ledger = ledger }

    mutating func fate(of object: ObjectID) throws(VaultError) -> Fate {
        let wanted = Int(object.digest.first ?? 0)
        if wanted != number {
            shard = try ledger.shardAgain(wanted)
            clips = Dictionary(shard.clips.map { ($0.object, $0) }) { a, _ in a }
            number = wanted
        }
        if let clip = clips[object] { return shard.evicted.contains(object) ? .evicted : .here(clip) }
        return shard.deleted.contains(object) ? .removed : .unlisted
    }
}
