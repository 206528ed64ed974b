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
    private struct Known {
        /// As the configuration names cameras, recorded here or not.
        var names: [CameraID: String] = [:]
        /// Those of which there is footage.
        var cameras: [CameraID] = []
        /// Others, as their newest clips name them; known once somebody unlocked.
        var otherNames: [CameraID: String] = [:]
    }
    private let known = Mutex(Known())

    init(recording: RecordingService, configuration: Configuration, vault: Vault) {
        self.recording = recording
        self.vault = vault
        adopt(configuration)
    }

    /// Takes the names in a configuration; a camera that it names no longer keeps the one it had.
    func adopt(_ configuration: Configuration) {
        let names = Dictionary(
            configuration.cameras.map { (RecordingService.identity(of: $0.key, in: vault.id), $0.name) },
            uniquingKeysWith: { first, _ in first })
        known.withLock { known in
            known.otherNames.merge(known.names.filter { names[$0.key] == nil }) { _, last in last }
            known.names = names
        }
    }

    /// Those that are not recorded here, in the order of their UUIDs.
    func archived(besides recorded: [CameraRecording]) -> [CameraID] {
        let recorded = Set(recorded.map(\.id))
        return known.withLock { $0.cameras }.filter { !recorded.contains($0) }
    }
    func name(_ camera: CameraID) -> String? { known.withLock { $0.names[camera] ?? $0.otherNames[camera] } }

    /// Looks anew whose footage there is. Errors: of the index.
    func refresh() async throws(VaultError) {
        let cameras = try await vault.recordedCameras()
        known.withLock { $0.cameras = cameras }
    }

    /// Names of cameras that the configuration does not know, from inside their newest clips; nothing while locked.
    func learnNames() async {
        for camera in archived(besides: recording.cameras) where name(camera) == nil {
            guard let end = try? await vault.span(camera: camera)?.end,
                let clip = try? await vault.clip(before: end, camera: camera),
                let object = try? await vault.openObject(clip, toleratesDamage: true),
                let name = try? await ClipReader(object).cameraName
            else { continue }
            known.withLock { $0.otherNames[camera] = name }
        }
    }

    func watch(_ camera: CameraID) -> (group: [TimedUnit], frames: AsyncStream<TimedUnit>)? { recording.watch(camera) }
    func knows(_ camera: CameraID) -> Bool { recording.knows(camera) || known.withLock { $0.cameras.contains(camera) } }
}

/// Learns archived cameras' names as soon as somebody unlocks.
struct NameService: Service {
    let recorder: RecorderServices

    func run() async throws {
        let events = recorder.vault.events
        await cancelWhenGracefulShutdown {
            for await event in events {
                guard case .unlocked = event else { continue }
                await recorder.directory.learnNames()
                recorder.changes.changed()
            }
        }
    }
}
