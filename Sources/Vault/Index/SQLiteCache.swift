import Core
import Foundation
import GRDB

/// A SQLite file that caches what can be had elsewhere: the index, and what is known of a remote. When bytes of it are no database,
/// a note beside it asks the next start to make it anew.
struct SQLiteCache: Sendable {
    /// The subject of errors' sentences.
    let name: String
    /// How it is had anew.
    let hint: String

    /// Turns what SQLite throws into the vault's error, `.noSpace` or `.index`.
    func wrapping<Value>(_ body: () throws -> Value) throws(VaultError) -> Value {
        do { return try body() } catch let error as VaultError { throw error } catch let error as DatabaseError
            where error.resultCode == .SQLITE_FULL
        {
            throw VaultError(
                .noSpace, "\(name) found no space on the disk.", hint: "Free space or shorten retention.",
                underlying: error)
        } catch {
            throw VaultError(.index, "\(name) cannot be used.", hint: hint, underlying: error)
        }
    }

    /// Whether SQLite met bytes that are no database.
    static func isDamage(_ error: any Error) -> Bool {
        let error = (error as? VaultError)?.underlying ?? error
        return [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains((error as? DatabaseError)?.resultCode)
    }
    /// For the one that writes the file.
    static func noteDamage(at path: String) { _ = FileManager.default.createFile(atPath: note(path), contents: nil) }
    static func hasNote(ofDamageAt path: String, _ files: any FileSystem) throws(VaultError) -> Bool {
        try files.attributes(note(path)) != nil
    }
    static func note(_ path: String) -> String { path + ".damaged" }

    /// With what SQLite keeps beside it. The database first: a log without one is ignored by SQLite, a database without its log may
    /// be torn. A note stays.
    static func remove(_ path: String, _ files: any FileSystem) throws(VaultError) {
        for suffix in ["", "-wal", "-shm", "-journal"] { try files.remove(path + suffix) }
    }
}

extension DatabaseWriter {
    /// Empties the write-ahead log into the database, unless somebody reads or the disk has no space for it.
    /// - Parameter patience: seconds that this connection waits for others afterwards, as before.
    func giveBackLog(patience: Double) {
        // Busy is an expected answer, and a commit waits: not for the reader too.
        try? writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA busy_timeout = 0")
            _ = try? db.checkpoint(.truncate)
            try db.execute(sql: "PRAGMA busy_timeout = \(Int(patience * 1000))")
        }
    }
}
