import CProcess
public import Core
import Foundation
public import Vault

/// `sudocam remote restore` and the beginning of `sudocam serve --from`: a vault on a machine that has nothing but credentials of
/// the remote and something that opens the footage.
public enum RestoreCommands {
    private static var time: any TimeSource { SystemTime { sudocam_wall_clock_is_synchronised() } }

    /// A remote that no vault here knows yet.
    public static func description(
        _ name: String, _ url: String, _ settings: RemoteCommands.Settings
    ) -> RemoteDescription {
        var description = RemoteDescription(
            name: name, url: url, credentials: settings.credentials ?? .environment, added: time.wallNow())
        settings.apply(to: &description)
        return description
    }

    /// Epochs' keys that lie elsewhere: two remotes that belong together.
    public static func pair(_ footage: inout RemoteDescription, _ keys: inout RemoteDescription) {
        footage.contents = .withoutEpochKeys
        keys.contents = .onlyEpochKeys
    }

    // MARK: Ledger, keys and index

    /// Where a restore into a folder stands. Errors: `.io`.
    public static func stage(_ vault: String) throws -> Vault.RestoreStage { try Vault.restoreStage(at: vault) }

    public static func mirror(
        _ description: RemoteDescription, to vault: String, ledgerKey: String?, acceptsOlder: Bool,
        epochKeys: RemoteDescription?, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws -> MirrorReport {
        var options = RestoreOptions()
        options.key = ledgerKey
        options.acceptsOlder = acceptsOlder
        options.epochKeys = epochKeys
        return try await Vault.mirror(description, to: vault, options, time: time, progress: progress)
    }

    // MARK: What opens it

    public enum Opened: Sendable {
        /// The owner's identity: the passphrase opens the vault; with the signing key, recording can go on.
        case owner(signs: Bool)
        /// The recovery identity: a new owner's takes its place as soon as the vault can be written.
        case recovery
    }

    /// With an identity as text, and the passphrase that is to open the vault here from now on.
    public static func adopt(
        identity: SecretBytes, passphrase: SecretBytes, at vault: String, from description: RemoteDescription
    ) async throws -> Opened {
        let signs = try await Vault.adoptKeys(
            at: vault, identity: identity, passphrase: passphrase, from: description, time: time)
        if try Vault.ownerFile(at: vault) != nil { return .owner(signs: signs) }
        guard signs else {
            throw ServerError(
                .refused,
                "The recovery identity opens this vault, but remote \(description.name) has no signing key, so that no new passphrase can be entered here.",
                hint: "Use the owner's identity, or a copy of keys/owner.age with --owner-file.")
        }
        return .recovery
    }

    /// `keys/owner.age`: a copy from a file, or the remote's; nil when the remote has none.
    public static func ownerFile(
        _ path: String?, in description: RemoteDescription
    ) async throws -> [UInt8]? {
        guard let path else { return try await Vault.ownerFile(in: description, time: time) }
        guard let data = FileManager.default.contents(atPath: path), data.count < 1 << 20 else {
            throw ServerError(.configuration, "\(path) cannot be read.")
        }
        return Array(data)
    }

    /// Takes a copy of `keys/owner.age` whose passphrase is known, and the signing key with it if the remote has it.
    public static func adopt(
        ownerFile sealed: [UInt8], passphrase: SecretBytes, at vault: String, from description: RemoteDescription
    ) async throws -> Opened {
        let identity = try await Vault.openOwnerFile(sealed, passphrase: passphrase)
        defer { identity.wipe() }
        let signs = try await Vault.adoptKeys(
            at: vault, identity: identity, passphrase: nil, from: description, time: time)
        try await Vault.adoptOwnerFile(sealed, at: vault)
        return .owner(signs: signs)
    }
    /// The same for a machine that only reads: the file alone, whose passphrase the page asks for.
    public static func adopt(ownerFile sealed: [UInt8], at vault: String) async throws {
        try await Vault.adoptOwnerFile(sealed, at: vault)
    }

    /// A new owner's identity under a passphrase, in place of the one that is lost with the old machine.
    public static func replaceOwner(
        of vault: String, recovery: SecretBytes, passphrase: SecretBytes, _ configuration: Configuration,
        progress: @escaping @Sendable (KeyCommands.Progress) -> Void
    ) async throws {
        try await opened(configuration) { vault in
            let request = KeyCommands.Request(action: .replaceOwner, credential: .identity, newPassphrase: true)
            _ = try await KeyCommands.perform(
                request, credential: recovery, newPassphrase: passphrase, vault, progress: progress)
        }
    }

    // MARK: Going on

    public struct Restored: Codable, Sendable {
        public var vault: VaultID
        public var path: String
        /// To compare with what was noted down.
        public var ledgerKey: String
        public var entries: Int
        public var clips: Int
        /// Days of cameras whose key the remote does not have.
        public var missingEpochs: Int
        /// Whether recording can go on here.
        public var recorder: Bool
        /// Lying in the remote only, so far.
        public var absentObjects: Int
        public var absentBytes: Int
        public var configuration: String?

        public init(
            _ report: MirrorReport, path: String, recorder: Bool, absent: (objects: Int, bytes: Int),
            configuration: String?
        ) {
            vault = report.vault
            self.path = path
            ledgerKey = report.key
            (entries, clips, missingEpochs) = (report.entries, report.clips, report.missingEpochs)
            self.recorder = recorder
            (absentObjects, absentBytes) = absent
            self.configuration = configuration
        }
    }

    /// Writes a configuration without cameras where none stands. Returns its path if it is new.
    public static func writeConfiguration(_ path: String, vault: String, listen: String?) throws -> String? {
        guard !FileManager.default.fileExists(atPath: path) else { return nil }
        try SecretFile.write(
            """
            # SudoCam's configuration; schemas/config.md describes every key. Written by `sudocam remote restore`.
            vault: \(vault)
            listen: \(listen ?? "127.0.0.1:8480")
            # Cameras get their old recordings back when they have their old keys here:
            # cameras:
            #   living-room:
            #     name: Living room
            #     source: "rtsp://user:password@192.0.2.10:554/stream1"

            """, to: path)
        return path
    }

    /// Enters what lies in the remote only, once; everything can be played afterwards. Nothing happens where that was done before.
    ///
    /// - Parameter isBackfilled: whether it is to be brought back, by whoever runs this vault next.
    public static func adoptMirrored(
        _ configuration: Configuration, _ name: String, isBackfilled: Bool
    ) async throws -> (objects: Int, bytes: Int) {
        try await opened(configuration) { vault in
            let remote = try vault.remote(named: name)
            if try await remote.isBackfillWanted() == nil { try await remote.adoptMirrored() }
            try await remote.setBackfillWanted(isBackfilled)
            return try await remote.absentTotal()
        }
    }

    /// Brings back what lies in the remote only, newest first. Broken off, it goes on with the next call.
    public static func backfill(
        _ configuration: Configuration, _ name: String,
        progress: @escaping @Sendable (RemoteCommands.Progress) -> Void
    ) async throws -> BackfillReport {
        try await opened(configuration) { vault in
            guard
                let report = try await RemoteCommands.perform(
                    RemoteCommands.Request(action: .fetch, name: name), vault, progress: progress
                ).backfill
            else { throw ServerError(.refused, "Nothing was said of what came back.") }
            return report
        }
    }

    /// For writing if the signing key is there, else to follow. A machine that has seen more of this vault than the remote knows
    /// about (its disk died with the last seconds on it) goes on all the same; the ledger says so.
    private static func opened<Value: Sendable>(
        _ configuration: Configuration, _ body: (Vault) async throws -> Value
    ) async throws -> Value {
        let vault: Vault
        if try stage(configuration.vault) == .recorder {
            let store = PinStore(configuration)
            var pin: CheckpointPin?
            do {
                (vault, pin) = try await store.openWriting(configuration, time: time)
            } catch let error as VaultError where error.code == .olderCopy {
                (vault, pin) = try await store.openWriting(configuration, time: time, acceptsOlderCopy: true)
            }
            if let pin { try? store.save(pin) }
        } else {
            vault = try await Vault.open(at: configuration.vault, mode: .mirror, time: time)
        }
        do {
            let value = try await body(vault)
            await vault.close()
            return value
        } catch {
            await vault.close()
            throw error
        }
    }
}
