import Core
import Synchronization

extension Remote {
    /// Uploads at once: enough to hide a server's answer time, few enough for a small board.
    private static let uploads = 4
    /// µs between two checkpoints sent while objects are still going out.
    private static let ledgerInterval: Int64 = 10_000_000
    /// µs between two witnesses.
    private static let witnessInterval: Int64 = 600_000_000
    private static let deletionsPerPass = 256

    /// Makes the remote level with the ledger: epoch keys, then objects (events first, then the newest), the ledger and its
    /// checkpoint in between and behind them, then deletions.
    ///
    /// Errors: of the store; what was done until then stays done, and the next call goes on.
    public func sync() async throws(VaultError) {
        await turn.take()
        do throws(VaultError) {
            try await pass()
            progress.withLock { $0.failure = nil }
        } catch {
            if error.code != .closed { progress.withLock { $0.failure = error.description } }
            await turn.give()
            throw error
        }
        await turn.give()
    }

    private func pass() async throws(VaultError) {
        try await follow()
        try await compareLedgers()
        let contents = description.contents
        if contents != .onlyEpochKeys, try await on({ (state) throws(VaultError) in try state.number(.listed) }) == nil
        {
            // Nothing is known yet, and a lot may be there: a state that was lost, a remote that others filled.
            _ = try await list()
        }
        if contents != .withoutEpochKeys {
            try await sendEpochs()
            try await destroyEpochs()
        }
        if contents != .onlyEpochKeys {
            try await sendObjects()
            try await sendLedger()
            try await deleteDoomed()
        }
    }

    func follow() async throws(VaultError) {
        let (ledger, contents) = (vault.ledger, description.contents)
        try await on { (state) throws(VaultError) in try state.follow(ledger, contents) }
    }

    private func succeeded(_ change: (inout RemoteProgress) -> Void = { _ in }) {
        let now = vault.time.wallNow()
        progress.withLock { progress in
            progress.lastSuccess = now
            progress.failure = nil
            change(&progress)
        }
    }

    // MARK: Epoch keys

    private func sendEpochs() async throws(VaultError) {
        for (epoch, file) in try await on({ (state) throws(VaultError) in try state.epochsToSend() }) {
            let (files, path) = (vault.files, vault.layout.epoch(epoch))
            let bytes = try await lane.run { () throws(VaultError) in
                try files.attributes(path) == nil ? nil : try files.contents(path, limit: 1 << 20)
            }
            // Shredded meanwhile, or being re-wrapped: the next pass sees what became of it.
            guard let bytes, try ObjectID(hashing: bytes) == file else { continue }
            _ = try await store.put(
                RemoteLayout.epoch(epoch), .bytes(bytes), PutOptions(sha256: file.digest, replaces: true),
                progress: nil)
            try await on { (state) throws(VaultError) in try state.sent(epoch, file) }
            succeeded()
        }
    }

    /// Destroys the keys of shredded days there too, with every version of them that the server keeps.
    func destroyEpochs() async throws(VaultError) {
        for epoch in try await on({ (state) throws(VaultError) in try state.epochsToDestroy() }) {
            let why: String?
            switch try await store.delete(RemoteLayout.epoch(epoch), isForAllVersions: true) {
            case .deleted: why = nil
            case .locked(let until):
                why = "object lock keeps it" + (until.map { " until \(Self.text($0))" } ?? "")
            case .refused(let words): why = words
            }
            try await on { (state) throws(VaultError) in try state.destroyed(epoch, why: why) }
            if let why {
                vault.hub.send(
                    .alarm(
                        "The key of a shredded day could not be destroyed in remote \(name): \(why). Whoever gets it and the owner's identity can read that day's objects there."
                    ))
            } else {
                succeeded()
            }
        }
    }

    static func text(_ time: WallTime) -> String { HTTPDate.basic(time) }

    // MARK: Objects

    private struct Sent: Sendable {
        var row: RemoteState.Row
        var isEvent: Bool
        var result: Result<Void, VaultError>
    }

    private func sendObjects() async throws(VaultError) {
        var ledgerSent = vault.time.monotonicNow()
        while true {
            var busy: Set<ObjectID> = []
            let failure: VaultError? = await withTaskGroup(of: Sent.self) { group in
                var failure: VaultError?
                while true {
                    if failure == nil, !Task.isCancelled, vault.time.monotonicNow() - ledgerSent < Self.ledgerInterval {
                        do throws(VaultError) {
                            // Asked anew each time: an event that has just ended goes before what waited longer.
                            try await follow()
                            let (room, known) = (Self.uploads - busy.count, busy)
                            let rows = try await on { (state) throws(VaultError) in
                                try state.waiting(limit: room, excluding: known)
                            }
                            for row in rows {
                                busy.insert(row.object)
                                group.addTask { await self.send(row) }
                            }
                        } catch {
                            failure = error
                        }
                    }
                    guard let sent = await group.next() else { return failure }
                    busy.remove(sent.row.object)
                    if case .failure(let error) = sent.result, failure == nil { failure = error }
                }
                return failure
            }
            if let failure { throw failure }
            if Task.isCancelled { throw VaultError(.closed, "The transfer was cancelled.") }
            let isLevel = try await on { (state) throws(VaultError) in
                try state.waiting(limit: 1, excluding: []).isEmpty
            }
            if isLevel { return }
            // What is there already can be found by whoever restores now.
            try await sendLedger()
            ledgerSent = vault.time.monotonicNow()
        }
    }

    private func send(_ row: RemoteState.Row) async -> Sent {
        do throws(VaultError) {
            try await upload(row)
            return Sent(row: row, isEvent: false, result: .success(()))
        } catch {
            return Sent(row: row, isEvent: false, result: .failure(error))
        }
    }

    /// An object that the ledger names. Whether it lies there already is asked where an earlier attempt may have come through.
    private func upload(_ row: RemoteState.Row) async throws(VaultError) {
        let key = RemoteLayout.object(row.object)
        let now = vault.time.wallNow()
        var replaces = row.isBad
        if row.state == .begun, !replaces, let size = try await size(key) {
            if size == row.bytes {
                return try await on { (state) throws(VaultError) in try state.set(row.object, .sent, at: now) }
            }
            // Cut off on the server's own disk (V5), or somebody else's bytes: the name says what belongs there.
            replaces = true
        }
        guard let (file, head) = try await local(row) else {
            return try await on { (state) throws(VaultError) in try state.set(row.object, .unsendable) }
        }
        try await on { (state) throws(VaultError) in try state.set(row.object, .begun) }
        var options = PutOptions(sha256: row.object.digest, replaces: replaces)
        if let head, description.capabilities?[.metadata] != .no {
            options.metadata = [(RemoteLayout.head, Base64.encode(head, padded: true))]
        }
        let body = HTTPBody.file(file, count: row.bytes)
        do throws(VaultError) {
            var outcome = try await store.put(key, body, options, progress: nil)
            if outcome == .present {
                let size = try await size(key)
                if size != row.bytes {
                    options.replaces = true
                    outcome = try await store.put(key, body, options, progress: nil)
                }
            }
            let isProven = outcome == .stored(isConfirmed: true) || outcome != .present && isChecked
            let sent = outcome == .present ? 0 : row.bytes
            try await on { (state) throws(VaultError) in
                try state.set(row.object, .sent, isProven: isProven, at: now, bytes: sent)
            }
            succeeded {
                $0.sentObjects += 1
                $0.sentBytes += sent
            }
        } catch {
            // A server that checks refuses what is not what its name says: then the fault lies here, and trying again is in vain.
            guard error.code != .closed, try await isDamaged(row, file) else { throw error }
            try await on { (state) throws(VaultError) in try state.set(row.object, .unsendable) }
            vault.hub.send(
                .alarm("An object cannot be sent to a remote because it is damaged here: \(row.object). Run verify."))
        }
    }

    /// Whether the server rejects bytes that do not have the checksum they were sent with.
    private var isChecked: Bool { description.capabilities?.checksBodies == true }

    /// By listing, which credentials that may only put are allowed to do too.
    func size(_ key: String) async throws(VaultError) -> Int? {
        let found = Mutex<Int?>(nil)
        try await store.list(key, after: nil, pageSize: 1) { (page) throws(VaultError) in
            for object in page where object.key == key { found.withLock { $0 = object.size } }
        }
        return found.withLock { $0 }
    }

    /// The object's file and its head for the metadata; nil when it is not here, or has another size than the ledger says.
    private func local(_ row: RemoteState.Row) async throws(VaultError) -> (any OpenFile, head: [UInt8]?)? {
        let (files, path) = (vault.files, vault.layout.object(row.object))
        return try await lane.run { () throws(VaultError) in
            guard try files.attributes(path)?.count == row.bytes else { return nil }
            let file = try files.open(path, .read)
            return (file, Self.head(file))
        }
    }

    /// Header and nonce; nil when they are implausible, or too large for metadata.
    static func head(_ file: any OpenFile) -> [UInt8]? {
        guard let header = try? ObjectReader.header(file) else { return nil }
        var head = [UInt8](repeating: 0, count: header.count + AgePayload.nonceSize)
        guard head.count <= RemoteLayout.headLimit * 3 / 4, (try? file.read(at: 0, into: &head)) == head.count else {
            return nil
        }
        return head
    }

    private func isDamaged(_ row: RemoteState.Row, _ file: any OpenFile) async throws(VaultError) -> Bool {
        try await lane.run { () throws(VaultError) in
            try HTTPBody.file(file, count: row.bytes).hash(into: Digest.sha256()) != row.object.digest
        }
    }

    // MARK: Ledger

    /// The entries that the newest checkpoint covers, what else a restore needs, then the checkpoint: whoever finds it finds what it
    /// covers.
    func sendLedger() async throws(VaultError) {
        let (files, ledger, layout, identity) = (vault.files, vault.ledger, vault.layout, vault.file)
        let (note, known) = try await on { (state) throws(VaultError) in
            (try files.contents(ledger.checkpointPath, limit: 1 << 16), Int(try state.number(.sentEntries) ?? 0))
        }
        let checkpoint = try Checkpoint(verifying: note, vault: identity.id, key: identity.ledger)
        let file = try await lane.run { () throws(VaultError) in try files.contents(layout.vaultFile, limit: 1 << 20) }
        try await send(file, as: RemoteLayout.vaultFile)
        if description.carriesOwner {
            let owner = try await lane.run { () throws(VaultError) in try files.contents(layout.owner, limit: 1 << 20) }
            try await send(owner, as: RemoteLayout.owner)
        }
        try await sendLedgerKey(file)
        guard checkpoint.count > known else { return }
        for index in known / MerkleTree.tileWidth...(checkpoint.count - 1) / MerkleTree.tileWidth {
            let bytes = try await lane.run { () throws(VaultError) -> [UInt8] in
                guard let bundle = try ledger.bundle(index) else { return [] }
                return Array(try files.contents(ledger.bundlePath(index)).prefix(bundle.wholeCount))
            }
            guard !bytes.isEmpty else {
                throw VaultError(.damaged, "The ledger lacks bundle \(index).", hint: "Run verify.")
            }
            _ = try await store.put(
                RemoteLayout.bundle(index), .bytes(bytes), PutOptions(replaces: true), progress: nil)
        }
        _ = try await store.put(RemoteLayout.checkpoint, .bytes(note), PutOptions(replaces: true), progress: nil)
        try await on { (state) throws(VaultError) in try state.set(.sentEntries, Int64(checkpoint.count)) }
        succeeded()
        try await leaveWitness(checkpoint, note)
    }

    /// A checkpoint that nobody replaces: the off-site witness of the ledger.
    private func leaveWitness(_ checkpoint: Checkpoint, _ note: [UInt8]) async throws(VaultError) {
        let now = vault.time.wallNow().microseconds
        let last = try await on { (state) throws(VaultError) in try state.number(.witnessed) }
        // A clock that was set back leaves one too many rather than none.
        if let last, (last...last.addingSaturating(Self.witnessInterval)).contains(now) { return }
        _ = try await store.put(RemoteLayout.witness(checkpoint.count), .bytes(note), PutOptions(), progress: nil)
        try await on { (state) throws(VaultError) in
            try state.set(.witnessed, now)
            try state.set(.witnessEntries, Int64(checkpoint.count))
        }
    }

    private func send(_ bytes: [UInt8], as key: String) async throws(VaultError) {
        let digest = try ObjectID(hashing: bytes)
        guard try await on({ (state) throws(VaultError) in try state.digest(key) }) != digest else { return }
        _ = try await store.put(
            key, .bytes(bytes), PutOptions(sha256: digest.digest, replaces: true), progress: nil)
        try await on { (state) throws(VaultError) in try state.set(digest: digest, of: key) }
    }

    /// The signing key, sealed to whoever may read the vault; anew when they changed.
    private func sendLedgerKey(_ vaultFile: [UInt8]) async throws(VaultError) {
        let digest = try ObjectID(hashing: vaultFile)
        let key = RemoteLayout.ledgerKey
        guard try await on({ (state) throws(VaultError) in try state.digest(key) }) != digest else { return }
        let (files, path, recipients) = (vault.files, vault.layout.ledgerKey, vault.file.recipients)
        let sealed = try await lane.run { () throws(VaultError) in
            var seed = try files.contents(path, limit: 64)
            return try AgeFile.seal(SecretBytes(&seed), to: recipients)
        }
        _ = try await store.put(key, .bytes(sealed), PutOptions(replaces: true), progress: nil)
        try await on { (state) throws(VaultError) in try state.set(digest: digest, of: key) }
    }

    /// Before anything is replaced there: the remote's ledger has to be a beginning of ours. An older copy of a vault that was put
    /// back, or a second recorder with the same vault, would else destroy the better copy.
    ///
    /// Errors: `.otherVault`, `.otherHistory`.
    private func compareLedgers() async throws(VaultError) {
        guard !isCompared.withLock({ $0 }) else { return }
        let (ledger, identity, files) = (vault.ledger, vault.file, vault.files)
        var theirs: [Checkpoint] = []
        do throws(VaultError) {
            let bytes = try await store.contents(RemoteLayout.vaultFile, limit: 1 << 20)
            let file = try VaultFile(parsing: bytes, path: "\(name)/\(RemoteLayout.vaultFile)")
            guard file.id == identity.id else {
                throw VaultError(
                    .otherVault, "Remote \(name) holds another vault (\(file.id)).",
                    hint: "Give this vault a bucket or a prefix of its own.")
            }
            theirs.append(
                try Checkpoint(
                    verifying: try await store.contents(RemoteLayout.checkpoint, limit: 1 << 16), vault: identity.id,
                    key: identity.ledger))
        } catch {
            switch error.code {
            // Nothing there yet; or credentials that may only put; or damaged there, which `verify` tells and we replace.
            case .notFound, .refused, .damaged: break
            default: throw error
            }
        }
        let highest = Mutex(0)
        let from = RemoteLayout.witness(
            Int(try await on { (state) throws(VaultError) in try state.number(.witnessEntries) } ?? 0))
        try await store.list(RemoteLayout.witnesses, after: from, pageSize: 1000) { (page) throws(VaultError) in
            for object in page {
                guard let entries = RemoteLayout.witness(named: object.key) else { continue }
                highest.withLock { $0 = max($0, entries) }
            }
        }
        let ours = try await lane.run { () throws(VaultError) in
            try Checkpoint(
                verifying: files.contents(ledger.checkpointPath, limit: 1 << 16), vault: identity.id,
                key: identity.ledger)
        }
        let longest = max(highest.withLock { $0 }, theirs.first?.count ?? 0)
        guard longest <= ours.count else {
            throw VaultError(
                .otherHistory,
                "Remote \(name) has a longer ledger (\(longest) entries) than this vault (\(ours.count)): nothing is sent there.",
                hint:
                    "Is this an older copy, or does another recorder write there? Restore from the remote, or give this vault a prefix of its own."
            )
        }
        if let theirs = theirs.first, theirs.count > 0 {
            let root = try await lane.run { () throws(VaultError) in try ledger.tree(count: theirs.count).root }
            guard root == theirs.root else {
                throw VaultError(
                    .otherHistory,
                    "The ledger in remote \(name) is not a beginning of this vault's: nothing is sent there.",
                    hint: "Run `sudocam remote verify \(name)`, and `sudocam verify`.")
            }
        }
        isCompared.withLock { $0 = true }
    }

    // MARK: Deletions

    /// What retention removed here goes there too. Object lock and missing rights are remembered and tried again once a day.
    private func deleteDoomed() async throws(VaultError) {
        let versions = description.capabilities?[.versioning] != .no
        for row in try await on({ (state) throws(VaultError) in try state.doomed(limit: Self.deletionsPerPass) }) {
            if Task.isCancelled { throw VaultError(.closed, "The transfer was cancelled.") }
            switch try await store.delete(RemoteLayout.object(row.object), isForAllVersions: versions) {
            case .deleted:
                try await on { (state) throws(VaultError) in try state.removed(row.object) }
                succeeded { $0.deletedObjects += 1 }
            case .locked(let until):
                try await on { (state) throws(VaultError) in try state.kept(row.object, until: until) }
            case .refused:
                try await on { (state) throws(VaultError) in try state.kept(row.object, until: nil) }
            }
        }
    }

    // MARK: Listing

    struct Listed: Sendable {
        /// Should be there and is not, or with another size.
        var missing = 0
        /// The first thousand of them.
        var named: [ObjectID] = []
        /// Objects there that the ledger never named, or removed long ago; the first thousand.
        var unknown: [ObjectID] = []
        var unknownCount = 0
        /// Keys under `objects/` that are no object's.
        var strange: [String] = []
        var objects = 0
        var bytes = 0
    }

    /// Compares everything that lies there with what should.
    func list() async throws(VaultError) -> Listed {
        let began = vault.time.wallNow()
        let settle = description.eviction?.settle ?? 86_400_000_000
        try await on { (state) throws(VaultError) in try state.beginListing() }
        let found = Mutex(Listed())
        let (state, lane) = (state, lane)
        progress.withLock { $0.listedObjects = 0 }
        try await store.list(RemoteLayout.objects, after: nil, pageSize: 1000) { (page) throws(VaultError) in
            var named: [(object: ObjectID, bytes: Int)] = []
            for object in page {
                if let id = RemoteLayout.object(named: object.key) {
                    named.append((id, object.size))
                } else {
                    found.withLock { if $0.strange.count < 1000 { $0.strange.append(object.key) } }
                }
            }
            let batch = named
            let result = lane.runBlocking { () -> Result<[ObjectID], VaultError> in
                do throws(VaultError) {
                    return .success(try state.listed(batch, began: began, settle: settle))
                } catch {
                    return .failure(error)
                }
            }
            let unknown = try result.get()
            found.withLock { found in
                found.objects += batch.count
                found.bytes += batch.reduce(0) { $0 + $1.bytes }
                found.unknownCount += unknown.count
                found.unknown += unknown.prefix(1000 - min(1000, found.unknown.count))
            }
            progress.withLock { $0.listedObjects += page.count }
        }
        let (missing, rows) = try await on { (state) throws(VaultError) in
            try state.endListing(began: began, limit: 1000)
        }
        return found.withLock { found in
            found.missing = missing
            found.named = rows.map(\.object)
            return found
        }
    }

    /// Once in a while by the service: proves what was sent, and tries again what was denied. Errors: of the store.
    public func listAgain(after interval: Int64) async throws(VaultError) {
        guard description.contents != .onlyEpochKeys else { return }
        let now = vault.time.wallNow()
        let last = try await on { (state) throws(VaultError) in try state.number(.listed) }
        if let last, (last...last.addingSaturating(interval)).contains(now.microseconds) { return }
        await turn.take()
        do throws(VaultError) {
            try await on { (state) throws(VaultError) in try state.tryAgain(now) }
            let found = try await list()
            if found.missing > 0 {
                vault.hub.send(
                    .alarm(
                        "Remote \(name) lacks \(found.missing) object(s) that it said it had; what lies here is sent again: \(found.named.first.map(\.description) ?? "")"
                    ))
            }
        } catch {
            await turn.give()
            throw error
        }
        await turn.give()
    }
}
