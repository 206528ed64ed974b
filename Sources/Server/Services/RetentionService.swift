import Core
import Logging
import ServiceLifecycle
import Synchronization
import Vault

/// What retention did since the start, for `/metrics`.
final class RetentionStatus: Sendable {
    struct Counts: Sendable {
        /// When the last pass ended well; nil: none did yet.
        var lastRun: WallTime?
        var failures: UInt64 = 0
        /// By cause and camera.
        var unmet: [RetentionShortfall] = []
        var isTimeTrusted = true
        /// Clips that a full disk took although a rule keeps them longer, and when the last one went.
        var early: UInt64 = 0
        var lastEarly: MonotonicTime?
    }
    private let state = Mutex(Counts())
    var counts: Counts { state.withLock { $0 } }

    func ran(_ report: RetentionReport, at time: WallTime) {
        state.withLock { counts in
            counts.lastRun = time
            // A step that ended at its limit did not come to what nothing may give.
            if !report.isUnfinished { counts.unmet = report.unmet }
            counts.isTimeTrusted = report.isTimeTrusted
        }
    }
    func failed() { state.withLock { $0.failures += 1 } }
    func tookEarly(at time: MonotonicTime) {
        state.withLock { counts in
            counts.early += 1
            counts.lastEarly = time
        }
    }
}

/// Applies retention every minute, in small steps, so that recording never waits for it.
struct RetentionService: Service {
    let recorder: RecorderServices
    let logger: Logger

    static let interval = Duration.seconds(60)
    /// Clips of one step, and the rest between two.
    static let step = 64
    static let rest = Duration.milliseconds(200)
    /// So long an alarm of footage that is gone stays, for its owner to see it: a day, in µs.
    static let memory: Int64 = 86_400_000_000

    func run() async throws {
        await cancelWhenGracefulShutdown {
            // The first seconds of a start belong to the cameras.
            guard (try? await Task.sleep(for: .seconds(5))) != nil else { return }
            repeat { await pass() } while (try? await Task.sleep(for: Self.interval)) != nil
        }
    }

    func pass() async {
        while !Task.isCancelled {
            await recorder.giveUpCopies(keepingFree: recorder.vault.retentionPolicy.freeBytes)
            do {
                let report = try await recorder.vault.applyRetention(limit: Self.step)
                recorder.retention.ran(report, at: recorder.time.wallNow())
                tell(report)
                guard report.isUnfinished else { return }
            } catch {
                recorder.retention.failed()
                logger.error("retention failed", metadata: ["error": "\(error)"])
                recorder.raise(alarm: "Retention could not do its work: \(error.reason)", topic: "retention-failed")
                return
            }
            try? await Task.sleep(for: Self.rest)
        }
    }

    private func tell(_ report: RetentionReport) {
        recorder.clear(topic: "retention-failed")
        if let last = report.deletions.last {
            logger.info(
                "clips deleted",
                metadata: [
                    "count": "\(report.deletions.count)", "bytes": "\(report.freedBytes)", "until": "\(last.clip.end)",
                    "causes": "\(Set(report.deletions.map(\.cause.description)).sorted().joined(separator: ", "))",
                ])
        }
        if report.isTimeTrusted {
            recorder.clear(topic: "clock")
        } else {
            recorder.raise(
                alarm:
                    "The clock jumped and nobody vouches for it: nothing is deleted by age or budget. If it is right, run `sudocam retention confirm-time`.",
                topic: "clock")
        }
        if let early = recorder.retention.counts.lastEarly, recorder.time.monotonicNow() - early > Self.memory {
            recorder.clear(topic: "early")
        }
        guard !report.isUnfinished else { return }
        if let unmet = report.unmet.first(where: { $0.cause == .diskFull }) {
            recorder.raise(
                alarm:
                    "The disk lacks \(unmet.bytes / 1_000_000) MB and nothing more may be deleted: what is left is on hold or being read.",
                topic: "disk-full")
        } else {
            recorder.clear(topic: "disk-full")
        }
        if let unmet = report.unmet.first(where: { $0.cause != .diskFull }) {
            recorder.raise(
                alarm:
                    "The budget of \(unmet.camera.map { "camera \(recorder.directory.name($0) ?? $0.description)" } ?? "the vault") is exceeded by \(unmet.bytes / 1_000_000) MB: holds or `minimum` keep what would have to go.",
                topic: "budget")
        } else {
            recorder.clear(topic: "budget")
        }
    }
}
