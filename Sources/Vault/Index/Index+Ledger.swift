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
                var clock = try ClockTrust(db)
                for (offset, entry) in entries.enumerated() where first + offset >= known {
                    if let entry { try Self.apply(entry, at: first + offset, &clock, db) }
                }
                if let last = clock.last {
                    try db.execute(
                        sql: "INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?)",
                        arguments: [last.microseconds])
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

    private static func apply(
        _ entry: LedgerEntry, at position: Int, _ clock: inout ClockTrust, _ db: Database
    ) throws {
        try follow(entry, &clock, db)
        switch entry.body {
        case .clip(let clip):
            let identity = clip.identity
            let duration = clip.end - identity.start
            let isPlausible =
                (0...plausibleDuration).contains(duration)
                && (0..<plausibleEnd).contains(identity.start.microseconds)
            let isDoubtful = !clock.vouches(for: identity.start)
            try db.cachedStatement(
                sql: """
                    INSERT OR IGNORE INTO clip
                    (object, camera, epoch, run, seq, start, "end", bytes, kind, salvaged, implausible, doubtful)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """
            ).execute(arguments: [
                Data(clip.object.digest), identity.camera.blob, identity.epoch.blob, identity.run.blob,
                Int64(clamping: identity.sequence), identity.start.microseconds, clip.end.microseconds, clip.byteCount,
                clip.kind.rawValue, clip.isSalvaged, !isPlausible, isDoubtful,
            ])
            guard db.changesCount > 0 else { return }
            try db.cachedStatement(sql: "UPDATE epoch SET clips = clips + 1 WHERE epoch = ?")
                .execute(arguments: [identity.epoch.blob])
            try db.cachedStatement(
                sql: """
                    INSERT INTO usage (camera, bytes, doubtful_bytes, clips, sequence) VALUES (?, ?, ?, 1, ?)
                    ON CONFLICT (camera) DO UPDATE SET bytes = bytes + excluded.bytes,
                    doubtful_bytes = doubtful_bytes + excluded.doubtful_bytes, clips = clips + 1,
                    sequence = max(sequence, excluded.sequence)
                    """
            ).execute(arguments: [
                identity.camera.blob, isDoubtful ? 0 : clip.byteCount, isDoubtful ? clip.byteCount : 0,
                Int64(clamping: identity.sequence),
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
            try made(epoch, at: position, db)
        case .delete(let deletion):
            let object = Data(deletion.object.digest)
            try db.cachedStatement(
                sql: """
                    UPDATE usage SET clips = clips - 1,
                    bytes = bytes - (SELECT iif(doubtful, 0, bytes) FROM clip WHERE object = ?1),
                    doubtful_bytes = doubtful_bytes - (SELECT iif(doubtful, bytes, 0) FROM clip WHERE object = ?1)
                    WHERE camera = (SELECT camera FROM clip WHERE object = ?1)
                    """
            ).execute(arguments: [object])
            try db.cachedStatement(
                sql: "UPDATE epoch SET clips = clips - 1 WHERE epoch = (SELECT epoch FROM clip WHERE object = ?)"
            ).execute(arguments: [object])
            try db.cachedStatement(sql: "DELETE FROM clip WHERE object = ?").execute(arguments: [object])
            try db.cachedStatement(sql: "INSERT OR IGNORE INTO deleted (object, pending) VALUES (?, 1)")
                .execute(arguments: [object])
        case .hold(let hold):
            try db.execute(
                sql: #"INSERT OR IGNORE INTO hold (hold, camera, start, "end", note) VALUES (?, ?, ?, ?, ?)"#,
                arguments: [
                    hold.hold.blob, hold.camera?.blob, hold.range.start.microseconds, hold.range.end.microseconds,
                    hold.note.map { Data($0) },
                ])
        case .release(let hold):
            try db.execute(sql: "DELETE FROM hold WHERE hold = ?", arguments: [hold.blob])
        case .shred(let epoch, _):
            try db.execute(sql: "UPDATE epoch SET shredded = 1 WHERE epoch = ?", arguments: [epoch.blob])
        case .policy(let policy, _):
            try db.execute(
                sql: "INSERT OR REPLACE INTO meta (key, value) VALUES ('policy', ?)",
                arguments: [Data(policy.digest)])
        case .open(_, let vaultFile, _): try remember("vaultFile", Data(vaultFile.digest), db)
        case .recipients(let record): try changed(record, at: position, db)
        case .rewrap(let epoch, let file, let vaultFile): try rewrapped(epoch, file, vaultFile, db)
        case .camera, .clock, .export, .share, .other: break
        }
    }

    /// Keeps the clock at the last time of an entry that follows from one somebody vouched for.
    private static func follow(_ entry: LedgerEntry, _ clock: inout ClockTrust, _ db: Database) throws {
        let isConfirmed =
            switch entry.body {
            case .open(_, _, let isSynchronised): isSynchronised
            case .clock(_, _, let isConfirmed): isConfirmed
            default: false
            }
        guard let after = clock.following(entry.at, isConfirmed: isConfirmed) else { return }
        let before = clock.last
        clock.last = after
        guard isConfirmed, let before, !ClockTrust(last: before).vouches(for: after) else { return }
        // What was recorded between the two is vouched for now, what lies ahead of the confirmed time no longer.
        let low = min(before, after).microseconds.subtractingSaturating(ClockTrust.reach)
        let high = after.microseconds.addingSaturating(ClockTrust.reach)
        try db.execute(
            sql: "UPDATE clip SET doubtful = 0 WHERE doubtful = 1 AND start BETWEEN ? AND ?", arguments: [low, high])
        try db.execute(sql: "UPDATE clip SET doubtful = 1 WHERE doubtful = 0 AND start > ?", arguments: [high])
        try db.execute(
            sql: """
                UPDATE usage SET
                bytes = (SELECT ifnull(sum(bytes), 0) FROM clip WHERE camera = usage.camera AND doubtful = 0),
                doubtful_bytes = (SELECT ifnull(sum(bytes), 0) FROM clip WHERE camera = usage.camera AND doubtful = 1)
                """)
    }
}
