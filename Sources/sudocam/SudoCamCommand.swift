import ArgumentParser
import Server

@main
struct SudoCamCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sudocam",
        abstract: "A camera recorder that cannot read its own past.",
        discussion: "Every command takes --json. Exit codes: schemas/exit-codes.md.",
        version: Version.current,
        subcommands: [
            InitCommand.self, ServeCommand.self, DemoCommand.self, StatusCommand.self, UnlockCommand.self,
            LockCommand.self, ReloadCommand.self, ClipsCommand.self, ExportCommand.self, VerifyCommand.self,
            RepairCommand.self, RebuildCommand.self, ProveCommand.self, WitnessCommand.self, RetentionCommand.self,
            KeyCommand.self, RemoteCommand.self,
        ])
}
