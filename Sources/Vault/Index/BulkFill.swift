import Core
import GRDB

/// The filling of an empty index that nobody sees yet: the trees beside the clips are made by sorting when the clips are there,
/// which is faster than entering each clip in each of them.
///
/// Only what names objects may be needed sooner, by an entry that takes one away or by a clip that may be there already. Nearly
/// every clip is known to be new without a look: a Bloom filter holds the names of all so far, in memory of a fixed size.
struct BulkFill {
    /// SQL that makes the indexes which are not there, by name.
    private var missing: [(name: String, sql: String)]
    private var filter: [UInt64]
    private let mask: UInt64
    /// In bits: 64 a clip, at most 32 MiB. Of a million clips none is looked up in vain, of thirty million every seventieth.
    private static let bitsPerClip = 64
    private static let largestFilter = 1 << 28

    /// Takes the indexes of `clip` away.
    ///
    /// - Parameter expected: clips that will come, as far as can be said; wrong, it costs time only.
    init(_ db: Database, expected: Int) throws {
        missing = try Row.fetchAll(
            db,
            sql: """
                SELECT name, sql FROM sqlite_schema
                WHERE type = 'index' AND tbl_name = 'clip' AND sql IS NOT NULL ORDER BY name
                """
        ).map { ($0[0], $0[1]) }
        for index in missing { try db.execute(sql: "DROP INDEX \(index.name)") }
        var bits = 1 << 16
        while bits < Self.largestFilter, bits / Self.bitsPerClip < expected { bits *= 2 }
        filter = [UInt64](repeating: 0, count: bits / 64)
        mask = UInt64(bits - 1)
    }

    /// Whether no such object has come before; false when that cannot be said. From here on it has come.
    mutating func isNew(_ object: ObjectID) -> Bool {
        // A SHA-256 needs no further hashing.
        let digest = object.digest
        var isNew = false
        var place = 0
        while place < 32 {
            let high = UInt64(digest[place]) << 24 | UInt64(digest[place + 1]) << 16
            let word = (high | UInt64(digest[place + 2]) << 8 | UInt64(digest[place + 3])) & mask
            place += 4
            let bit = UInt64(1) << (word & 63)
            if filter[Int(word >> 6)] & bit == 0 {
                isNew = true
                filter[Int(word >> 6)] |= bit
            }
        }
        return isNew
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
