import GRDBSQLite

/// SQLite and nothing else: the rows of an index's clips, from memory into a new database with the same trees.
///
/// As a rebuild does it: no journal, one transaction, rows in the order of the ledger, the trees beside them afterwards, by two
/// threads.
final class BareIndex {
    private static let columns =
        #"entry, camera, epoch, seq, start, "end", bytes, kind, salvaged, implausible, doubtful, object, run"#
    private static let numberCount = 11
    private static let blobCount = 2
    private static let blobSizes = [32, 16]

    /// `numberCount` a row, and the two blobs behind one another.
    private var numbers: [Int64] = []
    private var blobs: [UInt8] = []
    private var schema: [String] = []
    var count: Int { numbers.count / Self.numberCount }

    /// Takes the rows out of an index that nobody writes.
    init(reading path: String) throws {
        let database = try BareDatabase(path, SQLITE_OPEN_READONLY)
        // The table first.
        try database.each(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = 'clip' AND sql IS NOT NULL ORDER BY type DESC, name"
        ) { schema.append($0.text(0)) }
        try database.each("SELECT \(Self.columns) FROM clip ORDER BY entry") { row in
            for column in 0..<Self.numberCount { numbers.append(row.number(column)) }
            for blob in 0..<Self.blobCount { blobs += row.bytes(Self.numberCount + blob) }
        }
        guard blobs.count == count * Self.blobSizes.reduce(0, +) else {
            throw BenchError(.programFailed, "\(path) has names of a wrong size.")
        }
    }

    /// Durable on return.
    func fill(_ path: String) throws {
        let database = try BareDatabase(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
        try database.run(
            "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -8192; PRAGMA threads = 1")
        guard let table = schema.first else { throw BenchError(.programFailed, "There is no table of clips.") }
        try database.run(table)
        try database.run("BEGIN")
        let places = Array(repeating: "?", count: Self.numberCount + Self.blobCount).joined(separator: ", ")
        try database.insert(
            "INSERT INTO clip (\(Self.columns)) VALUES (\(places))", rows: count, numbers: numbers,
            numbersPerRow: Self.numberCount, blobs: blobs, blobSizes: Self.blobSizes)
        for index in schema.dropFirst() { try database.run(index) }
        try database.run("COMMIT")
        try BareFile.read(path).sync()
    }
}

/// An SQLite connection.
@safe private final class BareDatabase {
    private let handle: OpaquePointer

    init(_ path: String, _ flags: Int32) throws {
        var opened: OpaquePointer?
        let code = unsafe sqlite3_open_v2(path, &opened, flags | SQLITE_OPEN_NOMUTEX, nil)
        guard code == SQLITE_OK, let opened = unsafe opened else {
            unsafe sqlite3_close_v2(opened)
            throw BenchError(.programFailed, "SQLite does not open \(path): \(code).")
        }
        unsafe handle = opened
    }
    deinit { unsafe sqlite3_close_v2(handle) }

    private var failure: BenchError {
        BenchError(.programFailed, unsafe "SQLite: \(String(cString: sqlite3_errmsg(handle)))")
    }

    func run(_ sql: String) throws {
        guard unsafe sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else { throw failure }
    }

    private func prepared(_ sql: String) throws -> OpaquePointer {
        var statement: OpaquePointer?
        guard unsafe sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK, let statement = unsafe statement
        else { throw failure }
        return unsafe statement
    }

    @safe struct Row {
        fileprivate let statement: OpaquePointer
        func number(_ column: Int) -> Int64 { unsafe sqlite3_column_int64(statement, Int32(column)) }
        func text(_ column: Int) -> String {
            unsafe sqlite3_column_text(statement, Int32(column)).map { unsafe String(cString: $0) } ?? ""
        }
        func bytes(_ column: Int) -> [UInt8] {
            let count = unsafe Int(sqlite3_column_bytes(statement, Int32(column)))
            guard let base = unsafe sqlite3_column_blob(statement, Int32(column)) else { return [] }
            return unsafe Array(UnsafeRawBufferPointer(start: base, count: count))
        }
    }

    func each(_ sql: String, _ body: (Row) -> Void) throws {
        let statement = unsafe try prepared(sql)
        defer { unsafe sqlite3_finalize(statement) }
        while true {
            switch unsafe sqlite3_step(statement) {
            case SQLITE_ROW: body(unsafe Row(statement: statement))
            case SQLITE_DONE: return
            default: throw failure
            }
        }
    }

    func insert(
        _ sql: String, rows: Int, numbers: [Int64], numbersPerRow: Int, blobs: [UInt8], blobSizes: [Int]
    ) throws {
        let statement = unsafe try prepared(sql)
        defer { unsafe sqlite3_finalize(statement) }
        let isDone = unsafe blobs.withUnsafeBytes { blobs in
            var offset = 0
            for row in 0..<rows {
                for column in 0..<numbersPerRow {
                    unsafe sqlite3_bind_int64(statement, Int32(column + 1), numbers[row * numbersPerRow + column])
                }
                for (index, size) in blobSizes.enumerated() {
                    unsafe sqlite3_bind_blob(
                        statement, Int32(numbersPerRow + index + 1), blobs.baseAddress.map { unsafe $0 + offset },
                        Int32(size), nil)
                    offset += size
                }
                guard unsafe sqlite3_step(statement) == SQLITE_DONE else { return false }
                unsafe sqlite3_reset(statement)
            }
            return true
        }
        guard isDone else { throw failure }
    }
}
