import Core
import Ingest
import Media
import Playback
import ServiceLifecycle
import Synchronization
import Vault

/// Every camera that a viewer may ask for: those being recorded, and those of which there is footage only (taken out of the
/// configuration, restored, or recorded by another machine).
final class CameraDirectory: LiveSource {
    private let recording: RecordingService
    private let vault: Vault
    /// As the configuration names cameras, recorded here or not.
    private let names: [CameraID: String]
    private struct Found {
        var cameras: [CameraID] = []
        /// As their newest clips name them; known once somebody unlocked.
        var names: [CameraID: String] = [:]
    }
    private let found = Mutex(Found())

    init(recording: RecordingService, configuration: Configuration, vault: Vault) {
        self.recording = recording
        self.vault = vault
        names = Dictionary(
            configuration.cameras.map { (RecordingService.identity(of: $0.key, in: vault.id), $0.name) },
            uniquingKeysWith: { first, _ in first })
    }

    /// Those that are not recorded here, in the order of their UUIDs.
    var archived: [CameraID] { found.withLock { $0.cameras } }
    func name(_ camera: CameraID) -> String? { names[camera] ?? found.withLock { $0.names[camera] } }

    /// Looks anew whose footage there is. Errors: of the index.
    func refresh() throws(VaultError) {
        let recorded = Set(recording.cameras.map(\.id))
        let archived = try vault.recordedCameras().filter { !recorded.contains($0) }
        found.withLock { $0.cameras = archived }
    }

    /// Names of cameras that the configuration does not know, from inside their newest clips; nothing while locked.
    func learnNames() async {
        for camera in archived where name(camera) == nil {
            guard let end = try? await vault.span(camera: camera)?.end,
                let clip = try? await vault.clip(before: end, camera: camera),
                let object = try? await vault.openObject(clip, toleratesDamage: true),
                let name = try? await ClipReader(object).cameraName
            else { continue }
            found.withLock { $0.names[camera] = name }
        }
    }

    func watch(_ camera: CameraID) -> (group: [TimedUnit], frames: AsyncStream<TimedUnit>)? { recording.watch(camera) }
    func knows(_ camera: CameraID) -> Bool { recording.knows(camera) || found.withLock { $0.cameras.contains(camera) } }
}

/// Learns archived cameras' names as soon as somebody unlocks.
struct NameService: Service {
    let recorder: RecorderServices

    func run() async throws {
        let events = recorder.vault.events
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await event in events {
                    guard case .unlocked = event else { continue }
                    await recorder.directory.learnNames()
                    recorder.changes.changed()
                }
            }
            group.addTask { try? await gracefulShutdown() }
            await group.next()
            group.cancelAll()
        }
    }
}
