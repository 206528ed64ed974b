import ArgumentParser
import Foundation
import Server
import Vault

struct WitnessCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "witness",
        abstract: "On a second machine: remember a recorder's ledger, and say when its past changes.",
        discussion: """
            Needs no log-in and learns nothing of what was recorded. Exit status 2: rolled back or an older copy, forked, \
            signed by another key, or another vault. docs/guide/proof.md.
            """)
    @Argument(help: "The recorder's address, or the folder of a vault or of its copy.") var target: String
    @Option(help: "Where it is remembered; default: $XDG_STATE_HOME/sudocam/witness.json.") var pins: String?
    @Option(help: "Look again and again, so far apart: 30s, 10m, 1h. Ends at the first look that does not fit.")
    var every: String?
    @Option(help: "The certificate's SHA-256, as `serve` prints it.") var fingerprint: String?
    @Option(help: "The ledger's key, as `prove --show-key` prints it; default: the one that is seen first is believed.")
    var key: String?
    @Flag(help: "What is shown now is a new beginning: after an older copy was put back on purpose.") var accept = false
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let rest = try every.map { try Self.seconds($0) }
            var accepts = accept
            while true {
                do {
                    let look = try await WitnessCommands.look(
                        target, pins: pins ?? WitnessCommands.standardPins, key: key, fingerprint: fingerprint,
                        accepts: accepts)
                    try output.print(look) { "\(look.at)  \(look.text)" }
                    fflush(nil)
                    guard look.verdict.isGood else { throw ExitCode(2) }
                    accepts = false
                } catch let error as ServerError where rest != nil && error.code == .noService {
                    // A recorder that is off for a while has not changed its past.
                    FileHandle.standardError.write(Data("sudocam: \(error)\n".utf8))
                }
                guard let rest else { return }
                try await Task.sleep(for: .seconds(rest))
            }
        }
    }

    private static func seconds(_ text: String) throws -> Int {
        let units = ["s": 1, "m": 60, "h": 3600]
        guard let unit = text.last.flatMap({ units[String($0)] }), let count = Int(text.dropLast()), count > 0,
            count <= 100_000
        else { throw CommandFailure("--every \(text) is no time: 30s, 10m, 1h.") }
        return count * unit
    }
}
