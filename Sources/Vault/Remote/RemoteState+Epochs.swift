import Core
import Foundation
import GRDB

/// The epochs' keys in the remote: which are to be sent, which to be destroyed, and what became of each copy.
extension RemoteState {
    func epochsToSend() throws(VaultError) -> [(epoch: EpochID, file: ObjectID)] {
        try read { db in
            try GRDB.Row.fetchAll(
                db, sql: "SELECT epoch, file FROM epoch WHERE state = 0 AND (sent IS NULL OR sent <> file)"
            ).map { row in
                guard let file = ObjectID(digest: Array(row["file"] as Data)) else {
                    throw VaultError(.index, "The remote's state holds a malformed digest.")
                }
                return (try EpochID(blob: row["epoch"]), file)
            }
        }
    }
    func sent(_ epoch: EpochID, _ file: ObjectID) throws(VaultError) {
        try write { db in
            try db.execute(
                sql: "UPDATE epoch SET sent = ? WHERE epoch = ?", arguments: [Data(file.digest), epoch.blob])
        }
    }
    func epochsToDestroy() throws(VaultError) -> [EpochID] {
        try read { db in
            try Data.fetchAll(db, sql: "SELECT epoch FROM epoch WHERE state = 1").map { try EpochID(blob: $0) }
        }
    }
    /// `why` is nil when it is destroyed.
    func destroyed(_ epoch: EpochID, why: String?) throws(VaultError) {
        try write { db in
            try db.execute(
                sql: "UPDATE epoch SET state = ?, why = ?, sent = NULL WHERE epoch = ?",
                arguments: [why == nil ? 2 : 3, why, epoch.blob])
        }
    }
    enum EpochCopy: Sendable, Hashable {
        case none, there, destroyed
        case notDestroyed(String)
    }
    func copy(of epoch: EpochID) throws(VaultError) -> EpochCopy {
        try read { db in
            guard
                let row = try GRDB.Row.fetchOne(
                    db, sql: "SELECT state, sent, why FROM epoch WHERE epoch = ?", arguments: [epoch.blob])
            else { return .none }
            return Self.copy(row)
        }
    }
    private static func copy(_ row: GRDB.Row) -> EpochCopy {
        switch row["state"] as Int {
        case 0, 1: (row["sent"] as Data?) == nil ? .none : .there
        case 2: .destroyed
        default: .notDestroyed(row["why"] ?? "")
        }
    }

    func epochs() throws(VaultError) -> [(epoch: EpochID, file: ObjectID, copy: EpochCopy)] {
        try read { db in
            try GRDB.Row.fetchAll(db, sql: "SELECT epoch, file, sent, state, why FROM epoch ORDER BY epoch").map {
                row in
                guard let file = ObjectID(digest: Array(row["file"] as Data)) else {
                    throw VaultError(.index, "The remote's state holds a malformed digest.")
                }
                return (try EpochID(blob: row["epoch"]), file, Self.copy(row))
            }
        }
    }
    /// It is not there as it was sent: it goes again.
    func unsent(_ epoch: EpochID) throws(VaultError) {
        try write { db in
            try db.execute(sql: "UPDATE epoch SET sent = NULL WHERE epoch = ? AND state = 0", arguments: [epoch.blob])
        }
    }
}
