import Core
import GRDB
import GRDBSQLite

/// The one statement that runs a million times: GRDB compiles and owns it, its values go to SQLite where they lie.
///
/// Belongs to one transaction. Both blobs are bound once, to memory that each clip is written into, and of the numbers only those
/// that differ from the clip before.
@safe struct ClipInsertion: ~Copyable {
    private typealias Numbers = InlineArray<11, Int64>
    private static let columns: InlineArray<11, Int32> = [1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13]
    private static let objectSize = 32
    private static let runSize = 16

    private let statement: Statement
    private let handle: SQLiteStatement
    /// The object's name, then the run's.
    private let blobs: UnsafeMutableRawBufferPointer
    /// What is bound; before the first clip that is nothing.
    private var bound = Numbers(repeating: 0)
    private var isBound = false

    init(_ db: Database) throws {
        statement = try db.cachedStatement(
            sql: """
                INSERT INTO clip
                (entry, object, camera, epoch, run, seq, start, "end", bytes, kind, salvaged, implausible, doubtful)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        unsafe handle = statement.sqliteStatement
        unsafe blobs = .allocate(byteCount: Self.objectSize + Self.runSize, alignment: 8)
        // Without a destructor: the memory outlasts the bindings.
        unsafe sqlite3_bind_blob(handle, 2, blobs.baseAddress, Int32(Self.objectSize), nil)
        unsafe sqlite3_bind_blob(
            handle, 5, blobs.baseAddress.map { unsafe $0 + Self.objectSize }, Int32(Self.runSize), nil)
    }
    deinit {
        unsafe sqlite3_clear_bindings(handle)
        unsafe blobs.deallocate()
    }

    /// Errors: SQLite's, as GRDB's `DatabaseError`.
    mutating func insert(
        _ clip: ClipRecord, entry: Int, camera: Int64, epoch: Int64, isImplausible: Bool, isDoubtful: Bool
    ) throws {
        let identity = clip.identity
        let object = clip.object.words
        let run = identity.run.uuid
        let words: InlineArray<6, UInt64> = [object.0, object.1, object.2, object.3, run.high, run.low]
        for index in words.indices {
            unsafe blobs.storeBytes(of: words[index].bigEndian, toByteOffset: 8 * index, as: UInt64.self)
        }
        bind([
            Int64(entry), camera, epoch, Int64(clamping: identity.sequence), identity.start.microseconds,
            clip.end.microseconds, Int64(clip.byteCount), Int64(Index.code(of: clip.kind)), clip.isSalvaged ? 1 : 0,
            isImplausible ? 1 : 0, isDoubtful ? 1 : 0,
        ])
        let code = unsafe sqlite3_step(handle)
        unsafe sqlite3_reset(handle)
        guard code == SQLITE_DONE else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
    }

    private mutating func bind(_ numbers: Numbers) {
        for index in numbers.indices where !isBound || bound[index] != numbers[index] {
            unsafe sqlite3_bind_int64(handle, Self.columns[index], numbers[index])
        }
        bound = numbers
        isBound = true
    }
}
