import Core

public struct EvictionReport: Sendable, Hashable {
    public var objects = 0
    public var bytes = 0
    /// There would be more.
    public var isUnfinished = false
}

extension Remote {
    /// Gives up the copies on this disk of clips that the remote was proven to have: listed with the right size by a pass long enough
    /// after they were sent, and with bytes that the server's checksum, or one full reading, vouches for.
    ///
    /// The ledger has it first; a cut in between is finished by the next call. Held clips stay. Errors: the ledger's, the store's.
    /// - Parameter isPressed: the disk is short of space: age does not matter, proof does.
    public func evict(limit: Int = 256, isPressed: Bool = false) async throws(VaultError) -> EvictionReport {
        // Two at once would choose the same objects.
        await evictionTurn.take()
        let result: Result<EvictionReport, VaultError>
        do throws(VaultError) {
            result = .success(try await evictNext(limit: limit, isPressed: isPressed))
        } catch { result = .failure(error) }
        await evictionTurn.give()
        return try result.get()
    }

    private func evictNext(limit: Int, isPressed: Bool) async throws(VaultError) -> EvictionReport {
        guard let policy = description.eviction, description.contents != .onlyEpochKeys else { return EvictionReport() }
        let now = vault.time.wallNow()
        let endedBy = isPressed ? now : now - policy.after
        var report = EvictionReport()
        try await finishEvictions()
        let chosen = try await evictable(endedBy: endedBy, limit: limit) { [vault] (object) throws(VaultError) in
            // Given up already, and the database could not be told; or missing, which nothing may hide.
            try vault.files.attributes(vault.layout.object(object)) != nil
        }
        report.isUnfinished = chosen.count == limit
        var left = chosen[...]
        while !left.isEmpty {
            let batch = Array(left.prefix(EvictionRecord.limit))
            left = left.dropFirst(batch.count)
            let objects = batch.map(\.object)
            let entry = LedgerEntry(at: now, .evict(EvictionRecord(remote: description.id, objects: objects)))
            let vault = vault
            try await vault.retentionLane.run { () throws(VaultError) in try vault.committer().commit([entry]) }
            try await tell { (state) throws(VaultError) in try state.evicted(objects, .entered) }
            try await removeFiles(of: objects)
            report.objects += batch.count
            report.bytes += batch.reduce(0) { $0 + $1.bytes }
        }
        // Of a full disk the log would take what was just freed.
        if isPressed { try await on { (state) in state.giveBackLog() } }
        return report
    }

    /// The database is a cache of the ledger, and a disk is full when eviction matters most: what it finds no space for now, the
    /// next `sync` reads from the ledger.
    /// - Returns: whether it found space.
    @discardableResult
    private func tell(
        _ body: @escaping @Sendable (RemoteState) throws(VaultError) -> Void
    ) async throws(VaultError) -> Bool {
        do throws(VaultError) {
            try await on(body)
            return true
        } catch {
            guard error.code == .noSpace else { throw error }
            return false
        }
    }

    /// What may go, oldest first: held clips are passed over, however many there are.
    /// - Parameter isHere: asked of each that may go.
    func evictable(
        endedBy: WallTime, limit: Int, where isHere: (ObjectID) throws(VaultError) -> Bool = { _ in true }
    ) async throws(VaultError) -> [RemoteState.Row] {
        let (holds, deleted) = try await vault.reads.run { [vault] () throws(VaultError) in
            // What the index lacks on a full disk counts too.
            let tail = try vault.ledger.tail(from: vault.index.position())
            return (try vault.index.holds() + tail.holds, tail.deleted)
        }
        var chosen: [RemoteState.Row] = []
        var last: RemoteState.Row?
        while chosen.count < limit {
            let after = last
            let rows = try await on { (state) throws(VaultError) in
                try state.evictable(endedBy: endedBy, after: after, limit: Self.evictionPage)
            }
            for row in rows where chosen.count < limit {
                guard let clip = try vault.index.clip(row.object, vault.id), !deleted.contains(row.object),
                    !holds.contains(where: { $0.covers(clip) }), try isHere(row.object)
                else { continue }
                chosen.append(row)
            }
            guard rows.count == Self.evictionPage else { break }
            last = rows.last
        }
        return chosen
    }
    private static let evictionPage = 256

    /// Where the server's checksums mean nothing, one full reading does: of the oldest that would go, a few at a time.
    /// - Returns: how many were read.
    @discardableResult
    public func proveByReading(limit: Int) async throws(VaultError) -> Int {
        guard let policy = description.eviction else { return 0 }
        let endedBy = vault.time.wallNow() - policy.after
        let rows = try await on { (state) throws(VaultError) in try state.unproven(limit: limit, endedBy: endedBy) }
        for row in rows {
            let isGood = try await matches(row)
            try await on { (state) throws(VaultError) in try state.read(row.object, isGood: isGood) }
            guard isGood else {
                vault.hub.send(.alarm("Remote \(name) has other bytes than were sent: object \(row.object)."))
                continue
            }
        }
        return rows.count
    }

    /// The files that the ledger says are given up. Only of objects that are proven still.
    private func finishEvictions() async throws(VaultError) {
        while true {
            let rows = try await on { (state) throws(VaultError) in try state.evictionsToFinish(limit: 256) }
            guard !rows.isEmpty, try await removeFiles(of: rows.map(\.object)) else { return }
        }
    }

    /// - Returns: whether the database knows it.
    @discardableResult
    private func removeFiles(of objects: [ObjectID]) async throws(VaultError) -> Bool {
        let (files, layout) = (vault.files, vault.layout)
        try await lane.run { () throws(VaultError) in
            for object in objects { try files.remove(layout.object(object)) }
            for folder in Set(objects.map { parent(of: layout.object($0)) }) { try files.syncDirectory(folder) }
        }
        return try await tell { (state) throws(VaultError) in try state.evicted(objects, .gone) }
    }

    /// All of an object, read and compared with its name; once more where it differs, because a bit may have turned on the way, and the
    /// only copy is not given up for that. Errors: the store's.
    func matches(_ row: RemoteState.Row) async throws(VaultError) -> Bool {
        if try await readsAsNamed(row) { return true }
        return try await readsAsNamed(row)
    }

    private func readsAsNamed(_ row: RemoteState.Row) async throws(VaultError) -> Bool {
        let digest = try Digest.sha256()
        let step = 4 << 20
        var offset = 0
        while offset < row.bytes {
            let range = offset..<min(row.bytes, offset + step)
            let part: RemotePart
            do throws(VaultError) {
                part = try await store.part(RemoteLayout.object(row.object), .range(range))
            } catch {
                if error.code == .notFound { return false }
                throw error
            }
            guard part.count == row.bytes else { return false }
            digest.update(part.bytes)
            offset += part.bytes.count
        }
        return digest.finish() == row.object.digest
    }
}

extension Vault {
    /// Where a write met a full disk: copies here that lie in a remote too, oldest first, until `bytes` are free of them. Blocks; for
    /// writers' threads only, as `deleteForSpace`.
    /// - Returns: whether any went.
    func giveUpCopies(bytes: Int) -> Bool {
        var freed = 0
        for remote in remotes where remote.description.eviction != nil {
            while freed < bytes {
                do throws(VaultError) {
                    let step = try waiting { () async throws(VaultError) in
                        try await remote.evict(limit: Self.copiesOfAStep, isPressed: true)
                    }
                    guard step.objects > 0 else { break }
                    freed += step.bytes
                } catch {
                    hub.send(
                        .alarm(
                            "The disk is full, and copies that remote \(remote.name) has too could not be given up: \(error.reason)"
                        ))
                    break
                }
            }
        }
        return freed > 0
    }
    private static let copiesOfAStep = 4
}
