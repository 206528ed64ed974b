import Core
import Foundation
import GRDB

/// Who epochs are sealed to, as the ledger says.
extension Index {
    // MARK: From the ledger

    static func remember(_ key: String, _ value: any DatabaseValueConvertible, _ db: Database) throws {
        try db.execute(sql: "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", arguments: [key, value])
    }

    static func changed(_ record: RecipientsRecord, at position: Int, _ db: Database) throws {
        let digest = Data(record.vaultFile.digest)
        try remember("vaultFile", digest, db)
        try remember("recipients", digest, db)
        if !record.removed.isEmpty { try remember("removal", position, db) }
    }

    /// A new epoch is sealed to whoever the last change named; before the first there is nothing to tell apart.
    static func made(_ epoch: EpochRecord, at position: Int, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                INSERT OR IGNORE INTO sealing (epoch, file, recipients, made)
                SELECT ?, ?, value, ? FROM meta WHERE key = 'recipients'
                """
        ).execute(arguments: [epoch.epoch.blob, Data(epoch.file.digest), position])
    }

    static func rewrapped(_ epoch: EpochID, _ file: ObjectID, _ vaultFile: ObjectID, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                INSERT INTO sealing (epoch, file, recipients, made) VALUES (?, ?, ?, 0)
                ON CONFLICT (epoch) DO UPDATE SET file = excluded.file, recipients = excluded.recipients
                """
        ).execute(arguments: [epoch.blob, Data(file.digest), Data(vaultFile.digest)])
    }

    // MARK: Questions

    /// Holds for an epoch that nobody knows who was removed since it was made.
    static let isAfterRemoval = """
        ifnull((SELECT made FROM sealing WHERE sealing.epoch = epoch.uuid), 0)
        >= ifnull((SELECT value FROM meta WHERE key = 'removal'), 0)
        """
    private static let isStale = """
        shredded = 0 AND camera IS NOT NULL AND EXISTS (SELECT 1 FROM meta WHERE key = 'recipients')
        AND (SELECT recipients FROM sealing WHERE sealing.epoch = epoch.uuid)
        IS NOT (SELECT value FROM meta WHERE key = 'recipients')
        """

    private func digest(_ key: String) throws(VaultError) -> ObjectID? {
        try Self.wrapping {
            try database.read { db in
                try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE key = ?", arguments: [key]).flatMap {
                    ObjectID(digest: Array($0))
                }
            }
        }
    }
    /// SHA-256 of `vault.json`, as the ledger last said; nil before the first start.
    func vaultFileDigest() throws(VaultError) -> ObjectID? { try digest("vaultFile") }
    /// The same, as the last change of the recipients said; nil when they never changed.
    func recipientsDigest() throws(VaultError) -> ObjectID? { try digest("recipients") }

    /// SHA-256 of an epoch's file; nil for one that is unknown or shredded.
    func epochFile(_ epoch: EpochID) throws(VaultError) -> ObjectID? {
        try Self.wrapping {
            try database.read { db in
                try Data.fetchOne(
                    db,
                    sql: """
                        SELECT ifnull((SELECT file FROM sealing WHERE sealing.epoch = epoch.uuid), file)
                        FROM epoch WHERE uuid = ? AND camera IS NOT NULL AND shredded = 0
                        """, arguments: [epoch.blob]
                ).flatMap { ObjectID(digest: Array($0)) }
            }
        }
    }

    /// Epochs with a key, and how many of them are not sealed to the present recipients yet.
    func epochCounts() throws(VaultError) -> (all: Int, stale: Int) {
        try Self.wrapping {
            try database.read { db in
                let all =
                    try Int.fetchOne(db, sql: "SELECT count(*) FROM epoch WHERE camera IS NOT NULL AND shredded = 0")
                    ?? 0
                let stale = try Int.fetchOne(db, sql: "SELECT count(*) FROM epoch WHERE \(Self.isStale)") ?? 0
                return (all, stale)
            }
        }
    }

    /// Epochs that are not sealed to the present recipients yet, in the order of their names.
    func staleEpochs(after last: EpochID?, limit: Int) throws(VaultError) -> [(epoch: EpochID, recipient: AgeRecipient)]
    {
        try Self.wrapping {
            try database.read { db in
                try Row.fetchAll(
                    db,
                    sql: """
                        SELECT uuid, recipient FROM epoch WHERE uuid > ? AND \(Self.isStale)
                        ORDER BY uuid LIMIT ?
                        """, arguments: [last?.blob ?? Data(), limit]
                ).map { row in
                    guard let recipient = AgeRecipient(row[1] as String) else {
                        throw VaultError(.index, "The index holds a malformed epoch.")
                    }
                    return (try EpochID(blob: row[0]), recipient)
                }
            }
        }
    }
}
