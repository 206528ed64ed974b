import CAssets
import Core
import Foundation
import GRDB

/// The SQLite cache of the ledger. Losing it costs a replay, never footage.
///
/// One process writes and checkpoints it (`flock` sees to that): Debian 12's SQLite 3.40.1 corrupts a database when two
/// connections checkpoint at once. Readers are `query_only`.
final class Index: Sendable {
    static let schemaVersion = 4
    /// Longer, or ending before it starts: such a clip's times cannot be (case T10).
    static let plausibleDuration: Int64 = 3_600_000_000
    /// Year 9999: beyond it no calendar of ours goes.
    static let plausibleEnd: Int64 = 253_402_300_800_000_000

    /// Seconds that SQLite waits for another connection.
    private static let patience = 5.0

    let database: any DatabaseWriter
    /// Of the writing process; nil in memory.
    private let path: String?
    /// Path and greatest size of the write-ahead log.
    private let log: (path: String, limit: Int)?

    private init(_ database: any DatabaseWriter, path: String? = nil, logLimit: Int = 0) {
        self.database = database
        self.path = path
        log = path.map { ($0 + "-wal", logLimit) }
    }

    /// For the one writing process. Errors: `.index` when it is no usable index: remove it and call again.
    ///
    /// - Parameter logLimit: bytes to which another program that reads and never ends may make the write-ahead log grow.
    static func writing(_ path: String, logLimit: Int = 64 << 20) throws(VaultError) -> Index {
        try wrapping {
            var configuration = Configuration()
            configuration.maximumReaderCount = 4
            configuration.busyMode = .timeout(patience)
            configuration.prepareDatabase { db in
                guard !db.configuration.readonly else { return }
                // A quarter of what is usual: the log is as large in the smallest vault, and a commit waits for less.
                try db.execute(
                    sql: """
                        PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 1048576
                        """)
            }
            let index = Index(
                try DatabasePool(path: path, configuration: configuration), path: path, logLimit: logLimit)
            try index.database.write { db in try prepare(db) }
            return index
        }
    }

    /// For a database that nobody else uses: no journal, and what one thread collects for a tree another one sorts.
    private static let unshared = """
        PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -8192; PRAGMA threads = 1
        """

    /// An index that nobody uses before it is whole: written without a journal.
    static func building(_ path: String) throws(VaultError) -> Index {
        try wrapping {
            var configuration = Configuration()
            configuration.prepareDatabase { db in
                try db.execute(sql: unshared)
            }
            let index = Index(try DatabaseQueue(path: path, configuration: configuration))
            try index.database.write { db in try prepare(db) }
            return index
        }
    }

    /// Empty, and of this process alone.
    static func temporary() throws(VaultError) -> Index {
        try wrapping {
            let index = Index(try scratch())
            try index.database.write { db in try prepare(db) }
            return index
        }
    }

    /// For a disk so full that no temporary file can be counted on.
    static func inMemory() throws(VaultError) -> Index {
        try wrapping {
            let index = Index(try DatabaseQueue())
            try index.database.write { db in try prepare(db) }
            return index
        }
    }

    /// A database that belongs to this process alone: SQLite keeps what exceeds its page cache in a nameless file, so memory
    /// does not grow with the vault (V46). Where no folder for such a file can be written, in memory.
    static func scratch() throws -> DatabaseQueue {
        // Where SQLite's `unixTempFileDir` looks.
        let variables = ["SQLITE_TMPDIR", "TMPDIR"].compactMap { ProcessInfo.processInfo.environment[$0] }
        guard (variables + ["/var/tmp", "/tmp"]).contains(where: FileManager.default.isWritableFile(atPath:)) else {
            return try DatabaseQueue()
        }
        var configuration = Configuration()
        configuration.prepareDatabase { db in
            try db.execute(sql: unshared)
        }
        return try DatabaseQueue(path: "", configuration: configuration)
    }

    /// How to read a database without writing next to it, in the order to try: with a writer alive the WAL is read through its
    /// shared memory, read-only; without one the file is whole. With `mode=ro` alone a reader may still checkpoint and begin the
    /// log anew when it is asked to: `readonly_shm` is what makes SQLite refuse that (V28).
    static let readingOptions = ["mode=ro&readonly_shm=1", "immutable=1"]

    /// A copy of an index on disk, without writing a byte next to it; nil when it cannot be read so.
    static func snapshot(_ path: String) -> Index? {
        for options in readingOptions {
            do {
                var configuration = Configuration()
                configuration.readonly = true
                configuration.busyMode = .timeout(2)
                let source = try DatabaseQueue(path: "file:\(escaped(path))?\(options)", configuration: configuration)
                let copy = try scratch()
                try source.backup(to: copy)
                // The kernel caches that file as well; what was kept of the copying would grow with the vault up to the limit.
                try copy.inDatabase { db in try db.execute(sql: "PRAGMA shrink_memory; PRAGMA cache_size = -2048") }
                let version = try copy.read { db in try Int.fetchOne(db, sql: "PRAGMA user_version") }
                if version == schemaVersion { return Index(copy) }
            } catch {
                continue
            }
        }
        return nil
    }

    /// Called before something is written. A reader that stays keeps SQLite from using its log again from the start, which so
    /// grows without end (case V26); then the index rests until the reader is gone, and the ledger tells what it lacks.
    /// Errors: `.index`.
    func checkLog() throws(VaultError) {
        guard let log, Self.size(log.path) > log.limit else { return }
        // The size tells.
        giveBackLog()
        guard Self.size(log.path) > log.limit else { return }
        throw VaultError(
            .index, "Another program reads the index and does not end, so its log cannot be used again.",
            hint: "End whatever has index.sqlite open besides the recorder.")
    }
    /// Empties the write-ahead log into the database. Nothing happens while somebody reads, or where the disk has no space for it.
    func giveBackLog() {
        guard log != nil else { return }
        database.giveBackLog(patience: Self.patience)
    }
    private static func size(_ path: String) -> Int {
        (try? PosixFileSystem().attributes(path)?.count) ?? 0
    }

    /// The schema of an index of another version; nil when it is ours or none.
    static func version(_ path: String) -> Int? {
        var configuration = Configuration()
        configuration.readonly = true
        guard let database = try? DatabaseQueue(path: path, configuration: configuration),
            let version = try? database.read({ db in try Int.fetchOne(db, sql: "PRAGMA user_version") }),
            version != 0, version != schemaVersion
        else { return nil }
        return version
    }

    static func escaped(_ path: String) -> String {
        let plain = Set("/-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
        return path.utf8.map { byte in
            plain.contains(byte) ? String(UnicodeScalar(byte)) : "%" + Hex.encode([byte])
        }.joined()
    }

    private static func prepare(_ db: Database) throws {
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        if version == 0 {
            try db.execute(sql: schema())
            try db.execute(sql: "PRAGMA user_version = \(schemaVersion)")
        } else if version != schemaVersion {
            throw VaultError(.index, "The index has schema \(version), not \(schemaVersion).")
        }
    }

    /// `schemas/index.sql`, from the binary.
    private static func schema() -> String {
        var count = 0
        guard let assets = unsafe sudocam_assets(&count) else { return "" }
        for index in 0..<count {
            let asset = unsafe assets[index]
            guard unsafe String(cString: asset.path) == "sql/index.sql" else { continue }
            return unsafe String(
                decoding: UnsafeBufferPointer(start: asset.bytes, count: asset.count), as: UTF8.self)
        }
        return ""
    }

    func close() { try? database.close() }

    // MARK: Damage

    /// Reads the first and the last row of every tree that grows with the vault: what a start asks first. Errors: `.index`.
    ///
    /// Not `PRAGMA quick_check`, which reads every page; what this leaves unseen is noted when it is met.
    func checkTrees() throws(VaultError) {
        try Self.wrapping {
            try database.read { db in
                for (tree, order, condition) in Self.trees {
                    for direction in ["ASC", "DESC"] {
                        let by = order.map { "\($0) \(direction)" }.joined(separator: ", ")
                        _ = try Row.fetchOne(db, sql: "SELECT * FROM \(tree) \(condition) ORDER BY \(by) LIMIT 1")
                    }
                }
            }
        }
    }
    private static let trees = [
        ("meta", ["key"], ""), ("camera", ["number"], ""), ("camera", ["uuid"], ""), ("epoch", ["number"], ""),
        ("epoch", ["uuid"], ""), ("epoch INDEXED BY epoch_by_day", ["camera", "day"], ""), ("clip", ["entry"], ""),
        ("clip INDEXED BY clip_by_object", ["substr(object, 1, 8)"], ""),
        ("clip INDEXED BY clip_by_time", ["camera", "start", #""end""#], "WHERE implausible = 0"),
        ("clip INDEXED BY clip_of_kind", ["camera", "start"], "WHERE kind > 0"),
        ("clip INDEXED BY clip_doubtful", ["camera", "start"], "WHERE doubtful = 1"), ("gap", ["entry"], ""),
        ("gap INDEXED BY gap_by_time", ["camera", "start", #""end""#], ""), ("event", ["event"], ""),
        ("event INDEXED BY event_by_time", ["camera", "start", #""end""#], ""), ("deleted", ["object"], ""),
        ("deleted INDEXED BY deleted_pending", ["object"], "WHERE pending = 1"), ("hold", ["hold"], ""),
        ("sealing", ["epoch"], ""),
    ]

    static let cache = SQLiteCache(
        name: "The index", hint: "It only caches the ledger: stop SudoCam, and `sudocam rebuild` makes it anew.")

    /// Of the one that writes: asks the next start to make it anew when that is what the error means.
    func noteDamage(_ error: any Error) {
        guard let path, SQLiteCache.isDamage(error) else { return }
        SQLiteCache.noteDamage(at: path)
    }
    /// Turns what SQLite throws into the vault's error.
    static func wrapping<Value>(_ body: () throws -> Value) throws(VaultError) -> Value { try cache.wrapping(body) }
}

extension ClipRecord {
    /// False: such times cannot be (case T10).
    var isPlausible: Bool {
        (0...Index.plausibleDuration).contains(end - start) && (0..<Index.plausibleEnd).contains(start.microseconds)
    }
}

extension Identifier {
    var blob: Data { Data(uuid.bytes) }
    init(blob: Data) throws(VaultError) {
        guard let uuid = Core.UUID(bytes: blob) else {
            throw VaultError(.index, "The index holds a malformed identifier.")
        }
        self.init(uuid)
    }
}
