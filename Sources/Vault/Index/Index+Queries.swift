import Core
import Foundation
import GRDB

extension Index {
    /// Clips with the identifiers that `clip` has numbers for; what follows names columns of `clip`.
    static let clips = """
        SELECT clip.object, camera.uuid, epoch.uuid, clip.run, clip.seq, clip.start, clip."end", clip.bytes, clip.kind,
        clip.salvaged
        FROM clip CROSS JOIN camera ON camera.number = clip.camera CROSS JOIN epoch ON epoch.number = clip.epoch
        """
    /// One camera's rows; takes its UUID.
    static let ofCamera = "clip.camera = (SELECT number FROM camera WHERE uuid = ?1)"
    /// One object's row; takes its digest.
    static let isObject = "substr(object, 1, 8) = substr(?1, 1, 8) AND object = ?1"

    /// Rows of `clips`. `limit` bounds nothing here; SQL does.
    static func records(
        _ statement: Statement, _ arguments: StatementArguments, _ vault: VaultID
    ) throws -> [ClipRecord] {
        var records: [ClipRecord] = []
        let rows = try Row.fetchCursor(statement, arguments: arguments)
        while let row = try rows.next() { records.append(try record(row, vault)) }
        return records
    }

    static func record(_ row: Row, _ vault: VaultID) throws -> ClipRecord {
        guard let object = ObjectID(digest: try row.withUnsafeData(atIndex: 0) { $0.map(Array.init) ?? [] }) else {
            throw VaultError(.index, "The index holds a malformed object name.")
        }
        let identity = ClipIdentity(
            vault: vault, camera: try identifier(row, 1), epoch: try identifier(row, 2), run: try identifier(row, 3),
            sequence: UInt64(clamping: row[4] as Int64), start: WallTime(microseconds: row[5]))
        return ClipRecord(
            object: object, identity: identity, end: WallTime(microseconds: row[6]), byteCount: row[7],
            kind: kind(of: row[8]), isSalvaged: row[9])
    }

    /// The two words are taken where they lie.
    private static func identifier<Named>(_ row: Row, _ column: Int) throws -> Identifier<Named> {
        let words = try row.withUnsafeData(atIndex: column) { data -> (UInt64, UInt64)? in
            guard let data, data.count == 16 else { return nil }
            return unsafe data.withUnsafeBytes { bytes in
                unsafe (
                    bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
                    bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
                )
            }
        }
        guard let words else { throw VaultError(.index, "The index holds a malformed identifier.") }
        return Identifier(Core.UUID(high: UInt64(bigEndian: words.0), low: UInt64(bigEndian: words.1)))
    }

    private static let kinds: [RetentionClass] = [.continuous, .motion, .event, .labelled]
    static func code(of kind: RetentionClass) -> Int { kinds.firstIndex(of: kind) ?? 0 }
    static func kind(of code: Int) -> RetentionClass { kinds.indices.contains(code) ? kinds[code] : .continuous }

    /// The clip of a camera that contains `time`; of several (the clock was set back) the one that starts last.
    func clip(at time: WallTime, _ camera: CameraID, _ vault: VaultID) async throws(VaultError) -> ClipRecord? {
        try await one(
            #"start <= ?2 AND start > ?3 AND "end" > ?4 ORDER BY start DESC LIMIT 1"#,
            [
                time.microseconds, time.microseconds.subtractingSaturating(Self.plausibleDuration + 1),
                time.microseconds,
            ], camera, vault)
    }
    /// The first clip that starts later than `time`.
    func clip(after time: WallTime, _ camera: CameraID, _ vault: VaultID) async throws(VaultError) -> ClipRecord? {
        try await one("start > ?2 ORDER BY start LIMIT 1", [time.microseconds], camera, vault)
    }
    /// The last clip that starts earlier than `time`.
    func clip(before time: WallTime, _ camera: CameraID, _ vault: VaultID) async throws(VaultError) -> ClipRecord? {
        try await one("start < ?2 ORDER BY start DESC LIMIT 1", [time.microseconds], camera, vault)
    }

    private func one(
        _ condition: String, _ times: [Int64], _ camera: CameraID, _ vault: VaultID
    ) async throws(VaultError) -> ClipRecord? {
        try await reading { db in
            try Self.records(
                try db.cachedStatement(
                    sql: "\(Self.clips) WHERE implausible = 0 AND \(Self.ofCamera) AND \(condition)"),
                StatementArguments([camera.blob]) + StatementArguments(times), vault
            ).first
        }
    }

    /// Whether the ledger says that it was removed.
    func wasDeleted(_ object: ObjectID) throws(VaultError) -> Bool {
        try Self.wrapping {
            try database.read { db in
                try Bool.fetchOne(
                    db, sql: "SELECT EXISTS (SELECT 1 FROM deleted WHERE object = ?)", arguments: [Data(object.digest)])
                    ?? false
            }
        }
    }

    /// What lies in a remote only.
    func evictedObjects() throws(VaultError) -> Set<ObjectID> {
        try Self.wrapping {
            try database.read { db in
                let rows = try Data.fetchCursor(db, sql: "SELECT object FROM clip WHERE evicted = 1")
                var objects: Set<ObjectID> = []
                while let row = try rows.next() { if let id = ObjectID(digest: Array(row)) { objects.insert(id) } }
                return objects
            }
        }
    }

    /// Whether its copy on this disk was given up for a remote's.
    func isEvicted(_ object: ObjectID) throws(VaultError) -> Bool {
        try Self.wrapping {
            try database.read { db in
                try Bool.fetchOne(
                    db.cachedStatement(sql: "SELECT evicted FROM clip WHERE \(Self.isObject)"),
                    arguments: [Data(object.digest)]) ?? false
            }
        }
    }

    func clips(
        _ camera: CameraID, overlapping range: TimeRange, limit: Int, descending: Bool, _ vault: VaultID
    ) async throws(VaultError) -> [ClipRecord] {
        try await reading { db in
            try ClipRows.list(db, camera, overlapping: range, limit: limit, descending: descending, vault)
        }
    }

    /// Clips whose object's name begins with `prefix`, 8 to 64 hexadecimal digits; two at most.
    func clips(named prefix: String, _ vault: VaultID) async throws(VaultError) -> [ClipRecord] {
        guard let low = Hex.decode(prefix.prefix(16).padding("0")),
            let high = Hex.decode(prefix.prefix(16).padding("f"))
        else { return [] }
        return try await reading { db in
            try Self.records(
                try db.cachedStatement(
                    sql:
                        "\(Self.clips) WHERE substr(object, 1, 8) BETWEEN ? AND ? AND lower(hex(object)) LIKE ? || '%' LIMIT 2"
                ),
                [Data(low), Data(high), prefix], vault)
        }
    }

    /// Clips whose objects lie in one of the 256 folders.
    func clips(shard: Int, _ vault: VaultID) throws(VaultError) -> [ClipRecord] {
        let first = UInt8(clamping: shard)
        return try Self.wrapping {
            try database.read { db in
                try Self.records(
                    try db.cachedStatement(
                        sql: "\(Self.clips) WHERE substr(object, 1, 8) BETWEEN ? AND ? ORDER BY substr(object, 1, 8)"),
                    [
                        Data([first] + [UInt8](repeating: 0, count: 7)),
                        Data([first] + [UInt8](repeating: 255, count: 7)),
                    ], vault)
            }
        }
    }

    func gaps(_ camera: CameraID, overlapping range: TimeRange) async throws(VaultError) -> [GapRecord] {
        try await reading { db in
            try Row.fetchAll(
                db,
                sql:
                    """
                    SELECT start, "end", reason FROM gap WHERE camera = (SELECT number FROM camera WHERE uuid = ?1)
                    AND start < ?2 AND "end" > ?3 ORDER BY start
                    """,
                arguments: [camera.blob, range.end.microseconds, range.start.microseconds]
            ).map { row in
                GapRecord(
                    camera: camera,
                    range: TimeRange(WallTime(microseconds: row[0]), WallTime(microseconds: row[1])),
                    reason: GapReason(rawValue: row[2]) ?? .unknown)
            }
        }
    }

    func events(_ camera: CameraID, overlapping range: TimeRange) async throws(VaultError) -> [EventRecord] {
        try await reading { db in
            try Row.fetchAll(
                db,
                sql:
                    """
                    SELECT event, start, "end", label FROM event
                    WHERE camera = (SELECT number FROM camera WHERE uuid = ?1) AND start < ?2 AND "end" > ?3
                    ORDER BY start, event
                    """,
                arguments: [camera.blob, range.end.microseconds, range.start.microseconds]
            ).map { row in
                EventRecord(
                    event: try EventID(blob: row[0]), camera: camera,
                    range: TimeRange(WallTime(microseconds: row[1]), WallTime(microseconds: row[2])),
                    label: EventLabel(rawValue: row[3]) ?? .unknown)
            }
        }
    }

    /// From the first clip's start to the last one's end.
    func span(_ camera: CameraID) async throws(VaultError) -> TimeRange? {
        try await reading { db in
            let first = try Int64.fetchOne(
                db, sql: "SELECT start FROM clip WHERE implausible = 0 AND \(Self.ofCamera) ORDER BY start LIMIT 1",
                arguments: [camera.blob])
            let last = try Int64.fetchOne(
                db,
                sql: #"SELECT "end" FROM clip WHERE implausible = 0 AND \#(Self.ofCamera) ORDER BY start DESC LIMIT 1"#,
                arguments: [camera.blob])
            guard let first, let last else { return nil }
            return TimeRange(WallTime(microseconds: first), WallTime(microseconds: last))
        }
    }

    /// Runs of recorded time within `range`, those nearer than one bucket merged: two index seeks a bucket, so a year
    /// costs what a day does.
    func timeline(_ camera: CameraID, _ range: TimeRange, buckets: Int) async throws(VaultError) -> [TimeRange] {
        guard !range.isEmpty, (1...100_000).contains(buckets) else { return [] }
        return try await reading { db in
            let width = max(1, range.duration / Int64(buckets))
            let ahead = try db.cachedStatement(
                sql: """
                    SELECT start, "end" FROM clip WHERE implausible = 0 AND \(Self.ofCamera) AND start >= ?2 AND start < ?3
                    ORDER BY start LIMIT 1
                    """)
            let behind = try db.cachedStatement(
                sql: """
                    SELECT start, "end" FROM clip WHERE implausible = 0 AND \(Self.ofCamera) AND start < ?2 AND start >= ?3
                    ORDER BY start DESC LIMIT 1
                    """)
            var runs: [TimeRange] = []
            func add(_ start: Int64, _ end: Int64) {
                let start = WallTime(microseconds: max(start, range.start.microseconds))
                let end = WallTime(microseconds: min(end, range.end.microseconds))
                guard start < end else { return }
                if let last = runs.last, start - last.end < width {
                    runs[runs.count - 1].end = max(last.end, end)
                } else {
                    runs.append(TimeRange(start, end))
                }
            }
            let end = range.end.microseconds
            var time = range.start.microseconds
            if let row = try Row.fetchOne(
                behind, arguments: [camera.blob, time, time.subtractingSaturating(Self.plausibleDuration)])
            {
                add(row[0], row[1])
            }
            while time < end {
                guard let first = try Row.fetchOne(ahead, arguments: [camera.blob, time, end]) else { break }
                let start: Int64 = first[0]
                let bucketEnd = min(end, start.addingSaturating(width))
                let last = try Row.fetchOne(behind, arguments: [camera.blob, bucketEnd, start]) ?? first
                add(start, last[1])
                time = bucketEnd
            }
            return runs
        }
    }

    func highestSequence(_ camera: CameraID) throws(VaultError) -> UInt64 {
        try Self.wrapping {
            try database.read { db in
                UInt64(
                    clamping: try Int64.fetchOne(
                        db, sql: "SELECT sequence FROM camera WHERE uuid = ?",
                        arguments: [camera.blob])
                        ?? 0)
            }
        }
    }

    /// The epoch a camera's day is recorded under: none that somebody knows who was removed since it was made.
    func epoch(_ camera: CameraID, day: Int64) throws(VaultError) -> EpochRecord? {
        try Self.wrapping {
            try database.read { db in
                try Row.fetchOne(
                    db,
                    sql:
                        """
                        SELECT uuid, recipient, file FROM epoch WHERE camera = (SELECT number FROM camera WHERE uuid = ?)
                        AND day = ? AND shredded = 0 AND recipient IS NOT NULL AND \(Self.isAfterRemoval) LIMIT 1
                        """,
                    arguments: [camera.blob, day]
                ).map { row in
                    guard let recipient = AgeRecipient(row[1] as String),
                        let file = ObjectID(digest: Array(row[2] as Data))
                    else { throw VaultError(.index, "The index holds a malformed epoch.") }
                    return EpochRecord(
                        epoch: try EpochID(blob: row[0]), camera: camera, day: day, recipient: recipient, file: file)
                }
            }
        }
    }

    func knowsEpoch(_ epoch: EpochID) throws(VaultError) -> Bool {
        try exists("SELECT 1 FROM epoch WHERE uuid = ? AND camera IS NOT NULL", epoch.blob)
    }
    func knowsObject(_ object: ObjectID) throws(VaultError) -> Bool {
        try exists("SELECT 1 FROM clip WHERE \(Self.isObject)", Data(object.digest))
    }
    /// Position of a clip's ledger entry; nil when it is not there.
    func entry(of object: ObjectID) throws(VaultError) -> Int? {
        try Self.wrapping {
            try database.read { db in
                try Int.fetchOne(
                    db, sql: "SELECT entry FROM clip WHERE \(Self.isObject)", arguments: [Data(object.digest)])
            }
        }
    }
    func isDeleted(_ object: ObjectID) throws(VaultError) -> Bool {
        try exists("SELECT 1 FROM deleted WHERE object = ?", Data(object.digest))
    }
    func exists(_ sql: String, _ key: Data) throws(VaultError) -> Bool {
        try Self.wrapping {
            try database.read { db in try Int.fetchOne(db, sql: sql, arguments: [key]) != nil }
        }
    }

    /// Every row as text, in order, for comparing two indexes.
    package func dump() throws(VaultError) -> [String] {
        try Self.wrapping {
            try database.read { db in
                try ["meta", "camera", "epoch", "clip", "gap", "event", "sealing", "deleted", "hold"].flatMap { table in
                    try Row.fetchAll(db, sql: "SELECT * FROM \(table) ORDER BY 1").map { table + $0.description }
                }
            }
        }
    }

    /// On GRDB's own threads, never the cooperative pool.
    private func reading<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(VaultError) -> Value {
        do { return try await database.read(body) } catch let error as VaultError { throw error } catch {
            noteDamage(error)
            throw VaultError(.index, "The index could not be read.", hint: Self.cache.hint, underlying: error)
        }
    }
}

extension Substring {
    /// To sixteen characters.
    fileprivate func padding(_ character: Character) -> String {
        self + String(repeating: character, count: Swift.max(0, 16 - count))
    }
}
