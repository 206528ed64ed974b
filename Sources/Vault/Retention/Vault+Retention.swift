public import Core
import Synchronization

/// What retention did or would do in one pass.
public struct RetentionReport: Sendable {
    public struct Deletion: Sendable, Hashable {
        public var clip: ClipRecord
        public var cause: RetentionCause
    }
    public var deletions: [Deletion] = []
    /// Epochs whose last clip is gone: their keys went too.
    public var shreddedEpochs = 0
    /// The limit was reached; the next pass goes on.
    public var isUnfinished = false
    /// Bytes that budgets or a full disk ask for and nothing may give.
    public var unmet: [RetentionShortfall] = []
    /// False: nobody vouches for the wall clock, so nothing goes by age or budget.
    public var isTimeTrusted = true
    public var freedBytes: Int { deletions.reduce(0) { $0 + $1.clip.byteCount } }
}

public struct DeletedSoFar: Sendable, Hashable {
    public var clips = 0
    public var bytes = 0
}

/// What the running vault remembers of retention.
struct RetentionState {
    var policy = RetentionPolicy()
    var leases: [UUID: RetentionLease] = [:]
}

extension Vault {
    /// From now on; enters the ledger with the first deletion it causes.
    public func setRetention(_ policy: RetentionPolicy) { retention.withLock { $0.policy = policy } }
    /// What is in force.
    public var retentionPolicy: RetentionPolicy { retention.withLock { $0.policy } }

    /// One pass: what has to go goes, oldest first: ledger entry, then file, then folder sync, then row.
    ///
    /// Errors: `.readOnly` unless `isDryRun`; the ledger's and the disk's. What went before an error is entered.
    /// - Parameter limit: clips at most; the rest is left to the next pass.
    public func applyRetention(
        limit: Int = .max, isDryRun: Bool = false
    ) async throws(VaultError) -> RetentionReport {
        try await retentionLane.run { [self] () throws(VaultError) in
            if !isDryRun {
                try confirmClock()
                // First, or what a failed pass entered would not be known to be unfinished.
                _ = try committer().settle()
                try finishDeletions()
            }
            return try pass(limit: limit, isDryRun: isDryRun, extraSpace: 0)
        }
    }

    /// The same with another policy, deleting nothing: "what if".
    public func planRetention(_ policy: RetentionPolicy, limit: Int = .max) async throws(VaultError) -> RetentionReport
    {
        try await retentionLane.run { [self] () throws(VaultError) in
            try pass(limit: limit, isDryRun: true, extraSpace: 0, policy)
        }
    }

    /// Whether somebody vouches for the wall clock: the ledger's own chain of times, or the kernel's time service.
    public var isTimeTrusted: Bool {
        let now = time.wallNow()
        guard let trust = try? index.clockTrust() else { return false }
        // The chain's end is in the future when the clock was set back: then nobody knows which was right.
        return time.isWallSynchronised()
            || trust.last.map { now >= $0 - 60_000_000 && trust.vouches(for: now) } ?? false
    }

    /// The owner says that the wall clock is right. What was recorded since the last trusted time counts from here on.
    public func confirmTime() async throws(VaultError) {
        let now = time.wallNow()
        let trust = try await reads.run { [index] () throws(VaultError) in try index.clockTrust() }
        let last = trust.last ?? now
        try await commit(.clock(from: last, to: now, isConfirmed: true))
    }

    /// A time service has spoken while nobody vouched for the clock: that is entered once.
    private func confirmClock() throws(VaultError) {
        let now = time.wallNow()
        let trust = try index.clockTrust()
        guard time.isWallSynchronised(), !trust.vouches(for: now) else { return }
        let clock = LedgerEntry(at: now, .clock(from: trust.last ?? now, to: now, isConfirmed: true))
        try committer().commit([clock])
    }

    /// One look, and unless it is only that, what follows from it.
    private func pass(
        limit: Int, isDryRun: Bool, extraSpace: Int, _ other: RetentionPolicy? = nil
    ) throws(VaultError) -> RetentionReport {
        let isIndexCurrent = isDryRun ? true : try committer().settle()
        let tail = isIndexCurrent ? LedgerReader.Tail() : try ledger.tail(from: index.position())
        let now = time.wallNow()
        let (policy, leases) = retention.withLock { retention in
            retention.leases = retention.leases.filter { $0.value.expires > now }
            return (other ?? retention.policy, Array(retention.leases.values))
        }
        let needed = max(extraSpace, policy.freeBytes - (try files.space(layout.root).free))
        let isTrusted = isTimeTrusted
        // With an index that is behind only the full disk counts: that it cannot be written is mostly due to it.
        var pass = RetentionPass(
            policy: policy, holds: try index.holds() + tail.holds, leases: leases, now: now,
            isTimeTrusted: isTrusted && isIndexCurrent, needed: max(0, needed), gone: tail.deleted.union(tail.evicted))
        var outcome = try pass.run(IndexCatalog(index: index, vault: id), limit: limit)
        for _ in 0..<Self.missingRounds where !isDryRun && !outcome.deletions.isEmpty {
            let missing = try thatFreeNothing(outcome.deletions)
            guard !missing.isEmpty else { break }
            pass.gone.formUnion(missing)
            outcome = try pass.run(IndexCatalog(index: index, vault: id), limit: limit)
        }
        var report = RetentionReport(
            isUnfinished: outcome.isUnfinished, unmet: outcome.unmet, isTimeTrusted: isTrusted)
        if isDryRun {
            report.deletions = outcome.deletions.map { RetentionReport.Deletion(clip: $0.clip, cause: $0.cause) }
            return report
        }
        var left = outcome.deletions[...]
        while !left.isEmpty {
            let batch = left.prefix(Self.deletionBatch)
            left = left.dropFirst(batch.count)
            let deleted = try deleteUnprotected(batch.map { ($0.clip, $0.cause) }, policy, entered: tail.policy)
            report.deletions += deleted.map { RetentionReport.Deletion(clip: $0.0, cause: $0.1) }
            // In place of what is kept since the pass looked, others may have to go.
            if deleted.count < batch.count { report.isUnfinished = true }
        }
        guard isIndexCurrent else { return report }
        if isTrusted { report.shreddedEpochs = try shredEmptyEpochs(before: now.utcDay - 1) }
        try refillBallast(policy)
        if diskPressure != .none,
            try freeBytes() > policy.freeBytes.addingSaturating(2 * (try rescueBytes()))
        {
            note(.none)
        }
        return report
    }

    /// A full disk takes only what it gets something for. Where the objects are gone, by whatever hand, deleting their entries
    /// would free nothing and go on for ever: the ledger's list of them stays, for `verify` and a restore.
    private func thatFreeNothing(_ deletions: [RetentionPass.Deletion]) throws(VaultError) -> Set<ObjectID> {
        var missing: Set<ObjectID> = []
        for deletion in deletions where deletion.cause == .diskFull {
            if try files.attributes(layout.object(deletion.clip.object)) == nil { missing.insert(deletion.clip.object) }
        }
        if !missing.isEmpty {
            hub.send(.alarm("Objects that the ledger lists are missing, and nothing of them is deleted. Run verify."))
        }
        return missing
    }
    /// So often a pass looks beyond clips that are missing.
    private static let missingRounds = 64

    /// Clips that share one ledger entry sync; a commit of somebody else waits for no more than that.
    private static let deletionBatch = 32

    /// Entry, file, folder, row; a crash in between is finished by the next start.
    ///
    /// - Parameter entered: the policy last named by entries that the index does not know.
    func delete(
        _ clips: [(ClipRecord, RetentionCause)], _ policy: RetentionPolicy, entered: ObjectID? = nil
    ) throws(VaultError) {
        try enter(clips, policy, entered)
        _ = try unlink(clips.map(\.0.object))
    }

    /// The same, but for what a hold or a lease keeps by now: a pass may take half a minute after it looked.
    /// - Returns: what was deleted.
    private func deleteUnprotected(
        _ clips: [(ClipRecord, RetentionCause)], _ policy: RetentionPolicy, entered: ObjectID?
    ) throws(VaultError) -> [(ClipRecord, RetentionCause)] {
        let deleted = try protection.withLock { (_) throws(VaultError) in
            let isIndexCurrent = try committer().settle()
            let holds = try index.holds() + (isIndexCurrent ? [] : ledger.tail(from: index.position()).holds)
            let (leases, now) = (retention.withLock { Array($0.leases.values) }, time.wallNow())
            let left = clips.filter { (clip, _) in
                !holds.contains { $0.covers(clip) } && !leases.contains { $0.covers(clip, at: now) }
            }
            if !left.isEmpty { try enter(left, policy, entered) }
            return left
        }
        _ = try unlink(deleted.map(\.0.object))
        return deleted
    }

    private func enter(
        _ clips: [(ClipRecord, RetentionCause)], _ policy: RetentionPolicy, _ entered: ObjectID?
    ) throws(VaultError) {
        let now = time.wallNow()
        let digest = policy.digest
        var entries: [LedgerEntry] = []
        let inForce = if let entered { entered } else { try index.policy() }
        if inForce != digest { entries.append(LedgerEntry(at: now, .policy(digest, policy.text))) }
        for (clip, cause) in clips {
            entries.append(
                LedgerEntry(
                    at: now,
                    .delete(
                        DeletionRecord(
                            object: clip.object, camera: clip.camera, range: clip.range, byteCount: clip.byteCount,
                            cause: cause, policy: digest))))
        }
        try committer().commit(entries)
        deletedSoFar.withLock { counts in
            for (clip, cause) in clips {
                let kind = if case .age = cause { "age" } else { cause.description }
                counts[kind, default: DeletedSoFar()].clips += 1
                counts[kind, default: DeletedSoFar()].bytes &+= clip.byteCount
            }
        }
        for (clip, cause) in clips { hub.send(.deleted(clip, cause)) }
    }

    /// What was deleted since the vault was opened, by cause (`age`, `camera-budget`, …): whoever asked for it, a rule or a full disk.
    public var deleted: [String: DeletedSoFar] { deletedSoFar.withLock { $0 } }

    /// Takes away files whose removal the ledger has.
    /// - Returns: false when the index could not be told: then it is done once more, later.
    private func unlink(_ objects: [ObjectID]) throws(VaultError) -> Bool {
        for object in objects {
            try files.remove(layout.object(object))
            // Its first name, if it could not be taken away when the clip was committed.
            try files.remove(layout.part(object))
        }
        for folder in Set(objects.map { parent(of: layout.object($0)) }) { try files.syncDirectory(folder) }
        return (try? index.finished(deletions: objects)) != nil
    }

    /// What an interrupted pass left: the ledger says it is gone, the file may be there.
    func finishDeletions() throws(VaultError) {
        while true {
            let pending = try index.pendingDeletions(limit: 256)
            guard !pending.isEmpty, try unlink(pending) else { return }
        }
    }

    private func shredEmptyEpochs(before day: Int64) throws(VaultError) -> Int {
        let epochs = try index.emptyEpochs(before: day, limit: Self.deletionBatch)
        guard !epochs.isEmpty else { return 0 }
        try shred(epochs, rule: "empty")
        return epochs.count
    }

    /// Entry, then file, then folder; a crash in between is finished by the next start.
    func shred(_ epochs: [EpochID], rule: String) throws(VaultError) {
        let now = time.wallNow()
        try committer().commit(epochs.map { LedgerEntry(at: now, .shred($0, rule: rule)) })
        for epoch in epochs {
            keyring.forget(epoch)
            try files.remove(layout.epoch(epoch))
            // What an interrupted re-wrapping left must not bring it back.
            try files.remove(layout.epoch(epoch) + KeyChanges.suffix)
        }
        try files.syncDirectory(layout.epochs)
    }

    // MARK: A full disk

    /// What one rescue frees: some clips' worth, so that not every chunk asks again, and no more than a sixteenth of what is there.
    func rescueBytes() throws(VaultError) -> Int {
        let kept = try index.usage().reduce(0) { $0 + $1.bytes }
        return min(64 << 20, max(1 << 20, kept / 16))
    }

    /// Whether less is free than is to stay free, and after a full disk, than a pass must find to take the alarm back.
    public func lacksSpace(keepingFree bytes: Int) -> Bool {
        guard let free = try? freeBytes() else { return false }
        guard diskPressure != .none, let rescue = try? rescueBytes() else { return free < bytes }
        return free <= bytes.addingSaturating(2 * rescue)
    }

    /// Called where a write met a full disk; true when something was deleted.
    func deleteForSpace() -> Bool {
        retentionLane.runBlocking {
            do throws(VaultError) {
                let report = try pass(limit: 64, isDryRun: false, extraSpace: try rescueBytes())
                return !report.deletions.isEmpty
            } catch {
                hub.send(.alarm("The disk is full and no footage could be deleted: \(error.reason)"))
                return false
            }
        }
    }

    /// The reserve is made again once there is room for it twice over.
    private func refillBallast(_ policy: RetentionPolicy) throws(VaultError) {
        // Without vault.json here its disk is not: what lies under the mount point is not ours to fill.
        guard try files.attributes(layout.vaultFile) != nil,
            try files.attributes(layout.ballast) == nil,
            try files.space(layout.root).free > policy.freeBytes.addingSaturating(2 * Self.ballastSize)
        else { return }
        try checkIsThere()
        try Self.fillBallast(layout, files, Self.ballastSize)
    }

    // MARK: Holds and leases

    /// Keeps a range until `release`. Its note is sealed to the vault's recipients. Errors: `.invalid`, `.readOnly`.
    public func hold(camera: CameraID?, range: TimeRange, note: String) async throws(VaultError) -> HoldID {
        guard !range.isEmpty else { throw VaultError(.invalid, "A hold ends after it starts.") }
        guard note.utf8.count <= 4096 else { throw VaultError(.invalid, "A note has at most 4096 bytes.") }
        let hold = HoldID.random()
        let recipients = file.recipients
        let sealed =
            note.isEmpty
            ? nil
            : try AgeFile.seal(SecretBytes(text: note), to: recipients)
        let committer = try committer()
        let entry = LedgerEntry(
            at: time.wallNow(), .hold(HoldRecord(hold: hold, camera: camera, range: range, note: sealed)))
        try await reads.run { [self] () throws(VaultError) in
            try protection.withLock { (_) throws(VaultError) in try committer.commit([entry]) }
        }
        return hold
    }

    /// Errors: `.notFound`.
    public func release(_ hold: HoldID) async throws(VaultError) {
        guard try await holds().contains(where: { $0.hold == hold }) else {
            throw VaultError(.notFound, "There is no hold \(hold).", hint: "`sudocam retention holds` lists them.")
        }
        try await commit(.release(hold))
    }

    public func holds() async throws(VaultError) -> [HoldRecord] {
        try await reads.run { [index] () throws(VaultError) in try index.holds() }
    }

    /// What was noted; nil without a note, or when it is sealed to an owner's identity that was replaced since. Errors: `.locked`.
    public func note(of hold: HoldRecord) throws(VaultError) -> String? {
        guard let note = hold.note else { return nil }
        let owner = try keyring.owner()
        do throws(VaultError) {
            return try AgeFile.openSecret(note) { (header) throws(VaultError) in
                try AgeWrapping.unwrap(header, identities: [owner])
            }.revealed()
        } catch {
            guard error.code == .noMatch else { throw error }
            return nil
        }
    }

    /// Keeps a range from retention while somebody reads it, for an hour at most; drop the lease when done.
    public func lease(camera: CameraID, range: TimeRange) -> RetentionLeaseToken {
        let key = UUID.random()
        let lease = RetentionLease(camera: camera, range: range, expires: time.wallNow() + 3_600_000_000)
        retention.withLock { $0.leases[key] = lease }
        return RetentionLeaseToken { [weak self] in _ = self?.retention.withLock { $0.leases.removeValue(forKey: key) }
        }
    }

    /// Those in force.
    public func leases() -> [RetentionLease] {
        let now = time.wallNow()
        return retention.withLock { Array(Set($0.leases.values.filter { $0.expires > now })) }
    }

    /// What the recorder lets others read: what is asked of this vault, which another program only reads, is answered by that too.
    public func learn(_ leases: [RetentionLease]) {
        retention.withLock { for lease in leases { $0.leases[UUID.random()] = lease } }
    }
}

/// Ends a lease when it is released.
public final class RetentionLeaseToken: Sendable {
    private let end: @Sendable () -> Void
    init(_ end: @escaping @Sendable () -> Void) { self.end = end }
    deinit { end() }
}
