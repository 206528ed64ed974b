import Core

/// What a replay knows of entries that it has not come to yet: which clips will be deleted.
///
/// The ledger of a recorder whose disk is full has a deletion for every clip. Such a clip needs no row that is looked up again
/// and taken away, if its deletion lies at most `reach` entries ahead; memory is bounded by that. What else is said of a clip on the
/// way, or twice, is left to the index.
struct DeletionsAhead {
    /// Entries that are looked at ahead: about as many clips as may be kept at a time.
    static let reach = 1 << 20

    /// What becomes of a clip.
    enum Fate: UInt8, Sendable, BitwiseCopyable {
        /// No such object has come before.
        case new
        /// It may be there already.
        case unknown
        /// Its deletion lies ahead: it counts for what outlasts it.
        case doomed
        /// The same as one that is doomed and not deleted yet.
        case repeated
    }

    /// Half of a SHA-256: nobody finds two alike, and there may be a million.
    private struct Name: Hashable {
        let first: UInt64
        let second: UInt64
        init(_ object: ObjectID) { (first, second, _, _) = object.words }
    }
    private struct Deletion {
        var lastPosition: Int
        /// Its clip was passed and got no row.
        var isDoomed = false
    }

    private let ledger: LedgerReader
    private let reach: Int
    private var deletions: [Name: Deletion] = [:]
    /// Where a clip was last withdrawn: that makes a gap of its row, if it has one.
    private var withdrawals: [Name: Int] = [:]
    /// The next bundle to be looked at.
    private var bundle = 0
    private var isAtEnd = false
    /// More than 256 lines of ours take.
    private var buffer = [UInt8](repeating: 0, count: 1 << 18)

    init(_ ledger: LedgerReader, reach: Int) {
        self.ledger = ledger
        self.reach = reach
    }

    /// Called before the entries of a bundle are passed.
    mutating func look(from position: Int) throws(VaultError) {
        while !isAtEnd, bundle * MerkleTree.tileWidth < position + MerkleTree.tileWidth + reach {
            let first = bundle * MerkleTree.tileWidth
            var found: [(position: Int, body: LedgerEntry.Body)] = []
            // Nearly all are clips, and this is the second time that they are read: no more than their first bytes.
            let count = try ledger.eachLine(ofBundle: bundle, through: &buffer) { offset, line in
                guard !LedgerEntry.isClip(line), let entry = try? LedgerEntry(parsing: line) else { return }
                found.append((first + offset, entry.body))
            }
            for (position, body) in found { note(body, position) }
            isAtEnd = (count ?? 0) < MerkleTree.tileWidth
            bundle += 1
        }
    }

    private mutating func note(_ body: LedgerEntry.Body, _ position: Int) {
        switch body {
        case .delete(let deletion):
            deletions[Name(deletion.object), default: Deletion(lastPosition: 0)].lastPosition = position
        case .lost(let record), .quarantine(let record): withdrawals[Name(record.object)] = position
        default: break
        }
    }

    /// - Parameter isNew: no such object has come before; false when that cannot be said.
    mutating func pass(clip object: ObjectID, at position: Int, isNew: Bool) -> Fate {
        guard !deletions.isEmpty else { return isNew ? .new : .unknown }
        let name = Name(object)
        guard let deletion = deletions[name], deletion.lastPosition > position else { return isNew ? .new : .unknown }
        if deletion.isDoomed { return .repeated }
        guard isNew, withdrawals[name] == nil else { return isNew ? .new : .unknown }
        deletions[name]?.isDoomed = true
        return .doomed
    }

    /// Whether nothing is left to be taken away.
    mutating func pass(deletion object: ObjectID, at position: Int) -> Bool {
        let name = Name(object)
        guard let deletion = deletions[name] else { return false }
        if deletion.lastPosition <= position {
            deletions[name] = nil
        } else {
            deletions[name]?.isDoomed = false
        }
        return deletion.isDoomed
    }

    mutating func pass(withdrawal object: ObjectID, at position: Int) {
        let name = Name(object)
        if let last = withdrawals[name], last <= position { withdrawals[name] = nil }
    }
}
