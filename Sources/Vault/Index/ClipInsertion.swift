import Core
import GRDB
import GRDBSQLite

/// The one statement that runs a million times: GRDB compiles and owns it, its values go to SQLite where they lie.
@safe struct ClipInsertion {
    private let statement: Statement

    init(_ db: Database) throws {
        statement = try db.cachedStatement(
            sql: """
                INSERT INTO clip
                (entry, object, camera, epoch, run, seq, start, "end", bytes, kind, salvaged, implausible, doubtful)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
    }

    /// Errors: SQLite's, as GRDB's `DatabaseError`.
    func insert(
        _ clip: ClipRecord, entry: Int, camera: Int64, epoch: Int64, isImplausible: Bool, isDoubtful: Bool
    ) throws {
        let handle = unsafe statement.sqliteStatement
        let identity = clip.identity
        var run = (identity.run.uuid.high.bigEndian, identity.run.uuid.low.bigEndian)
        let code = unsafe clip.object.digest.withUnsafeBytes { object in
            unsafe withUnsafeBytes(of: &run) { run in
                // Without a destructor: both outlast the step.
                unsafe sqlite3_bind_blob(handle, 2, object.baseAddress, Int32(object.count), nil)
                unsafe sqlite3_bind_blob(handle, 5, run.baseAddress, Int32(run.count), nil)
                unsafe sqlite3_bind_int64(handle, 1, Int64(entry))
                unsafe sqlite3_bind_int64(handle, 3, camera)
                unsafe sqlite3_bind_int64(handle, 4, epoch)
                unsafe sqlite3_bind_int64(handle, 6, Int64(clamping: identity.sequence))
                unsafe sqlite3_bind_int64(handle, 7, identity.start.microseconds)
                unsafe sqlite3_bind_int64(handle, 8, clip.end.microseconds)
                unsafe sqlite3_bind_int64(handle, 9, Int64(clip.byteCount))
                unsafe sqlite3_bind_int64(handle, 10, Int64(Index.code(of: clip.kind)))
                unsafe sqlite3_bind_int64(handle, 11, clip.isSalvaged ? 1 : 0)
                unsafe sqlite3_bind_int64(handle, 12, isImplausible ? 1 : 0)
                unsafe sqlite3_bind_int64(handle, 13, isDoubtful ? 1 : 0)
                let code = unsafe sqlite3_step(handle)
                unsafe sqlite3_reset(handle)
                unsafe sqlite3_clear_bindings(handle)
                return code
            }
        }
        guard code == SQLITE_DONE else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
    }
}
