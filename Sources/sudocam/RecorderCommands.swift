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
                        + ($0.frozenSince.map { ", its picture has not changed since \($0)" } ?? "")
                }
                return
                    (["SudoCam \(status.version), \(status.locked ? "locked" : "unlocked")"] + cameras
                    + (status.verifiedSince.map { ["  everything kept was read and compared since \($0)"] } ?? [])
                    + status.remotes.map(Self.text) + status.alarms.map { "  ALARM: \($0)" }).joined(separator: "\n")
            }
            if !status.alarms.isEmpty
                || status.cameras.contains(where: {
                    !["recording", "archived"].contains($0.state) || $0.frozenSince != nil
                })
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

struct ReloadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload",
        abstract: "Have the running recorder read its configuration anew and apply what differs.",
        discussion: """
            Only what a change concerns is touched: other cameras and their viewers go on. A file with an error in it changes \
            nothing. What wants a restart is named and keeps its old value. SIGHUP does the same; its answer is in the log.
            """)
    @OptionGroup var configuration: ConfigurationOptions
    @Option(help: "Folder of the running recorder's vault, where the file names another one by now.") var vault: String?
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let report = try ControlClient.reload(vault: try vault ?? configuration.read().vault)
            try output.print(report) {
                guard !report.parts.isEmpty else { return "Nothing changed." }
                return report.parts.map {
                    "\($0.what.prefix(1).uppercased() + $0.what.dropFirst()): \($0.names.joined(separator: ", "))"
                }
                .joined(separator: "\n")
            }
        }
    }
}
