public import Core
import Foundation
import Media
import Playback
public import Vault

/// What the command line does with a vault, one function a command; the same whether the recorder runs or not, because
/// reading writes nothing and works beside a writer.
public enum VaultCommands {
    // MARK: init

    public struct Made: Codable, Sendable {
        public var vault: VaultID
        public var path: String
        /// Shown once.
        public var recoveryIdentity: String
        /// Who signs the ledger; no secret.
        public var ledgerKey: String
        public var configuration: String?
    }

    /// Makes a vault, and a first `sudocam.yaml` where none stands.
    public static func initialise(
        vault path: String, configuration: String?, passphrase: SecretBytes, time: any TimeSource = SystemTime()
    ) async throws -> Made {
        if let configuration { try refuseLostVault(path, configuration) }
        let made = try await Vault.create(at: path, passphrase: passphrase, time: time)
        var written: String?
        if let configuration, !FileManager.default.fileExists(atPath: configuration) {
            // Cameras' passwords will stand in it.
            try SecretFile.write(template(vault: path), to: configuration)
            written = configuration
        }
        return Made(
            vault: made.id, path: path, recoveryIdentity: made.recoveryIdentity.revealed(),
            ledgerKey: made.ledgerKey, configuration: written)
    }

    /// A new vault under the mount point of one that is known would hide it, and be hidden by it.
    private static func refuseLostVault(_ path: String, _ configuration: String) throws(ServerError) {
        // What stands there already, whole or without its vault.json, is told apart by making it.
        let remains = ["/vault.json", "/ledger/entries/000"].map { path + $0 }
        guard !remains.contains(where: FileManager.default.fileExists(atPath:)) else { return }
        var settings = Configuration(vault: path)
        settings.pins = PinStore.standardPath(
            folder: URL(fileURLWithPath: configuration).deletingLastPathComponent().path)
        guard let pin = try PinStore(settings).load(), let pins = settings.pins else { return }
        throw ServerError(
            .refused, "\(path) held vault \(pin.vault).",
            hint: "Is its disk mounted? Nothing was written. If it is gone for good, remove \(pins).")
    }

    static func template(vault: String) -> String {
        """
        # SudoCam's configuration; schemas/config.md describes every key.
        vault: \(vault)
        listen: 127.0.0.1:8480
        cameras:
          test:
            name: Test picture
            source: "test:?size=1280x720&rate=25&gop=50"
          # living-room:
          #   name: Living room
          #   source: "rtsp://user:password@192.0.2.10:554/stream1"

        """
    }

    // MARK: clips

    public struct Clip: Codable, Sendable {
        public var camera: CameraID
        /// One unbroken connection of the camera.
        public var run: RunID
        public var sequence: UInt64
        public var start: String
        public var end: String
        public var bytes: Int
        public var object: ObjectID
        public var salvaged: Bool
    }

    public struct ClipList: Sendable {
        /// By camera, each by its start.
        public var clips: [Clip] = []
        /// A camera has more than the limit.
        public var isCut = false
    }

    /// - Parameters:
    ///   - camera: a UUID, or a camera's key in `sudocam.yaml`.
    ///   - limit: clips of each camera, 1 to 1 000 000.
    public static func clips(
        _ configuration: Configuration, camera: String?, range: TimeRange, limit: Int,
        time: any TimeSource = SystemTime()
    ) async throws -> ClipList {
        guard (1...1_000_000).contains(limit) else { throw ServerError(.configuration, "--limit is 1 to 1000000.") }
        return try await configuration.reading(time: time) { vault in
            var list = ClipList()
            for id in try cameras(configuration, camera, vault) {
                let records = try await vault.clips(camera: id, overlapping: range, limit: limit + 1)
                if records.count > limit { list.isCut = true }
                for record in records.prefix(limit) {
                    list.clips.append(
                        Clip(
                            camera: id, run: record.identity.run, sequence: record.identity.sequence,
                            start: FileTime.iso(record.start), end: FileTime.iso(record.end), bytes: record.byteCount,
                            object: record.object, salvaged: record.isSalvaged))
                }
            }
            return list
        }
    }

    private static func cameras(
        _ configuration: Configuration, _ name: String?, _ vault: Vault
    ) throws(ServerError) -> [CameraID] {
        guard let name else { return configuration.cameras.map { RecordingService.identity(of: $0.key, in: vault.id) } }
        if let id = CameraID(name) { return [id] }
        guard let camera = configuration.cameras.first(where: { $0.key == name || $0.name == name }) else {
            throw ServerError(
                .configuration, "There is no camera \(name).",
                hint: "Known are \(configuration.cameras.map(\.key).joined(separator: ", ")), or give a UUID.")
        }
        return [RecordingService.identity(of: camera.key, in: vault.id)]
    }

    /// By UUID, key or name. Errors: `.configuration`.
    static func camera(
        _ name: String, _ configuration: Configuration, _ vault: Vault
    ) throws(ServerError) -> CameraID {
        guard let id = try cameras(configuration, name, vault).first else {
            throw ServerError(.configuration, "There is no camera \(name).")
        }
        return id
    }

    // MARK: export

    public struct Exported: Codable, Sendable {
        public var path: String
        public var from: String
        public var to: String
        public var frames: Int
        public var bytes: Int
    }

    /// Writes one MP4. The file appears under its name only when it is whole; after an error nothing of it is left.
    public static func export(
        _ configuration: Configuration, camera: String, range: TimeRange, to file: OutputFile, passphrase: SecretBytes,
        progress: @Sendable (_ done: Int, _ total: Int) -> Void, time: any TimeSource = SystemTime()
    ) async throws -> Exported {
        do {
            // What lies in a remote only is exported too.
            return try await configuration.reading(passphrase: passphrase, hasRemotes: true, time: time) { vault in
                let id = try Self.camera(camera, configuration, vault)
                let lease = ControlClient.lease(vault: configuration.vault, camera: id, range: range)
                defer { withExtendedLifetime(lease) {} }
                let movie = try await MovieExport(vault: vault, camera: id, range: range)
                var done = 0
                for try await bytes in movie.chunks() {
                    try file.append(bytes)
                    done += bytes.count
                    progress(done, movie.byteCount)
                }
                try file.publish()
                return Exported(
                    path: file.path, from: FileTime.iso(movie.range.start), to: FileTime.iso(movie.range.end),
                    frames: movie.frameCount, bytes: movie.byteCount)
            }
        } catch {
            file.discard()
            throw error
        }
    }
}
