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
        try checkLog()
        try Self.wrapping {
            try database.write { db in
                let known = try Int.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'position'") ?? 0
                var clock = try ClockTrust(db)
                var numbers = Numbers()
                for (offset, entry) in entries.enumerated() where first + offset >= known {
                    if let entry { try Self.apply(entry, at: first + offset, &clock, &numbers, db) }
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
        _ entry: LedgerEntry, at position: Int, _ clock: inout ClockTrust, _ numbers: inout Numbers, _ db: Database
    ) throws {
        try follow(entry, &clock, db)
        switch entry.body {
        case .clip(let clip):
            try add(clip, at: position, isDoubtful: !clock.vouches(for: clip.start, at: position), &numbers, db)
        case .gap(let gap):
            try db.cachedStatement(
                sql: #"INSERT OR IGNORE INTO gap (entry, camera, start, "end", reason) VALUES (?, ?, ?, ?, ?)"#
            ).execute(arguments: [
                position, try numbers.camera(gap.camera, db), gap.range.start.microseconds,
                gap.range.end.microseconds, gap.reason.rawValue,
            ])
        case .epoch(let epoch):
            try db.cachedStatement(
                sql: "UPDATE epoch SET camera = ?, day = ?, recipient = ?, file = ? WHERE number = ? AND camera IS NULL"
            ).execute(arguments: [
                try numbers.camera(epoch.camera, db), epoch.day, epoch.recipient?.description, Data(epoch.file.digest),
                try numbers.epoch(epoch.epoch, db),
            ])
            try made(epoch, at: position, db)
        case .delete(let deletion):
            try remove(deletion.object, db)
            try db.cachedStatement(sql: "INSERT OR IGNORE INTO deleted (object, pending) VALUES (?, 1)")
                .execute(arguments: [Data(deletion.object.digest)])
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
            try db.execute(sql: "UPDATE epoch SET shredded = 1 WHERE uuid = ?", arguments: [epoch.blob])
        case .policy(let policy, _):
            try db.execute(
                sql: "INSERT OR REPLACE INTO meta (key, value) VALUES ('policy', ?)",
                arguments: [Data(policy.digest)])
        case .open(_, let vaultFile, _): try remember("vaultFile", Data(vaultFile.digest), db)
        case .recipients(let record): try changed(record, at: position, db)
        case .rewrap(let epoch, let file, let vaultFile): try rewrapped(epoch, file, vaultFile, db)
        case .lost(let record): try withdraw(record.object, .lost, at: position, db)
        case .quarantine(let record): try withdraw(record.object, .damaged, at: position, db)
        case .rebuilt(let record):
            guard let since = record.since else { break }
            clock.rebuilt = ClockTrust.Rebuilt(
                since: since, at: entry.at, lastPosition: position.addingSaturating(record.entries))
            try clock.saveRebuilt(db)
        case .evict(let record): try set(evicted: true, record.objects, db)
        case .fetch(let record): try set(evicted: false, record.objects, db)
        case .camera, .clock, .export, .share, .other: break
        }
    }

    private static func set(evicted: Bool, _ objects: [ObjectID], _ db: Database) throws {
        for object in objects {
            try db.cachedStatement(sql: "UPDATE clip SET evicted = ?2 WHERE \(Self.isObject)")
                .execute(arguments: [Data(object.digest), evicted])
        }
    }

    /// A clip becomes a gap.
    private static func withdraw(_ object: ObjectID, _ reason: GapReason, at position: Int, _ db: Database) throws {
        guard let entry = try find(Data(object.digest), db) else { return }
        try db.execute(
            sql: #"INSERT OR IGNORE INTO gap SELECT ?, camera, start, "end", ? FROM clip WHERE entry = ?"#,
            arguments: [position, reason.rawValue, entry])
        try remove(object, db)
    }

    private static func add(
        _ clip: ClipRecord, at position: Int, isDoubtful: Bool, _ numbers: inout Numbers, _ db: Database
    ) throws {
        let object = Data(clip.object.digest)
        guard try find(object, db) == nil else { return }
        let identity = clip.identity
        let camera = try numbers.camera(identity.camera, db)
        let epoch = try numbers.epoch(identity.epoch, db)
        let isPlausible =
            (0...plausibleDuration).contains(clip.end - identity.start)
            && (0..<plausibleEnd).contains(identity.start.microseconds)
        try db.cachedStatement(
            sql: """
                INSERT INTO clip
                (entry, object, camera, epoch, run, seq, start, "end", bytes, kind, salvaged, implausible, doubtful)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            position, object, camera, epoch, identity.run.blob, Int64(clamping: identity.sequence),
            identity.start.microseconds, clip.end.microseconds, clip.byteCount, code(of: clip.kind), clip.isSalvaged,
            !isPlausible, isDoubtful,
        ])
        // Found again: what `repair` had put in its place goes.
        try db.cachedStatement(
            sql: "DELETE FROM gap WHERE camera = ? AND start = ? AND reason IN ('lost', 'damaged')"
        ).execute(arguments: [camera, identity.start.microseconds])
        try db.cachedStatement(sql: "UPDATE epoch SET clips = clips + 1 WHERE number = ?").execute(arguments: [epoch])
        try db.cachedStatement(
            sql: """
                UPDATE camera SET bytes = bytes + ?, doubtful_bytes = doubtful_bytes + ?, clips = clips + 1,
                sequence = max(sequence, ?) WHERE number = ?
                """
        ).execute(arguments: [
            isDoubtful ? 0 : clip.byteCount, isDoubtful ? clip.byteCount : 0, Int64(clamping: identity.sequence),
            camera,
        ])
    }

    private static func remove(_ object: ObjectID, _ db: Database) throws {
        guard let entry = try find(Data(object.digest), db) else { return }
        let row = try Row.fetchOne(
            db.cachedStatement(sql: "SELECT camera, epoch, bytes, doubtful FROM clip WHERE entry = ?"),
            arguments: [entry])
        guard let row else { return }
        let camera: Int64 = row[0]
        let epoch: Int64 = row[1]
        let bytes: Int = row[2]
        let isDoubtful: Bool = row[3]
        try db.cachedStatement(sql: "DELETE FROM clip WHERE entry = ?").execute(arguments: [entry])
        try db.cachedStatement(sql: "UPDATE epoch SET clips = clips - 1 WHERE number = ?").execute(arguments: [epoch])
        try db.cachedStatement(
            sql: """
                UPDATE camera SET clips = clips - 1, bytes = bytes - ?, doubtful_bytes = doubtful_bytes - ?
                WHERE number = ?
                """
        ).execute(arguments: [isDoubtful ? 0 : bytes, isDoubtful ? bytes : 0, camera])
    }

    /// The ledger entry of an object that is there.
    private static func find(_ object: Data, _ db: Database) throws -> Int64? {
        try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT entry FROM clip WHERE \(Self.isObject)"), arguments: [object])
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
                UPDATE camera SET
                bytes = (SELECT ifnull(sum(bytes), 0) FROM clip WHERE camera = number AND doubtful = 0),
                doubtful_bytes = (SELECT ifnull(sum(bytes), 0) FROM clip WHERE camera = number AND doubtful = 1)
                """)
    }
}

/// The short numbers of cameras and epochs, given as the ledger first names them; looked up once a transaction.
private struct Numbers {
    private var cameras: [CameraID: Int64] = [:]
    private var epochs: [EpochID: Int64] = [:]

    mutating func camera(_ id: CameraID, _ db: Database) throws -> Int64 {
        if let number = cameras[id] { return number }
        let number = try Self.number(id.blob, "camera", db)
        cameras[id] = number
        return number
    }
    mutating func epoch(_ id: EpochID, _ db: Database) throws -> Int64 {
        if let number = epochs[id] { return number }
        let number = try Self.number(id.blob, "epoch", db)
        epochs[id] = number
        return number
    }

    private static func number(_ uuid: Data, _ table: String, _ db: Database) throws -> Int64 {
        let known = try db.cachedStatement(sql: "SELECT number FROM \(table) WHERE uuid = ?")
        if let number = try Int64.fetchOne(known, arguments: [uuid]) { return number }
        try db.cachedStatement(sql: "INSERT INTO \(table) (uuid) VALUES (?)").execute(arguments: [uuid])
        return db.lastInsertedRowID
    }
}
