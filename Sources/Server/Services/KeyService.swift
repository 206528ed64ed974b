import Core
import Logging
import ServiceLifecycle
import Vault

/// Unlocks the vault at the start where its owner wants that, and goes on with a re-wrapping that was interrupted as soon as
/// there is a key; until it is done an alarm stands.
struct KeyService: Service {
    let recorder: RecorderServices
    let unlock: Configuration.AutomaticUnlock?
    let logger: Logger

    static let topic = "rewrap"

    func run() async throws {
        let events = recorder.vault.events
        await cancelWhenGracefulShutdown {
            await recorder.tellStaleEpochs()
            await unlockAutomatically()
            for await event in events {
                if case .unlocked = event { await finishRewrapping() }
            }
        }
    }

    private func unlockAutomatically() async {
        guard let unlock else { return }
        do {
            try await unlock.apply(to: recorder.vault)
            logger.notice("the vault was unlocked as `unlock` in sudocam.yaml says")
            recorder.changes.changed()
        } catch {
            logger.error("the vault could not be unlocked automatically", metadata: ["error": "\(error)"])
            recorder.raise(
                alarm: "The vault stays locked: what `unlock` names (\(unlock.description)) does not open it. \(error)",
                topic: "unlock")
        }
    }

    private func finishRewrapping() async {
        recorder.clear(topic: "unlock")
        guard let count = try? await recorder.vault.staleEpochs(), count > 0 else { return }
        logger.notice("re-wrapping goes on", metadata: ["epochs": "\(count)"])
        do {
            let report = try await recorder.vault.rewrap()
            for failure in report.failures {
                logger.error(
                    "an epoch could not be re-wrapped",
                    metadata: ["epoch": "\(failure.epoch)", "reason": "\(failure.reason)"])
            }
        } catch {
            logger.error("re-wrapping failed", metadata: ["error": "\(error)"])
        }
        await recorder.tellStaleEpochs()
    }
}

extension RecorderServices {
    /// Raises or takes back the alarm that some days' keys are not sealed to the present recipients.
    func tellStaleEpochs() async {
        guard let count = try? await vault.staleEpochs() else { return }
        guard count > 0 else { return clear(topic: KeyService.topic) }
        raise(
            alarm:
                "\(count) day(s) of cameras are not sealed to the present recipients yet: a re-wrapping was interrupted. It goes on at the next unlock, or with `sudocam key rewrap`.",
            topic: KeyService.topic)
    }
}
