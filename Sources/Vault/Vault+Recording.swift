public import Core
import Synchronization

extension Vault {
    /// Begins a clip; works while locked. The first of a camera's UTC day makes the day's epoch.
    ///
    /// Errors: `.readOnly`, `.closed`, `.noSpace`, `.io`.
    public func beginClip(camera: CameraID, run: RunID, start: WallTime) async throws(VaultError) -> ClipWriter {
        try await beginLane.run { [self] () throws(VaultError) in
            let committer = try committer()
            guard !recording.withLock({ $0.isClosed }) else { throw VaultError(.closed, "The vault is closed.") }
            try checkIsThere()
            let epoch = try epoch(camera, start, committer)
            guard let recipient = epoch.recipient else {
                throw VaultError(.keys, "Nothing can be sealed to epoch \(epoch.epoch): its public half is not known.")
            }
            let sequence = try nextSequence(camera, committer)
            let identity = ClipIdentity(
                vault: id, camera: camera, epoch: epoch.epoch, run: run, sequence: sequence, start: start)
            let part = try withRoom { () throws(VaultError) in
                try SealedPart(
                    identity, to: recipient, path: layout.open + "/\(UUID.random()).part", files: files
                ) { [weak self] in self?.makeRoom() ?? false }
            }
            recording.withLock { recording in
                recording.sequences[camera] = sequence
                recording.parts[ObjectIdentifier(part)] = part
            }
            let writer = writer(identity, part, committer)
            recording.withLock { recording in
                recording.open[ObjectIdentifier(part)] = OpenClip(identity: identity, end: start, writer: writer)
            }
            return writer
        }
    }

    private func writer(_ identity: ClipIdentity, _ part: SealedPart, _ committer: Committer) -> ClipWriter {
        ClipWriter(identity, part: part, lane: .serial("vault.clip")) {
            [weak self] (part, end, kind) throws(VaultError) in
            guard let self else { throw VaultError(.closed, "The vault is closed.") }
            do throws(VaultError) {
                return try complete(Recording.Late(identity: identity, part: part, end: end, kind: kind), committer)
            } catch {
                recording.withLock { recording in
                    guard recording.late.count < Self.lateLimit else { return }
                    recording.late[ObjectIdentifier(part)] = Recording.Late(
                        identity: identity, part: part, end: end, kind: kind)
                }
                throw error
            }
        } forget: { [weak self] in
            guard let self else { return }
            recording.withLock { _ = $0.open.removeValue(forKey: ObjectIdentifier(part)) }
            forget(part)
            recording.withLock { recording in
                // The number was never published: the next clip may have it.
                if recording.sequences[identity.camera] == identity.sequence {
                    recording.sequences[identity.camera] = identity.sequence - 1
                }
            }
        }
    }

    /// Publishes and commits. May be called again after an error.
    private func complete(_ clip: Recording.Late, _ committer: Committer) throws(VaultError) -> ClipRecord {
        let part = clip.part
        let (object, byteCount, trouble) = try withRoom { () throws(VaultError) in try part.publish(layout) }
        if let trouble { hub.send(.alarm("A clip had to be written again: \(trouble.reason)")) }
        let record = ClipRecord(
            object: object, identity: clip.identity, end: max(clip.identity.start, clip.end), byteCount: byteCount,
            kind: clip.kind)
        forget(part)
        try part.entry.withLock { (entry) throws(VaultError) in
            // After a failed commit the entry may have reached the ledger all the same.
            if entry == .attempted, try isEntered(object, committer) { entry = .committed }
            guard entry != .committed else { return }
            entry = .attempted
            try committer.commit([LedgerEntry(at: time.wallNow(), .clip(record))])
            entry = .committed
        }
        if diskPressure == .stopped { note(.full) }
        part.leaveOpenFolder()
        recording.withLock { recording in
            recording.open[ObjectIdentifier(part)] = nil
            recording.late[ObjectIdentifier(part)] = nil
        }
        // A viewer may still hold its source: its key must go with the others' at the next lock.
        if keyring.isUnlocked { try? keyring.hold(part) } else { part.wipe() }
        return record
    }

    /// Clips that wait for a disk; those beyond are found by the next start.
    private static let lateLimit = 64

    private func isEntered(_ object: ObjectID, _ committer: Committer) throws(VaultError) -> Bool {
        let isCurrent = try committer.settle()
        if try index.knowsObject(object) { return true }
        return isCurrent ? false : try ledger.tail(from: index.position()).clips.contains(object)
    }

    /// What could not be committed when it ended, because the disk failed or was full.
    private func completeLate() {
        let late = recording.withLock { Array($0.late.values) }
        guard !late.isEmpty, let committer = try? committer() else { return }
        for clip in late.sorted(by: { $0.identity.start < $1.identity.start }) {
            guard (try? complete(clip, committer)) != nil else { return }
        }
    }

    private func forget(_ part: SealedPart) {
        recording.withLock { _ = $0.parts.removeValue(forKey: ObjectIdentifier(part)) }
    }

    /// That the folder still holds this vault, before files are made in it: its disk may have been pulled, or another one
    /// mounted in its place. The first time it does not is an alarm. Errors: `.notFound`, `.otherVault`.
    func checkIsThere() throws(VaultError) {
        do throws(VaultError) {
            guard try files.attributes(layout.vaultFile) != nil else {
                throw VaultError(
                    .notFound, "\(layout.root) holds no vault any more.",
                    hint: "Is its disk still mounted? Recording goes on when it is back.")
            }
            let now = try VaultFile(parsing: try files.contents(layout.vaultFile), path: layout.vaultFile)
            guard now.id == id else {
                throw VaultError(
                    .otherVault, "\(layout.root) holds vault \(now.id) now, not \(id).",
                    hint: "Another disk was mounted there. Recording goes on when the right one is back.")
            }
            recording.withLock { $0.isGone = false }
        } catch {
            let wasGone = recording.withLock { recording in
                defer { recording.isGone = true }
                return recording.isGone
            }
            if !wasGone { hub.send(.alarm("Nothing can be recorded: \(error)")) }
            throw error
        }
    }

    private func nextSequence(_ camera: CameraID, _ committer: Committer) throws(VaultError) -> UInt64 {
        if let known = recording.withLock({ $0.sequences[camera] }) { return known &+ 1 }
        // On a full disk the index may lack what the start entered.
        let isCurrent = try committer.settle()
        let last = try index.highestSequence(camera)
        guard !isCurrent else { return last &+ 1 }
        return max(last, try ledger.tail(from: index.position()).sequences[camera] ?? 0) &+ 1
    }

    /// The epoch of the camera's day: known, in the index, or made: identity, file, entry, and the secret forgotten.
    private func epoch(
        _ camera: CameraID, _ start: WallTime, _ committer: Committer
    ) throws(VaultError) -> EpochRecord {
        let day = start.utcDay
        if let known = recording.withLock({ $0.epochs[camera] }), known.day == day { return known.record }
        let late = recording.withLock { $0.lateEpochs[camera] }
        if late != nil { _ = try committer.settle() }
        let record: EpochRecord
        if let found = try index.epoch(camera, day: day) {
            record = found
        } else {
            // An interrupted change of the recipients is finished first: whoever it removed is sealed to no longer.
            try settleRecipients(committer)
            let epoch = if let late, late.record.day == day { late } else { try makeEpoch(camera, day) }
            recording.withLock { $0.lateEpochs[camera] = epoch }
            record = epoch.record
            try withRoom { () throws(VaultError) in try files.replace(layout.epoch(record.epoch), with: epoch.sealed) }
            try committer.commit([LedgerEntry(at: time.wallNow(), .epoch(record))])
        }
        recording.withLock { $0.lateEpochs[camera] = nil }
        recording.withLock { $0.epochs[camera] = Recording.Epoch(day: day, record: record) }
        return record
    }

    private func makeEpoch(_ camera: CameraID, _ day: Int64) throws(VaultError) -> Recording.LateEpoch {
        let epoch = EpochID.random()
        let identity = try AgeIdentity.random()
        defer { identity.secret.wipe() }
        let sealed = try AgeFile.seal(try identity.text(), to: file.recipients)
        let digest = try ObjectID(hashing: sealed)
        let record = EpochRecord(epoch: epoch, camera: camera, day: day, recipient: identity.recipient, file: digest)
        return Recording.LateEpoch(record: record, sealed: sealed)
    }

    /// The disk is full: the reserve goes, and while there is room for the ledger's entries, copies that a remote has too; where there are
    /// none, the oldest footage that nothing holds. True when something went.
    private func makeRoom() -> Bool {
        let hadReserve = giveUpBallast()
        let isRelieved = giveUpCopies(bytes: (try? rescueBytes()) ?? 0) || deleteForSpace() || hadReserve
        // Or the index' log would grow into what was just freed.
        if isRelieved { index.giveBackLog() }
        note(isRelieved ? .full : .stopped)
        return isRelieved
    }

    /// `body`, and again as long as a full disk gives way.
    private func withRoom<Value>(_ body: () throws(VaultError) -> Value) throws(VaultError) -> Value {
        for _ in 0..<SealedPart.rescues {
            do throws(VaultError) { return try body() } catch {
                guard error.code == .noSpace, makeRoom() else { throw error }
            }
        }
        return try body()
    }

    /// The reserve for a full disk: true when there was one.
    private func giveUpBallast() -> Bool {
        guard let attributes = try? files.attributes(layout.ballast), attributes.count > 0,
            (try? files.remove(layout.ballast)) != nil
        else { return false }
        hub.send(.alarm("The disk is full; the reserve of \(attributes.count >> 20) MiB was given up."))
        return true
    }

    /// One `fdatasync` for each clip that has something new. Once a second, from one timer for all cameras.
    public func syncOpenClips() async {
        _ = try? await syncLane.run { [self] in
            completeLate()
            let parts = recording.withLock { Array($0.parts.values) }
            for part in parts where part.isDirty {
                do throws(VaultError) {
                    if let trouble = try part.sync() {
                        hub.send(.alarm("A clip had to be written to a new file: \(trouble.reason)"))
                    }
                } catch {
                    hub.send(.alarm("A clip being recorded may be lost: \(error.reason)"))
                }
            }
        }
    }

    // MARK: Other entries

    /// Committed on return; shares its sync with whatever else is being committed.
    public func recordGap(camera: CameraID, range: TimeRange, reason: GapReason) async throws(VaultError) {
        guard !range.isEmpty else { throw VaultError(.invalid, "A gap ends after it starts.") }
        try await commit(.gap(GapRecord(camera: camera, range: range, reason: reason)))
    }
    /// Errors: `.invalid` for one that ends before it starts.
    public func recordEvent(_ event: EventRecord) async throws(VaultError) {
        guard !event.range.isEmpty else { throw VaultError(.invalid, "An event ends after it starts.") }
        try await commit(.event(event))
    }
    /// That a camera was added or removed; its name does not stand in the ledger.
    public func recordCamera(_ camera: CameraID, _ change: CameraChange) async throws(VaultError) {
        try await commit(.camera(camera, change))
    }
    /// That the machine's wall clock was set.
    public func recordClockStep(from: WallTime, to: WallTime) async throws(VaultError) {
        try await commit(.clock(from: from, to: to, isConfirmed: false))
    }
    func commit(_ body: LedgerEntry.Body) async throws(VaultError) {
        let committer = try committer()
        let entry = LedgerEntry(at: time.wallNow(), body)
        try await reads.run { () throws(VaultError) in try committer.commit([entry]) }
    }
}
