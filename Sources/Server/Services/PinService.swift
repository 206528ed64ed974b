import Core
import Logging
import ServiceLifecycle
import Vault

/// Keeps the newest head of the ledger outside of the vault, once a minute and at the end.
struct PinService: Service {
    let recorder: RecorderServices
    let store: PinStore
    let first: CheckpointPin
    let logger: Logger

    static let interval = Duration.seconds(60)

    func run() async throws {
        var (pin, hasComplained) = (first, false)
        await save(&pin, &hasComplained)
        while !Task.isShuttingDownGracefully {
            do {
                try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) }
            } catch {
                break
            }
            await save(&pin, &hasComplained)
        }
        await save(&pin, &hasComplained)
    }

    private func save(_ pin: inout CheckpointPin, _ hasComplained: inout Bool) async {
        do {
            pin = try await recorder.vault.pin(after: pin)
            try store.save(pin)
        } catch {
            logger.warning("the vault's state is not remembered", metadata: ["error": "\(error)"])
            // One alarm is enough for a folder that stays read-only.
            if !hasComplained { recorder.raise(alarm: "\(error)") }
            hasComplained = true
        }
    }
}
