import Core
import Vault

extension Configuration {
    /// Its vault, beside the recorder or where none runs: opened to read, locked and closed again whatever `body` comes to.
    ///
    /// Not for who may write (`PinStore.openWriting`), nor for a copy that follows a remote (`VaultMode.mirror`).
    /// - Parameters:
    ///   - passphrase: unlocks it first.
    ///   - hasRemotes: what lies in a remote only is read from there.
    func reading<Value>(
        passphrase: SecretBytes? = nil, hasRemotes: Bool = false, time: any TimeSource,
        _ body: (Vault) async throws -> Value
    ) async throws -> Value {
        let vault = try await Vault.open(at: vault, mode: .read, time: time)
        do {
            if let passphrase { try await vault.unlock(passphrase: passphrase) }
            if hasRemotes { try vault.openRemotes() }
            let value = try await body(vault)
            vault.lock()
            await vault.close()
            return value
        } catch {
            vault.lock()
            await vault.close()
            throw error
        }
    }
}
