public import Core
import Foundation
import GRDB

/// What a pass sees of the index. Blocks; called from lanes only.
struct IndexCatalog: RetentionCatalog {
    let index: Index
    let vault: VaultID

    func cameras() throws(VaultError) -> [CameraID] {
        try Index.wrapping {
            try index.database.read { db in
                try Data.fetchAll(db, sql: "SELECT uuid FROM camera WHERE clips > 0 ORDER BY uuid").map {
                    try CameraID(blob: $0)
                }
            }
        }
    }

    func bytes(_ camera: CameraID) throws(VaultError) -> (trusted: Int, doubtful: Int) {
        try Index.wrapping {
            try index.database.read { db in
                let row = try Row.fetchOne(
                    db, sql: "SELECT bytes, doubtful_bytes FROM camera WHERE uuid = ?", arguments: [camera.blob])
                return row.map { ($0[0], $0[1]) } ?? (0, 0)
            }
        }
    }

    func clips(
        _ camera: CameraID, doubtful: Bool, here: Bool, after cursor: RetentionCursor?, limit: Int
    ) throws(VaultError) -> [ClipRecord] {
        try Index.wrapping {
            try index.database.read { db in
                // Each form goes along one of the partial indexes; clips whose times cannot be are all doubtful.
                let statement = try db.cachedStatement(
                    sql: """
                        \(Index.clips) WHERE \(Index.ofCamera) AND \(doubtful ? "doubtful = 1" : "doubtful = 0 AND implausible = 0")
                        \(here ? "AND evicted = 0" : "")
                        AND (start > ?2 OR (start = ?2 AND object > ?3)) AND start >= ?2
                        ORDER BY start, object LIMIT ?4
                        """)
                return try Index.records(
                    statement,
                    [camera.blob, cursor?.start.microseconds ?? .min, Data(cursor?.object.digest ?? []), limit], vault)
            }
        }
    }

    func events(
        _ camera: CameraID, _ classes: Set<RetentionClass>, overlapping range: TimeRange
    ) throws(VaultError) -> [ObjectID] {
        let kinds = classes.map(Index.code).filter { $0 > 0 }.sorted().map(String.init).joined(separator: ",")
        return try Index.wrapping {
            try index.database.read { db in
                let statement = try db.cachedStatement(
                    sql: """
                        SELECT object FROM clip WHERE \(Index.ofCamera) AND kind > 0 AND kind IN (\(kinds)) AND implausible = 0
                        AND start < ?2 AND start > ?3 AND "end" > ?4
                        """)
                return try Data.fetchAll(
                    statement,
                    arguments: [
                        camera.blob, range.end.microseconds,
                        range.start.microseconds.subtractingSaturating(Index.plausibleDuration + 1),
                        range.start.microseconds,
                    ]
                ).compactMap { ObjectID(digest: Array($0)) }
            }
        }
    }
}

/// What a camera has, for plans and forecasts.
public struct CameraUsage: Sendable, Hashable {
    public var camera: CameraID
    public var clips: Int
    /// Of sealed objects, those of doubtful time included.
    public var bytes: Int
    public var doubtfulBytes: Int
    /// From the first clip's start to the last one's end.
    public var span: TimeRange?
}

/// A clip that a hold or a lease covers.
struct CoveredClip {
    var object: ObjectID
    var start: WallTime
    var byteCount: Int
    var isDoubtful: Bool
    /// Its bytes lie on this disk.
    var isHere: Bool
}

extension Index {
    func usage() throws(VaultError) -> [CameraUsage] {
        try Self.wrapping {
            try database.read { db in
                try Row.fetchAll(
                    db, sql: "SELECT number, uuid, clips, bytes, doubtful_bytes FROM camera ORDER BY uuid"
                ).map { row in
                    let camera: Int64 = row[0]
                    let first = try Int64.fetchOne(
                        db,
                        sql: "SELECT start FROM clip WHERE implausible = 0 AND camera = ? ORDER BY start LIMIT 1",
                        arguments: [camera])
                    let last = try Int64.fetchOne(
                        db,
                        sql:
                            #"SELECT "end" FROM clip WHERE implausible = 0 AND camera = ? ORDER BY start DESC LIMIT 1"#,
                        arguments: [camera])
                    let trusted: Int = row[3]
                    let doubtful: Int = row[4]
                    return CameraUsage(
                        camera: try CameraID(blob: row[1]), clips: row[2], bytes: trusted + doubtful,
                        doubtfulBytes: doubtful,
                        span: first.flatMap { first in
                            last.map { TimeRange(WallTime(microseconds: first), WallTime(microseconds: $0)) }
                        })
                }
            }
        }
    }

    func holds() throws(VaultError) -> [HoldRecord] {
        try Self.wrapping {
            try database.read { db in
                try Row.fetchAll(db, sql: #"SELECT hold, camera, start, "end", note FROM hold ORDER BY start, hold"#)
                    .map { row in
                        let camera: Data? = row[1]
                        let note: Data? = row[4]
                        return HoldRecord(
                            hold: try HoldID(blob: row[0]), camera: try camera.map { try CameraID(blob: $0) },
                            range: TimeRange(WallTime(microseconds: row[2]), WallTime(microseconds: row[3])),
                            note: note.map { Array($0) })
                    }
            }
        }
    }

    func clockTrust() throws(VaultError) -> ClockTrust {
        try Self.wrapping { try database.read { db in try ClockTrust(db) } }
    }

    /// Objects that the ledger removed and whose files may still be there.
    func pendingDeletions(after: ObjectID? = nil, limit: Int) throws(VaultError) -> [ObjectID] {
        try Self.wrapping {
            try database.read { db in
                try Data.fetchAll(
                    db, sql: "SELECT object FROM deleted WHERE pending = 1 AND object > ? ORDER BY object LIMIT ?",
                    arguments: [Data(after?.digest ?? []), limit]
                ).compactMap { ObjectID(digest: Array($0)) }
            }
        }
    }
    func finished(deletions: [ObjectID]) throws(VaultError) {
        try Self.wrapping {
            try database.write { db in
                let statement = try db.cachedStatement(sql: "UPDATE deleted SET pending = 0 WHERE object = ?")
                for object in deletions { try statement.execute(arguments: [Data(object.digest)]) }
            }
        }
    }

    /// Epochs of days before `day` whose last clip is gone and whose key is still there.
    func emptyEpochs(before day: Int64, limit: Int) throws(VaultError) -> [EpochID] {
        try Self.wrapping {
            try database.read { db in
                try Data.fetchAll(
                    db,
                    sql: """
                        SELECT uuid FROM epoch WHERE shredded = 0 AND clips = 0 AND day < ?
                        ORDER BY day, uuid LIMIT ?
                        """, arguments: [day, limit]
                ).map { try EpochID(blob: $0) }
            }
        }
    }
    func epochs(_ camera: CameraID, day: Int64) throws(VaultError) -> [(epoch: EpochID, isShredded: Bool)] {
        try Self.wrapping {
            try database.read { db in
                try Row.fetchAll(
                    db,
                    sql: """
                        SELECT uuid, shredded FROM epoch WHERE camera = (SELECT number FROM camera WHERE uuid = ?)
                        AND day = ?
                        """,
                    arguments: [camera.blob, day]
                ).map { (try EpochID(blob: $0[0]), $0[1]) }
            }
        }
    }
    func shreddedEpochsWithClips() throws(VaultError) -> [(EpochID, CameraID)] {
        try Self.wrapping {
            try database.read { db in
                try Row.fetchAll(
                    db,
                    sql: """
                        SELECT epoch.uuid, camera.uuid FROM epoch JOIN camera ON camera.number = epoch.camera
                        WHERE shredded = 1 AND epoch.clips > 0
                        """
                ).map { (try EpochID(blob: $0[0]), try CameraID(blob: $0[1])) }
            }
        }
    }
    /// Every clip of an epoch, also those whose times cannot be.
    func clips(ofEpoch epoch: EpochID, _ camera: CameraID, _ vault: VaultID) throws(VaultError) -> [ClipRecord] {
        try Self.wrapping {
            try database.read { db in
                try Self.records(
                    try db.cachedStatement(
                        sql: """
                            \(Self.clips) WHERE \(Self.ofCamera)
                            AND clip.epoch = (SELECT number FROM epoch WHERE uuid = ?2) ORDER BY start
                            """), [camera.blob, epoch.blob], vault)
            }
        }
    }
    /// The retention policy that the ledger last named.
    func policy() throws(VaultError) -> ObjectID? {
        try Self.wrapping {
            try database.read { db in
                try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'policy'").flatMap {
                    ObjectID(digest: Array($0))
                }
            }
        }
    }
    /// Bytes of a camera's clips that start later than `time`; of every camera when nil.
    /// - Parameters:
    ///   - doubtful: only those whose times nobody vouches for, or only the others.
    ///   - here: only those whose bytes lie on this disk.
    func bytes(
        _ camera: CameraID?, after time: WallTime, doubtful: Bool? = nil, here: Bool = false
    ) throws(VaultError) -> Int {
        try Self.wrapping {
            try database.read { db in
                let condition =
                    (camera == nil ? "" : "AND camera = (SELECT number FROM camera WHERE uuid = ?2) ")
                    + (doubtful.map { "AND doubtful = \($0 ? 1 : 0) " } ?? "") + (here ? "AND evicted = 0" : "")
                let arguments: StatementArguments =
                    camera.map { [time.microseconds, $0.blob] } ?? [time.microseconds]
                return try Int.fetchOne(
                    db,
                    sql: "SELECT ifnull(sum(bytes), 0) FROM clip WHERE implausible = 0 AND start > ?1 \(condition)",
                    arguments: arguments) ?? 0
            }
        }
    }
    /// A camera's clips that share time with a range, as `HoldRecord.covers` says it.
    private static let sharing = """
        FROM clip WHERE implausible = 0 AND \(ofCamera)
        AND start < ?2 AND start > ?3 AND ("end" > ?4 OR "end" = start AND start = ?4)
        """
    private static func sharing(_ camera: CameraID, _ range: TimeRange) -> StatementArguments {
        [
            camera.blob, range.end.microseconds,
            range.start.microseconds.subtractingSaturating(plausibleDuration + 1), range.start.microseconds,
        ]
    }
    func coverage(_ camera: CameraID, _ range: TimeRange) throws(VaultError) -> (clips: Int, bytes: Int) {
        try Self.wrapping {
            try database.read { db in
                let row = try Row.fetchOne(
                    try db.cachedStatement(sql: "SELECT count(*), ifnull(sum(bytes), 0) \(Self.sharing)"),
                    arguments: Self.sharing(camera, range))
                return row.map { ($0[0], $0[1]) } ?? (0, 0)
            }
        }
    }
    func clips(_ camera: CameraID, sharing range: TimeRange) throws(VaultError) -> [CoveredClip] {
        try Self.wrapping {
            try database.read { db in
                let statement = try db.cachedStatement(
                    sql: "SELECT object, start, bytes, doubtful, evicted \(Self.sharing)")
                return try Row.fetchAll(statement, arguments: Self.sharing(camera, range)).compactMap { row in
                    ObjectID(digest: Array(row[0] as Data)).map {
                        CoveredClip(
                            object: $0, start: WallTime(microseconds: row[1]), byteCount: row[2], isDoubtful: row[3],
                            isHere: !(row[4] as Bool))
                    }
                }
            }
        }
    }
    func clip(_ object: ObjectID, _ vault: VaultID) throws(VaultError) -> ClipRecord? {
        try Self.wrapping {
            try database.read { db in
                try Self.records(
                    try db.cachedStatement(sql: "\(Self.clips) WHERE \(Self.isObject)"), [Data(object.digest)], vault
                ).first
            }
        }
    }
    func isShredded(_ epoch: EpochID) throws(VaultError) -> Bool {
        try exists("SELECT 1 FROM epoch WHERE uuid = ? AND shredded = 1", epoch.blob)
    }
    func isDoubtful(_ object: ObjectID) throws(VaultError) -> Bool {
        try exists("SELECT 1 FROM clip WHERE \(Self.isObject) AND doubtful = 1", Data(object.digest))
    }
}
