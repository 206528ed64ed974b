import Core
import Foundation
import Glibc
public import Vault

/// Which vault belongs at which path, and the newest head of its ledger that was seen: a small file outside of the vault, so
/// that an empty mount point, another disk or an older copy is known for what it is.
///
/// It holds hashes and ids, no secrets. Losing it loses the comparison, nothing else: the next start remembers anew.
public struct PinStore: Sendable {
    /// The file; nil: nothing is remembered.
    public let path: String?
    private let vault: String

    public init(_ configuration: Configuration) {
        path = configuration.pins
        vault = URL(fileURLWithPath: configuration.vault).standardizedFileURL.path
    }
    /// Any name in any file, as `sudocam witness` keeps them.
    public init(path: String, name: String) {
        self.path = path
        vault = name
    }

    /// Where `serve` keeps it: systemd's `StateDirectory=`, else beside the configuration.
    static func standardPath(folder: String) -> String {
        let state = ProcessInfo.processInfo.environment["STATE_DIRECTORY"]?.split(separator: ":").first
        return state.map { $0 + "/vaults.json" } ?? folder + "/.sudocam-vaults.json"
    }

    /// Nil when nothing is remembered of this vault's path. Errors: `.configuration` for a file that cannot be understood:
    /// what it remembered must not be lost silently.
    public func load() throws(ServerError) -> CheckpointPin? { try all()[vault] }

    func all() throws(ServerError) -> [String: CheckpointPin] {
        guard let path, FileManager.default.fileExists(atPath: path) else { return [:] }
        do {
            return try JSONDecoder().decode(
                [String: CheckpointPin].self, from: try Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            throw ServerError(
                .configuration, "\(path), which remembers the vault's last state, cannot be read.",
                hint: "Look at it; removing it only means that the next start remembers anew.",
                underlying: FoundationReason(error))
        }
    }

    /// As `save(all:)`.
    public func save(_ pin: CheckpointPin) throws(ServerError) {
        guard path != nil else { return }
        var pins = try all()
        guard pins[vault] != pin else { return }
        pins[vault] = pin
        try save(all: pins)
    }

    /// Durable on return; either the old or the new one is there after a crash.
    func save(all pins: [String: CheckpointPin]) throws(ServerError) {
        guard let path else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let temporary = path + ".tmp"
        do {
            try SecretFile.write(String(decoding: try encoder.encode(pins), as: UTF8.self) + "\n", to: temporary)
            guard rename(temporary, path) == 0 else {
                throw ServerError(.refused, String(cString: strerror(errno)))
            }
        } catch {
            throw ServerError(
                .refused, "\(path) cannot be written: the vault's last state is not remembered outside of it.",
                hint: "Make the folder writable for SudoCam, or set StateDirectory= in its systemd unit.",
                underlying: FoundationReason(error))
        }
    }

    /// The pinned vault, or an error that says how to go on when it is meant to be another one.
    func opening<Value>(_ body: (CheckpointPin?) async throws -> Value) async throws -> Value {
        let pin = try load()
        do {
            return try await body(pin)
        } catch let error as VaultError {
            guard let path, pin != nil, [.otherVault, .otherHistory, .notFound].contains(error.code) else {
                throw error
            }
            throw VaultError(
                error.code, error.reason,
                hint: [error.hint, "If another vault is to stand there from now on, remove \(path)."].compactMap { $0 }
                    .joined(separator: " "), underlying: error.underlying)
        }
    }

    /// The vault for writing, refused when it is not the one that is remembered; remembered from now on.
    func openWriting(
        _ configuration: Configuration, time: any TimeSource, acceptsOlderCopy: Bool = false
    ) async throws -> (vault: Vault, pin: CheckpointPin) {
        try await opening { pin in
            let vault = try await Vault.open(
                at: configuration.vault, mode: .write(softwareVersion: Version.current), pin: pin,
                acceptsOlderCopy: acceptsOlderCopy, time: time)
            do {
                // An accepted copy does not continue what was seen: from here on it is what is known.
                let next = acceptsOlderCopy ? try await vault.pin() : try await vault.pin(after: pin)
                return (vault, next)
            } catch {
                await vault.close()
                throw error
            }
        }
    }

    /// Before a command writes without opening the vault as a whole.
    func recognise(_ configuration: Configuration, acceptsDamage: Bool = false) async throws {
        try await opening { pin in
            if let pin {
                try await Vault.recognise(at: configuration.vault, as: pin, acceptsDamage: acceptsDamage)
            }
        }
    }
}
