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
        let chosen = try await evictable(endedBy: endedBy, limit: limit)
        report.isUnfinished = chosen.count == limit
        var left = chosen[...]
        while !left.isEmpty {
            let batch = Array(left.prefix(EvictionRecord.limit))
            left = left.dropFirst(batch.count)
            let objects = batch.map(\.object)
            let entry = LedgerEntry(at: now, .evict(EvictionRecord(remote: description.id, objects: objects)))
            let vault = vault
            try await vault.retentionLane.run { () throws(VaultError) in try vault.committer().commit([entry]) }
            try await on { (state) throws(VaultError) in try state.evicted(objects, .entered) }
            try await finishEvictions()
            report.objects += batch.count
            report.bytes += batch.reduce(0) { $0 + $1.bytes }
        }
        return report
    }

    /// What may go, oldest first: held clips are passed over, however many there are.
    func evictable(endedBy: WallTime, limit: Int) async throws(VaultError) -> [RemoteState.Row] {
        let holds = try await vault.holds()
        var chosen: [RemoteState.Row] = []
        var last: RemoteState.Row?
        while chosen.count < limit {
            let after = last
            let rows = try await on { (state) throws(VaultError) in
                try state.evictable(endedBy: endedBy, after: after, limit: Self.evictionPage)
            }
            for row in rows where chosen.count < limit {
                guard let clip = try vault.index.clip(row.object, vault.id), !holds.contains(where: { $0.covers(clip) })
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
            guard !rows.isEmpty else { return }
            let (files, layout) = (vault.files, vault.layout)
            try await lane.run { () throws(VaultError) in
                for row in rows { try files.remove(layout.object(row.object)) }
                for folder in Set(rows.map { parent(of: layout.object($0.object)) }) { try files.syncDirectory(folder) }
            }
            try await on { (state) throws(VaultError) in try state.evicted(rows.map(\.object), .gone) }
        }
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
                let step = try? waiting { () async throws(VaultError) in
                    try await remote.evict(limit: Self.copiesOfAStep, isPressed: true)
                }
                guard let step, step.objects > 0 else { break }
                freed += step.bytes
            }
        }
        return freed > 0
    }
    private static let copiesOfAStep = 4
}
