import ArgumentParser
import Glibc
import Server

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Make a vault, and a first sudocam.yaml.")

    @Argument(help: "Folder of the new vault.") var vault = "vault"
    @Option(name: .shortAndLong, help: "Write a first configuration here, unless it stands already.")
    var config = "sudocam.yaml"
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let made = try await VaultCommands.initialise(
                vault: vault, configuration: config, passphrase: try passphrase.read(twice: true))
            // A phone's camera takes the code from the screen; a file or a pipe gets the text alone.
            let code = isatty(STDOUT_FILENO) == 1 ? QRCode(made.recoveryIdentity) : nil
            try output.print(made) {
                """
                Vault \(made.vault) stands in \(made.path).

                Recovery identity, shown this once. Write it down and keep it away from this machine: it opens
                everything when the passphrase is lost.

                    \(made.recoveryIdentity)
                \(code.map { "\n" + $0.lines(indent: "    ").joined(separator: "\n") + "\n" } ?? "")
                The key that signs the ledger, no secret. Note it beside the identity: by it you know your vault when you
                restore it from a copy elsewhere. `sudocam key list` shows it again.

                    \(made.ledgerKey)

                Next: add your cameras to \(config) and run `sudocam serve`.
                """
            }
        }
    }
}
