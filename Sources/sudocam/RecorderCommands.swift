import ArgumentParser
import Server

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "What the running recorder does.")
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let status = try ControlClient.status(vault: try configuration.read().vault)
            try output.print(status) {
                let cameras = status.cameras.map {
                    "  \($0.name ?? $0.id): \($0.state)\($0.reason.map { " (\($0))" } ?? "")"
                }
                return
                    (["SudoCam \(status.version), \(status.locked ? "locked" : "unlocked")"] + cameras
                    + (status.verifiedSince.map { ["  everything kept was read and compared since \($0)"] } ?? [])
                    + status.remotes.map(Self.text) + status.alarms.map { "  ALARM: \($0)" }).joined(separator: "\n")
            }
            if !status.alarms.isEmpty
                || status.cameras.contains(where: { !["recording", "archived"].contains($0.state) })
                || status.remotes.contains(where: { $0.failure != nil })
            {
                throw ExitCode(5)
            }
        }
    }

    private static func text(_ remote: ControlClient.Status.Remote) -> String {
        let stand =
            if remote.failure != nil { "fails" } else if remote.followed {
                "followed, \(span(Double(remote.lagSeconds))) behind now"
            } else if remote.lagObjects == 0 { "level" } else {
                "behind by \(span(Double(remote.lagSeconds))), \(remote.lagObjects) object(s) wait"
            }
        return "  remote \(remote.name): \(stand)"
    }
}

struct UnlockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unlock", abstract: "Let the running recorder read footage until `lock` or the idle time-out.")
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let vault = try configuration.read().vault
            try ControlClient.unlock(vault: vault, passphrase: try passphrase.read())
            try output.print(["locked": false]) { "Unlocked." }
        }
    }
}

struct LockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock", abstract: "Take the key from the running recorder; every viewer's picture ends.")
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            try ControlClient.lock(vault: try configuration.read().vault)
            try output.print(["locked": true]) { "Locked. Recording goes on." }
        }
    }
}
