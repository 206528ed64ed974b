import Glibc
import Synchronization

/// The syncs of SudoCam's ledger without the ledger: an entry appended and synced, a small file replaced and synced.
/// Whoever comes while one is syncing shares the next sync, as any careful program would.
final class BareLedger: Sendable {
    private struct State {
        let file: BareFile
        var count = 0
    }
    private final class Ticket: Sendable {
        let isDone = Mutex(false)
    }
    private let state: Mutex<State>
    private let waiting = Mutex<[Ticket]>([])
    private let folder: String
    /// Bytes of a clip's entry, and of a signed checkpoint.
    private static let entry = [UInt8](repeating: 65, count: 420)
    private static let checkpoint = [UInt8](repeating: 65, count: 260)

    init(_ folder: String) throws {
        self.folder = folder
        state = Mutex(State(file: try .create(folder + "/ledger")))
    }

    func commit() throws {
        let ticket = Ticket()
        waiting.withLock { $0.append(ticket) }
        try state.withLock { state in
            if ticket.isDone.withLock({ $0 }) { return }
            let tickets = waiting.withLock { waiting in
                defer { waiting = [] }
                return waiting
            }
            for _ in tickets {
                try state.file.write(Self.entry, count: Self.entry.count, at: state.count)
                state.count += Self.entry.count
            }
            try state.file.sync()
            let file = try BareFile.create(folder + "/checkpoint.tmp")
            try file.write(Self.checkpoint, count: Self.checkpoint.count, at: 0)
            try file.sync()
            try BareFile.rename(folder + "/checkpoint.tmp", folder + "/checkpoint")
            for ticket in tickets { ticket.isDone.withLock { $0 = true } }
        }
    }
}
