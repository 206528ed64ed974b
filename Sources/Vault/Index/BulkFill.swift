import GRDB

/// The filling of an empty index that nobody sees yet: the trees beside the clips are made by sorting when the clips are there,
/// which is faster than entering each clip in each of them.
///
/// Only what names objects may be needed sooner, by an entry that takes one away or by a clip that may be there already.
struct BulkFill {
    /// SQL that makes the indexes which are not there, by name.
    private var missing: [(name: String, sql: String)]

    /// Takes the indexes of `clip` away.
    init(_ db: Database) throws {
        missing = try Row.fetchAll(
            db,
            sql: """
                SELECT name, sql FROM sqlite_schema
                WHERE type = 'index' AND tbl_name = 'clip' AND sql IS NOT NULL ORDER BY name
                """
        ).map { ($0[0], $0[1]) }
        for index in missing { try db.execute(sql: "DROP INDEX \(index.name)") }
    }

    /// From here on objects are found by their names.
    mutating func needNames(_ db: Database) throws {
        guard let place = missing.firstIndex(where: { $0.name == "clip_by_object" }) else { return }
        try db.execute(sql: missing.remove(at: place).sql)
    }

    mutating func finish(_ db: Database) throws {
        for index in missing { try db.execute(sql: index.sql) }
        missing = []
    }
}
