import ArgumentParser
import Core
import Foundation
import Glibc
import Logging
import Server
import Vault

/// What opens a vault on a machine that has none of its keys.
struct OpeningOptions: ParsableArguments {
    @Flag(help: "Ask for an identity (AGE-SECRET-KEY-1…): the recovery identity, or the owner's own.") var identity =
        false
    @Option(help: "A copy of keys/owner.age that was kept elsewhere; its passphrase is asked for.") var ownerFile:
        String?
    @OptionGroup var passphrase: PassphraseOptions

    func validate() throws {
        guard !identity || ownerFile == nil else { throw ValidationError("Either --identity or --owner-file.") }
    }
}

/// Where the epochs' keys are, if not beside the footage.
struct KeysElsewhereOptions: ParsableArguments {
    @Option(help: "The epochs' keys lie there: https://host[:port]/bucket[/prefix].") var epochKeysFrom: String?
    @Option(help: "With --epoch-keys-from: credentials of their own; default: the same.") var epochKeysCredentials:
        String?

    /// Changes `footage` to say that its keys are elsewhere.
    func description(_ footage: inout RemoteDescription, _ server: ServerOptions) -> RemoteDescription? {
        guard let url = epochKeysFrom else { return nil }
        var keys = server.description("\(footage.name)-keys", url)
        if let file = epochKeysCredentials {
            keys.credentials = .file(ServerOptions.absolute(file), profile: server.profile ?? "default")
        }
        RestoreCommands.pair(&footage, &keys)
        return keys
    }
}

extension RemoteCommand {
    struct Restore: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring a vault back from its remote: onto a bare machine, or what was given up --here.",
            discussion: """
                On a bare machine everything plays within seconds, from the remote; then the footage itself comes, newest first. \
                Broken off, the same command goes on. --passphrase-fd reads what would be asked for, a line each: with \
                --identity the identity and the new passphrase, else the passphrase.
                """)
        @Argument(help: "https://host[:port]/bucket[/prefix]; with --here the remote's name.") var from: String
        @Flag(help: "Bring back what lies in that remote of this vault only.") var here = false
        @Option(help: "The vault's new folder.") var to: String?
        @Option(name: .shortAndLong, help: "The configuration; written anew where none stands.")
        var config = "sudocam.yaml"
        @OptionGroup var server: ServerOptions
        @OptionGroup var elsewhere: KeysElsewhereOptions
        @Option(help: "What the remote is called here.") var name = "offsite"
        @Option(help: "The ledger's key as you noted it: another one is refused.") var ledgerKey: String?
        @Flag(help: "Take a ledger that is shorter than the checkpoints left with it.") var acceptOlder = false
        @OptionGroup var opening: OpeningOptions
        @Flag(help: "Record and serve the page at once; the footage comes meanwhile.") var serve = false
        @Option(help: "Address of the page.") var listen: String?
        @Flag(inversion: .prefixedNo, help: "Bring the footage itself.") var backfill = true
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard here || to != nil else { throw ValidationError("Say with --to where the vault is to stand.") }
            guard !here || (to == nil && !serve) else { throw ValidationError("--here takes no --to and no --serve.") }
        }

        func run() async throws {
            try await reporting {
                if here { return try await bringBack() }
                let vault = ServerOptions.absolute(to ?? "vault")
                var description = server.description(name, from)
                let keys = elsewhere.description(&description, server)
                let line = ProgressLine()
                var mirrored: MirrorReport?
                var secrets: Secrets?
                // Where recording may have gone on, nothing is taken over the ledger: only the footage is missing.
                if try RestoreCommands.stage(vault) != .recorder {
                    let report = try await RestoreCommands.mirror(
                        description, to: vault, ledgerKey: ledgerKey, acceptsOlder: acceptOlder, epochKeys: keys
                    ) { line.show("\($0) of \($1) ledger entries") }
                    line.end()
                    say("Vault \(report.vault): \(report.entries) ledger entries, \(report.clips) clips.")
                    say("The ledger is signed by \(report.key)")
                    say(
                        ledgerKey == nil
                            ? "Compare this key with the one you noted down: whoever owns the bucket could show another vault."
                            : "That is the key you gave.")
                    mirrored = report
                    secrets = try await adopt(vault, description)
                }
                try await goOn(vault, mirrored, secrets, line)
            }
        }

        private struct Secrets {
            var opened: RestoreCommands.Opened
            var identity: SecretBytes?
            var passphrase: SecretBytes
        }

        /// What is told on the way; with --json only the answer goes to standard output.
        private func say(_ text: String) {
            (output.json ? FileHandle.standardError : .standardOutput).write(Data((text + "\n").utf8))
        }

        private func adopt(_ vault: String, _ description: RemoteDescription) async throws -> Secrets {
            if !opening.identity,
                let sealed = try await RestoreCommands.ownerFile(opening.ownerFile, in: description)
            {
                let passphrase = try opening.passphrase.read(prompt: "The vault's passphrase: ")
                let opened = try await RestoreCommands.adopt(
                    ownerFile: sealed, passphrase: passphrase, at: vault, from: description)
                return Secrets(opened: opened, passphrase: passphrase)
            }
            let identity = try opening.passphrase.read(prompt: "Identity (AGE-SECRET-KEY-1…): ")
            let passphrase = try opening.passphrase.read(twice: true, prompt: "New passphrase: ")
            let opened = try await RestoreCommands.adopt(
                identity: identity, passphrase: passphrase, at: vault, from: description)
            return Secrets(opened: opened, identity: identity, passphrase: passphrase)
        }

        private func goOn(
            _ vault: String, _ mirrored: MirrorReport?, _ secrets: Secrets?, _ line: ProgressLine
        ) async throws {
            let written = try RestoreCommands.writeConfiguration(config, vault: vault, listen: listen)
            var configuration = try ConfigurationReader.read(config)
            configuration.vault = vault
            if let listen { configuration.listen = try Self.address(listen) }
            if let secrets, case .recovery = secrets.opened, let identity = secrets.identity {
                try await RestoreCommands.replaceOwner(
                    of: vault, recovery: identity, passphrase: secrets.passphrase, configuration
                ) { line.show("\($0.done) of \($0.total) days of cameras sealed to the new owner") }
                line.end()
                say("A new owner's identity took the place of the lost one; the recovery identity stays as it is.")
            }
            secrets?.passphrase.wipe()
            secrets?.identity?.wipe()
            let absent = try await RestoreCommands.adoptMirrored(configuration, name, isBackfilled: backfill)
            let signs = try RestoreCommands.stage(vault) == .recorder
            if let mirrored {
                if mirrored.missingEpochs > 0 {
                    say(
                        "The keys of \(mirrored.missingEpochs) day(s) of cameras are not there: those days stay closed. --epoch-keys-from names another place."
                    )
                }
                if !signs {
                    say(
                        "There is no signing key there for this identity: the vault plays, and nothing is recorded into it."
                    )
                }
                let restored = RestoreCommands.Restored(
                    mirrored, path: vault, recorder: signs, absent: absent, configuration: written)
                try output.print(restored) {
                    "Everything plays now, \(bytes(absent.bytes)) of it from the remote. "
                        + (serve ? "The page:" : "To look at it: sudocam serve --config \(config)")
                }
                fflush(nil)
            }
            if serve { return try await serve(configuration, signs) }
            guard backfill else { return }
            try await bring(absent) { meter in
                try await RestoreCommands.backfill(configuration, name) { meter.show($0) }
            }
        }

        private func serve(_ configuration: Configuration, _ signs: Bool) async throws {
            if signs { return try await sudocam.serve(configuration, .notice) }
            try await sudocam.read(configuration, name, .notice)
        }

        static func address(_ text: String) throws -> Configuration.Listen {
            guard let listen = Configuration.Listen(text) else {
                throw CommandFailure("--listen \(text) is not understood: write 127.0.0.1:8480.")
            }
            return listen
        }

        // MARK: Footage

        private func bringBack() async throws {
            let configuration = try ConfigurationReader.read(config)
            try await bring(nil) { meter in
                try await RemoteCommands.fetch(configuration, from) { meter.show($0) }
            }
        }

        private func bring(
            _ absent: (objects: Int, bytes: Int)?, _ body: (TransferMeter) async throws -> BackfillReport
        ) async throws {
            if let absent, absent.objects > 0 {
                say("\(absent.objects) object(s), \(bytes(absent.bytes)) come, newest first.")
            }
            let meter = TransferMeter()
            defer { meter.end() }
            let report = try await body(meter)
            meter.end()
            if absent == nil {
                try output.print(report) { text(report) }
            } else {
                say(text(report))
            }
            if !report.damaged.isEmpty { throw ExitCode(1) }
        }

        private func text(_ report: BackfillReport) -> String {
            (report.damaged.map { "damaged there: \($0)" } + [
                "\(report.objects) object(s), \(bytes(report.bytes)) came."
            ]).joined(separator: "\n")
        }
    }

    struct Drill: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Restore an hour chosen by chance into a folder of its own, for real, and compare its frames.",
            discussion: "Asks for the passphrase; works beside the recorder; the folder is removed afterwards.")
        @OptionGroup var remote: NamedRemote
        @Option(help: "Where the drill's folder is made.") var folder = FileManager.default.temporaryDirectory.path
        @OptionGroup var passphrase: PassphraseOptions

        func run() async throws {
            try await reporting {
                let configuration = try remote.configuration.read()
                let line = ProgressLine()
                defer { line.end() }
                let drill = try await DrillCommands.drill(
                    configuration, remote.name, passphrase: try passphrase.read(), folder: folder
                ) { line.show($0) }
                line.end()
                try remote.output.print(drill) {
                    let seconds = { (value: Double) in "\(value.formatted(.number.precision(.fractionLength(2)))) s" }
                    let good =
                        "The hour from \(drill.from): \(drill.clips) clip(s), \(drill.frames) frames, \(bytes(drill.bytes)); frames of \(drill.comparedClips) clip(s) compared with those here."
                    let times =
                        "Ledger, keys and index: \(seconds(drill.mirrorSeconds)). First picture after that: \(seconds(drill.firstPictureSeconds)). The whole hour: \(seconds(drill.hourSeconds)), \(bytes(Int(drill.bytesPerSecond)))/s."
                    return (drill.findings + [good, times]).joined(separator: "\n")
                }
                if !drill.findings.isEmpty { throw ExitCode(2) }
            }
        }
    }
}
