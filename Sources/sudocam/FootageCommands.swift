import ArgumentParser
import Core
import Foundation
import Server
import Vault

struct RangeOptions: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: "From: \(TimeForms.text).") var from: String
    @Option(parsing: .unconditional, help: "To: the same, or now.") var to = "now"

    func range() throws -> TimeRange {
        let now = SystemTime().wallNow()
        guard let start = FileTime.parse(from, now: now) else {
            throw CommandFailure("--from \(from) is no time: write \(TimeForms.text).")
        }
        guard let end = FileTime.parse(to, now: now) else {
            throw CommandFailure("--to \(to) is no time: write \(TimeForms.text).")
        }
        guard start < end else { throw CommandFailure("--from must lie before --to.") }
        return TimeRange(start, end)
    }
}

struct ClipsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "clips", abstract: "List sealed clips; needs no key.")
    @OptionGroup var configuration: ConfigurationOptions
    @Option(help: "A camera's key, name or UUID; default: all.") var camera: String?
    @Option(parsing: .unconditional, help: "From: see export.") var from = "-1d"
    @Option(parsing: .unconditional, help: "To: see export.") var to = "now"
    @Option(help: "At most so many a camera, 1 to 1000000; the earliest.") var limit = 1000
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            var options = RangeOptions()
            (options.from, options.to) = (from, to)
            let list = try await VaultCommands.clips(
                try configuration.read(), camera: camera, range: try options.range(), limit: limit)
            try output.print(list.clips) {
                list.clips.map { "\($0.start)  \($0.end)  \($0.bytes)  \($0.object)\($0.salvaged ? "  salvaged" : "")" }
                    .joined(separator: "\n")
            }
            if list.isCut {
                FileHandle.standardError.write(
                    Data("There are more than \(limit) clips of a camera: give another --limit, or less time.\n".utf8))
            }
        }
    }
}

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a time range of one camera as one MP4, exact to the frame.")
    @OptionGroup var configuration: ConfigurationOptions
    @Argument(help: "A camera's key, name or UUID.") var camera: String
    @OptionGroup var range: RangeOptions
    @Option(name: .shortAndLong, help: "The file to write.") var output: String
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var form: OutputOptions

    func run() async throws {
        try await reporting {
            let (configuration, range) = (try configuration.read(), try range.range())
            let secret = try passphrase.read()
            let line = ProgressLine()
            let file = try OutputFile(output, replaces: true)
            let interrupt = Interrupt(leavingNothingOf: file, line)
            defer { withExtendedLifetime(interrupt) {} }
            let exported = try await VaultCommands.export(
                configuration, camera: camera, range: range, to: file, passphrase: secret
            ) { done, total in line.show("\(megabytes(done)) of \(megabytes(total))") }
            line.end()
            try form.print(exported) {
                "\(exported.path): \(exported.from) to \(exported.to), \(exported.frames) frames, \(megabytes(exported.bytes))"
            }
        }
    }
}
