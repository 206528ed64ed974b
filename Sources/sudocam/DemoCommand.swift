import ArgumentParser
import Foundation
import Logging
import Server
import Vault

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo", abstract: "Record two test pictures (and an RTSP camera) into a vault of its own.")

    @Option(help: "Folder for the demo's vault and configuration.") var folder = "demo"
    @Option(help: "An RTSP camera to record besides.") var rtsp: String?
    @Option(help: "Address of the page.") var listen = "127.0.0.1:8480"

    static let passphrase = "demo"

    func run() async throws {
        try await reporting {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let file = folder + "/sudocam.yaml"
            var text = """
                vault: ./vault
                listen: \(listen)
                cameras:
                  hall:
                    name: Hall (test picture)
                    source: "test:?size=1280x720&rate=25&gop=50&bitrate=2000000"
                  kitchen:
                    name: Kitchen (test picture)
                    source: "test:?size=640x360&rate=15&gop=30&bitrate=600000&profile=main"

                """
            if let rtsp { text += "  garage:\n    name: Garage (RTSP)\n    source: \"\(rtsp)\"\n" }
            try SecretFile.write(text, to: file)
            let configuration = try ConfigurationReader.read(file)
            if !FileManager.default.fileExists(atPath: configuration.vault + "/vault.json") {
                _ = try await VaultCommands.initialise(
                    vault: configuration.vault, configuration: nil, passphrase: SecretBytes(text: Self.passphrase))
            }
            FileHandle.standardOutput.write(Data("The demo's passphrase is: \(Self.passphrase)\n".utf8))
            try await serve(configuration, .notice)
        }
    }
}
