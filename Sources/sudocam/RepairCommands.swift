import ArgumentParser
import Foundation
import Server
import Vault

struct RepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Put right what verify finds. Only says what it would do, unless told.",
        discussion: """
            Deletes nothing: what is damaged goes to quarantine/, what is lost is entered in the ledger, and viewers see a \
            gap. With --apply the recorder must not run. docs/guide/repair.md.
            """)
    @OptionGroup var configuration: ConfigurationOptions
    @Flag(help: "Do it.") var apply = false
    @Flag(help: "Quarantine every damaged object, also those that still play in part.") var all = false
    @Flag(help: "Enter objects as lost although more than half of all are missing.") var force = false
    @Option(help: "A copy of the vault; what is missing or damaged here and good there is fetched.") var from: String?
    @Flag(help: "Ask for the passphrase, and try what a damaged object still opens.") var open = false
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let line = ProgressLine()
            let secret = open || passphrase.passphraseFD != nil ? try passphrase.read() : nil
            let repaired = try await RepairCommands.repair(
                try configuration.read(), apply: apply, all: all, force: force, from: from, passphrase: secret
            ) { progress in
                line.show(
                    "\(progress.objectsDone) of \(progress.objectsTotal) objects, \(megabytes(progress.bytesDone))")
            }
            line.end()
            try output.print(repaired) {
                var lines = repaired.steps.map { "\($0.action): \($0.subject): \($0.detail)" }
                if repaired.steps.isEmpty { lines.append("Nothing to repair: \(repaired.objects) objects.") }
                let doable = repaired.steps.count { $0.action != "leave" }
                if repaired.braked {
                    lines.append("More than half of all objects are missing. Is every disk mounted?")
                }
                if doable > 0 {
                    lines.append(
                        repaired.applied
                            ? "\(doable) step(s) done." : "\(doable) step(s) to do; `sudocam repair --apply` does them."
                    )
                }
                return lines.joined(separator: "\n")
            }
            if !repaired.complete || !repaired.applied && !repaired.steps.isEmpty { throw ExitCode(2) }
        }
    }
}

struct RebuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebuild",
        abstract: "Make the index anew from the ledger; or, where that is gone too, from the objects.",
        discussion: "The recorder must not run. docs/guide/repair.md.")
    @OptionGroup var configuration: ConfigurationOptions
    @Flag(
        help:
            "The ledger is gone and no copy has it: begin a new one from the objects' headers. Only counts, unless told."
    )
    var fromObjects = false
    @Flag(help: "With --from-objects: do it.") var apply = false
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let settings = try configuration.read()
            let line = ProgressLine()
            guard fromObjects else {
                let rebuilt = try await RepairCommands.rebuildIndex(settings) { done, total in
                    line.show("\(done) of \(total) entries")
                }
                line.end()
                try output.print(rebuilt) {
                    var text = "The index is new: \(rebuilt.clips) clips from \(rebuilt.entries) entries."
                    if rebuilt.malformedEntries > 0 { text += " \(rebuilt.malformedEntries) of them cannot be read." }
                    if rebuilt.matchesCheckpoint != true { text += " The ledger is not what was signed: run verify." }
                    return text
                }
                return
            }
            let rebuilt = try await RepairCommands.rebuildLedger(settings, apply: apply) { line.show("\($0) objects") }
            line.end()
            try output.print(rebuilt) {
                let parts = "\(rebuilt.clips) clips of \(rebuilt.epochs) days' keys"
                let before = rebuilt.entriesBefore.map { " The lost ledger had \($0) entries." } ?? ""
                func list(_ paths: [String], _ title: String) -> String {
                    paths.isEmpty ? "" : "\n\(title):\n" + paths.map { "  \($0)" }.joined(separator: "\n")
                }
                let lists =
                    list(
                        rebuilt.quarantined,
                        "Belonging to nothing known here, \(apply ? "moved" : "to move") to quarantine")
                    + list(rebuilt.unreadable, "Not to be read, so that --apply would write nothing")
                return apply
                    ? "A new ledger with \(parts), and a new index.\(before) Gaps, holds and receipts are gone; set holds again.\(lists)"
                    : "A new ledger would have \(parts).\(before) Nothing was changed; --apply does it.\(lists)"
            }
        }
    }
}
