import Core
import Foundation
import GRDB

/// Entries on their way into the tables, within one transaction: `apply` each, then `finish`.
///
/// What clips add to their camera's and epoch's rows is summed up here and entered by `finish`, or before anything looks at it.
struct Intake: ~Copyable {
    /// What clips of one epoch added.
    private struct Sums {
        var epoch: EpochID
        var camera: CameraID
        var cameraNumber: Int64
        var epochNumber: Int64
        var bytes = 0
        var doubtfulBytes = 0
        var clips = 0
        var sequence: Int64 = 0

        mutating func add(_ clip: ClipRecord, isDoubtful: Bool) {
            if isDoubtful {
                doubtfulBytes = doubtfulBytes.addingSaturating(clip.byteCount)
            } else {
                bytes = bytes.addingSaturating(clip.byteCount)
            }
            clips += 1
        }
        mutating func pass(_ identity: ClipIdentity) {
            sequence = max(sequence, Int64(clamping: identity.sequence))
        }
    }

    private let db: Database
    private var clock: ClockTrust
    private var numbers = Numbers()
    private var sums: [Sums] = []
    private var places: [EpochID: Int] = [:]
    /// Places found last, by a byte of the epoch: cameras take turns, and a search for each clip's would cost more than the clip's sums.
    private var found = [Int](repeating: 0, count: 256)
    private var insertion: ClipInsertion
    private let regained: Statement
    /// False: there is no gap in whose place a clip could come again.
    private var mayRegain: Bool
    /// Nil: nothing is put off.
    private var bulk: BulkFill?

    /// - Parameter bulk: the tables are empty and nobody else sees them.
    init(_ db: Database, bulk: BulkFill? = nil) throws {
        let clock = try ClockTrust(db)
        let regained = try db.cachedStatement(
            sql: "DELETE FROM gap WHERE camera = ? AND start = ? AND reason IN ('lost', 'damaged')")
        insertion = try ClipInsertion(db)
        self.db = db
        self.clock = clock
        self.regained = regained
        self.bulk = bulk
        mayRegain = bulk == nil
    }

    /// Enters what was summed up, and that the ledger is known up to `position`.
    mutating func finish(position: Int) throws {
        try enterSums()
        if let last = clock.last {
            try db.execute(
                sql: "INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?)", arguments: [last.microseconds])
        }
        try db.execute(
            sql: "INSERT OR REPLACE INTO meta (key, value) VALUES ('position', ?)", arguments: [position])
        try bulk?.finish(db)
    }

    private mutating func enterSums() throws {
        let camera = try db.cachedStatement(
            sql: """
                UPDATE camera SET bytes = bytes + ?, doubtful_bytes = doubtful_bytes + ?, clips = clips + ?,
                sequence = max(sequence, ?) WHERE number = ?
                """)
        let epoch = try db.cachedStatement(sql: "UPDATE epoch SET clips = clips + ? WHERE number = ?")
        for sums in sums {
            try camera.execute(arguments: [
                sums.bytes, sums.doubtfulBytes, sums.clips, sums.sequence, sums.cameraNumber,
            ])
            try epoch.execute(arguments: [sums.clips, sums.epochNumber])
        }
        sums = []
        places = [:]
    }

    // MARK: Entries

    mutating func apply(_ batch: LedgerAhead.Batch) throws {
        var others = batch.others[...]
        for clip in batch.clips {
            while let other = others.first, other.position < clip.position {
                try apply(other.entry, at: other.position, isSettled: other.isSettled)
                others.removeFirst()
            }
            try follow(clip.at, isConfirmed: false)
            try take(clip.record, at: clip.position, clip.fate)
        }
        for other in others { try apply(other.entry, at: other.position, isSettled: other.isSettled) }
    }

    /// - Parameter isSettled: a deletion that takes no row away.
    mutating func apply(_ entry: LedgerEntry, at position: Int, isSettled: Bool = false) throws {
        let isConfirmed =
            switch entry.body {
            case .open(_, _, let isSynchronised): isSynchronised
            case .clock(_, _, let isConfirmed): isConfirmed
            default: false
            }
        try follow(entry.at, isConfirmed: isConfirmed)
        switch entry.body {
        case .clip(let clip):
            try take(clip, at: position, .unknown)
        case .gap(let gap):
            if gap.reason == .lost || gap.reason == .damaged { mayRegain = true }
            try db.cachedStatement(
                sql: #"INSERT OR IGNORE INTO gap (entry, camera, start, "end", reason) VALUES (?, ?, ?, ?, ?)"#
            ).execute(arguments: [
                position, try numbers.camera(gap.camera, db), gap.range.start.microseconds,
                gap.range.end.microseconds, gap.reason.rawValue,
            ])
        case .event(let event): try note(event)
        case .epoch(let epoch):
            try db.cachedStatement(
                sql: "UPDATE epoch SET camera = ?, day = ?, recipient = ?, file = ? WHERE number = ? AND camera IS NULL"
            ).execute(arguments: [
                try numbers.camera(epoch.camera, db), epoch.day, epoch.recipient?.description, Data(epoch.file.digest),
                try numbers.epoch(epoch.epoch, db),
            ])
            try Index.made(epoch, at: position, db)
        case .delete(let deletion):
            if !isSettled { try remove(deletion.object) }
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
        case .open(_, let vaultFile, _): try Index.remember("vaultFile", Data(vaultFile.digest), db)
        case .recipients(let record): try Index.changed(record, at: position, db)
        case .rewrap(let epoch, let file, let vaultFile): try Index.rewrapped(epoch, file, vaultFile, db)
        case .lost(let record): try withdraw(record.object, .lost, at: position)
        case .quarantine(let record): try withdraw(record.object, .damaged, at: position)
        case .rebuilt(let record):
            guard let since = record.since else { break }
            clock.rebuilt = ClockTrust.Rebuilt(
                since: since, at: entry.at, lastPosition: position.addingSaturating(record.entries))
            try clock.saveRebuilt(db)
        case .evict(let record): try set(evicted: true, record.objects)
        case .fetch(let record): try set(evicted: false, record.objects)
        case .camera, .clock, .export, .share, .other: break
        }
    }

    /// A second entry of an event makes it longer, and nothing else of it another.
    private mutating func note(_ event: EventRecord) throws {
        try db.cachedStatement(
            sql: #"""
                INSERT INTO event (event, camera, start, "end", label) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (event) DO UPDATE SET "end" = max("end", excluded."end") WHERE camera = excluded.camera
                """#
        ).execute(arguments: [
            event.event.blob, try numbers.camera(event.camera, db), event.range.start.microseconds,
            event.range.end.microseconds, event.label.rawValue,
        ])
    }

    private mutating func set(evicted: Bool, _ objects: [ObjectID]) throws {
        try bulk?.needNames(db)
        for object in objects {
            try db.cachedStatement(sql: "UPDATE clip SET evicted = ?2 WHERE \(Index.isObject)")
                .execute(arguments: [Data(object.digest), evicted])
        }
    }

    /// A clip becomes a gap.
    private mutating func withdraw(_ object: ObjectID, _ reason: GapReason, at position: Int) throws {
        guard let entry = try find(object) else { return }
        mayRegain = true
        try db.execute(
            sql: #"INSERT OR IGNORE INTO gap SELECT ?, camera, start, "end", ? FROM clip WHERE entry = ?"#,
            arguments: [position, reason.rawValue, entry])
        try remove(object)
    }

    private mutating func take(_ clip: ClipRecord, at position: Int, _ fate: DeletionsAhead.Fate) throws {
        switch fate {
        case .repeated: return
        case .unknown: guard try find(clip.object) == nil else { return }
        case .new, .doomed: break
        }
        let identity = clip.identity
        let place = try place(of: identity)
        let camera = sums[place].cameraNumber
        // Found again: what `repair` had put in its place goes.
        if mayRegain { try regained.execute(arguments: [camera, identity.start.microseconds]) }
        sums[place].pass(identity)
        if fate == .doomed { return }
        // Nobody vouches for what cannot be: it takes space, and so goes first (V20).
        let isDoubtful = !clip.isPlausible || !clock.vouches(for: clip.start, at: position)
        try insertion.insert(
            clip, entry: position, camera: camera, epoch: sums[place].epochNumber, isImplausible: !clip.isPlausible,
            isDoubtful: isDoubtful)
        sums[place].add(clip, isDoubtful: isDoubtful)
    }

    /// Where the sums of a clip's epoch are.
    private mutating func place(of identity: ClipIdentity) throws -> Int {
        let slot = Int(identity.epoch.uuid.low & 255)
        let last = found[slot]
        if last < sums.count, sums[last].epoch == identity.epoch, sums[last].camera == identity.camera { return last }
        let place = try search(for: identity)
        found[slot] = place
        return place
    }
    private mutating func search(for identity: ClipIdentity) throws -> Int {
        if let place = places[identity.epoch] {
            if sums[place].camera == identity.camera { return place }
            // One epoch of two cameras: nobody records that, but a ledger may say it.
            try enterSums()
        }
        places[identity.epoch] = sums.count
        sums.append(
            Sums(
                epoch: identity.epoch, camera: identity.camera, cameraNumber: try numbers.camera(identity.camera, db),
                epochNumber: try numbers.epoch(identity.epoch, db)))
        return sums.count - 1
    }

    private mutating func remove(_ object: ObjectID) throws {
        guard let entry = try find(object) else { return }
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
    private mutating func find(_ object: ObjectID) throws -> Int64? {
        try bulk?.needNames(db)
        return try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT entry FROM clip WHERE \(Index.isObject)"),
            arguments: [Data(object.digest)])
    }

    /// Keeps the clock at the last time of an entry that follows from one somebody vouched for.
    private mutating func follow(_ time: WallTime, isConfirmed: Bool) throws {
        guard let after = clock.following(time, isConfirmed: isConfirmed) else { return }
        let before = clock.last
        clock.last = after
        guard isConfirmed, let before, !ClockTrust(last: before).vouches(for: after) else { return }
        // What was recorded between the two is vouched for now, what lies ahead of the confirmed time no longer.
        let low = min(before, after).microseconds.subtractingSaturating(ClockTrust.reach)
        let high = after.microseconds.addingSaturating(ClockTrust.reach)
        try enterSums()
        try db.execute(
            sql: "UPDATE clip SET doubtful = 0 WHERE doubtful = 1 AND implausible = 0 AND start BETWEEN ? AND ?",
            arguments: [low, high])
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
