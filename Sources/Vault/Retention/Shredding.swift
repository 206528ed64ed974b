public import Core
import Synchronization

/// What became of a camera's day, and how that was checked.
public struct ShredReport: Sendable {
    public var epochs: [EpochID] = []
    /// Clips that were sealed to them; their objects are removed too.
    public var objects = 0
    /// Of these: with an event in them, whose entry goes too. There is no event without its footage (R7).
    public var events = 0
    /// Objects that were tried after their key was gone, each with every identity the vault has left: none opened.
    public var triedInVain = 0
    /// False: the vault was locked, so there was no identity to try.
    public var isProved = false
    public var freedBytes = 0
}

extension Vault {
    /// Destroys the key of a camera's UTC day: every copy of its objects, wherever it lies, is noise from then on, as long as no
    /// copy of the epoch's file survives. Then removes the objects here.
    ///
    /// Errors: `.invalid` for a day that is not over (its clips would be sealed to nobody), `.held`, `.notFound`, `.readOnly`.
    /// - Parameter wantsProof: `.locked`, and nothing is destroyed, while there is no identity to try the objects with.
    public func shred(
        camera: CameraID, day: Int64, wantsProof: Bool = false
    ) async throws(VaultError) -> ShredReport {
        try await retentionLane.run { [self] () throws(VaultError) in
            guard day < time.wallNow().utcDay else {
                throw VaultError(.invalid, "The day is not over: the camera is still recording under its key.")
            }
            let epochs = try index.epochs(camera, day: day).filter { !$0.isShredded }.map(\.epoch)
            guard !epochs.isEmpty else {
                throw VaultError(.notFound, "The camera has no key for that day, or it is destroyed already.")
            }
            var clips: [ClipRecord] = []
            for epoch in epochs { clips += try index.clips(ofEpoch: epoch, camera, id) }
            let holds = try index.holds()
            if let hold = holds.first(where: { hold in clips.contains { hold.covers($0) } }) {
                throw VaultError(
                    .held, "Hold \(hold.hold) keeps footage of that day.", hint: "Release it first, if it may go.")
            }
            guard !wantsProof || keyring.isUnlocked else {
                throw VaultError(
                    .locked,
                    "The vault is locked: nothing could prove that the day opens no more. Nothing was destroyed.",
                    hint: "`sudocam unlock` first, or say --unproved.")
            }
            try shred(epochs, rule: "owner")
            let tried = try proveClosed(clips)
            let policy = retention.withLock { $0.policy }
            try deleteShredded(clips, policy)
            return ShredReport(
                epochs: epochs, objects: clips.count, events: clips.count { $0.kind != .continuous },
                triedInVain: tried ?? 0, isProved: tried != nil,
                freedBytes: clips.reduce(0) { $0 + $1.byteCount })
        }
    }

    /// Tries every object with every identity the vault still has: the owner's, and through it those of the camera's other days.
    /// Locked, there is nothing to try with, and nil is the answer. Errors: `.damaged` when one opens all the same.
    private func proveClosed(_ clips: [ClipRecord]) throws(VaultError) -> Int? {
        guard keyring.isUnlocked else { return nil }
        var identities = [try keyring.owner()]
        for name in try files.list(layout.epochs) {
            guard let epoch = EpochID(String(name.dropLast(4))) else { continue }
            do throws(VaultError) {
                identities.append(try epochIdentity(epoch))
            } catch {
                // Not sealed to this owner yet: a re-wrapping was interrupted, and there is nothing to try with.
                guard error.code == .noMatch else { throw error }
            }
        }
        var tried = 0
        for clip in clips {
            guard try files.attributes(layout.object(clip.object)) != nil else { continue }
            let header = try ObjectReader.header(try files.open(layout.object(clip.object), .read))
            do throws(VaultError) {
                _ = try AgeWrapping.unwrap(header, identities: identities)
            } catch {
                guard error.code == .noMatch else { throw error }
                tried += 1
                continue
            }
            throw VaultError(
                .damaged,
                "The key is destroyed, yet object \(clip.object) still opens: it is sealed to somebody else too.")
        }
        return tried
    }

    /// What an interrupted shredding left: the ledger says the key is destroyed; its file may be there, and its clips.
    func finishShredding() throws(VaultError) {
        var isChanged = false
        for name in try files.list(layout.epochs) {
            guard name.hasSuffix(".age"), let epoch = EpochID(String(name.dropLast(4))), try index.isShredded(epoch)
            else { continue }
            try files.remove(layout.epoch(epoch))
            isChanged = true
        }
        if isChanged { try files.syncDirectory(layout.epochs) }
        let (holds, policy) = (try index.holds(), retention.withLock { $0.policy })
        for (epoch, camera) in try index.shreddedEpochsWithClips() {
            // A hold that came later keeps the bytes, though nobody can open them.
            let clips = try index.clips(ofEpoch: epoch, camera, id).filter { clip in
                !holds.contains { $0.covers(clip) }
            }
            try deleteShredded(clips, policy)
        }
    }

    private func deleteShredded(_ clips: [ClipRecord], _ policy: RetentionPolicy) throws(VaultError) {
        var left = clips[...]
        while !left.isEmpty {
            let batch = left.prefix(32)
            left = left.dropFirst(batch.count)
            try delete(batch.map { ($0, .shredded) }, policy)
        }
    }
}
