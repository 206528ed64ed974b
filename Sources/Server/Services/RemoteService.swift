import Core
import Logging
import ServiceLifecycle
import Vault

/// Keeps every remote level with the ledger. One child task a remote; whatever one of them waits for, recording and the other
/// remotes know nothing of it.
struct RemoteService: Service {
    let recorder: RecorderServices
    let logger: Logger

    private static let day: Int64 = 86_400_000_000
    /// Without an event: deletions that wait, a listing that is due.
    private static let interval = Duration.seconds(30)
    private static let fetches = 64

    func run() async throws {
        await cancelWhenGracefulShutdown { await serveAll() }
    }

    /// Looks once a second who is there: the command line adds and removes remotes.
    private func serveAll() async {
        await withDiscardingTaskGroup { group in
            var known: [Remote] = []
            var round = 0
            repeat {
                if round % 30 == 0 { open() }
                round += 1
                let remotes = recorder.vault.remotes
                known.removeAll { old in !remotes.contains { $0 === old } }
                recorder.remotes.keepOnly(Set(remotes.map(\.name)))
                for remote in remotes where !known.contains(where: { $0 === remote }) {
                    known.append(remote)
                    group.addTask { await serve(remote) }
                }
            } while (try? await Task.sleep(for: .seconds(1))) != nil
            group.cancelAll()
        }
    }

    /// Also those that could not be used before; of each that cannot, the vault tells why.
    private func open() {
        do throws(VaultError) {
            try recorder.vault.openRemotes()
            recorder.clear(topic: "remotes")
        } catch {
            recorder.raise(alarm: "The remotes cannot be read: \(error)", topic: "remotes")
        }
    }

    private func serve(_ remote: Remote) async {
        let (pokes, poke) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let events = recorder.vault.events
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await event in events {
                    switch event {
                    case .committed, .deleted: poke.yield()
                    default: break
                    }
                }
            }
            group.addTask { while (try? await Task.sleep(for: Self.interval)) != nil { poke.yield() } }
            group.addTask { await watch(remote) }
            group.addTask { await work(remote, pokes) }
            // The remote was removed, or all ends.
            await group.next()
            group.cancelAll()
        }
        recorder.clear(topic: topic(remote))
    }

    private func topic(_ remote: Remote) -> String { "remote \(remote.name)" }

    // MARK: Work

    private func work(_ remote: Remote, _ pokes: AsyncStream<Void>) async {
        var backoff = Backoff()
        var pokes = pokes.makeAsyncIterator()
        while !Task.isCancelled {
            do throws(VaultError) {
                if try await recorder.vault.renewDamaged(remote) {
                    logger.warning(
                        "what was known of a remote was damaged, and is made anew from the ledger and its listing",
                        metadata: ["remote": "\(remote.name)"])
                    return
                }
                try await round(remote)
                backoff = Backoff()
                recorder.clear(topic: topic(remote))
            } catch {
                guard !Task.isCancelled else { return }
                tell(remote, error)
                let wait = backoff.next(chance: .random(in: 0...1))
                guard (try? await Task.sleep(for: .milliseconds(wait))) != nil else { return }
                continue
            }
            _ = await pokes.next()
        }
    }

    private func round(_ remote: Remote) async throws(VaultError) {
        try await remote.sync()
        let settle = remote.description.eviction?.settle
        try await remote.listAgain(after: settle.map { min(Self.day, max(60_000_000, $0)) } ?? Self.day)
        if settle != nil {
            try await remote.proveByReading(limit: 4)
            while try await recorder.giveUpCopies(in: remote, isPressed: false), !Task.isCancelled {}
        }
        while try await remote.isBackfillWanted() == true, !Task.isCancelled {
            let report = try await remote.backfill(limit: Self.fetches)
            if !report.damaged.isEmpty {
                recorder.raise(
                    alarm:
                        "Remote \(remote.name) has other bytes than were sent for \(report.damaged.count) object(s): \(report.damaged[0]). Run `sudocam remote verify \(remote.name)`.",
                    topic: "backfill \(remote.name)")
            }
            if report.objects < Self.fetches { try await remote.setBackfillWanted(false) }
            try await remote.sync()
        }
    }

    private func tell(_ remote: Remote, _ error: VaultError) {
        let isNew = recorder.raise(alarm: "Remote \(remote.name) is behind: \(error)", topic: topic(remote))
        if isNew {
            logger.error(
                "alarm", metadata: ["remote": "\(remote.name)", "code": "\(error.code)", "error": "\(error)"])
        }
    }

    // MARK: Looking

    /// Ends when the remote is not in use any more.
    private func watch(_ remote: Remote) async {
        var round = 0
        var last: RemoteStatus?
        repeat {
            guard recorder.vault.remotes.contains(where: { $0 === remote }) else { return }
            remote.applyLimit(at: recorder.time.wallNow())
            // Counting reads a row for every object there: not for nothing.
            let isMoving = last.map { $0.waitingObjects > 0 || $0.progress != remote.currentProgress } ?? true
            if round % 60 == 0 || round % 5 == 0 && isMoving, let entry = try? await entry(remote) {
                last = entry.status
                if recorder.remotes.set(entry) { recorder.changes.changed() }
            }
            round += 1
        } while (try? await Task.sleep(for: .seconds(1))) != nil
    }

    private func entry(_ remote: Remote) async throws(VaultError) -> RemoteStatuses.Entry {
        var entry = RemoteStatuses.Entry(status: try await remote.status())
        entry.sentBytes = try await remote.sentBytes()
        if try await remote.isBackfillWanted() == true {
            (entry.backfillObjects, entry.backfillBytes) = try await remote.absentTotal()
        }
        return entry
    }
}

/// From a second to five minutes, doubled each time; between half of it and all of it, so that many recorders do not come back in
/// step. Pure: the chance is an argument.
struct Backoff: Sendable, Hashable {
    static let longestMilliseconds: Int64 = 300_000
    private var milliseconds: Int64 = 1000

    mutating func next(chance: Double) -> Int64 {
        defer { milliseconds = min(Self.longestMilliseconds, milliseconds * 2) }
        return milliseconds / 2 + Int64(Double(milliseconds / 2) * min(1, max(0, chance)))
    }
}

extension RecorderServices {
    /// Gives up one step of copies here that are proven to lie in a remote.
    /// - Returns: whether there would be more.
    func giveUpCopies(in remote: Remote, isPressed: Bool) async throws(VaultError) -> Bool {
        let report = try await remote.evict(limit: 64, isPressed: isPressed)
        return isPressed ? report.objects > 0 : report.isUnfinished
    }

    /// Before retention deletes anything because the disk is short: what lies elsewhere too goes first, whatever its age.
    func giveUpCopies(keepingFree bytes: Int) async {
        for remote in vault.remotes where remote.description.eviction != nil {
            let topic = "copies \(remote.name)"
            do throws(VaultError) {
                while vault.lacksSpace(keepingFree: bytes), !Task.isCancelled {
                    guard try await giveUpCopies(in: remote, isPressed: true) else { break }
                }
                clear(topic: topic)
            } catch {
                guard !Task.isCancelled else { return }
                raise(
                    alarm:
                        "The disk is short of space, and copies that remote \(remote.name) has too could not be given up: \(error.reason)",
                    topic: topic)
            }
        }
    }
}
