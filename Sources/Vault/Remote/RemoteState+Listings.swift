import Core
import Foundation
import GRDB

/// What was seen in the remote: listings of it, and objects that were read back.
extension RemoteState {
    /// A page of a whole listing. What is there and was thought to be waiting is not sent again.
    ///
    /// - Parameters:
    ///   - began: when the listing began.
    ///   - settle: µs; what was sent later than that before `began` is not proven by it (V5).
    /// - Returns: objects there that no row knows.
    func listed(
        _ page: [(object: ObjectID, bytes: Int)], began: WallTime, settle: Int64
    ) throws(VaultError) -> [ObjectID] {
        try write { db in
            var unknown: [ObjectID] = []
            try db.execute(sql: "CREATE TEMP TABLE IF NOT EXISTS seen (object BLOB PRIMARY KEY NOT NULL) WITHOUT ROWID")
            for (object, bytes) in page {
                let name = Data(object.digest)
                guard
                    let row = try GRDB.Row.fetchOne(
                        db.cachedStatement(sql: "SELECT bytes, state, sent, bad FROM object WHERE object = ?"),
                        arguments: [name])
                else {
                    unknown.append(object)
                    continue
                }
                guard row["bytes"] as Int == bytes, !(row["bad"] as Bool) else { continue }
                try db.cachedStatement(sql: "INSERT OR IGNORE INTO seen (object) VALUES (?)").execute(arguments: [name])
                let sent = row["sent"] as Int64?
                switch Object(rawValue: row["state"]) {
                case .waiting, .begun, .unsendable:
                    // It came whole without our hearing of it. From now on its time to settle runs.
                    try db.cachedStatement(sql: "UPDATE object SET state = 2, sent = ? WHERE object = ?")
                        .execute(arguments: [began.microseconds, name])
                case .sent where (sent ?? .max) <= began.microseconds.subtractingSaturating(settle):
                    try db.cachedStatement(sql: "UPDATE object SET state = 3 WHERE object = ?")
                        .execute(arguments: [name])
                default: break
                }
            }
            return unknown
        }
    }
    func beginListing() throws(VaultError) {
        try write { db in try db.execute(sql: "DROP TABLE IF EXISTS temp.seen") }
    }
    /// What should be there and was not in the whole listing, or with another size, up to `limit` of them: those that lie here
    /// still are sent again.
    func endListing(began: WallTime, limit: Int) throws(VaultError) -> (missing: Int, named: [Row]) {
        try write { db in
            try db.execute(sql: "CREATE TEMP TABLE IF NOT EXISTS seen (object BLOB PRIMARY KEY NOT NULL) WITHOUT ROWID")
            let absent = """
                WHERE state IN (2, 3) AND coalesce(sent, 0) <= ?1
                AND NOT EXISTS (SELECT 1 FROM temp.seen AS s WHERE s.object = object.object)
                """
            let count =
                try Int.fetchOne(db, sql: "SELECT count(*) FROM object \(absent)", arguments: [began.microseconds]) ?? 0
            let named = try Row.all(db, absent + " LIMIT \(max(0, limit))", [began.microseconds])
            try db.execute(
                sql: "UPDATE object SET state = 1, proven = 0 \(absent) AND evicted = 0",
                arguments: [began.microseconds])
            try db.execute(
                sql: "UPDATE object SET state = 6, proven = 0 \(absent) AND evicted > 0",
                arguments: [began.microseconds])
            try db.execute(sql: "DROP TABLE temp.seen")
            try Self.set(.listed, began.microseconds, db)
            return (count, named)
        }
    }

    /// An object there was read: what it says of itself now counts, whatever was read before.
    func read(_ object: ObjectID, isGood: Bool) throws(VaultError) {
        try write { db in
            try db.execute(
                sql: isGood
                    ? "UPDATE object SET proven = 1, bad = 0, state = CASE WHEN state = 6 THEN 2 ELSE state END WHERE object = ?"
                    : "UPDATE object SET proven = 0, bad = 1, state = CASE evicted WHEN 0 THEN 1 ELSE 6 END WHERE object = ?",
                arguments: [Data(object.digest)])
        }
    }
    /// `count` objects by chance among those that should be there; nil: all, in order behind `after`.
    func sample(_ count: Int?, after: ObjectID? = nil) throws(VaultError) -> [Row] {
        try read { db in
            guard let count else {
                return try Row.all(
                    db, "WHERE \(Row.expected) AND object > ? ORDER BY object LIMIT 256",
                    [after.map { Data($0.digest) } ?? Data()])
            }
            return try Row.all(db, "WHERE \(Row.expected) ORDER BY random() LIMIT ?", [count])
        }
    }
}
