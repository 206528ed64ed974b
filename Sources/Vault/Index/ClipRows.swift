import Core
import Foundation
import GRDB
import GRDBSQLite

/// One camera's clips, read row by row without joins: a day's list has thousands, all of that camera and of two or three epochs,
/// and its columns are taken where SQLite has them.
@safe struct ClipRows {
    private let db: Database
    private let camera: CameraID
    private let vault: VaultID
    /// Names that `epoch` has for the numbers of this list.
    private var epochs: [Int64: EpochID] = [:]

    /// Clips whose times can be and that overlap `range`, by their start. Errors: `.index`, and SQLite's as GRDB's.
    static func list(
        _ db: Database, _ camera: CameraID, overlapping range: TimeRange, limit: Int, descending: Bool, _ vault: VaultID
    ) throws -> [ClipRecord] {
        let number = try Int64.fetchOne(
            db.cachedStatement(sql: "SELECT number FROM camera WHERE uuid = ?"), arguments: [camera.blob])
        guard let number else { return [] }
        let statement = try db.cachedStatement(
            sql: """
                SELECT object, epoch, run, seq, start, "end", bytes, kind, salvaged FROM clip
                WHERE implausible = 0 AND camera = ?1 AND start < ?2 AND start > ?3 AND "end" > ?4
                ORDER BY start \(descending ? "DESC" : "ASC") LIMIT ?5
                """)
        var rows = ClipRows(db: db, camera: camera, vault: vault)
        return try rows.records(
            statement,
            [
                number, range.end.microseconds,
                range.start.microseconds.subtractingSaturating(Index.plausibleDuration + 1), range.start.microseconds,
                Int64(max(0, limit)),
            ])
    }

    private init(db: Database, camera: CameraID, vault: VaultID) {
        self.db = db
        self.camera = camera
        self.vault = vault
    }

    private mutating func records(_ statement: Statement, _ arguments: [Int64]) throws -> [ClipRecord] {
        let handle = unsafe statement.sqliteStatement
        defer {
            unsafe sqlite3_reset(handle)
            unsafe sqlite3_clear_bindings(handle)
        }
        for (index, argument) in arguments.enumerated() {
            unsafe sqlite3_bind_int64(handle, Int32(index + 1), argument)
        }
        var records: [ClipRecord] = []
        while true {
            let code = unsafe sqlite3_step(handle)
            if code == SQLITE_DONE { return records }
            guard code == SQLITE_ROW else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
            guard let object = ObjectID(digest: unsafe Self.blob(handle, 0)) else {
                throw VaultError(.index, "The index holds a malformed object name.")
            }
            guard let run = unsafe Self.uuid(handle, 2) else {
                throw VaultError(.index, "The index holds a malformed identifier.")
            }
            let identity = ClipIdentity(
                vault: vault, camera: camera, epoch: try epoch(unsafe sqlite3_column_int64(handle, 1)),
                run: RunID(run), sequence: UInt64(clamping: unsafe sqlite3_column_int64(handle, 3)),
                start: WallTime(microseconds: unsafe sqlite3_column_int64(handle, 4)))
            records.append(
                ClipRecord(
                    object: object, identity: identity,
                    end: WallTime(microseconds: unsafe sqlite3_column_int64(handle, 5)),
                    byteCount: Int(unsafe sqlite3_column_int64(handle, 6)),
                    kind: Index.kind(of: Int(unsafe sqlite3_column_int64(handle, 7))),
                    isSalvaged: unsafe sqlite3_column_int64(handle, 8) != 0))
        }
    }

    private mutating func epoch(_ number: Int64) throws -> EpochID {
        if let known = epochs[number] { return known }
        let uuid = try Data.fetchOne(
            db.cachedStatement(sql: "SELECT uuid FROM epoch WHERE number = ?"), arguments: [number])
        guard let uuid else { throw VaultError(.index, "The index holds a clip of an unknown epoch.") }
        let epoch = try EpochID(blob: uuid)
        epochs[number] = epoch
        return epoch
    }

    /// Two words where they lie: `UUID(bytes:)` is generic, and costs more than the rest of the row.
    private static func uuid(_ handle: OpaquePointer, _ column: Int32) -> Core.UUID? {
        guard let base = unsafe sqlite3_column_blob(handle, column),
            unsafe sqlite3_column_bytes(handle, column) == 16
        else { return nil }
        return Core.UUID(
            high: UInt64(bigEndian: unsafe base.loadUnaligned(as: UInt64.self)),
            low: UInt64(bigEndian: unsafe base.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
    private static func blob(_ handle: OpaquePointer, _ column: Int32) -> [UInt8] {
        guard let base = unsafe sqlite3_column_blob(handle, column) else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: base, count: Int(sqlite3_column_bytes(handle, column))))
    }
}
