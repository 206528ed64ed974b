import ArgumentParser
import Core
import Foundation
import Glibc
import Server
import Vault

struct ProveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prove",
        abstract: "Write recordings with the proof that they are what was recorded; check such a proof.",
        discussion: """
            Writes a folder with the clips as MP4, their sealed originals, ledger entries with proofs, the signed checkpoint, and a \
            page that explains it. Whoever has the folder can see these clips and no others.

              sudocam prove hall --from 2026-11-25T10:00:00Z --to 2026-11-25T10:05:00Z -o evidence
              sudocam prove --clip 5f0c2a17 -o evidence
              sudocam prove --check evidence --key 'sudocam/…'
              sudocam prove --show-key
            """)
    @OptionGroup var configuration: ConfigurationOptions
    @Argument(help: "A camera's key, name or UUID.") var camera: String?
    @Option(parsing: .unconditional, help: "From: see export.") var from: String?
    @Option(parsing: .unconditional, help: "To: see export.") var to = "now"
    @Option(help: "One clip by its object's name, or the beginning of it (8 digits).") var clip: String?
    @Option(name: .shortAndLong, help: "The folder to write; must not be there.") var output: String?
    @Option(help: "Check this folder instead; needs no vault and no passphrase.") var check: String?
    @Option(help: "With --check: the ledger's key as its owner told it.") var key: String?
    @Flag(help: "Print the key of this vault's ledger, for those who check.") var showKey = false
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var form: OutputOptions

    func validate() throws {
        let wishes = [check != nil, showKey, camera != nil || clip != nil].count { $0 }
        guard wishes == 1 else {
            throw ValidationError("Name a camera (with --from), or --clip, or --check, or --show-key.")
        }
        if camera != nil || clip != nil {
            guard output != nil else { throw ValidationError("Name the folder to write with --output.") }
            guard camera == nil || from != nil else { throw ValidationError("Say with --from where it begins.") }
            guard camera == nil || clip == nil else { throw ValidationError("A camera or --clip, not both.") }
        }
    }

    func run() async throws {
        try await reporting {
            if let check { return try await checkBundle(check) }
            if showKey {
                let key = try await ProofCommands.key(try configuration.read())
                return try form.print(["key": key]) { key }
            }
            var range: TimeRange?
            if let from {
                var options = RangeOptions()
                options.from = from
                options.to = to
                range = try options.range()
            }
            let folder = try OutputFolder(output ?? "")
            let configuration = try configuration.read()
            let secret = try passphrase.read()
            let line = ProgressLine()
            let interrupt = Interrupt(leavingNothingOf: folder, line)
            defer { withExtendedLifetime(interrupt) {} }
            let proved = try await ProofCommands.prove(
                configuration, camera: camera, range: range, object: clip, to: folder, passphrase: secret
            ) { done, total in line.show("\(megabytes(done)) of \(megabytes(total))") }
            line.end()
            try form.print(proved) {
                """
                \(proved.path): \(proved.clips) clip(s) from \(proved.from) to \(proved.to). Open README.html there.
                Tell those who check, in another way than with the folder, that the ledger's key is
                  \(proved.key)
                """
            }
        }
    }

    private func checkBundle(_ folder: String) async throws {
        let checked = try await ProofCommands.check(folder, key: key)
        try form.print(checked) { checked.text }
        if !checked.sound { throw ExitCode(2) }
    }
}
