public import Core
import Synchronization

/// One thing in a remote that is not as the ledger and our own sending say.
public struct RemoteFinding: Sendable, Hashable, Codable, CustomStringConvertible {
    public enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        /// Was sent, and is not there, or not whole.
        case missing
        /// Its bytes are not those that were sent.
        case damaged
        /// Is there, and the ledger does not list it: whoever has the public keys can seal footage, but not enter it.
        case forged
        /// Is there although the ledger says that it was removed.
        case notDeleted
        /// The ledger there ends earlier than it did.
        case rolledBack
        /// The ledger there is signed, and another one than ours; or not signed rightly.
        case otherHistory
    }
    public var kind: Kind
    /// Its key in the bucket.
    public var key: String
    public var detail: String

    public init(_ kind: Kind, _ key: String, _ detail: String) {
        (self.kind, self.key, self.detail) = (kind, key, detail)
    }
    public var description: String { "\(kind.rawValue): \(key): \(detail)" }
}

/// How much of the objects is read back.
public enum RemoteReading: Sendable, Hashable {
    /// Names and sizes only.
    case none
    /// So many, chosen by chance anew each time: who serves them cannot know which.
    case sample(Int)
    case all
}

public struct RemoteReport: Sendable, Hashable, Codable {
    public var objects = 0
    public var bytes = 0
    public var readObjects = 0
    public var readBytes = 0
    /// Not sent yet, and so not missed.
    public var unsentObjects = 0
    public var ledgerEntries = 0
    public var findings: [RemoteFinding] = []
    /// Beyond the first `findingLimit`.
    public var omittedFindings = 0
    public static let findingLimit = 1000

    public init() {}
    public var isClean: Bool { findings.isEmpty }

    mutating func add(_ kind: RemoteFinding.Kind, _ key: String, _ detail: String) {
        guard findings.count < Self.findingLimit else { return omittedFindings += 1 }
        findings.append(RemoteFinding(kind, key, detail))
    }
}

extension Remote {
    /// Compares what lies there with what was sent: the ledger and its signature, every key's name and size, and the bytes of as many
    /// objects as asked for. Whatever is missing there and lies here is sent again by the next pass.
    ///
    /// Errors: the store's; what is wrong with the remote is in the report.
    public func verify(
        _ reading: RemoteReading, progress: @escaping @Sendable (RemoteReport, _ total: Int) -> Void = { _, _ in }
    ) async throws(VaultError) -> RemoteReport {
        await turn.take()
        do throws(VaultError) {
            let report = try await verified(reading, progress)
            await turn.give()
            return report
        } catch {
            await turn.give()
            throw error
        }
    }

    private func verified(
        _ reading: RemoteReading, _ progress: @escaping @Sendable (RemoteReport, Int) -> Void
    ) async throws(VaultError) -> RemoteReport {
        var report = RemoteReport()
        try await follow()
        let contents = description.contents
        if contents != .onlyEpochKeys {
            try await verifyLedger(reading, &report)
            try await verifyListing(&report)
            report.unsentObjects = try await on { (state) throws(VaultError) in try state.lag().objects }
        }
        if contents != .withoutEpochKeys { try await verifyEpochs(&report) }
        if contents != .onlyEpochKeys { try await read(reading, &report, progress) }
        return report
    }

    // MARK: Ledger

    private func verifyLedger(_ reading: RemoteReading, _ report: inout RemoteReport) async throws(VaultError) {
        let sent = Int(try await on { (state) throws(VaultError) in try state.number(.sentEntries) } ?? 0)
        guard sent > 0 else { return }
        let (ledger, identity) = (vault.ledger, vault.file)
        if let known = try await on({ (state) throws(VaultError) in try state.digest(RemoteLayout.vaultFile) }),
            let bytes = try await small(RemoteLayout.vaultFile, &report), try ObjectID(hashing: bytes) != known
        {
            report.add(
                .damaged, RemoteLayout.vaultFile, "is not what was sent: whoever restores would trust other keys")
        }
        if let note = try await small(RemoteLayout.checkpoint, &report) {
            do throws(VaultError) {
                let theirs = try Checkpoint(verifying: note, vault: identity.id, key: identity.ledger)
                report.ledgerEntries = theirs.count
                if theirs.count < sent {
                    report.add(
                        .rolledBack, RemoteLayout.checkpoint,
                        "covers \(theirs.count) entries; one over \(sent) was sent")
                }
                let root = try await lane.run { () throws(VaultError) -> MerkleTree.Hash? in
                    guard try ledger.countEntries() >= theirs.count else { return nil }
                    return try ledger.tree(count: theirs.count).root
                }
                if root != theirs.root {
                    report.add(
                        .otherHistory, RemoteLayout.checkpoint,
                        "is signed by this vault's key over other entries than it has here")
                }
            } catch {
                guard error.code == .damaged else { throw error }
                report.add(.otherHistory, RemoteLayout.checkpoint, error.reason)
            }
        }
        let witnessed = Int(try await on { (state) throws(VaultError) in try state.number(.witnessEntries) } ?? 0)
        if witnessed > 0, try await size(RemoteLayout.witness(witnessed)) == nil {
            report.add(.missing, RemoteLayout.witness(witnessed), "the newest witness of the ledger was left there")
        }
        try await verifyBundles(sent, reading, &report)
    }

    private func small(_ key: String, _ report: inout RemoteReport) async throws(VaultError) -> [UInt8]? {
        do throws(VaultError) { return try await store.contents(key, limit: 1 << 25) } catch {
            guard error.code == .notFound else { throw error }
            report.add(.missing, key, "was sent and is not there")
            return nil
        }
    }

    /// Sizes of all by the listing; bytes of all that is to be read, and of the last one always.
    private func verifyBundles(
        _ sent: Int, _ reading: RemoteReading, _ report: inout RemoteReport
    ) async throws(VaultError) {
        let ledger = vault.ledger
        let last = (sent - 1) / MerkleTree.tileWidth
        let sizes = Mutex<[String: Int]>([:])
        try await store.list("ledger/entries/", after: nil, pageSize: 1000) { (page) throws(VaultError) in
            sizes.withLock { sizes in for object in page { sizes[object.key] = object.size } }
        }
        var found = sizes.withLock { $0 }
        let chosen: Set<Int> =
            switch reading {
            case .none: [last]
            case .sample(let count): Set((0..<count).map { _ in Int.random(in: 0...last) } + [last])
            case .all: Set(0...last)
            }
        for index in 0...last {
            let key = RemoteLayout.bundle(index)
            let wanted = min(MerkleTree.tileWidth, sent - index * MerkleTree.tileWidth)
            let ours = try await lane.run { () throws(VaultError) -> [UInt8]? in
                guard let bundle = try ledger.bundle(index), bundle.entries.count >= wanted else { return nil }
                var bytes: [UInt8] = []
                for entry in bundle.entries.prefix(wanted) {
                    bytes +=
                        [UInt8(truncatingIfNeeded: entry.count >> 8), UInt8(truncatingIfNeeded: entry.count)] + entry
                }
                return bytes
            }
            guard let size = found.removeValue(forKey: key) else {
                report.add(.missing, key, "was sent and is not there")
                continue
            }
            guard let ours else { continue }
            // More entries than the checkpoint covers may stand in the last one.
            guard size == ours.count || index == last && size > ours.count else {
                report.add(.damaged, key, "has \(size) bytes instead of \(ours.count)")
                continue
            }
            guard chosen.contains(index), let theirs = try await small(key, &report) else { continue }
            if !theirs.starts(with: ours) { report.add(.damaged, key, "has other entries than were sent") }
        }
        for key in found.keys.sorted() { report.add(.forged, key, "is no part of the ledger that was sent") }
    }

    // MARK: Objects

    private func verifyListing(_ report: inout RemoteReport) async throws(VaultError) {
        let listed = try await list()
        report.objects = listed.objects
        report.bytes = listed.bytes
        for object in listed.named {
            report.add(.missing, RemoteLayout.object(object), "was sent, and is not there or has another size")
        }
        report.omittedFindings += max(0, listed.missing - listed.named.count)
        for object in listed.unknown {
            let wasDeleted = try await vault.reads.run { [vault] () throws(VaultError) in
                try vault.index.wasDeleted(object)
            }
            report.add(
                wasDeleted ? .notDeleted : .forged, RemoteLayout.object(object),
                wasDeleted ? "the ledger says that it was removed" : "the ledger does not list it")
        }
        report.omittedFindings += max(0, listed.unknownCount - listed.unknown.count)
        for key in listed.strange { report.add(.forged, key, "is no object of a vault") }
    }

    private func read(
        _ reading: RemoteReading, _ report: inout RemoteReport, _ progress: @Sendable (RemoteReport, Int) -> Void
    ) async throws(VaultError) {
        switch reading {
        case .none: return
        case .sample(let count):
            let rows = try await on { (state) throws(VaultError) in try state.sample(count) }
            for row in rows { try await check(row, &report, progress, rows.count) }
        case .all:
            let total = try await on { (state) throws(VaultError) in try state.counts().there }
            var after: ObjectID?
            while true {
                let from = after
                let rows = try await on { (state) throws(VaultError) in try state.sample(nil, after: from) }
                guard let last = rows.last else { return }
                after = last.object
                for row in rows { try await check(row, &report, progress, total) }
            }
        }
    }

    private func check(
        _ row: RemoteState.Row, _ report: inout RemoteReport, _ progress: @Sendable (RemoteReport, Int) -> Void,
        _ total: Int
    ) async throws(VaultError) {
        if Task.isCancelled { throw VaultError(.closed, "The verification was cancelled.") }
        let isGood = try await matches(row)
        try await on { (state) throws(VaultError) in try state.read(row.object, isGood: isGood) }
        if !isGood {
            report.add(.damaged, RemoteLayout.object(row.object), "its bytes do not have the digest that is its name")
        }
        report.readObjects += 1
        report.readBytes += row.bytes
        progress(report, total)
    }

    // MARK: Epoch keys

    private func verifyEpochs(_ report: inout RemoteReport) async throws(VaultError) {
        let found = Mutex<Set<String>>([])
        try await store.list(RemoteLayout.epochs, after: nil, pageSize: 1000) { (page) throws(VaultError) in
            found.withLock { $0.formUnion(page.map(\.key)) }
        }
        var keys = found.withLock { $0 }
        for (epoch, file, state) in try await on({ (state) throws(VaultError) in try state.epochs() }) {
            let key = RemoteLayout.epoch(epoch)
            let isThere = keys.remove(key) != nil
            switch state {
            case .destroyed where isThere:
                report.add(.notDeleted, key, "the key of a shredded day is there again")
            case .notDestroyed(let why): if isThere { report.add(.notDeleted, key, "its day was shredded: \(why)") }
            case .there:
                guard isThere else {
                    report.add(.missing, key, "was sent and is not there")
                    try await on { (state) throws(VaultError) in try state.unsent(epoch) }
                    continue
                }
                guard let bytes = try await small(key, &report) else { continue }
                if try ObjectID(hashing: bytes) != file {
                    report.add(.damaged, key, "is not what was sent: that day could not be read from there")
                    try await on { (state) throws(VaultError) in try state.unsent(epoch) }
                }
            default: break
            }
        }
        for key in keys.sorted() { report.add(.forged, key, "is no key of this vault") }
    }
}

/// How a remote stands.
public struct RemoteStatus: Sendable, Hashable, Codable {
    public var name: String
    public var url: String
    public var contents: RemoteDescription.Contents
    /// Waiting to be sent.
    public var waitingObjects = 0
    public var waitingBytes = 0
    /// Age of the oldest clip that waits; 0 when none does.
    public var lagSeconds: Int64 = 0
    /// End of the oldest clip with an event that waits.
    public var oldestUnsentEvent: WallTime?
    public var objects = 0
    public var bytes = 0
    /// Of those, proven by a later listing and a checksum or a full reading.
    public var provenObjects = 0
    /// Of those, lying there only.
    public var evictedObjects = 0
    /// Cannot be sent, because what lies here is damaged or gone.
    public var unsendableObjects = 0
    /// Removed here, and kept there by object lock or for want of rights.
    public var lockedObjects = 0
    public var lockedUntil: WallTime?
    public var ledgerEntries = 0
    public var sentEntries = 0
    public var lastListing: WallTime?
    public var cacheBytes = 0
    public var progress = RemoteProgress()
}

extension Remote {
    /// Errors: of the state's database.
    public func status() async throws(VaultError) -> RemoteStatus {
        let description = description
        var status = RemoteStatus(name: description.name, url: description.url, contents: description.contents)
        let now = vault.time.wallNow()
        status.ledgerEntries = try vault.index.position()
        status.cacheBytes = cache.bytes
        status.progress = progress.withLock { $0 }
        let (lag, counts, kept, sent, listed) = try await on { (state) throws(VaultError) in
            (
                try state.lag(), try state.counts(), try state.kept(), try state.number(.sentEntries),
                try state.number(.listed)
            )
        }
        status.waitingObjects = lag.objects
        status.waitingBytes = lag.bytes
        status.lagSeconds = lag.oldest.map { max(0, (now - $0) / 1_000_000) } ?? 0
        status.oldestUnsentEvent = lag.oldestEvent
        (status.objects, status.bytes) = (counts.there, counts.bytes)
        (status.provenObjects, status.evictedObjects) = (counts.proven, counts.evicted)
        status.unsendableObjects = counts.unsendable
        (status.lockedObjects, status.lockedUntil) = (kept.objects, kept.until)
        status.sentEntries = Int(sent ?? 0)
        status.lastListing = listed.map { WallTime(microseconds: $0) }
        return status
    }
}

// MARK: Shredding

/// What became of one copy of a shredded day's key.
public struct KeyCopy: Sendable, Hashable, Codable {
    public enum Outcome: String, Sendable, Hashable, Codable {
        case destroyed
        /// The remote never had it.
        case none
        case notDestroyed
    }
    public var remote: String
    public var outcome: Outcome
    /// Why it is not destroyed.
    public var why: String?
}

extension Vault {
    /// Destroys what remotes have of keys that were shredded here, and says of each what became of it. What could not be destroyed now is
    /// tried again with every listing.
    public func destroyCopies(of epochs: [EpochID]) async -> [KeyCopy] {
        let known = (try? openRemotes()) ?? []
        var copies: [KeyCopy] = []
        func failed(_ name: String, _ why: String) {
            copies.append(KeyCopy(remote: name, outcome: .notDestroyed, why: why))
        }
        let described: [(name: String, description: Result<RemoteDescription, VaultError>)]
        do throws(VaultError) { described = try Self.described(layout, files) } catch {
            failed("(unknown)", "the remotes cannot be read: \(error.reason)")
            return copies
        }
        for (name, description) in described {
            switch description {
            case .failure(let error): failed(name, error.reason)
            case .success(let description):
                guard description.contents != .withoutEpochKeys else { continue }
                guard let remote = known.first(where: { $0.name == name }) else {
                    failed(name, "the remote cannot be used now")
                    continue
                }
                copies.append(await remote.destroy(epochs))
            }
        }
        return copies
    }
}

extension Remote {
    fileprivate func destroy(_ epochs: [EpochID]) async -> KeyCopy {
        do throws(VaultError) {
            await turn.take()
            var failure: VaultError?
            do throws(VaultError) {
                try await follow()
                try await destroyEpochs()
            } catch { failure = error }
            await turn.give()
            if let failure { throw failure }
            var outcome = KeyCopy.Outcome.none
            for epoch in epochs {
                switch try await on({ (state) throws(VaultError) in try state.copy(of: epoch) }) {
                case .none: break
                case .destroyed: outcome = .destroyed
                case .there: return KeyCopy(remote: name, outcome: .notDestroyed, why: "it is still there")
                case .notDestroyed(let why): return KeyCopy(remote: name, outcome: .notDestroyed, why: why)
                }
            }
            return KeyCopy(remote: name, outcome: outcome)
        } catch {
            return KeyCopy(
                remote: name, outcome: .notDestroyed, why: "\(error.reason) It is tried again by itself.")
        }
    }
}
