import Core
import GRDB

extension Index {
    /// Makes the index anew beside the old one, which stays until the new one is whole and durable, and puts it in its place.
    ///
    /// The caller holds the vault's lock and has no index open. Cut off anywhere, the old index, the new one or none is
    /// there, and none is made anew by the next start.
    ///
    /// Errors: `.damaged` when entries cannot be read as such: an index without them would have forgotten holds, and retention by it
    /// would remove what they keep.
    /// - Parameter expected: entries that there are, where the caller knows; never fewer than `checkpoint` covers.
    static func rebuild(
        _ layout: Layout, _ files: any FileSystem, _ ledger: LedgerReader, checkpoint: Checkpoint?, expected: Int = 0,
        progress: (_ entries: Int) -> Void = { _ in }
    ) throws(VaultError) -> Replayed {
        let expected = max(expected, checkpoint?.count ?? 0)
        do throws(VaultError) {
            return try rebuild(layout, files, ledger, checkpoint, expected, isBulk: true, progress)
        } catch {
            // Sorting takes temporary files, which may find no place where the index does.
            guard error.code == .noSpace || error.code == .index else { throw error }
            return try rebuild(layout, files, ledger, checkpoint, expected, isBulk: false, progress)
        }
    }

    private static func rebuild(
        _ layout: Layout, _ files: any FileSystem, _ ledger: LedgerReader, _ checkpoint: Checkpoint?, _ expected: Int,
        isBulk: Bool, _ progress: (_ entries: Int) -> Void
    ) throws(VaultError) -> Replayed {
        let path = layout.index + ".new"
        try SQLiteCache.remove(path, files)
        // Made here, so that it gets our rights and stands in the folder; SQLite takes an empty file for a new database.
        let file = try files.open(path, .create)
        let new = try building(path)
        let replayed: Replayed
        do throws(VaultError) {
            replayed = try new.fill(ledger, checkpoint, isBulk: isBulk, progress)
            try checkCount(replayed.entries, expected, ledger)
            try new.settleDeletions(layout, files)
        } catch {
            new.close()
            try? SQLiteCache.remove(path, files)
            throw error
        }
        new.close()
        try file.sync()
        try retire(layout.index, files)
        try files.rename(path, to: layout.index)
        try files.syncDirectory(layout.root)
        try files.remove(SQLiteCache.note(layout.index))
        return replayed
    }

    /// Errors: `.damaged` when fewer entries can be read than there are.
    static func checkCount(_ count: Int, _ expected: Int, _ ledger: LedgerReader) throws(VaultError) {
        guard count < expected else { return }
        throw VaultError(
            .damaged, "\(count) entries of the ledger in \(ledger.path) can be read, and \(expected) were signed.",
            hint: LedgerReader.damageHint)
    }

    /// An index of the whole ledger that belongs to this process alone: beside a vault whose own is missing, old or on a medium
    /// that cannot be written. It lacks what cannot be read.
    static func temporary(of ledger: LedgerReader) throws(VaultError) -> Index {
        let index = try temporary()
        do throws(VaultError) {
            _ = try index.fill(ledger, nil, isBulk: true, skipsDamage: true) { _ in }
            return index
        } catch {
            // As above.
            guard error.code == .noSpace || error.code == .index else { throw error }
            let index = try temporary()
            try index.catchUp(ledger, skipsDamage: true)
            return index
        }
    }

    /// A rename over a database whose write-ahead log still lies there would give the log to the new one: it is taken in
    /// first, and where that fails the old index goes before the new one comes.
    private static func retire(_ path: String, _ files: any FileSystem) throws(VaultError) {
        guard try files.attributes(path) != nil else { return try SQLiteCache.remove(path, files) }
        do {
            let old = try DatabaseQueue(path: path)
            try old.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA journal_mode = DELETE") }
            try old.close()
        } catch {
            return try SQLiteCache.remove(path, files)
        }
        for suffix in ["-wal", "-journal"] where try files.attributes(path + suffix) != nil {
            return try SQLiteCache.remove(path, files)
        }
    }

    /// In one transaction: a page that is filled again and again is written once.
    private func fill(
        _ ledger: LedgerReader, _ checkpoint: Checkpoint?, isBulk: Bool, skipsDamage: Bool = false,
        _ progress: (Int) -> Void
    ) throws(VaultError) -> Replayed {
        try Self.wrapping {
            try database.write { db in
                var intake = try Intake(db, bulk: isBulk ? BulkFill(db) : nil)
                let replayed = try LedgerAhead.replay(ledger, checkpoint: checkpoint, skipsDamage: skipsDamage) {
                    (batch) throws(VaultError) in
                    try Self.wrapping { try intake.apply(batch) }
                    progress(batch.first + batch.count)
                }
                try intake.finish(position: replayed.entries)
                return replayed
            }
        }
    }

    /// The ledger tells what was removed, only the disk whether the file is gone too.
    private func settleDeletions(_ layout: Layout, _ files: any FileSystem) throws(VaultError) {
        var after: ObjectID?
        while true {
            let objects = try pendingDeletions(after: after, limit: 1024)
            guard let last = objects.last else { return }
            var gone: [ObjectID] = []
            for object in objects where try files.attributes(layout.object(object)) == nil { gone.append(object) }
            try finished(deletions: gone)
            after = last
        }
    }
}
