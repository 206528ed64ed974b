import Core
import Synchronization

/// Group commit: whoever comes while a commit is syncing waits and shares the next one's sync and signature.
///
/// Blocks; called from lanes only.
final class Committer: Sendable {
    private final class Ticket: Sendable {
        let entries: [LedgerEntry]
        let result = Mutex<Result<Void, VaultError>?>(nil)
        init(_ entries: [LedgerEntry]) { self.entries = entries }
    }
    private struct State {
        var writer: LedgerWriter
        /// The ledger has entries that the index could not take in.
        var isIndexBehind = false
        /// Tiles or checkpoint wait for space; told once.
        var isOwing = false
    }

    private let waiting = Mutex<[Ticket]>([])
    private let state: Mutex<State>
    private let vault: VaultID
    private let key: LedgerKey
    private let index: Index
    /// Told in the ledger's order, after the commit.
    private let committed: @Sendable ([LedgerEntry]) -> Void
    private let alarm: @Sendable (String) -> Void
    /// What an alarm began with, once it is over.
    private let calm: @Sendable (String) -> Void
    private static let owing = "The ledger's entries are safe, their signature has to wait"
    private static let behind = "The index could not be written"
    /// Ledger entries of one sync; bounds the memory of a burst.
    private static let batchLimit = 512

    init(
        _ writer: LedgerWriter, vault: VaultID, key: LedgerKey, index: Index,
        committed: @escaping @Sendable ([LedgerEntry]) -> Void, alarm: @escaping @Sendable (String) -> Void,
        calm: @escaping @Sendable (String) -> Void
    ) {
        state = Mutex(State(writer: writer))
        self.vault = vault
        self.key = key
        self.index = index
        self.committed = committed
        self.alarm = alarm
        self.calm = calm
    }

    /// On return the entries are durable. Errors: the ledger's; the entries may still turn up at the next start.
    func commit(_ entries: [LedgerEntry]) throws(VaultError) {
        let ticket = Ticket(entries)
        waiting.withLock { $0.append(ticket) }
        state.withLock { state in
            // Tickets are taken in order: those ahead of this one first, if they fill a batch.
            while ticket.result.withLock({ $0 == nil }) {
                let tickets = takeBatch()
                let result = write(tickets.flatMap(\.entries), &state)
                for ticket in tickets { ticket.result.withLock { $0 = result } }
            }
        }
        try ticket.result.withLock { $0 }?.get()
    }

    /// The longest waiting tickets, at least one, up to `batchLimit` entries.
    private func takeBatch() -> [Ticket] {
        waiting.withLock { waiting in
            var count = 0
            var entries = 0
            while count < waiting.count, count == 0 || entries + waiting[count].entries.count <= Self.batchLimit {
                entries += waiting[count].entries.count
                count += 1
            }
            defer { waiting.removeFirst(count) }
            return Array(waiting.prefix(count))
        }
    }

    /// Brings ledger and index together again where a commit failed half-way. Whoever decides by the index calls it first: a
    /// deletion that the ledger has and the index has not must not be entered twice.
    /// - Returns: whether the index knows all that the ledger says; else `LedgerReader.tail` tells the rest.
    func settle() throws(VaultError) -> Bool {
        try state.withLock { (state) throws(VaultError) in
            try repair(&state)
            if state.isIndexBehind { catchUp(&state) }
            return !state.isIndexBehind
        }
    }

    /// The same for whoever cannot do without the index. Errors: `.noSpace` when it could not be written.
    func settleWhole() throws(VaultError) {
        guard try settle() else {
            throw VaultError(
                .noSpace, "The index could not be brought up to the ledger.", hint: "Free space on the vault's disk.")
        }
    }

    private func repair(_ state: inout State) throws(VaultError) {
        guard state.writer.condition != .good else { return }
        try state.writer.checkIsThere()
        state.isIndexBehind = true
        state.writer = try LedgerWriter(
            state.writer.reader, vault: vault, key: key, isRewritingLast: state.writer.condition == .unsynced)
    }

    private func catchUp(_ state: inout State) {
        do throws(VaultError) {
            try index.catchUp(state.writer.reader)
            state.isIndexBehind = false
            calm(Self.behind)
        } catch {
            // Told when it began.
        }
    }

    private func write(_ entries: [LedgerEntry], _ state: inout State) -> Result<Void, VaultError> {
        do throws(VaultError) {
            try repair(&state)
            let first = state.writer.count
            let owing = try state.writer.append(entries)
            if let owing, !state.isOwing {
                alarm("\(Self.owing): \(owing.reason)")
            }
            if owing == nil, state.isOwing { calm(Self.owing) }
            state.isOwing = owing != nil
            if state.isIndexBehind {
                catchUp(&state)
            } else {
                do throws(VaultError) {
                    try index.apply(entries, from: first)
                } catch {
                    // The ledger has it: the next commit, or the next start, brings it into the index.
                    state.isIndexBehind = true
                    index.noteDamage(error)
                    alarm("\(Self.behind): \(error.reason) The ledger has what was recorded.")
                }
            }
            committed(entries)
            return .success(())
        } catch {
            alarm("The ledger could not be written: \(error.reason)")
            return .failure(error)
        }
    }
}
