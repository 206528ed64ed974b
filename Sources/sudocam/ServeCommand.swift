import ArgumentParser
import Foundation
import Logging
import Server

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "serve", abstract: "Record, and serve the page.")

    @OptionGroup var configuration: ConfigurationOptions
    @Flag(help: "Go on with a vault that is older than it was seen here; the ledger will say so.")
    var acceptOlderCopy = false
    @Option(help: "trace, debug, info, notice, warning or error.") var logLevel = "notice"

    func run() async throws {
        try await reporting {
            guard let level = Logger.Level(rawValue: logLevel) else {
                throw ValidationError("--log-level is trace, debug, info, notice, warning or error.")
            }
            try await serve(try configuration.read(), level, acceptsOlderCopy: acceptOlderCopy)
        }
    }
}

func serve(_ configuration: Configuration, _ level: Logger.Level, acceptsOlderCopy: Bool = false) async throws {
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    var logger = Logger(label: "sudocam")
    logger.logLevel = level
    let application = RecorderApplication(
        configuration: configuration, acceptsOlderCopy: acceptsOlderCopy, logger: logger)
    try await application.run { url, fingerprint in
        var lines = "SudoCam listens on \(url)\n"
        if let fingerprint { lines += "Certificate SHA-256: \(fingerprint)\n" }
        FileHandle.standardOutput.write(Data(lines.utf8))
    }
}
