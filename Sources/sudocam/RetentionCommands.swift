import ArgumentParser
import Core
import Foundation
import Glibc
import Server
import Vault

struct RetentionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retention", abstract: "What is kept, for how long, and why.",
        subcommands: [
            Plan.self, Explain.self, Simulate.self, Apply.self, Hold.self, Release.self, Holds.self, Log.self,
            Shred.self, ConfirmTime.self,
        ])
}

private func size(_ bytes: Int) -> String { Quantity.text(bytes: bytes) }

/// Before a question about what cannot be undone.
private func wantTerminal(_ flag: String) throws {
    guard isatty(STDIN_FILENO) == 1 else {
        throw CommandFailure("There is no terminal to ask on. Say \(flag) if you mean it.")
    }
}

/// Asks on standard error, so that standard output holds the answer alone.
private func isAgreed(_ question: String) -> Bool {
    FileHandle.standardError.write(Data(question.utf8))
    return ["y", "yes"].contains(readLine()?.lowercased())
}

private func text(_ copy: KeyCopy) -> String {
    switch copy.outcome {
    case .destroyed: "Remote \(copy.remote): its copy of the key is destroyed."
    case .none: "Remote \(copy.remote) never had the key."
    case .notDestroyed: "Remote \(copy.remote) STILL HAS the key: \(copy.why ?? "nobody knows why")"
    }
}

extension RetentionCommand {
    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What the rules keep, how far back it reaches, and when the disk is full.")
        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let plan = try await RetentionCommands.plan(try configuration.read())
                try output.print(plan) { plan.text }
            }
        }
    }

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Which rule decides about a clip, until when, and what would change it.",
            // `-2h` is a time here, not `-2 -h`.
            helpNames: .long)
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(
            parsing: .allUnrecognized,
            help: ArgumentHelp(
                "An object's name, or a time: \(TimeForms.text).", valueName: "object-or-time"))
        var what: [String]
        @Option(help: "With a time: only this camera.") var camera: String?
        @OptionGroup var output: OutputOptions

        mutating func validate() throws {
            what.removeAll { $0 == "--" }
            if what == ["-h"] { throw CleanExit.helpRequest(self) }
            if let odd = what.first(where: { $0.hasPrefix("--") }) { throw ValidationError("Unknown option '\(odd)'") }
            guard what.count == 1 else { throw ValidationError("One object, or one time, is wanted.") }
        }

        func run() async throws {
            try await reporting {
                let all = try await RetentionCommands.explain(try configuration.read(), what[0], camera: camera)
                try output.print(all) { all.map(\.text).joined(separator: "\n") }
            }
        }
    }

    struct Simulate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What the rules would do in the days to come, if they were like the last ones. Deletes nothing.")
        @OptionGroup var configuration: ConfigurationOptions
        @Option(help: "How far, 1 to 3660.") var days = 90
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                guard (1...3660).contains(days) else { throw CommandFailure("--days is 1 to 3660.") }
                let (line, begun) = (ProgressLine(), ContinuousClock.now)
                let simulated = try await RetentionCommands.simulate(try configuration.read(), days: days) {
                    [days] done in
                    if ContinuousClock.now - begun > .seconds(1) { line.show("Day \(done) of \(days)") }
                }
                line.end()
                try output.print(simulated) {
                    guard simulated.basisDays > 0 else {
                        return "Nothing is recorded yet: there is no history to repeat."
                    }
                    var lines = [
                        "Repeats the last \(simulated.basisDays.formatted(.number.precision(.fractionLength(1)))) days."
                    ]
                    for day in simulated.days {
                        let deletions = day.deletions.sorted { $0.key < $1.key }.map { "\($0.value) by \($0.key)" }
                        lines.append(
                            "\(day.time.prefix(10))  \(size(day.bytes)) kept, \(size(day.freeBytes)) free, \(size(day.recordedBytes)) recorded, \(size(day.deletedBytes)) deleted"
                                + (deletions.isEmpty ? "" : " (\(deletions.joined(separator: ", ")))")
                                + (day.unmet.isEmpty ? "" : "  NOT MET"))
                    }
                    return lines.joined(separator: "\n")
                }
            }
        }
    }

    struct Apply: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One pass now. It shows first what would go, and asks.")
        @OptionGroup var configuration: ConfigurationOptions
        @Flag(help: "Only show what would go.") var dryRun = false
        @Flag(help: "Do not ask.") var yes = false
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let settings = try configuration.read()
                if dryRun {
                    let applied = try await RetentionCommands.apply(settings, isDryRun: true)
                    return try output.print(applied) { applied.text }
                }
                if !yes {
                    try wantTerminal("--yes")
                    let planned = try await RetentionCommands.apply(settings, isDryRun: true)
                    // Beside the answer on standard output, which may go into a file.
                    FileHandle.standardError.write(Data((planned.text + "\n").utf8))
                    guard planned.deletions.isEmpty || isAgreed("Delete for good? [y/N] ") else {
                        return try output.print(planned) { "Nothing was deleted." }
                    }
                }
                // Also when nothing is to go: a pass finishes what an interrupted one left.
                let applied = try await RetentionCommands.apply(settings, isDryRun: false)
                try output.print(applied) { applied.text }
            }
        }
    }

    struct Hold: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Keep a range of time until it is released.")
        @OptionGroup var configuration: ConfigurationOptions
        @Option(help: "A camera's key, name or UUID; default: every camera.") var camera: String?
        @OptionGroup var range: RangeOptions
        @Option(help: "Why; sealed, readable only with the passphrase.") var note = ""
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let held = try await RetentionCommands.hold(
                    try configuration.read(), camera: camera, range: try range.range(), note: note)
                try output.print(held) {
                    "Hold \(held.hold) keeps \(held.clips) clip(s), \(size(held.bytes)), and what is recorded in that time from now on."
                }
            }
        }
    }

    struct Release: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a hold; rules and budgets apply again.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "The hold's UUID, from `holds`.") var hold: String
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                guard let id = HoldID(hold) else { throw CommandFailure("\(hold) is no UUID.") }
                try await RetentionCommands.release(try configuration.read(), id)
                try output.print(["released": hold]) {
                    "Released. Nothing was deleted by this: rules and budgets decide again, as `sudocam retention explain` says."
                }
            }
        }
    }

    struct Holds: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List holds; with the passphrase also their notes.")
        @OptionGroup var configuration: ConfigurationOptions
        @Flag(help: "Ask for the passphrase and show the notes.") var notes = false
        @OptionGroup var passphrase: PassphraseOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let secret = notes || passphrase.passphraseFD != nil ? try passphrase.read() : nil
                let holds = try await RetentionCommands.holds(try configuration.read(), passphrase: secret)
                try output.print(holds) {
                    holds.isEmpty
                        ? "No holds."
                        : holds.map {
                            "\($0.hold)  \($0.camera?.printable ?? "every camera")  \($0.start) to \($0.end)  \($0.clips) clip(s), \(size($0.bytes))  \($0.note?.printable ?? ($0.hasNote ? "(note sealed)" : ""))"
                        }.joined(separator: "\n")
                }
            }
        }
    }

    struct Log: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What was deleted, shredded, held and released, and why: receipts from the ledger.")
        @OptionGroup var configuration: ConfigurationOptions
        @Option(parsing: .unconditional, help: "From: \(TimeForms.text).") var from = "-30d"
        @Option(help: "The last so many, 1 to 1000000.") var limit = 1000
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                guard (1...1_000_000).contains(limit) else { throw CommandFailure("--limit is 1 to 1000000.") }
                guard let since = FileTime.parse(from, now: SystemTime().wallNow()) else {
                    throw CommandFailure("--from \(from) is no time: write \(TimeForms.text).")
                }
                let log = try await RetentionCommands.log(
                    try configuration.read(), since: since, limit: limit)
                try output.print(log) {
                    log.map { line in
                        let span = line.start.map { start in line.end.map { "\(start) to \($0)" } ?? start }
                        let words: [String?] = [
                            String(line.entry), line.at, line.what, line.camera, span, line.bytes.map(size), line.cause,
                        ]
                        return words.compactMap { $0?.printable }.joined(separator: "  ")
                    }.joined(separator: "\n")
                }
            }
        }
    }

    struct Shred: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Destroy the key of a camera's day: no copy of that day opens again.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "A camera's key, name or UUID.") var camera: String
        @Argument(help: "The UTC day, as 2026-11-25.") var day: String
        @Flag(help: "Do not ask.") var yes = false
        @Flag(help: "Also while the vault is locked, when nothing can prove that the day opens no more.")
        var unproved = false
        @OptionGroup var passphrase: PassphraseOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                if !yes {
                    try wantTerminal("--yes")
                    guard
                        isAgreed(
                            "Destroy the key of \(camera), \(day)? Nothing of that day can be seen again, and its events go with their footage. [y/N] "
                        )
                    else { throw CommandFailure("Nothing was destroyed.") }
                }
                let shredded = try await RetentionCommands.shred(
                    try configuration.read(), camera: camera, day: day, isUnproved: unproved
                ) { [passphrase] in
                    guard passphrase.passphraseFD != nil || isatty(STDIN_FILENO) == 1 else {
                        throw CommandFailure(
                            "Without the passphrase nothing could prove that the day opens no more. Give it with --passphrase-fd 0, or say --unproved."
                        )
                    }
                    return try passphrase.read()
                }
                let proof =
                    !shredded.proved
                    ? "The vault is locked: that nothing opens any more was not tried."
                    : shredded.triedInVain > 0
                        ? "Each was tried with every key that is left: none opened."
                        : "None of them lay here to be tried."
                try output.print(shredded) {
                    """
                    \(shredded.epochs.count) key(s) destroyed, \(shredded.objects) object(s) removed, \(size(shredded.freedBytes)). \(shredded.events) of them had an event in them: events and footage went together.
                    \(proof)
                    \(shredded.copies.map(text).joined(separator: "\n"))
                    Backups that hold a copy of the key's file still open the day: \(shredded.epochs.map { "epochs/\($0).age" }.joined(separator: ", "))
                    """
                }
            }
        }
    }

    struct ConfirmTime: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "confirm-time",
            abstract: "Say that this machine's clock is right, after it jumped or the recorder was off for long.")
        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                try await RetentionCommands.confirmTime(try configuration.read())
                try output.print(["confirmed": true]) { "The clock counts as right." }
            }
        }
    }
}
