import Core
import Logging
import ServiceLifecycle
import Synchronization
import Vault

/// How far the reading of everything kept has come, for `/metrics` and the state.
final class ScrubStatus: Sendable {
    private let state = Mutex<ScrubState?>(nil)
    var current: ScrubState? { state.withLock { $0 } }
    func set(_ new: ScrubState) { state.withLock { $0 = new } }
}

/// Reads everything kept, slowly and again and again, so that a dying disk shows while there is still time (V34): one of the 256
/// folders after another, spread over the period, and the ledger once a day.
struct ScrubService: Service {
    let recorder: RecorderServices
    let logger: Logger

    private static let day: Int64 = 86_400_000_000
    private static let shards: Int64 = 256

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await publish()
            // The first minute of a start belongs to the cameras.
            while (try? await Task.sleep(for: .seconds(60))) != nil { await round() }
        }
    }

    /// As they are now: a reload may change them between two folders.
    private var settings: Configuration.Scrub { recorder.configuration.scrub }

    private func publish() async {
        if let state = try? await recorder.vault.scrubState() { recorder.scrub.set(state) }
    }

    /// Everything that is due now.
    private func round() async {
        guard settings.every != nil else { return }
        do {
            var state = try await recorder.vault.scrubState()
            recorder.scrub.set(state)
            if state.ledger.map({ recorder.time.wallNow() - $0 >= Self.day }) ?? true {
                _ = try await recorder.vault.scrubLedger()
                state = try await recorder.vault.scrubState()
                tell(state)
            }
            while let every = settings.every, isDue(state, every), !Task.isCancelled {
                let rate = try await rate(every)
                _ = try await recorder.vault.scrub(shard: state.next) { bytes in
                    try await Task.sleep(for: .seconds(Double(bytes) / Double(rate)))
                }
                state = try await recorder.vault.scrubState()
                tell(state)
            }
            recorder.clear(topic: "scrub-failed")
        } catch is CancellationError {
            return
        } catch {
            logger.error("the scrub failed", metadata: ["error": "\(error)"])
            recorder.raise(alarm: "What is kept could not be read and compared: \(error)", topic: "scrub-failed")
        }
    }

    /// The folder that waits longest has waited for the whole period, or it is time for the next one.
    private func isDue(_ state: ScrubState, _ every: Int64) -> Bool {
        let now = recorder.time.wallNow()
        guard now - state.waitingSince < every else { return true }
        return now - (state.latest ?? state.begun) >= every / Self.shards
    }

    /// Bytes a second: what is set, or more where the period would not suffice.
    private func rate(_ every: Int64) async throws -> Int {
        let bytes = try await recorder.vault.storedBytes()
        return max(settings.rate, Int(Double(bytes) / (Double(every) / 1_000_000) * 1.25))
    }

    private func tell(_ state: ScrubState) {
        recorder.scrub.set(state)
        let found = state.findings.values.flatMap { $0 }
        guard let first = found.first else { return recorder.clear(topic: "scrub") }
        let isNew = recorder.raise(
            alarm:
                "\(found.count) thing(s) kept are not what they were: \(first). Run `sudocam verify`, then `sudocam repair`.",
            topic: "scrub")
        if isNew { for text in found { logger.error("damage found", metadata: ["finding": "\(text)"]) } }
    }
}
