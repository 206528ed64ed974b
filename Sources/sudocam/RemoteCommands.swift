import ArgumentParser
import Foundation
import Server
import Synchronization
import Vault

struct RemoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remote",
        abstract: "Copies of the vault in S3 stores, which are trusted with nothing.",
        discussion: "Whatever goes there is sealed already. docs/guide/remote.md.",
        subcommands: [
            Add.self, Set.self, List.self, Status.self, Sync.self, Verify.self, Evict.self, Restore.self, Drill.self,
            Remove.self,
        ])
}

/// How far a transfer is, how fast, and how long it will take; on a terminal, four times a second.
final class TransferMeter: Sendable {
    private let line = ProgressLine()
    private let began = ContinuousClock.now
    private let last = Mutex(ContinuousClock.now - .seconds(1))

    func show(_ progress: RemoteCommands.Progress) {
        let now = ContinuousClock.now
        let isDue = last.withLock { last in
            guard now - last >= .milliseconds(250) else { return false }
            last = now
            return true
        }
        guard line.isShown, isDue else { return }
        let seconds = max(0.001, (now - began) / .seconds(1))
        let rate = Double(progress.bytes) / seconds
        var text = "\(progress.objects)"
        if progress.totalObjects > 0 { text += " of \(progress.totalObjects)" }
        text += " objects, \(bytes(progress.bytes))"
        if progress.totalBytes > 0 { text += " of \(bytes(progress.totalBytes))" }
        text += ", \(bytes(Int(rate)))/s"
        if progress.totalBytes > progress.bytes, rate > 0 {
            text += ", \(span(Double(progress.totalBytes - progress.bytes) / rate)) left"
        }
        line.show(text)
    }
    func end() { line.end() }
}

/// A remote's name and what every command about one takes.
struct NamedRemote: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOptions
    @Argument(help: "The remote's name.") var name: String
    @OptionGroup var output: OutputOptions
}

private func text(_ remote: RemoteCommands.Described) -> String {
    let contents =
        switch remote.contents {
        case .everything: "everything"
        case .withoutEpochKeys: "footage and ledger, no epoch keys"
        case .onlyEpochKeys: "epoch keys only"
        }
    var lines = ["\(remote.name)  \(remote.url)  \(contents)", "  credentials: \(remote.credentials)"]
    if let limit = remote.limit { lines.append("  at most \(bytes(limit))/s") }
    for limit in remote.limits {
        lines.append("  \(clock(limit.from)) to \(clock(limit.to)): at most \(bytes(limit.bytesPerSecond))/s")
    }
    if let after = remote.evictAfterSeconds {
        lines.append("  copies here go when proven there and older than \(span(Double(after)))")
    }
    return lines.joined(separator: "\n")
}
private func clock(_ minute: Int) -> String {
    let digits = { (number: Int) in number < 10 ? "0\(number)" : "\(number)" }
    return "\(digits(minute / 60)):\(digits(minute % 60))"
}

private func text(_ status: RemoteCommands.Status) -> String {
    var lines = ["\(status.name)  \(status.url)"]
    lines.append(
        status.lagObjects == 0
            ? "  level with the vault"
            : "  behind by \(span(Double(status.lagSeconds))): \(status.lagObjects) object(s), \(bytes(status.lagBytes)) wait"
    )
    if let event = status.oldestUnsentEvent { lines.append("  oldest event not sent: \(event)") }
    lines.append(
        "  \(status.objects) object(s) there, \(bytes(status.bytes)), \(status.provenObjects) proven, \(status.evictedObjects) lie there only"
    )
    lines.append("  ledger: \(status.sentEntries) of \(status.ledgerEntries) entries")
    if status.lockedObjects > 0 {
        lines.append(
            "  \(status.lockedObjects) object(s) removed here are kept there\(status.lockedUntil.map { ", locked until \($0)" } ?? ", for want of rights")"
        )
    }
    if status.unsendableObjects > 0 {
        lines.append("  \(status.unsendableObjects) object(s) cannot be sent or fetched: run `sudocam remote verify`")
    }
    if let listed = status.lastListing { lines.append("  compared with its listing: \(listed)") }
    lines.append("  last success: \(status.lastSuccess ?? "none since the start")")
    if let failure = status.failure { lines.append("  FAILS: \(failure)") }
    return lines.joined(separator: "\n")
}

extension RemoteCommand {
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send everything recorded to an S3 bucket from now on, and what there is already.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "A name for it: a-z, 0-9 and -.") var name: String
        @Argument(help: "https://host[:port]/bucket[/prefix]") var url: String
        @OptionGroup var server: ServerOptions
        @OptionGroup var use: UseOptions
        @Option(help: "footage: no epoch keys go there; epoch-keys: nothing else does.") var only: String?
        @Flag(inversion: .prefixedNo, help: "Ask the server what it can, by trying.") var probe = true
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard only.map({ ["footage", "epoch-keys"].contains($0) }) ?? true else {
                throw ValidationError("--only is footage or epoch-keys.")
            }
        }

        func run() async throws {
            try await reporting {
                var settings = RemoteCommands.Settings()
                settings.url = url
                server.fill(&settings)
                try use.fill(&settings)
                let contents: RemoteDescription.Contents =
                    only == nil ? .everything : only == "footage" ? .withoutEpochKeys : .onlyEpochKeys
                let added = try await RemoteCommands.add(
                    try configuration.read(), name, settings, contents: contents, isProbed: probe)
                try output.print(added) {
                    let found =
                        added.capabilities?.lines.map { "  \($0)" } ?? ["  The server was not asked what it can."]
                    return
                        ([text(added)] + found + ["The recorder sends what there is; `sudocam remote status` shows it."])
                        .joined(separator: "\n")
                }
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change what is given; all else stays. What concerns the server is probed anew.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "The remote's name.") var name: String
        @Option(help: "Another address of the same bucket.") var url: String?
        @OptionGroup var server: ServerOptions
        @OptionGroup var use: UseOptions
        @Flag(inversion: .prefixedNo, help: "Ask the server what it can, by trying.") var probe = true
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                var settings = RemoteCommands.Settings()
                settings.url = url
                server.fill(&settings)
                try use.fill(&settings)
                let changed = try await RemoteCommands.set(try configuration.read(), name, settings, isProbed: probe)
                try output.print(changed) { text(changed) }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The remotes, as they were set up.")
        @OptionGroup var configuration: ConfigurationOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let remotes = try RemoteCommands.list(try configuration.read())
                try output.print(remotes) {
                    remotes.isEmpty
                        ? "No remotes. `sudocam remote add` sets one up." : remotes.map(text).joined(separator: "\n")
                }
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How far each remote is behind, what is proven there, and why it fails if it does.")
        @OptionGroup var configuration: ConfigurationOptions
        @Argument(help: "One remote's name; default: all.") var name: String?
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await reporting {
                let (statuses, outOfUse) = try await RemoteCommands.status(try configuration.read(), name)
                try output.print(statuses) {
                    if !statuses.isEmpty { return statuses.map(text).joined(separator: "\n") }
                    return outOfUse.isEmpty ? "No remotes. `sudocam remote add` sets one up." : "No remote is in use."
                }
                for sentence in outOfUse { FileHandle.standardError.write(Data("sudocam: \(sentence)\n".utf8)) }
                if !outOfUse.isEmpty || statuses.contains(where: { $0.failure != nil }) { throw ExitCode(5) }
            }
        }
    }

    struct Sync: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send until the remote is level. The recorder does so by itself; this waits for it.")
        @OptionGroup var remote: NamedRemote

        func run() async throws {
            try await reporting {
                let meter = TransferMeter()
                defer { meter.end() }
                let status = try await RemoteCommands.sync(try remote.configuration.read(), remote.name) {
                    meter.show($0)
                }
                meter.end()
                try remote.output.print(status) { text(status) }
                if status.failure != nil { throw ExitCode(1) }
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare what lies there with what was sent.",
            discussion: """
                Without options: the ledger, its signature and witnesses, every name and size. --sample reads objects chosen by \
                chance, --all reads every byte. What is missing there and lies here is sent again.
                """)
        @OptionGroup var remote: NamedRemote
        @Option(help: "Read so many objects back, chosen by chance.") var sample: Int?
        @Flag(help: "Read everything back.") var all = false

        func validate() throws {
            guard sample == nil || !all else { throw ValidationError("Either --sample or --all.") }
            guard sample.map({ $0 > 0 }) ?? true else { throw ValidationError("--sample is 1 or more.") }
        }

        func run() async throws {
            try await reporting {
                let meter = TransferMeter()
                defer { meter.end() }
                let report = try await RemoteCommands.verify(
                    try remote.configuration.read(), remote.name, sample: all ? -1 : sample ?? 0
                ) { meter.show($0) }
                meter.end()
                try remote.output.print(report) {
                    let count = report.findings.count + report.omittedFindings
                    let sum =
                        "\(report.ledgerEntries) ledger entries, \(report.objects) objects, \(bytes(report.bytes)) there; \(report.readObjects) objects, \(bytes(report.readBytes)) read; \(report.unsentObjects) not sent yet"
                    let more = report.omittedFindings > 0 ? ["and \(report.omittedFindings) more"] : []
                    return count == 0
                        ? "Nothing found: \(sum)."
                        : (report.findings.map(\.description) + more + ["\(count) finding(s): \(sum)."])
                            .joined(separator: "\n")
                }
                if !report.isClean || report.omittedFindings > 0 { throw ExitCode(2) }
            }
        }
    }

    struct Evict: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give up copies here that are proven to lie there, as --evict-after allows. They still play.")
        @OptionGroup var remote: NamedRemote
        @Flag(help: "Only count.") var dryRun = false

        func run() async throws {
            try await reporting {
                let meter = TransferMeter()
                defer { meter.end() }
                let evicted = try await RemoteCommands.evict(
                    try remote.configuration.read(), remote.name, isDryRun: dryRun
                ) { meter.show($0) }
                meter.end()
                try remote.output.print(evicted) {
                    "\(evicted.objects) object(s), \(bytes(evicted.bytes)) \(evicted.dryRun ? "would go" : "lie in \(remote.name) only now")."
                }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a remote. What lies there stays there.")
        @OptionGroup var remote: NamedRemote
        @Flag(help: "Although clips lie there only.") var force = false

        func run() async throws {
            try await reporting {
                try await RemoteCommands.remove(try remote.configuration.read(), remote.name, isForced: force)
                try remote.output.print(["removed": remote.name]) {
                    "Nothing is sent to \(remote.name) any more. What lies there stays; delete the bucket's contents yourself."
                }
            }
        }
    }
}
