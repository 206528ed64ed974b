import Foundation
import Glibc
import Vault

extension Configuration.AutomaticUnlock {
    /// The secret, from the file into locked memory. It must be a regular file of ours or root's that nobody else reads.
    ///
    /// Errors: `.configuration`, with what to do.
    func read(environment: [String: String] = ProcessInfo.processInfo.environment) throws(ServerError) -> SecretBytes {
        let path: String
        // Systemd lends a credential by an access list, which shows as rights of the group.
        let forbidden: mode_t
        switch self {
        case .credential(let name):
            guard let folder = environment["CREDENTIALS_DIRECTORY"], !folder.isEmpty else {
                throw ServerError(
                    .configuration, "`unlock` names the credential \(name), but there is no $CREDENTIALS_DIRECTORY.",
                    hint: "Start SudoCam by systemd with LoadCredential=\(name):/path/to/the/secret.")
            }
            path = folder + "/" + name
            forbidden = 0o007
        case .file(let file):
            path = file
            forbidden = 0o077
        }
        // Without waiting: a pipe of that name would hold up the start for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw ServerError(.configuration, "\(path) cannot be read: \(String(cString: strerror(errno))).")
        }
        defer { close(descriptor) }
        var attributes = stat()
        guard fstat(descriptor, &attributes) == 0, attributes.st_mode & S_IFMT == S_IFREG else {
            throw ServerError(.configuration, "\(path) is no regular file.")
        }
        guard attributes.st_uid == geteuid() || attributes.st_uid == 0 else {
            throw ServerError(
                .configuration, "\(path) belongs to another user, who may read and change it.",
                hint: "chown it to the user that SudoCam runs as.")
        }
        guard attributes.st_mode & forbidden == 0 else {
            throw ServerError(
                .configuration, "\(path) can be read by others and unlocks the vault.", hint: "chmod 600 \(path)")
        }
        do throws(VaultError) {
            return try SecretBytes.contents(of: descriptor)
        } catch {
            throw ServerError(.configuration, "\(path) holds no passphrase: \(error.reason)")
        }
    }

    /// Where the secret comes from.
    package var description: String {
        switch self {
        case .credential(let name): "the credential \(name)"
        case .file(let path): path
        }
    }

    /// Reads, and unlocks: a file with an age identity in it, or a passphrase on its first line.
    func apply(to vault: Vault) async throws {
        let secret = try read()
        defer { secret.wipe() }
        if secret.holdsIdentity { return try await vault.unlock(identity: secret) }
        let passphrase = try secret.firstLine()
        defer { passphrase.wipe() }
        guard passphrase.count > 0 else { throw ServerError(.configuration, "The file that `unlock` names is empty.") }
        try await vault.unlock(passphrase: passphrase)
    }
}
