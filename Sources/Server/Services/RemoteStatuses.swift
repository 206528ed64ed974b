import Core
import Synchronization
import Vault

/// How every remote stood when last looked at: for the state, `/metrics` and the page, which wait for no database.
final class RemoteStatuses: Sendable {
    struct Entry: Sendable, Hashable {
        var status: RemoteStatus
        /// Bytes ever sent there.
        var sentBytes: Int64 = 0
        /// What is being brought back from there; 0 when nothing is.
        var backfillObjects = 0
        var backfillBytes = 0
        /// We follow what another recorder sends there, and send nothing.
        var isFollowed = false
    }
    private let entries = Mutex<[String: Entry]>([:])

    var all: [Entry] {
        entries.withLock { Array($0.values) }.sorted { $0.status.name < $1.status.name }
    }

    /// - Returns: whether it is new.
    @discardableResult
    func set(_ entry: Entry) -> Bool {
        entries.withLock { $0.updateValue(entry, forKey: entry.status.name) != entry }
    }
    func keepOnly(_ names: Set<String>) {
        entries.withLock { entries in entries = entries.filter { names.contains($0.key) } }
    }
}

extension StateReport.Remote {
    init(_ entry: RemoteStatuses.Entry) {
        let status = entry.status
        self.init(
            name: status.name, followed: entry.isFollowed, lagSeconds: status.lagSeconds,
            lagObjects: status.waitingObjects, lagBytes: status.waitingBytes,
            oldestUnsentEvent: status.oldestUnsentEvent, objects: status.objects, bytes: status.bytes,
            evictedObjects: status.evictedObjects, lockedObjects: status.lockedObjects,
            backfillObjects: entry.backfillObjects, backfillBytes: entry.backfillBytes,
            lastSuccess: status.progress.lastSuccess, failure: status.progress.failure)
    }
}
