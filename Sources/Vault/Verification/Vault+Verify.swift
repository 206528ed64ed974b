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
        return try await verifyObjects(try await verifyLedger(), options, progress: progress, checked: checked)
    }

    /// What lies on disk against a ledger that was read a while ago.
    func verifyObjects(
        _ listed: LedgerVerification, _ options: VerificationOptions,
        progress: @escaping @Sendable (VerificationProgress) -> Void = { _ in },
        checked: @escaping @Sendable (VerifiedShard) -> Void = { _ in }
    ) async throws(VaultError) -> VerificationReport {
        let ledger = FollowedLedger(listed)
        let closed = ClosedEpochs()
        let open: @Sendable (ClipRecord) throws(VaultError) -> ObjectReader? = { [self] (clip) throws(VaultError) in
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
        let outcomes = try await check(objects, listed, ledger, options.done, progress, checked)
        for outcome in outcomes {
            report.add(outcome.findings)
            report.objects += outcome.objects
            report.bytes += outcome.bytes
            report.evicted += outcome.evicted
        }
        report.findings = try await settled(report.findings, by: ledger)
        if options.opensObjects { try await reads.run { () throws(VaultError) in try ledger.catchUp() } }
        let known = Set(report.findings)
        report.add(ledger.findings.filter { !known.contains($0) })
        report.unsignedEntries = ledger.unsignedEntries
        // That a shredded day does not open is as it should be, and what is left of it goes with the next start at the latest. A key
        // that was sealed anew meanwhile may not be for whoever unlocked this.
        closed.enter(&report) { ledger.epochFile($0) != listed.epochs[$0]?.file }
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
        _ objects: ObjectVerification, _ listed: LedgerVerification, _ ledger: FollowedLedger, _ done: [VerifiedShard],
        _ progress: @escaping @Sendable (VerificationProgress) -> Void,
        _ checked: @escaping @Sendable (VerifiedShard) -> Void
    ) async throws(VaultError) -> [ObjectVerification.Outcome] {
        let done = Dictionary(done.map { ($0.shard, $0.entries) }) { a, _ in a }
        let state = Shared(objects: listed.expectedObjects, bytes: listed.expectedBytes)
        let work: @Sendable () throws(VaultError) -> [ObjectVerification.Outcome] = { [self] () throws(VaultError) in
            var outcomes: [ObjectVerification.Outcome] = []
            while !state.isCancelled.load(ordering: .relaxed) {
                let number = state.next.add(1, ordering: .relaxed).oldValue
                guard number < Layout.shards.count else { break }
                let known = done[number]
                let shard = try ledger.shard(number, recentFrom: known ?? 0)
                let isRead = { (clip: ClipRecord) in known == nil || shard.recent.contains(clip.object) }
                var outcome = try objects.shard(Layout.shards[number], shard, isRead: isRead) { clip in
                    progress(state.count(clip.byteCount, isRead: isRead(clip)))
                    return !state.isCancelled.load(ordering: .relaxed)
                }
                // At once, so that what retention took meanwhile does not use up the places of a report.
                outcome.findings = try unexplained(outcome.findings, by: ledger)
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

    /// Whether an epoch's file, or the one that will take its place, has that digest.
    func isEpochFile(_ epoch: EpochID, _ digest: ObjectID) throws(VaultError) -> Bool {
        try isOrBecomes(layout.epoch(epoch), digest)
    }
    func isPending(_ name: String, _ digest: ObjectID?) throws(VaultError) -> Bool {
        try hashes(layout.epochs + "/" + name, to: digest)
    }
    func isVaultFile(_ digest: ObjectID?) throws(VaultError) -> Bool {
        try isOrBecomes(layout.vaultFile, digest)
    }
    /// The one that waits for its rename is looked at first: renamed in between, it is met under its name.
    private func isOrBecomes(_ path: String, _ digest: ObjectID?) throws(VaultError) -> Bool {
        if try hashes(path + KeyChanges.suffix, to: digest) { return true }
        return try hashes(path, to: digest)
    }
    /// False when the file is not there, also when it was renamed since somebody looked.
    func hashes(_ path: String, to digest: ObjectID?) throws(VaultError) -> Bool {
        do throws(VaultError) {
            return try ObjectID(hashing: try files.contents(path)) == digest
        } catch {
            guard error.code == .notFound else { throw error }
            return false
        }
    }
}

/// Objects that nobody could try to open, because their epoch's file does not: it is what is damaged.
private final class ClosedEpochs: Sendable {
    private let epochs = Mutex<[EpochID: (objects: Int, reason: String)]>([:])

    func count(_ clip: ClipRecord, _ error: VaultError) {
        epochs.withLock { $0[clip.identity.epoch, default: (0, error.reason)].objects += 1 }
    }

    /// One finding an epoch: beside what its file's bytes told already.
    func enter(_ report: inout VerificationReport, isChanged: (EpochID) -> Bool) {
        for (epoch, (objects, reason)) in epochs.withLock({ $0 }).sorted(by: { $0.key < $1.key })
        where !isChanged(epoch) {
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
            // Clips may have come since all were counted.
            done.objectsTotal = max(done.objectsTotal, done.objectsDone)
            done.bytesTotal = max(done.bytesTotal, done.bytesDone)
            if isRead { done.bytesRead += bytes }
            return done
        }
    }
}
