import GRDB

extension Index {
    /// Ledger entries taken in so far.
    func position() throws(VaultError) -> Int {
        try Self.wrapping {
            try database.read { db in
                try Int.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'position'") ?? 0
            }
        }
    }

    /// Takes entries in, in one transaction. `first` is the position of the first; those known already are skipped.
    /// Errors: `.index`, also when entries between those known and these are missing: the ledger tells them.
    func apply(_ entries: [LedgerEntry?], from first: Int) throws(VaultError) {
        try checkLog()
        try Self.wrapping {
            try database.write { db in
                let known = try Int.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'position'") ?? 0
                guard first <= known else {
                    throw VaultError(.index, "The index ends at entry \(known), and what came begins at \(first).")
                }
                var intake = try Intake(db)
                for (offset, entry) in entries.enumerated() where first + offset >= known {
                    if let entry { try intake.apply(entry, at: first + offset) }
                }
                try intake.finish(position: max(known, first + entries.count))
            }
        }
    }

    /// Replays the ledger's tail. Memory stays bounded however long it is.
    ///
    /// - Parameter skipsDamage: for whoever only looks; without, entries that cannot be told from one another throw `.damaged`, for a
    ///   hold may be among them.
    func catchUp(_ ledger: LedgerReader, skipsDamage: Bool = false) throws(VaultError) {
        var batch: [LedgerEntry?] = []
        var first = try position()
        try ledger.replay(from: first, skipsDamage: skipsDamage) { (position, entry) throws(VaultError) in
            if batch.isEmpty { first = position }
            batch.append(entry)
            if batch.count == 4096 {
                try apply(batch, from: first)
                batch = []
            }
        }
        if !batch.isEmpty { try apply(batch, from: first) }
    }
}
