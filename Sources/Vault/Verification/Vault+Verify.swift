import Core
import Synchronization

extension Vault {
    /// Checks everything on disk against the ledger, and the ledger against its signature. Writes nothing.
    ///
    /// Needs no key unless `opensObjects` is asked for. Errors: `.locked`, `.io`; what is wrong with the vault is in the
    /// report. Stops soon after the task is cancelled, with `.closed`.
    public func verify(
        _ options: VerificationOptions = VerificationOptions(),
        progress: @escaping @Sendable (VerificationProgress) -> Void = { _ in }
    ) async throws(VaultError) -> VerificationReport {
        if options.opensObjects, !isUnlocked { throw Keyring.locked }
        let listed = try await reads.run { [self] () throws(VaultError) in
            var verification = LedgerVerification(ledger, file)
            try verification.run(vaultFile: try files.contents(layout.vaultFile))
            try verifyEpochs(&verification)
            return verification
        }
        let shredded = listed.shredded
        let open: @Sendable (ClipRecord) throws(VaultError) -> ObjectReader = { [self] (clip) throws(VaultError) in
            if shredded.contains(clip.identity.epoch) { throw VaultError(.notFound, "Its epoch was shredded.") }
            return try openBlocking(clip)
        }
        let objects = ObjectVerification(
            layout: layout, files: files, options: options, clips: listed.clips, deleted: listed.deleted,
            open: options.opensObjects ? open : nil)
        var report = listed.report
        let outcomes = try await check(objects, listed, progress)
        for outcome in outcomes {
            report.findings += outcome.findings
            report.objects += outcome.objects
            report.bytes += outcome.bytes
        }
        report.findings = try await withoutNews(report.findings)
        return report
    }

    /// Shards are dealt out to two threads, the target machine's usual spare.
    private func check(
        _ objects: ObjectVerification, _ listed: LedgerVerification,
        _ progress: @escaping @Sendable (VerificationProgress) -> Void
    ) async throws(VaultError) -> [ObjectVerification.Outcome] {
        let total = listed.clips.count
        let expected = Dictionary(grouping: listed.clips.values) { $0.object.digest.first ?? 0 }
        let state = Shared(total: total)
        let work: @Sendable () throws(VaultError) -> [ObjectVerification.Outcome] = { () throws(VaultError) in
            var outcomes: [ObjectVerification.Outcome] = []
            while !state.isCancelled.load(ordering: .relaxed) {
                let shard = state.next.add(1, ordering: .relaxed).oldValue
                guard shard < 256 else { break }
                let clips = (expected[UInt8(shard)] ?? []).sorted { $0.object < $1.object }
                outcomes.append(
                    try objects.shard(Layout.shards[shard], clips) { bytes in progress(state.count(bytes)) })
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
            verification.report.findings.append(VerificationFinding(kind, .epoch(epoch), detail))
        }
        var found: Set<EpochID> = []
        // What a failed write left is nobody's epoch, and the next start takes it away.
        for name in try files.list(layout.epochs) where !name.hasSuffix(".age.tmp") {
            guard name.hasSuffix(".age"), let epoch = EpochID(String(name.dropLast(4))) else {
                verification.report.findings.append(
                    VerificationFinding(.extra, .file("epochs/\(name)"), "is no epoch of this vault"))
                continue
            }
            found.insert(epoch)
            guard let record = verification.epochs[epoch] else {
                add(.extra, epoch, "the ledger does not list it")
                continue
            }
            if verification.shredded.contains(epoch) { add(.notDeleted, epoch, "the ledger says it was shredded") }
            if Digest.sha256(try files.contents(layout.epoch(epoch))) != record.file.digest {
                add(.damaged, epoch, "its bytes differ from what the ledger recorded")
            }
        }
        for epoch in verification.epochs.keys where !found.contains(epoch) && !verification.shredded.contains(epoch) {
            add(.missing, epoch, "without it the camera's day cannot be read")
        }
    }

    /// While somebody records, an object may have come between reading the ledger and reading its folder. A commit renames
    /// the object first and enters it then, so what is extra and that young gets a moment to be entered.
    private func withoutNews(_ findings: [VerificationFinding]) async throws(VaultError) -> [VerificationFinding] {
        var kept = findings
        for _ in 0..<Self.commitPatience {
            let before = kept
            kept = try await reads.run { [self] () throws(VaultError) in
                if mode == .read, before.contains(where: { $0.kind == .extra }) { try index.catchUp(ledger) }
                var kept: [VerificationFinding] = []
                for finding in before where try !isKnown(finding) { kept.append(finding) }
                return kept
            }
            var hasYoung = false
            for finding in kept where try isYoung(finding) { hasYoung = true }
            guard hasYoung else { break }
            do { try await Task.sleep(for: .milliseconds(250)) } catch { break }
        }
        return kept
    }

    private func isKnown(_ finding: VerificationFinding) throws(VaultError) -> Bool {
        switch (finding.kind, finding.subject) {
        case (.extra, .object(let object)): try index.knowsObject(object)
        case (.extra, .epoch(let epoch)): try index.knowsEpoch(epoch)
        default: false
        }
    }

    /// Quarters of a second that a commit may take from its rename to its ledger entry.
    private static let commitPatience = 20

    private func isYoung(_ finding: VerificationFinding) throws(VaultError) -> Bool {
        guard finding.kind == .extra else { return false }
        let path: String
        switch finding.subject {
        case .object(let object): path = layout.object(object)
        case .epoch(let epoch): path = layout.epoch(epoch)
        default: return false
        }
        guard let attributes = try files.attributes(path) else { return false }
        return abs(time.wallNow().microseconds - attributes.modified) < 10_000_000
    }
}

/// What the threads of one verification share.
private final class Shared: Sendable {
    let next = Atomic(0)
    let isCancelled = Atomic(false)
    private let done: Mutex<VerificationProgress>

    init(total: Int) { done = Mutex(VerificationProgress(objectsDone: 0, objectsTotal: total, bytesDone: 0)) }

    func count(_ bytes: Int) -> VerificationProgress {
        done.withLock { done in
            done.objectsDone += 1
            done.bytesDone += bytes
            return done
        }
    }
}
