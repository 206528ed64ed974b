import ArgumentParser
import Foundation
import Logging
import Server
import Vault

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Record, and serve the page; or --from a remote: play what another machine records.")

    @OptionGroup var configuration: ConfigurationOptions
    @Flag(help: "Go on with a vault that is older than it was seen here; the ledger will say so.")
    var acceptOlderCopy = false
    @Option(help: "trace, debug, info, notice, warning or error.") var logLevel = "notice"
    @OptionGroup(title: "Playing from a remote") var reading: ReadingOptions

    func validate() throws {
        guard !(acceptOlderCopy && reading.from != nil) else {
            throw ValidationError("--accept-older-copy is for a recorder's own vault.")
        }
    }

    func run() async throws {
        try await reporting {
            guard let level = Logger.Level(rawValue: logLevel) else {
                throw ValidationError("--log-level is trace, debug, info, notice, warning or error.")
            }
            guard let from = reading.from else {
                return try await serve(try configuration.read(), level, acceptsOlderCopy: acceptOlderCopy)
            }
            let settings = try await reading.prepare(from, configuration.config)
            try await read(settings, ReadingOptions.name, level)
        }
    }
}

/// Another machine's vault, read-only, from its remote.
struct ReadingOptions: ParsableArguments {
    @Option(help: "Follow the vault there and record nothing: https://host[:port]/bucket[/prefix].") var from: String?
    @Option(help: "With --from: the folder for ledger, keys and what was read back.") var to: String?
    @OptionGroup var server: ServerOptions
    @OptionGroup var elsewhere: KeysElsewhereOptions
    @Option(help: "With --from: a copy of keys/owner.age; the page asks for its passphrase.") var ownerFile: String?
    @Option(help: "With --from: the ledger's key as you noted it.") var ledgerKey: String?
    @Option(help: "With --from: keep so much of what was read back, as 2GB.") var cache: String?
    @Option(help: "With --from: address of the page; default: that of the configuration.") var listen: String?

    static let name = "source"

    func validate() throws {
        guard (from == nil) == (to == nil) else { throw ValidationError("--from and --to belong together.") }
    }

    /// Ledger, keys and index into the folder. The configuration gives names of cameras and the page's address, where there is one.
    func prepare(_ url: String, _ config: String) async throws -> Configuration {
        let folder = ServerOptions.absolute(to ?? "")
        var settings =
            FileManager.default.fileExists(atPath: config)
            ? try ConfigurationReader.read(config) : Configuration(vault: folder)
        settings.vault = folder
        if let listen { settings.listen = try RemoteCommand.Restore.address(listen) }
        guard try RestoreCommands.stage(folder) != .recorder else {
            throw CommandFailure("\(folder) holds a vault that records: `sudocam serve` without --from runs it.")
        }
        var description = server.description(Self.name, url)
        if let cache {
            guard let size = Quantity.size(cache) else { throw CommandFailure("--cache wants a size, as 2GB.") }
            description.cacheBytes = size
        }
        let keys = elsewhere.description(&description, server)
        let isNew = try RestoreCommands.stage(folder) == .nothing
        let line = ProgressLine()
        do {
            let report = try await RestoreCommands.mirror(
                description, to: folder, ledgerKey: ledgerKey, acceptsOlder: false, epochKeys: keys
            ) { line.show("\($0) of \($1) ledger entries") }
            line.end()
            print("Vault \(report.vault): \(report.entries) ledger entries, \(report.clips) clips.")
            print("The ledger is signed by \(report.key)")
        } catch let error as VaultError where !isNew && [.unreachable, .olderCopy, .otherHistory].contains(error.code) {
            // What was seen before stays readable; the page says what is wrong.
            line.end()
            FileHandle.standardError.write(Data("sudocam: \(error)\n".utf8))
        }
        if let sealed = try await owner(description, isNew) {
            try await RestoreCommands.adopt(ownerFile: sealed, at: folder)
        }
        if try RestoreCommands.stage(folder) == .mirrored, isNew {
            _ = try await RestoreCommands.adoptMirrored(settings, Self.name, isBackfilled: false)
        }
        return settings
    }

    private func owner(_ description: RemoteDescription, _ isNew: Bool) async throws -> [UInt8]? {
        guard ownerFile != nil || isNew else { return nil }
        let sealed = try await RestoreCommands.ownerFile(ownerFile, in: description)
        if sealed == nil {
            throw CommandFailure(
                "Nothing here opens the footage. Give a copy of the recorder's keys/owner.age with --owner-file.")
        }
        return sealed
    }
}

func serve(_ configuration: Configuration, _ level: Logger.Level, acceptsOlderCopy: Bool = false) async throws {
    let application = RecorderApplication(
        configuration: configuration, acceptsOlderCopy: acceptsOlderCopy, logger: logger(level))
    try await application.run(ready: announce)
}

/// Serves the page over a vault that follows a remote.
func read(_ configuration: Configuration, _ remote: String, _ level: Logger.Level) async throws {
    let application = ReadingApplication(configuration: configuration, remote: remote, logger: logger(level))
    try await application.run(ready: announce)
}

private func logger(_ level: Logger.Level) -> Logger {
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    var logger = Logger(label: "sudocam")
    logger.logLevel = level
    return logger
}

@Sendable private func announce(_ url: String, _ fingerprint: String?) {
    var lines = "SudoCam listens on \(url)\n"
    if let fingerprint { lines += "Certificate SHA-256: \(fingerprint)\n" }
    FileHandle.standardOutput.write(Data(lines.utf8))
}
