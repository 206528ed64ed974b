import Core
import Foundation
import ServiceLifecycle
import Vault

/// A `key` request, once all its lines are there; its secrets are in locked memory by then, and wiped where they came in.
struct KeyOrder {
    let request: KeyCommands.Request?
    let secrets: [SecretBytes]

    /// Nil while a line is missing.
    init?(_ bytes: inout [UInt8]) {
        var ends: [Int] = []
        for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") { ends.append(index) }
        guard ends.count >= 2 else { return nil }
        request = try? JSONDecoder().decode(KeyCommands.Request.self, from: Data(bytes[(ends[0] + 1)..<ends[1]]))
        let count = request.map { $0.newPassphrase ? 2 : 1 } ?? 0
        guard ends.count >= 2 + count else { return nil }
        secrets = (0..<count).map { place in
            var line = Array(bytes[(ends[1 + place] + 1)..<ends[2 + place]])
            return SecretBytes(&line)
        }
        for index in bytes.indices { bytes[index] = 0 }
    }
}

extension ControlSocket {
    /// Ends early, with what is done done, when the recorder stops.
    func perform(_ order: KeyOrder, progress write: @escaping @Sendable (KeyCommands.Progress) async -> Void) async
        -> Reply
    {
        defer { for secret in order.secrets { secret.wipe() } }
        guard let request = order.request, let credential = order.secrets.first else {
            return Reply(ok: false, code: "malformed", message: "The request makes no sense.")
        }
        if request.credential == .passphrase, let seconds = recorder.accounts.attempt(address: "control") {
            return .tooManyAttempts(seconds)
        }
        let (steps, continuation) = AsyncStream.makeStream(
            of: KeyCommands.Progress.self, bufferingPolicy: .bufferingNewest(1))
        async let written: Void = { for await step in steps { await write(step) } }()
        let reply: Reply
        do {
            let answer = try await cancelWhenGracefulShutdown {
                try await KeyCommands.perform(
                    request, credential: credential, newPassphrase: order.secrets.dropFirst().first, recorder.vault
                ) { continuation.yield($0) }
            }
            if request.credential == .passphrase { recorder.accounts.succeeded(address: "control") }
            // Whoever is logged in came with the old passphrase.
            if request.newPassphrase { await recorder.lock() }
            reply = Reply(ok: true, key: answer)
        } catch let error as VaultError {
            let isWrong = error.code == .wrongPassphrase
            if request.credential == .passphrase {
                if isWrong {
                    recorder.accounts.failed(address: "control")
                } else {
                    recorder.accounts.succeeded(address: "control")
                }
            }
            reply = Reply(ok: false, code: error.code.rawValue, message: error.description)
        } catch {
            reply = Reply(ok: false, code: "failed", message: "\(error)")
        }
        continuation.finish()
        await written
        await recorder.tellStaleEpochs()
        return reply
    }
}
