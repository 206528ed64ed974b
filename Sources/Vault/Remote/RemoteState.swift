import Core
import Foundation
import GRDB

/// What is known of one remote: what was sent, what was proven to be there, what is to go. `remotes/<name>.sqlite`, a cache of
/// the ledger and of the remote's listing: when it is lost, a listing tells again.
///
/// Only the process that holds the vault's lock writes it, over one connection.
final class RemoteState: Sendable {
    static let schemaVersion = 1

    enum Object: Int, Sendable {
        /// To be sent.
        case waiting = 0
        /// Being sent when last heard of: whether it came whole, a listing tells.
        case begun = 1
        /// The server said that it has it.
        case sent = 2
        /// Listed with the right size by a pass that began `settle` after it was sent, or later.
        case listed = 3
        /// To be deleted there.
        case doomed = 4
        /// Deletion was denied: object lock, or rights.
        case kept = 5
        /// Cannot be sent: what lies here is damaged or gone.
        case unsendable = 6
        /// Away for good there; the row stays until the ledger is level, so that nothing brings it back.
        case gone = 7
    }
    struct Row: Sendable, Hashable {
        var object: ObjectID
        var bytes: Int
        var state: Object
        /// Whether the bytes there are proven: the server computed our checksum, or all of it was read back and compared.
        var isProven: Bool
        var sentAt: WallTime?
        var clipEnd: WallTime
        var isEvicted: Bool
        /// What is there was read, and is not what was sent.
        var isBad = false
    }
    /// How far the remote is behind.
    struct Lag: Sendable, Hashable {
        var objects = 0
        var bytes = 0
        /// End of the oldest clip that waits.
        var oldest: WallTime?
        /// End of the oldest clip with an event that waits.
        var oldestEvent: WallTime?
    }

    /// Seconds that SQLite waits for another connection.
    private static let patience = 5.0

    private let database: DatabaseQueue
    private let cache: SQLiteCache
    /// Of the writing process; nil where it is only read.
    private let path: String?
    private static let upsertObject = """
        INSERT INTO object (object, bytes, rank, entry, end, state) VALUES (?, ?, ?, ?, ?, 0)
        ON CONFLICT (object) DO UPDATE SET entry = excluded.entry, rank = excluded.rank, end = excluded.end
        """

    /// Makes it when it is missing, unusable, or was found to be damaged. Errors: `.index`, `.noSpace`.
    init(_ path: String) throws(VaultError) {
        self.path = path
        cache = Self.cache(path)
        let files = PosixFileSystem()
        // The listing of the remote tells again what it knew.
        if try SQLiteCache.hasNote(ofDamageAt: path, files) { try Self.remove(path, files) }
        do throws(VaultError) { database = try Self.open(path, cache) } catch {
            guard error.code == .index else { throw error }
            try Self.remove(path, files)
            database = try Self.open(path, cache)
        }
    }

    /// The note last: cut off before, the next start goes on.
    static func remove(_ path: String, _ files: any FileSystem) throws(VaultError) {
        try SQLiteCache.remove(path, files)
        try files.remove(SQLiteCache.note(path))
    }
    private static func cache(_ path: String) -> SQLiteCache {
        SQLiteCache(
            name: "remotes/\(URL(fileURLWithPath: path).lastPathComponent)",
            hint: """
                It only caches the ledger and the remote's listing. Damaged, it is made anew when it is opened next; else look at \
                the vault's disk.
                """)
    }

    /// For a vault that is only read: beside whoever writes it, on any medium. Empty where nothing can be read; then the ledger
    /// says what lies elsewhere.
    init(reading path: String) throws(VaultError) {
        self.path = nil
        cache = Self.cache(path)
        for options in Index.readingOptions {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(2)
            guard
                let database = try? DatabaseQueue(
                    path: "file:\(Index.escaped(path))?\(options)", configuration: configuration),
                let version = try? database.read({ db in try Int.fetchOne(db, sql: "PRAGMA user_version") }),
                version == Self.schemaVersion
            else { continue }
            self.database = database
            return
        }
        database = try Self.open(":memory:", cache)
    }

    private static func open(_ path: String, _ cache: SQLiteCache) throws(VaultError) -> DatabaseQueue {
        try cache.wrapping {
            var configuration = Configuration()
            configuration.busyMode = .timeout(patience)
            configuration.prepareDatabase { db in
                // The log's limits are the index'.
                try db.execute(
                    sql: """
                        PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 256;
                        PRAGMA journal_size_limit = 1048576
                        """)
            }
            let database = try DatabaseQueue(path: path, configuration: configuration)
            try database.write { db in
                let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
                guard version != schemaVersion else { return }
                guard version == 0 else { throw VaultError(.index, "The remote's state has schema \(version).") }
                try db.execute(
                    sql: """
                        -- Times are microseconds since the Unix epoch, UTC; objects 32-byte digests, epochs 16-byte UUIDs.
                        CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value NOT NULL) WITHOUT ROWID;
                        CREATE TABLE object (
                            object BLOB PRIMARY KEY NOT NULL,
                            bytes INTEGER NOT NULL,
                            -- 1: of a clip with an event, goes first.
                            rank INTEGER NOT NULL,
                            entry INTEGER NOT NULL,
                            end INTEGER NOT NULL,
                            state INTEGER NOT NULL,
                            proven INTEGER NOT NULL DEFAULT 0,
                            -- 1: read back, and found to be other bytes: what is there is replaced.
                            bad INTEGER NOT NULL DEFAULT 0,
                            sent INTEGER,
                            -- Until when object lock keeps it.
                            locked INTEGER,
                            -- 0: lies here too; 1: the ledger says that it does not, its file may still be there; 2: it is not.
                            evicted INTEGER NOT NULL DEFAULT 0
                        ) WITHOUT ROWID;
                        CREATE INDEX object_waiting ON object (rank DESC, entry DESC) WHERE state < 2;
                        CREATE INDEX object_entry ON object (entry);
                        CREATE INDEX object_doomed ON object (state) WHERE state IN (4, 5);
                        CREATE INDEX object_evicted ON object (evicted) WHERE evicted = 1;
                        CREATE INDEX object_listed ON object (end) WHERE state = 3 AND evicted = 0;
                        CREATE TABLE epoch (
                            epoch BLOB PRIMARY KEY NOT NULL,
                            -- SHA-256 of the file as the ledger has it, and as it was sent.
                            file BLOB NOT NULL,
                            sent BLOB,
                            -- 0: belongs there; 1: to be destroyed; 2: destroyed; 3: could not be.
                            state INTEGER NOT NULL DEFAULT 0,
                            why TEXT
                        ) WITHOUT ROWID;
                        PRAGMA user_version = \(schemaVersion)
                        """)
            }
            return database
        }
    }

    func close() { try? database.close() }
    func giveBackLog() { database.giveBackLog(patience: Self.patience) }

    func write<Value>(_ body: (Database) throws -> Value) throws(VaultError) -> Value {
        try noting { try database.write(body) }
    }
    func read<Value>(_ body: (Database) throws -> Value) throws(VaultError) -> Value {
        try noting { try database.read(body) }
    }
    /// Whether damage was met; opened again it is made anew.
    var isNotedDamaged: Bool {
        get throws(VaultError) {
            guard let path else { return false }
            return try SQLiteCache.hasNote(ofDamageAt: path, PosixFileSystem())
        }
    }
    private func noting<Value>(_ body: () throws -> Value) throws(VaultError) -> Value {
        do throws(VaultError) { return try cache.wrapping(body) } catch {
            if let path, SQLiteCache.isDamage(error) { SQLiteCache.noteDamage(at: path) }
            throw error
        }
    }

    // MARK: Numbers

    enum Key: String {
        /// Ledger entries taken in.
        case position
        /// Ledger entries that the remote's checkpoint covers.
        case sentEntries
        /// When the last witness was left, and over how many entries.
        case witnessed, witnessEntries
        /// When the last whole listing began.
        case listed
        /// Bytes ever sent.
        case sentBytes
        /// Whether all objects that are missing here are to be brought back.
        case backfill
    }
    func number(_ key: Key) throws(VaultError) -> Int64? {
        try read { db in try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE key = ?", arguments: [key.rawValue])
        }
    }
    func set(_ key: Key, _ value: Int64) throws(VaultError) {
        try write { db in try Self.set(key, value, db) }
    }
    static func set(_ key: Key, _ value: Int64, _ db: Database) throws {
        try db.cachedStatement(sql: "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")
            .execute(arguments: [key.rawValue, value])
    }
    /// Digest of `vault.json`, or of another small file, as it was last sent.
    func digest(_ name: String) throws(VaultError) -> ObjectID? {
        try read { db in
            try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE key = ?", arguments: ["file " + name])
        }.flatMap { ObjectID(digest: Array($0)) }
    }
    func set(digest: ObjectID, of name: String) throws(VaultError) {
        try write { db in
            try db.execute(
                sql: "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
                arguments: ["file " + name, Data(digest.digest)])
        }
    }

    // MARK: Following the ledger

    /// Takes in what the ledger says; memory stays bounded however much that is.
    func follow(_ ledger: LedgerReader, _ contents: RemoteDescription.Contents) throws(VaultError) {
        var batch: [(Int, LedgerEntry?)] = []
        let first = Int(try number(.position) ?? 0)
        var next = first
        try ledger.replay(from: first) { (position, entry) throws(VaultError) in
            batch.append((position, entry))
            next = position + 1
            if batch.count == 1024 {
                try take(batch, next, contents)
                batch = []
            }
        }
        if !batch.isEmpty { try take(batch, next, contents) }
    }

    private func take(
        _ batch: [(Int, LedgerEntry?)], _ next: Int, _ contents: RemoteDescription.Contents
    ) throws(VaultError) {
        try write { db in
            for (position, entry) in batch {
                switch entry?.body {
                case .clip(let clip) where contents != .onlyEpochKeys:
                    let rank = clip.kind == .event || clip.kind == .labelled ? 1 : 0
                    try db.cachedStatement(sql: Self.upsertObject).execute(arguments: [
                        Data(clip.object.digest), clip.byteCount, rank, position, clip.end.microseconds,
                    ])
                case .delete(let deletion): try Self.doom(deletion.object, db)
                case .lost(let record), .quarantine(let record):
                    // It is gone here and nobody removed it: the copy there is the last one.
                    try db.cachedStatement(sql: "UPDATE object SET state = 6 WHERE object = ? AND state < 2")
                        .execute(arguments: [Data(record.object.digest)])
                case .epoch(let epoch) where contents != .withoutEpochKeys:
                    try Self.set(epoch.epoch, epoch.file, db)
                case .rewrap(let epoch, let file, _) where contents != .withoutEpochKeys:
                    try Self.set(epoch, file, db)
                case .shred(let epoch, _):
                    try db.cachedStatement(sql: "UPDATE epoch SET state = 1 WHERE epoch = ? AND state = 0")
                        .execute(arguments: [epoch.blob])
                case .evict(let record):
                    for object in record.objects {
                        try db.cachedStatement(sql: "UPDATE object SET evicted = 1 WHERE object = ? AND evicted = 0")
                            .execute(arguments: [Data(object.digest)])
                    }
                case .fetch(let record):
                    for object in record.objects {
                        try db.cachedStatement(sql: "UPDATE object SET evicted = 0 WHERE object = ?")
                            .execute(arguments: [Data(object.digest)])
                    }
                default: break
                }
            }
            try Self.set(.position, Int64(next), db)
        }
    }
    private static func set(_ epoch: EpochID, _ file: ObjectID, _ db: Database) throws {
        try db.cachedStatement(
            sql: "INSERT INTO epoch (epoch, file) VALUES (?, ?) ON CONFLICT (epoch) DO UPDATE SET file = excluded.file"
        ).execute(arguments: [epoch.blob, Data(file.digest)])
    }
    private static func doom(_ object: ObjectID, _ db: Database) throws {
        let name = Data(object.digest)
        // What was never begun is nowhere.
        try db.cachedStatement(sql: "DELETE FROM object WHERE object = ? AND state IN (0, 6)").execute(arguments: [name]
        )
        try db.cachedStatement(sql: "UPDATE object SET state = 4 WHERE object = ? AND state IN (1, 2, 3)")
            .execute(arguments: [name])
    }

    // MARK: Sending

    /// Who goes next: of clips with events the newest, then of the others the newest (B1).
    func waiting(limit: Int, excluding busy: Set<ObjectID>) throws(VaultError) -> [Row] {
        try read { db in
            let rows = try Row.all(
                db,
                """
                WHERE state < 2 ORDER BY rank DESC, entry DESC LIMIT ?
                """, [limit + busy.count])
            return Array(rows.filter { !busy.contains($0.object) }.prefix(limit))
        }
    }
    func set(_ object: ObjectID, _ state: Object, isProven: Bool = false, at time: WallTime? = nil, bytes: Int = 0)
        throws(VaultError)
    {
        try write { db in
            // Whatever was doomed or deleted while it was under way stays so.
            try db.cachedStatement(
                sql: """
                    UPDATE object SET state = ?2, proven = max(proven * (?2 >= 2), ?3), sent = coalesce(?4, sent),
                    bad = bad * (?2 < 2)
                    WHERE object = ?1 AND state NOT IN (4, 5, 7)
                    """
            ).execute(arguments: [Data(object.digest), state.rawValue, isProven, time?.microseconds])
            guard bytes > 0 else { return }
            let sum = try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'sentBytes'") ?? 0
            try Self.set(.sentBytes, sum + Int64(bytes), db)
        }
    }
    func row(_ object: ObjectID) throws(VaultError) -> Row? {
        try read { db in try Row.all(db, "WHERE object = ?", [Data(object.digest)]).first }
    }

    // MARK: Removing

    func doomed(limit: Int) throws(VaultError) -> [Row] {
        try read { db in try Row.all(db, "WHERE state = 4 LIMIT ?", [limit]) }
    }
    /// Those whose lock has run out are tried again.
    func tryAgain(_ now: WallTime) throws(VaultError) {
        try write { db in
            try db.execute(
                sql: "UPDATE object SET state = 4 WHERE state = 5 AND (locked IS NULL OR locked <= ?)",
                arguments: [now.microseconds])
            try db.execute(sql: "UPDATE epoch SET state = 1 WHERE state = 3")
        }
    }
    func removed(_ object: ObjectID) throws(VaultError) {
        try write { db in
            try db.cachedStatement(sql: "DELETE FROM object WHERE object = ? AND state = 4")
                .execute(arguments: [Data(object.digest)])
        }
    }
    func kept(_ object: ObjectID, until: WallTime?) throws(VaultError) {
        try write { db in
            try db.execute(
                sql: "UPDATE object SET state = 5, locked = ? WHERE object = ? AND state = 4",
                arguments: [until?.microseconds, Data(object.digest)])
        }
    }
    func kept() throws(VaultError) -> (objects: Int, until: WallTime?) {
        try read { db in
            let row = try GRDB.Row.fetchOne(
                db, sql: "SELECT count(*) AS n, max(locked) AS until FROM object WHERE state = 5")
            return (row?["n"] ?? 0, (row?["until"] as Int64?).map(WallTime.init(microseconds:)))
        }
    }

    // MARK: Status

    func lag() throws(VaultError) -> Lag {
        try read { db in
            let row = try GRDB.Row.fetchOne(
                db,
                sql: """
                    SELECT count(*) AS n, ifnull(sum(bytes), 0) AS bytes, min(end) AS oldest,
                    min(CASE rank WHEN 1 THEN end END) AS event FROM object WHERE state < 2
                    """)
            return Lag(
                objects: row?["n"] ?? 0, bytes: row?["bytes"] ?? 0,
                oldest: (row?["oldest"] as Int64?).map(WallTime.init(microseconds:)),
                oldestEvent: (row?["event"] as Int64?).map(WallTime.init(microseconds:)))
        }
    }
    /// Objects and bytes by state; evicted ones apart.
    func counts() throws(VaultError) -> (there: Int, bytes: Int, proven: Int, evicted: Int, unsendable: Int) {
        try read { db in
            let row = try GRDB.Row.fetchOne(
                db,
                sql: """
                    SELECT ifnull(sum(state IN (2, 3)), 0) AS n,
                    ifnull(sum(CASE WHEN state IN (2, 3) THEN bytes END), 0) AS bytes,
                    ifnull(sum(state = 3 AND proven = 1), 0) AS proven,
                    ifnull(sum(evicted > 0 AND state IN (2, 3)), 0) AS evicted,
                    ifnull(sum(state = 6), 0) AS unsendable FROM object
                    """)
            return (
                row?["n"] ?? 0, row?["bytes"] ?? 0, row?["proven"] ?? 0, row?["evicted"] ?? 0, row?["unsendable"] ?? 0
            )
        }
    }
}

extension RemoteState.Row {
    /// What should be there. Also what was read as damaged and lies nowhere else: another reading may find it good, a server may
    /// have mended it.
    static let expected = "(state IN (2, 3) OR state = 6 AND bad = 1)"

    static let columns = "SELECT object, bytes, state, proven, sent, end, evicted, bad, entry FROM object"

    static func all(_ db: Database, _ condition: String, _ arguments: StatementArguments) throws -> [Self] {
        try GRDB.Row.fetchAll(
            db.cachedStatement(sql: columns + " " + condition), arguments: arguments
        ).map { try Self($0) }
    }
    init(_ row: GRDB.Row) throws {
        guard let object = ObjectID(digest: Array(row["object"] as Data)),
            let state = RemoteState.Object(rawValue: row["state"])
        else { throw VaultError(.index, "The remote's state holds a malformed row.") }
        self.init(
            object: object, bytes: row["bytes"], state: state, isProven: row["proven"],
            sentAt: (row["sent"] as Int64?).map(WallTime.init(microseconds:)),
            clipEnd: WallTime(microseconds: row["end"]), isEvicted: (row["evicted"] as Int) > 0, isBad: row["bad"])
    }
}
