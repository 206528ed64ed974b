import Core
import Foundation
import GRDB

/// What lies here, there, or in both: copies here that are given up once they are proven there, and objects that come back.
extension RemoteState {
    /// Oldest first: proven to be there twice over, and ended by then.
    /// - Parameter after: the last row of the page before; nil: the first page.
    func evictable(endedBy time: WallTime, after: Row? = nil, limit: Int) throws(VaultError) -> [Row] {
        try read { db in
            try Row.all(
                db,
                """
                WHERE state = 3 AND evicted = 0 AND proven = 1 AND end <= ? AND (end, object) > (?, ?)
                ORDER BY end, object LIMIT ?
                """,
                [time.microseconds, after?.clipEnd.microseconds ?? .min, Data(after?.object.digest ?? []), limit])
        }
    }
    enum Eviction: Int, Sendable {
        case here = 0
        case entered = 1
        case gone = 2
    }
    func evicted(_ objects: [ObjectID], _ eviction: Eviction) throws(VaultError) {
        try write { db in
            for object in objects {
                try db.cachedStatement(sql: "UPDATE object SET evicted = ? WHERE object = ?")
                    .execute(arguments: [eviction.rawValue, Data(object.digest)])
            }
        }
    }
    func evictionsToFinish(limit: Int) throws(VaultError) -> [Row] {
        try read { db in try Row.all(db, "WHERE evicted = 1 AND state = 3 AND proven = 1 LIMIT ?", [limit]) }
    }
    /// Not proven yet though listed: candidates for one full read where the server's checksums mean nothing.
    func unproven(limit: Int, endedBy time: WallTime) throws(VaultError) -> [Row] {
        try read { db in
            try Row.all(
                db, "WHERE state = 3 AND evicted < 2 AND proven = 0 AND end <= ? ORDER BY end LIMIT ?",
                [time.microseconds, limit])
        }
    }
    /// Whether it is there as far as anybody knows.
    func has(_ object: ObjectID) throws(VaultError) -> Bool {
        guard let row = try row(object) else { return false }
        return row.state == .sent || row.state == .listed || row.state == .doomed || row.state == .kept
    }

    // MARK: Coming back

    /// Newest first, what the remote has.
    func present(before entry: Int64, limit: Int) throws(VaultError) -> [(row: Row, entry: Int64)] {
        try read { db in
            try GRDB.Row.fetchAll(
                db, sql: Row.columns + " WHERE state IN (2, 3) AND entry < ? ORDER BY entry DESC LIMIT ?",
                arguments: [entry, limit]
            ).map { (try Row($0), $0["entry"]) }
        }
    }
    func absentTotal() throws(VaultError) -> (objects: Int, bytes: Int) {
        try read { db in
            let row = try GRDB.Row.fetchOne(
                db,
                sql:
                    "SELECT count(*) AS n, ifnull(sum(bytes), 0) AS bytes FROM object WHERE \(Row.expected) AND evicted > 0"
            )
            return (row?["n"] ?? 0, row?["bytes"] ?? 0)
        }
    }
    /// A reading node's: the ledger that was there names it.
    func assumed(_ object: ObjectID) throws(VaultError) {
        try write { db in
            try db.cachedStatement(sql: "UPDATE object SET state = 2, evicted = 2 WHERE object = ? AND state < 2")
                .execute(arguments: [Data(object.digest)])
        }
    }
    /// Newest first, what does not lie here.
    func absent(before entry: Int64, limit: Int) throws(VaultError) -> [(row: Row, entry: Int64)] {
        try read { db in
            try GRDB.Row.fetchAll(
                db,
                sql: Row.columns
                    + " WHERE \(Row.expected) AND evicted > 0 AND entry < ? ORDER BY entry DESC LIMIT ?",
                arguments: [entry, limit]
            ).map { (try Row($0), $0["entry"]) }
        }
    }
}
