import Core
import Dispatch
import Synchronization

/// What reading the whole ledger told on the way.
struct Replayed: Sendable {
    var entries = 0
    /// Lines that are no entries.
    var malformed = 0
    /// Nil: there is no checkpoint with a good signature to compare with.
    var matchesCheckpoint: Bool?
}

/// The ledger read, hashed and parsed on a thread of its own, some thousand entries ahead of who takes them.
///
/// The reader waits while `depth` batches lie there, so memory does not grow with the ledger.
final class LedgerAhead: Sendable {
    /// The entries from `first` on, `count` of them; malformed ones are in neither list.
    struct Batch: Sendable {
        /// Apart from the rest, and without a reference: nearly all are clips, and nobody counts who has them.
        struct Clip: Sendable, BitwiseCopyable {
            var position: Int
            var at: WallTime
            var record: ClipRecord
            var fate: DeletionsAhead.Fate
        }
        struct Other: Sendable {
            var position: Int
            var entry: LedgerEntry
            /// A deletion that takes no row away.
            var isSettled = false
        }

        var first: Int
        var count = 0
        var clips: [Clip] = []
        var others: [Other] = []

        /// False: the line is no entry.
        fileprivate mutating func append(_ line: ArraySlice<UInt8>) -> Bool {
            let position = first + count
            count += 1
            // Apart from the others: an entry is as large as its largest kind, and is copied several times on its way.
            if let clip = LedgerEntry.clip(fixedForm: line) {
                clips.append(Clip(position: position, at: clip.at, record: clip.record, fate: .unknown))
                return true
            }
            guard let entry = try? LedgerEntry(parsing: line) else { return false }
            if case .clip(let record) = entry.body {
                clips.append(Clip(position: position, at: entry.at, record: record, fate: .unknown))
            } else {
                others.append(Other(position: position, entry: entry))
            }
            return true
        }
    }
    /// What the reader remembers of what it has passed, and knows of what comes.
    private struct Memory {
        var seen: SeenObjects
        var ahead: DeletionsAhead

        /// Says what becomes of the batch's clips from place `firstClip` on and of the other entries from `firstOther` on.
        mutating func judge(_ batch: inout Batch, firstClip: Int, firstOther: Int) {
            // One right after another: the filter is larger than a processor's caches, and so it waits for many places at once.
            for place in firstClip..<batch.clips.count {
                batch.clips[place].fate = seen.isNew(batch.clips[place].record.object) ? .new : .unknown
            }
            var place = firstClip
            func passClips(before position: Int) {
                while place < batch.clips.count, batch.clips[place].position < position {
                    let clip = batch.clips[place]
                    batch.clips[place].fate = ahead.pass(
                        clip: clip.record.object, at: clip.position, isNew: clip.fate == .new)
                    place += 1
                }
            }
            for other in firstOther..<batch.others.count {
                let position = batch.others[other].position
                passClips(before: position)
                switch batch.others[other].entry.body {
                case .delete(let deletion):
                    batch.others[other].isSettled = ahead.pass(deletion: deletion.object, at: position)
                case .lost(let record), .quarantine(let record): ahead.pass(withdrawal: record.object, at: position)
                default: break
                }
            }
            passClips(before: .max)
        }
    }
    private enum Step: Sendable {
        case batch(Batch)
        case end(Result<Replayed, VaultError>)
    }
    private struct State {
        var steps: [Step] = []
        var isGivenUp = false
    }
    private static let depth = 4
    private static let batchSize = 2048

    private let state = Mutex(State())
    private let filled = DispatchSemaphore(value: 0)
    // A semaphore must not be freed below its first value: this one begins at nothing.
    private let room = DispatchSemaphore(value: 0)

    private init() {}

    /// Hands out every entry in order on the calling thread. Errors: the disk's, and `take`'s; when it returns or throws, nothing
    /// is read any more.
    ///
    /// - Parameter skipsDamage: as `LedgerReader.replay`'s.
    static func replay(
        _ ledger: LedgerReader, checkpoint: Checkpoint?, reach: Int = DeletionsAhead.reach, skipsDamage: Bool = false,
        _ take: (Batch) throws(VaultError) -> Void
    ) throws(VaultError) -> Replayed {
        let ahead = LedgerAhead()
        for _ in 0..<depth { ahead.room.signal() }
        Lane.serial("vault.replay").start { ahead.read(ledger, checkpoint, reach, skipsDamage) }
        var failure: VaultError?
        while true {
            ahead.filled.wait()
            switch ahead.state.withLock({ $0.steps.removeFirst() }) {
            case .batch(let batch):
                if failure == nil {
                    do throws(VaultError) { try take(batch) } catch {
                        failure = error
                        ahead.state.withLock { $0.isGivenUp = true }
                    }
                }
                ahead.room.signal()
            case .end(let result):
                if let failure { throw failure }
                return try result.get()
            }
        }
    }

    private func read(_ ledger: LedgerReader, _ checkpoint: Checkpoint?, _ reach: Int, _ skipsDamage: Bool) {
        let result: Result<Replayed, VaultError>
        do throws(VaultError) { result = .success(try replayed(ledger, checkpoint, reach, skipsDamage)) } catch {
            result = .failure(error)
        }
        put(.end(result))
    }

    private func replayed(
        _ ledger: LedgerReader, _ checkpoint: Checkpoint?, _ reach: Int, _ skipsDamage: Bool
    ) throws(VaultError) -> Replayed {
        var replayed = Replayed()
        // Once something was skipped no root is right any more.
        var tree = MerkleTree()
        var root = checkpoint?.count == 0 ? tree.root : nil
        var memory = Memory(
            seen: SeenObjects(expected: try ledger.countEntries()), ahead: DeletionsAhead(ledger, reach: reach))
        var batch = Batch(first: 0)
        var index = 0
        while true {
            let bundle: LedgerReader.Bundle
            var skipped = 0
            do throws(VaultError) {
                guard let next = try ledger.bundleInOrder(index) else { break }
                bundle = next
            } catch {
                guard skipsDamage, error.code == .damaged, let cut = try ledger.bundle(index) else { throw error }
                bundle = cut
                skipped = MerkleTree.tileWidth - cut.entries.count
            }
            let first = index * MerkleTree.tileWidth
            try memory.ahead.look(from: first)
            let isCheckpointWithin =
                checkpoint.map { $0.count > first && $0.count < first + MerkleTree.tileWidth } ?? false
            let isTile = bundle.entries.count == MerkleTree.tileWidth && !isCheckpointWithin
            if isTile {
                tree.append(rootOfTile: MerkleTree.root(ofLeaves: bundle.entries))
                if tree.count == checkpoint?.count { root = tree.root }
            }
            let (firstClip, firstOther) = (batch.clips.count, batch.others.count)
            for bytes in bundle.entries {
                if !isTile {
                    _ = tree.append(leaf: MerkleTree.leafHash(bytes))
                    if tree.count == checkpoint?.count { root = tree.root }
                }
                if !batch.append(bytes) { replayed.malformed += 1 }
            }
            for _ in 0..<skipped {
                _ = tree.append(leaf: MerkleTree.leafHash([]))
                batch.count += 1
                replayed.malformed += 1
            }
            memory.judge(&batch, firstClip: firstClip, firstOther: firstOther)
            if batch.count >= Self.batchSize {
                guard put(&batch) else { break }
            }
            if bundle.entries.count + skipped < MerkleTree.tileWidth { break }
            index += 1
        }
        if batch.count > 0 { _ = put(&batch) }
        replayed.entries = tree.count
        replayed.matchesCheckpoint = checkpoint.map { $0.root == root }
        return replayed
    }

    /// False when nobody wants more.
    private func put(_ batch: inout Batch) -> Bool {
        room.wait()
        guard !state.withLock({ $0.isGivenUp }) else { return false }
        put(.batch(batch))
        batch = Batch(first: batch.first + batch.count)
        batch.clips.reserveCapacity(Self.batchSize + MerkleTree.tileWidth)
        return true
    }
    private func put(_ step: Step) {
        state.withLock { $0.steps.append(step) }
        filled.signal()
    }
}
