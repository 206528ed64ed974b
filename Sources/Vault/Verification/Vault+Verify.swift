import Core
import Synchronization

extension Vault {
    /// Checks everything on disk against the ledger, and the ledger against its signature. Writes nothing; memory does not grow
    /// with the vault.
    ///
    /// Needs no key unless `opensObjects` is asked for. Errors: `.locked`, `.io`; what is wrong with the vault is in the
    /// report. Stops soon after the task is cancelled, with `.closed`.
    /// - Parameters:
    ///   - progress: after each object, from two threads.
    ///   - checked: after each of the 256 folders that was clean, so that a later run need not read it again.
    public func verify(
        _ options: VerificationOptions = VerificationOptions(),
        progress: @escaping @Sendable (VerificationProgress) -> Void = { _ in },
        checked: @escaping @Sendable (VerifiedShard) -> Void = { _ in }
    ) async throws(VaultError) -> VerificationReport {
        if options.opensObjects, !isUnlocked { throw Keyring.locked }
        let listed = try await verifyLedger()
        let closed = ClosedEpochs()
        let open: @Sendable (ClipRecord) throws(VaultError) -> ObjectReader? = { [self] (clip) throws(VaultError) in
            if listed.shredded[clip.identity.epoch] != nil {
                throw VaultError(.notFound, "Its epoch was shredded.")
            }
            do throws(VaultError) { _ = try epochIdentity(clip.identity.epoch) } catch {
                guard error.code != .locked else { throw error }
                closed.count(clip, error)
                return nil
            }
            return try openBlocking(clip)
        }
        let objects = ObjectVerification(
            layout: layout, files: files, isFarAllowed: mode == .mirror, options: options,
            open: options.opensObjects ? open : nil)
        var report = listed.report
        let outcomes = try await check(objects, listed, options.done, progress, checked)
        for outcome in outcomes {
            report.add(outcome.findings)
            report.objects += outcome.objects
            report.bytes += outcome.bytes
            report.evicted += outcome.evicted
        }
        report.findings = try await withoutNews(report.findings)
        closed.enter(&report)
        return report
    }

    /// The ledger against its signature, and the epochs against the ledger.
    func verifyLedger() async throws(VaultError) -> LedgerVerification {
        try await reads.run { [self] () throws(VaultError) in
            var verification = LedgerVerification(ledger, file)
            try verification.run(vaultFile: try files.contents(layout.vaultFile))
            try verifyEpochs(&verification)
            return verification
        }
    }

    /// Shards are dealt out to two threads, the target machine's usual spare.
    private func check(
        _ objects: ObjectVerification, _ listed: LedgerVerification, _ done: [VerifiedShard],
        _ progress: @escaping @Sendable (VerificationProgress) -> Void,
        _ checked: @escaping @Sendable (VerifiedShard) -> Void
    ) async throws(VaultError) -> [ObjectVerification.Outcome] {
        let done = Dictionary(done.map { ($0.shard, $0.entries) }) { a, _ in a }
        let state = Shared(objects: listed.expectedObjects, bytes: listed.expectedBytes)
        let work: @Sendable () throws(VaultError) -> [ObjectVerification.Outcome] = { () throws(VaultError) in
            var outcomes: [ObjectVerification.Outcome] = []
            while !state.isCancelled.load(ordering: .relaxed) {
                let number = state.next.add(1, ordering: .relaxed).oldValue
                guard number < Layout.shards.count else { break }
                let known = done[number]
                let shard = try listed.shard(number, recentFrom: known ?? 0)
                let isRead = { (clip: ClipRecord) in known == nil || shard.recent.contains(clip.object) }
                let outcome = try objects.shard(Layout.shards[number], shard, isRead: isRead) { clip in
                    progress(state.count(clip.byteCount, isRead: isRead(clip)))
                    return !state.isCancelled.load(ordering: .relaxed)
                }
                if outcome.findings.isEmpty {
                    checked(VerifiedShard(shard: number, entries: listed.report.entries))
                }
                outcomes.append(outcome)
            }
            return outcomes
        }
        let reads = reads
        let results = await withTaskCancellationHandler {
            await withTaskGroup(of: Result<[ObjectVerification.Outcome], VaultError>.self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        do throws(VaultError) { return .success(try await reads.run(work)) } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
        } onCancel: {
            state.isCancelled.store(true, ordering: .relaxed)
        }
        if state.isCancelled.load(ordering: .relaxed) { throw VaultError(.closed, "The verification was cancelled.") }
        var outcomes: [ObjectVerification.Outcome] = []
        for result in results { outcomes += try result.get() }
        return outcomes
    }

    private func verifyEpochs(_ verification: inout LedgerVerification) throws(VaultError) {
        func add(_ kind: VerificationFinding.Kind, _ epoch: EpochID, _ detail: String) {
            verification.report.add([VerificationFinding(kind, .epoch(epoch), detail)])
        }
        var found: Set<EpochID> = []
        // What a failed write left is nobody's epoch, and the next start takes it away.
        for name in try files.list(layout.epochs) where !name.hasSuffix(".age.tmp") {
            // Half a re-wrapping: the next start finishes it or takes it away.
            if let epoch = KeyChanges.epoch(name), try isPending(name, verification.epochs[epoch]?.file) { continue }
            guard name.hasSuffix(".age"), let epoch = EpochID(String(name.dropLast(4))) else {
                verification.report.findings.append(
                    VerificationFinding(
                        .extra, .file("epochs/\(name)"),
                        KeyChanges.epoch(name) == nil
                            ? "is no epoch of this vault"
                            : "is left of an interrupted re-wrapping; the next start takes it away"))
                continue
            }
            found.insert(epoch)
            guard let record = verification.epochs[epoch] else {
                add(.extra, epoch, "the ledger does not list it")
                continue
            }
            if verification.shredded[epoch] != nil { add(.notDeleted, epoch, "the ledger says it was shredded") }
            if try !isEpochFile(epoch, record.file) {
                add(.damaged, epoch, "its bytes differ from what the ledger recorded")
            }
        }
        for epoch in verification.epochs.keys where !found.contains(epoch) && verification.shredded[epoch] == nil {
            add(.missing, epoch, "without it the camera's day cannot be read")
        }
    }

    /// While somebody records, an object may have come between reading the ledger and reading its folder. A commit renames
    /// the object first and enters it then, so what is extra and that young gets a moment to be entered.
    func withoutNews(_ findings: [VerificationFinding]) async throws(VaultError) -> [VerificationFinding] {
        var kept = findings
        let seen = try rewrappings(findings)
        for _ in 0..<Self.commitPatience {
            let before = kept
            kept = try await reads.run { [self] () throws(VaultError) in
                if mode == .read, before.contains(where: Self.mayBeNews) { try index.catchUp(ledger) }
                var kept: [VerificationFinding] = []
                for finding in before where try !isKnown(finding, seen) { kept.append(finding) }
                return kept
            }
            var hasYoung = false
            for finding in kept where try isYoung(finding) { hasYoung = true }
            guard hasYoung else { break }
            do { try await Task.sleep(for: .milliseconds(250)) } catch { break }
        }
        return kept
    }

    private func isKnown(
        _ finding: VerificationFinding, _ seen: [VerificationFinding.Subject: Int64]
    ) throws(VaultError) -> Bool {
        switch (finding.kind, finding.subject) {
        case (.extra, .object(let object)): return try index.knowsObject(object)
        case (.extra, .epoch(let epoch)): return try index.knowsEpoch(epoch)
        case (.damaged, .epoch(let epoch)):
            guard let file = try index.epochFile(epoch) else { return false }
            return try isEpochFile(epoch, file)
        case (.missing, .epoch(let epoch)): return try index.isShredded(epoch)
        case (.extra, .file(let path)):
            // A file that is being re-wrapped: renamed by now, written anew by now, or named by the ledger by now.
            guard let name = Self.rewrapped(path), let epoch = KeyChanges.epoch(name) else { return false }
            guard let modified = try files.attributes(layout.epochs + "/" + name)?.modified,
                modified == seen[finding.subject]
            else { return true }
            return try isPending(name, index.epochFile(epoch))
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

    /// What somebody who writes meanwhile may have caused.
    private static func mayBeNews(_ finding: VerificationFinding) -> Bool {
        switch (finding.kind, finding.subject) {
        case (.extra, _), (.damaged, .epoch), (.missing, .epoch), (.damaged, .vaultFile): true
        default: false
        }
    }

    /// The file's name, of a path `epochs/<name>`.
    private static func rewrapped(_ path: String) -> String? {
        path.hasPrefix("epochs/") ? String(path.dropFirst(7)) : nil
    }

    /// Whether an epoch's file, or the one that will take its place, has that digest.
    private func isEpochFile(_ epoch: EpochID, _ digest: ObjectID) throws(VaultError) -> Bool {
        try isOrBecomes(layout.epoch(epoch), digest)
    }
    private func isPending(_ name: String, _ digest: ObjectID?) throws(VaultError) -> Bool {
        try hashes(layout.epochs + "/" + name, to: digest)
    }
    private func isVaultFile(_ digest: ObjectID?) throws(VaultError) -> Bool {
        try isOrBecomes(layout.vaultFile, digest)
    }
    /// The one that waits for its rename is looked at first: renamed in between, it is met under its name.
    private func isOrBecomes(_ path: String, _ digest: ObjectID?) throws(VaultError) -> Bool {
        if try hashes(path + KeyChanges.suffix, to: digest) { return true }
        return try hashes(path, to: digest)
    }
    /// False when the file is not there, also when it was renamed since somebody looked.
    private func hashes(_ path: String, to digest: ObjectID?) throws(VaultError) -> Bool {
        do throws(VaultError) {
            return try ObjectID(hashing: try files.contents(path)) == digest
        } catch {
            guard error.code == .notFound else { throw error }
            return false
        }
    }

    /// Quarters of a second that a commit may take from its rename to its ledger entry.
    private static let commitPatience = 20

    private func isYoung(_ finding: VerificationFinding) throws(VaultError) -> Bool {
        guard Self.mayBeNews(finding) else { return false }
        let path: String
        switch finding.subject {
        case .object(let object): path = layout.object(object)
        case .epoch(let epoch): path = layout.epoch(epoch)
        case .vaultFile: path = layout.vaultFile
        case .file(let name) where Self.rewrapped(name) != nil: path = layout.root + "/" + name
        default: return false
        }
        // What was extra and is gone now is looked at again.
        guard let attributes = try files.attributes(path) else { return finding.kind == .extra }
        return abs(time.wallNow().microseconds - attributes.modified) < 10_000_000
    }
}

/// Objects that nobody could try to open, because their epoch's file does not: it is what is damaged.
private final class ClosedEpochs: Sendable {
    private let epochs = Mutex<[EpochID: (objects: Int, reason: String)]>([:])

    func count(_ clip: ClipRecord, _ error: VaultError) {
        epochs.withLock { $0[clip.identity.epoch, default: (0, error.reason)].objects += 1 }
    }

    /// One finding an epoch: beside what its file's bytes told already.
    func enter(_ report: inout VerificationReport) {
        for (epoch, (objects, reason)) in epochs.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
            let detail = "\(objects) object(s) sealed to it do not open: \(reason)"
            if let place = report.findings.firstIndex(where: { $0.subject == .epoch(epoch) }) {
                report.findings[place].detail += "; \(detail)"
            } else {
                report.add([VerificationFinding(.damaged, .epoch(epoch), detail)])
            }
        }
    }
}

/// What the threads of one verification share.
private final class Shared: Sendable {
    let next = Atomic(0)
    let isCancelled = Atomic(false)
    private let done: Mutex<VerificationProgress>

    init(objects: Int, bytes: Int) {
        done = Mutex(VerificationProgress(objectsTotal: max(0, objects), bytesTotal: max(0, bytes)))
    }

    func count(_ bytes: Int, isRead: Bool) -> VerificationProgress {
        done.withLock { done in
            done.objectsDone += 1
            done.bytesDone += bytes
            if isRead { done.bytesRead += bytes }
            return done
        }
    }
}
