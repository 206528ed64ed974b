import Core
import Foundation
import GRDB

extension Index {
    /// Ledger entries taken in so far.
    func position() throws(VaultError) -> Int {
        try Self.wrapping {
            try database.read { db in
                try Int.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'position'") ?? 0
            }
        }
    }

    /// Takes entries in, in one transaction. `first` is the position of the first; those known already are skipped.
    func apply(_ entries: [LedgerEntry?], from first: Int) throws(VaultError) {
        try Self.wrapping {
            try database.write { db in
                let known = try Int.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'position'") ?? 0
                for (offset, entry) in entries.enumerated() where first + offset >= known {
                    if let entry { try Self.apply(entry, at: first + offset, db) }
                }
                try db.execute(
                    sql: "INSERT OR REPLACE INTO meta (key, value) VALUES ('position', ?)",
                    arguments: [max(known, first + entries.count)])
            }
        }
    }

    /// Replays the ledger's tail. Memory stays bounded however long it is.
    func catchUp(_ ledger: LedgerReader) throws(VaultError) {
        var batch: [LedgerEntry?] = []
        var first = try position()
        try ledger.replay(from: first) { (position, entry) throws(VaultError) in
            if batch.isEmpty { first = position }
            batch.append(entry)
            if batch.count == 4096 {
                try apply(batch, from: first)
                batch = []
            }
        }
        if !batch.isEmpty { try apply(batch, from: first) }
    }

    private static func apply(_ entry: LedgerEntry, at position: Int, _ db: Database) throws {
        switch entry.body {
        case .clip(let clip):
            let identity = clip.identity
            let duration = clip.end - identity.start
            let isPlausible =
                (0...plausibleDuration).contains(duration)
                && (0..<plausibleEnd).contains(identity.start.microseconds)
            try db.cachedStatement(
                sql: """
                    INSERT OR IGNORE INTO clip
                    (object, camera, epoch, run, seq, start, "end", bytes, kind, salvaged, implausible)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """
            ).execute(arguments: [
                Data(clip.object.digest), identity.camera.blob, identity.epoch.blob, identity.run.blob,
                Int64(clamping: identity.sequence), identity.start.microseconds, clip.end.microseconds, clip.byteCount,
                clip.kind.rawValue, clip.isSalvaged, !isPlausible,
            ])
        case .gap(let gap):
            try db.cachedStatement(
                sql: #"INSERT OR IGNORE INTO gap (camera, start, "end", reason, entry) VALUES (?, ?, ?, ?, ?)"#
            ).execute(arguments: [
                gap.camera.blob, gap.range.start.microseconds, gap.range.end.microseconds, gap.reason.rawValue,
                position,
            ])
        case .epoch(let epoch):
            try db.cachedStatement(
                sql: "INSERT OR IGNORE INTO epoch (epoch, camera, day, recipient, file) VALUES (?, ?, ?, ?, ?)"
            ).execute(arguments: [
                epoch.epoch.blob, epoch.camera.blob, epoch.day, epoch.recipient.description, Data(epoch.file.digest),
            ])
        case .delete(let object, _, _):
            try db.execute(sql: "DELETE FROM clip WHERE object = ?", arguments: [Data(object.digest)])
            try db.execute(sql: "INSERT OR IGNORE INTO deleted (object) VALUES (?)", arguments: [Data(object.digest)])
        case .shred(let epoch, _):
            try db.execute(sql: "UPDATE epoch SET shredded = 1 WHERE epoch = ?", arguments: [epoch.blob])
        case .camera, .clock, .open, .other: break
        }
    }
}
