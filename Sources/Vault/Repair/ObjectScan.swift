import Core
import Foundation
import GRDB

/// What the objects say of themselves, without a key: their headers, in a database of its own, so that memory does not grow with
/// the vault.
struct ObjectScan {
    private let database: DatabaseQueue
    private let vault: VaultID
    /// A clip is at most five minutes long.
    private static let longestClip: Int64 = 300_000_000
    /// How far a clip's last write and the next one's start may lie apart when nothing came between them.
    private static let slack: Int64 = 10_000_000

    init(vault: VaultID) throws(VaultError) {
        self.vault = vault
        database = try Index.wrapping {
            let database = try Index.scratch()
            try database.write { db in
                try db.execute(
                    sql: """
                        CREATE TABLE found (
                            object BLOB NOT NULL, camera BLOB NOT NULL, epoch BLOB NOT NULL, run BLOB NOT NULL,
                            seq INTEGER NOT NULL, start INTEGER NOT NULL, bytes INTEGER NOT NULL,
                            salvaged INTEGER NOT NULL, modified INTEGER NOT NULL, isOpen INTEGER NOT NULL)
                        """)
            }
            return database
        }
    }

    struct Header {
        var object: ObjectID
        var identity: ClipIdentity
        var bytes: Int
        var isSalvaged: Bool
        var modified: Int64
        /// Still a part: the next start enters it; here it only tells whose epoch it is.
        var isOpen: Bool
    }

    func add(_ headers: [Header]) throws(VaultError) {
        try Index.wrapping {
            try database.write { db in
                let statement = try db.cachedStatement(sql: "INSERT INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                for header in headers {
                    let identity = header.identity
                    try statement.execute(arguments: [
                        Data(header.object.digest), identity.camera.blob, identity.epoch.blob, identity.run.blob,
                        Int64(clamping: identity.sequence), identity.start.microseconds, header.bytes,
                        header.isSalvaged, header.modified, header.isOpen,
                    ])
                }
            }
        }
    }

    /// The camera of each epoch: that of most of its clips; and the UTC day of the first of them.
    func epochs() throws(VaultError) -> [EpochID: (camera: CameraID, day: Int64)] {
        try Index.wrapping {
            try database.read { db in
                var epochs: [EpochID: (camera: CameraID, day: Int64)] = [:]
                let rows = try Row.fetchCursor(
                    db,
                    sql: "SELECT epoch, camera, min(start) FROM found GROUP BY epoch, camera ORDER BY count(*), camera")
                while let row = try rows.next() {
                    epochs[try EpochID(blob: row[0])] = (
                        try CameraID(blob: row[1]), WallTime(microseconds: row[2]).utcDay
                    )
                }
                return epochs
            }
        }
    }

    /// Objects whose epoch is none of `epochs`, or another camera's: nothing tells where they belong.
    func strangers(_ epochs: [EpochID: CameraID]) throws(VaultError) -> [ObjectID] {
        var strangers: [ObjectID] = []
        try each(epochs: nil, isSorted: false) { (clip) throws(VaultError) in
            if epochs[clip.identity.epoch] != clip.camera { strangers.append(clip.object) }
        }
        return strangers
    }

    /// From when on the clips follow one another up to `now` without a break that a wrong clock could hide in.
    func chain(to now: WallTime) throws(VaultError) -> WallTime {
        try Index.wrapping {
            try database.read { db in
                var since = now
                let starts = try Int64.fetchCursor(
                    db, sql: "SELECT start FROM found WHERE start <= ? ORDER BY start DESC",
                    arguments: [now.microseconds])
                while let start = try starts.next() {
                    guard since - WallTime(microseconds: start) <= ClockTrust.reach else { break }
                    since = WallTime(microseconds: start)
                }
                return since
            }
        }
    }

    /// The clips of `epochs` (every clip when nil), oldest first, each with the end that can be known from outside: where the same
    /// run goes on the next clip's start, else the time of its last write.
    func each(
        epochs: [EpochID: CameraID]?, isSorted: Bool = true, _ body: (ClipRecord) throws(VaultError) -> Void
    ) throws(VaultError) {
        try Index.wrapping {
            try database.read { db in
                let rows = try Row.fetchCursor(
                    db,
                    sql: isSorted
                        ? """
                        SELECT object, camera, epoch, run, seq, start, bytes, salvaged, modified,
                        lead(run) OVER next, lead(start) OVER next
                        FROM found WHERE isOpen = 0 WINDOW next AS (PARTITION BY camera ORDER BY seq, start)
                        ORDER BY start, camera, seq
                        """
                        : """
                        SELECT object, camera, epoch, run, seq, start, bytes, salvaged, modified, NULL, NULL
                        FROM found WHERE isOpen = 0
                        """)
                while let row = try rows.next() {
                    let clip = try clip(row)
                    if let epochs, epochs[clip.identity.epoch] != clip.camera { continue }
                    try body(clip)
                }
            }
        }
    }

    private func clip(_ row: Row) throws -> ClipRecord {
        guard let object = ObjectID(digest: Array(row[0] as Data)) else {
            throw VaultError(.index, "The scan holds a malformed object name.")
        }
        let start = WallTime(microseconds: row[5])
        let identity = ClipIdentity(
            vault: vault, camera: try CameraID(blob: row[1]), epoch: try EpochID(blob: row[2]),
            run: try RunID(blob: row[3]), sequence: UInt64(clamping: row[4] as Int64), start: start)
        let modified = WallTime(microseconds: row[8])
        var end = max(start, min(modified, start + Self.longestClip))
        let run: Data? = row[9]
        let next: Int64? = row[10]
        if let run, let next, try RunID(blob: run) == identity.run, next >= start.microseconds,
            WallTime(microseconds: next) - modified <= Self.slack, next - start.microseconds <= Self.longestClip
        {
            end = WallTime(microseconds: next)
        }
        return ClipRecord(object: object, identity: identity, end: end, byteCount: row[6], isSalvaged: row[7])
    }
}
