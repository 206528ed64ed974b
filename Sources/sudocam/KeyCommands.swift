import ArgumentParser
import Foundation
import Glibc
import Server
import Vault

struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Who can open the footage: recipients, passphrase, recovery, sharing.",
        discussion: """
            Every change takes the passphrase anew. Who is let in or shut out, and what is given out, is entered into the signed \
            ledger; another passphrase for the same identity is not.
            """,
        subcommands: [
            List.self, Log.self, AddRecipient.self, RemoveRecipient.self, ChangePassphrase.self, Recover.self,
            Rewrap.self, ExportEpoch.self, Share.self,
        ])
}

/// The owner's passphrase, or an identity instead.
struct CredentialOptions: ParsableArguments {
    @OptionGroup var passphrase: PassphraseOptions
    @Flag(help: "Ask for an identity (AGE-SECRET-KEY-1…) instead of the passphrase.") var identity = false

    func read() throws -> KeyCommands.Credential {
        identity
            ? .identity(try passphrase.read(prompt: "Identity (AGE-SECRET-KEY-1…): ", isIdentity: true))
            : .passphrase(try passphrase.read())
    }
}

private func recipient(_ text: String) throws -> AgeRecipient {
    if let recipient = AgeRecipient(text) { return recipient }
    // Never repeated: it may be a secret in the place of what is public.
    guard !text.uppercased().contains("AGE-SECRET-KEY") else {
        throw CommandFailure(
            "That is an identity, which opens footage: keep it to yourself, and take it out of the shell's history. Its recipient is wanted; `age-keygen -y FILE` prints it."
        )
    }
    throw CommandFailure("That is no recipient. It begins with age1; `age-keygen -y FILE` prints one.")
}

/// What unlocks the vault at each start may still be the old passphrase.
private func unlockHint(_ configuration: Configuration) -> String {
    guard let unlock = configuration.unlock else { return "" }
    return
        "\n`unlock` in the configuration still names \(unlock.description): put the new one there, if it holds the passphrase."
}

private func text(_ changed: KeyCommands.Changed) -> String {
    var lines = ["\(changed.rewrapped) day(s) of cameras sealed to the recipients."]
    lines += changed.failures.map { "Not done: epoch \($0)" }
    if changed.remaining > 0 {
        lines.append("\(changed.remaining) day(s) remain: `sudocam key rewrap` goes on.")
    }
    return lines.joined(separator: "\n")
}

/// A change of who can open the days: shows its progress, prints what came of it, and ends with 1 while days remain.
private func changing(
    _ output: OutputOptions,
    _ change: (@escaping @Sendable (KeyCommands.Progress) -> Void) async throws -> KeyCommands.Changed,
    told: (KeyCommands.Changed) -> String = text
) async throws {
    let line = ProgressLine()
    defer { line.end() }
    let changed = try await change { line.show("\($0.done) of \($0.total) days of cameras sealed anew") }
    line.end()
    try output.print(changed) { told(changed) }
    if changed.remaining > 0 { throw ExitCode(1) }
}

extension KeyCommand {
    /// Said of what is broken off while something is handed out.
    fileprivate static let mayBeEntered =
        " `sudocam key log` says whether the ledger already has it that the key was given out."

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Who can open the footage; needs no key.")
        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let list = try await KeyCommands.list(try configuration.read())
                try output.print(list) {
                    (list.recipients.map { "\($0.recipient)  \($0.role)" } + [
                        "\(list.epochs) day(s) of cameras have a key"
                            + (list.stale > 0
                                ? "; \(list.stale) not sealed to these recipients yet: `sudocam key rewrap` goes on"
                                : ", all sealed to these recipients"),
                        "the ledger is signed by \(list.ledgerKey)",
                    ]).joined(separator: "\n")
                }
            }
        }
    }

    struct Log: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "From the signed ledger: who was let in or shut out, what was given out.")
        @OptionGroup var configuration: ConfigurationOptions
        @Option(help: "The last so many.") var limit = 100
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let log = try await KeyCommands.log(try configuration.read(), limit: max(1, limit))
                try output.print(log) {
                    log.isEmpty ? "Nothing yet." : log.map { "\($0.at)  \($0.what)" }.joined(separator: "\n")
                }
            }
        }
    }

    struct AddRecipient: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add-recipient", abstract: "Let somebody else's identity open everything, old and new.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "age1…, as `age-keygen -y` prints it.") var recipient: String
        @OptionGroup var credential: CredentialOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let (configuration, recipient) = (try configuration.read(), try sudocam.recipient(recipient))
                let credential = try credential.read()
                try await changing(output) {
                    try await KeyCommands.addRecipient(configuration, recipient, credential, progress: $0)
                } told: {
                    "\(recipient) opens everything from now on.\n" + text($0)
                }
            }
        }
    }

    struct RemoveRecipient: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove-recipient",
            abstract: "Shut a recipient out of what comes, and out of the old days' files.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "age1…, as `sudocam key list` shows it.") var recipient: String
        @Flag(help: "Also the recovery identity's, or the one you authorise this with.") var force = false
        @OptionGroup var credential: CredentialOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let (configuration, recipient) = (try configuration.read(), try sudocam.recipient(recipient))
                let credential = try credential.read()
                try await changing(output) {
                    try await KeyCommands.removeRecipient(
                        configuration, recipient, force: force, credential, progress: $0)
                } told: {
                    """
                    \(recipient) opens nothing of what is recorded from the next clip on.
                    \(text($0))
                    What this cannot do: whoever kept a copy of the folder epochs/ from before (a backup, a remote) still opens
                    those days with it. Only `sudocam retention shred` ends that, for everybody.
                    """
                }
            }
        }
    }

    struct ChangePassphrase: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "change-passphrase", abstract: "Another passphrase for the owner's identity.",
            discussion: "--passphrase-fd reads two lines: the old passphrase, then the new one.")
        @OptionGroup var configuration: ConfigurationOptions
        @Flag(
            help:
                "Make a new owner's identity too, so that an old copy of keys/owner.age opens nothing that is sealed anew."
        )
        var newKey = false
        @OptionGroup var passphrase: PassphraseOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let configuration = try configuration.read()
                let old = try passphrase.read(prompt: "Old passphrase: ")
                let new = try passphrase.read(twice: true, prompt: "New passphrase: ")
                guard newKey else {
                    try await KeyCommands.changePassphrase(configuration, from: old, to: new)
                    return try output.print(["changed": true]) {
                        """
                        The passphrase is changed.\(unlockHint(configuration))
                        A copy of keys/owner.age from before still opens with the old one: if that is known to others, use --new-key.
                        """
                    }
                }
                try await changing(output) {
                    try await KeyCommands.replaceOwner(
                        configuration, .passphrase(old), newPassphrase: new, recovery: nil, progress: $0)
                } told: {
                    "The owner has a new identity and passphrase.\(unlockHint(configuration))\n" + text($0)
                }
            }
        }
    }

    struct Recover: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The passphrase is lost: a new one, by the recovery identity.",
            discussion: "--passphrase-fd reads two lines: the recovery identity, then the new passphrase.")
        @OptionGroup var configuration: ConfigurationOptions
        @Flag(help: "Replace the recovery identity too; the new one is shown once, before anything changes.")
        var newRecovery = false
        @OptionGroup var passphrase: PassphraseOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard !(newRecovery && output.json) else {
                throw ValidationError("--new-recovery shows an identity for eyes only: not with --json.")
            }
        }

        func run() async throws {
            try await reporting {
                let configuration = try configuration.read()
                let identity = try passphrase.read(
                    prompt: "Recovery identity (AGE-SECRET-KEY-1…): ", isIdentity: true)
                // Before a new one is shown: a sheet that opens nothing must not be written down.
                try await KeyCommands.check(configuration, identity: identity)
                let new = try passphrase.read(twice: true, prompt: "New passphrase: ")
                let recovery = newRecovery ? try RecoverySheet() : nil
                if let recovery {
                    print(recovery.text)
                    guard passphrase.passphraseFD != nil || PassphraseOptions.confirm("Written down? Type yes: ") else {
                        throw CommandFailure("Nothing was changed.")
                    }
                }
                try await changing(output) {
                    try await KeyCommands.replaceOwner(
                        configuration, .identity(identity), newPassphrase: new, recovery: recovery?.recipient,
                        progress: $0)
                } told: {
                    "The owner has a new identity and passphrase.\(unlockHint(configuration))\n" + text($0)
                        + ($0.remaining > 0 && newRecovery
                            ? "\nKeep the old recovery identity until none remain: `sudocam key rewrap --identity` takes it."
                            : "")
                }
            }
        }
    }

    struct Rewrap: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go on with sealing old days to the present recipients, where that was interrupted.")
        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var credential: CredentialOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let configuration = try configuration.read()
                let credential = try credential.read()
                try await changing(output) {
                    try await KeyCommands.rewrap(configuration, credential, progress: $0)
                }
            }
        }
    }

    struct ExportEpoch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "export-epoch",
            abstract: "One camera's day for a third party: its key, its recordings, how to open them.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "A camera's key, name or UUID.") var camera: String
        @Argument(help: "The day, by UTC, as 2026-11-25.") var day: String
        @Option(name: .shortAndLong, help: "The folder to write.") var output: String
        @Option(help: "Seal the key to this recipient (age1…).") var to: String?
        @Flag(help: "Write the key unsealed: whoever gets the folder sees the pictures.") var plain = false
        @Flag(inversion: .prefixedNo, help: "Copy the sealed recordings into the folder, or only list their names.")
        var objects = true
        @OptionGroup var credential: CredentialOptions
        @OptionGroup var form: OutputOptions

        func validate() throws {
            guard (to == nil) == plain else {
                throw ValidationError("Say who it is for with --to age1…, or --plain for a key that lies unsealed.")
            }
        }

        func run() async throws {
            try await reporting {
                let (configuration, recipient) = (try configuration.read(), try to.map { try sudocam.recipient($0) })
                let folder = try OutputFolder(output)
                let credential = try credential.read()
                let line = ProgressLine()
                let interrupt = Interrupt(leavingNothingOf: folder, line, but: KeyCommand.mayBeEntered)
                defer { withExtendedLifetime(interrupt) {} }
                let exported = try await KeyCommands.export(
                    configuration, camera: camera, day: day, to: recipient, hasObjects: objects, folder: folder,
                    credential
                ) { done, total in line.show("\(megabytes(done)) of \(megabytes(total))") }
                line.end()
                try form.print(exported) {
                    "\(exported.folder): \(exported.clips) clip(s), \(megabytes(exported.bytes)), the key "
                        + (exported.to.map { "sealed to \($0)." } ?? "UNSEALED: keep it from others.")
                        + exported.missing.map { "\nNOT THERE, since it is lost or damaged here: object \($0)" }
                        .joined()
                        + (exported.dayIsOpen
                            ? "\nThe day is not over: the key also opens what this camera records until midnight UTC."
                            : "")
                }
                if !exported.missing.isEmpty { throw ExitCode(1) }
            }
        }
    }

    struct Share: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write one clip as an age file for somebody else; stock age opens it.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(
            help:
                "The beginning of an object's name (8 digits or more, see clips); with --camera a time: 2026-11-25T14:03:27Z, or -10m behind --."
        )
        var clip: String
        @Option(help: "A camera's key, name or UUID: CLIP is a time then.") var camera: String?
        @Option(help: "Who it is for: age1….") var to: String
        @Option(name: .shortAndLong, help: "The file to write.") var output: String
        @OptionGroup var credential: CredentialOptions
        @OptionGroup var form: OutputOptions

        func run() async throws {
            try await reporting {
                let (configuration, recipient) = (try configuration.read(), try sudocam.recipient(to))
                let file = try OutputFile(output)
                let credential = try credential.read()
                let line = ProgressLine()
                let interrupt = Interrupt(leavingNothingOf: file, line, but: KeyCommand.mayBeEntered)
                defer { withExtendedLifetime(interrupt) {} }
                let shared = try await KeyCommands.share(
                    configuration, clip, camera: camera, to: recipient, output: file, credential
                ) { done, total in line.show("\(megabytes(done)) of \(megabytes(total))") }
                line.end()
                try form.print(shared) {
                    "\(shared.path): \(shared.start) to \(shared.end), \(megabytes(shared.bytes)). It opens with: age -d -i KEY -o clip.mp4 \(shared.path)"
                }
            }
        }
    }
}

/// A new recovery identity as it is shown once.
struct RecoverySheet {
    let recipient: AgeRecipient
    let text: String

    init() throws {
        let identity = try AgeIdentity.random()
        recipient = identity.recipient
        let secret = try identity.text()
        defer { secret.wipe() }
        let words = secret.revealed().trimmingCharacters(in: .whitespacesAndNewlines)
        // A phone's camera takes the code from the screen; a file or a pipe gets the text alone.
        let code = isatty(STDOUT_FILENO) == 1 ? QRCode(words) : nil
        text = """
            New recovery identity, shown this once. Write it down and keep it away from this machine: it opens everything
            when the passphrase is lost. Keep the old one until this command says that nothing remains.

                \(words)
            \(code.map { "\n" + $0.lines(indent: "    ").joined(separator: "\n") + "\n" } ?? "")
            """
    }
}
