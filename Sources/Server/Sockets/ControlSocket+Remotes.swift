import Core
import Foundation
import ServiceLifecycle
import Vault

extension ControlSocket {
    /// A `remote` request; nil while its line is not complete.
    static func remoteRequest(_ bytes: [UInt8]) -> Result<RemoteCommands.Request, any Error>? {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 2, omittingEmptySubsequences: false)
        guard lines.count == 3 else { return nil }
        return Result { try JSONDecoder().decode(RemoteCommands.Request.self, from: Data(lines[1])) }
    }

    /// Ends early, with what is done done, when the recorder stops or nobody listens to the progress any more.
    func perform(
        _ request: RemoteCommands.Request, progress write: (RemoteCommands.Progress) async throws -> Void
    ) async -> Reply {
        let (steps, continuation) = AsyncStream.makeStream(
            of: RemoteCommands.Progress.self, bufferingPolicy: .bufferingNewest(1))
        let vault = recorder.vault
        let work = Task { () -> Reply in
            defer { continuation.finish() }
            do {
                return Reply(
                    ok: true,
                    remote: try await cancelWhenGracefulShutdown {
                        try await RemoteCommands.perform(request, vault) { continuation.yield($0) }
                    })
            } catch let error as VaultError {
                return Reply(ok: false, code: error.code.rawValue, message: error.description)
            } catch {
                return Reply(ok: false, code: "failed", message: "\(error)")
            }
        }
        for await step in steps {
            do { try await write(step) } catch { work.cancel() }
        }
        let reply = await work.value
        recorder.changes.changed()
        return reply
    }
}
