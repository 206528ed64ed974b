import Capture
import Core
import Ingest
import Logging
import Media
import Playback
import ServiceLifecycle
import Synchronization
import Vault

/// Runs every camera: source → pipeline → vault, and the one timer that syncs all open clips.
///
/// Stops in order: sources first, then the queues run dry, then the last clips are committed.
final class RecordingService: Service {
    struct Camera: Sendable {
        var id: CameraID
        var configuration: Configuration.Camera
        var pipeline: Pipeline
    }

    let cameras: [Camera]
    private let vault: Vault
    private let time: any TimeSource
    private let logger: Logger

    /// Well below the promised second, so that a late timer does not break the promise.
    static let syncInterval = Duration.milliseconds(700)

    init(
        configuration: Configuration, vault: Vault, time: any TimeSource, logger: Logger,
        statusChanged: @escaping @Sendable () -> Void
    ) async throws(VaultError) {
        self.vault = vault
        self.time = time
        self.logger = logger
        var cameras: [Camera] = []
        for camera in configuration.cameras {
            let id = Self.identity(of: camera.key, in: vault.id)
            let span = try await vault.span(camera: id)
            let policy = Recorder.Policy(clipLength: Int64(configuration.clipSeconds) * 1_000_000)
            let pipeline = Pipeline(
                camera: id, name: camera.name, vault: vault, policy: policy, lastRecorded: span?.end, time: time,
                logger: logger, statusChanged: statusChanged)
            cameras.append(Camera(id: id, configuration: camera, pipeline: pipeline))
        }
        self.cameras = cameras
    }

    /// A camera keeps its UUID for as long as its key in `sudocam.yaml` stays (S10): UUID version 8 (RFC 9562 section 5.8)
    /// from the vault's UUID and the key.
    static func identity(of key: String, in vault: VaultID) -> CameraID {
        // FNV-1a twice with different seeds: no secret is made here, only a stable name.
        func hash(_ seed: UInt64) -> UInt64 {
            (vault.uuid.bytes + Array(key.utf8)).reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        }
        let high = hash(0xCBF2_9CE4_8422_2325)
        let low = hash(high ^ 0x9E37_79B9_7F4A_7C15)
        return CameraID(UUID(high: high & ~0xF000 | 0x8000, low: low & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000))
    }

    func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for camera in cameras {
                group.addTask { await self.capture(camera) }
                group.addTask { await camera.pipeline.runRecorder() }
            }
            group.addTask { await self.syncAndTick() }
            await group.waitForAll()
        }
    }

    private func capture(_ camera: Camera) async {
        let source = CameraSource(camera.configuration.source, time: time, logger: logger)
        let pipeline = camera.pipeline
        // The stream's consumer is cancelled on shutdown, which stops the source.
        await cancelWhenGracefulShutdownOrCancelled {
            for await event in source.events() {
                switch event {
                case .connected(let parameters): await pipeline.connected(parameters)
                case .parametersChanged(let parameters): await pipeline.parametersChanged(parameters)
                case .unit(let unit): await pipeline.accept(unit)
                case .lost(let count): await pipeline.lost(frames: count)
                case .disconnected(let error): await pipeline.disconnected(error.description)
                }
            }
        }
        pipeline.stop()
    }

    private func syncAndTick() async {
        await cancelWhenGracefulShutdownOrCancelled {
            while !Task.isCancelled {
                do { try await Task.sleep(for: Self.syncInterval) } catch { return }
                for camera in self.cameras { await camera.pipeline.recorder.tick() }
                await self.vault.syncOpenClips()
            }
        }
    }

    private func cancelWhenGracefulShutdownOrCancelled(_ work: @escaping @Sendable () async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await work() }
            group.addTask { try? await gracefulShutdown() }
            await group.next()
            group.cancelAll()
        }
    }
}

extension RecordingService: LiveSource {
    func watch(_ camera: CameraID) -> (group: [TimedUnit], frames: AsyncStream<TimedUnit>)? {
        guard let camera = cameras.first(where: { $0.id == camera }), camera.pipeline.hub.latest != nil else {
            return nil
        }
        return camera.pipeline.hub.watch()
    }
    func knows(_ camera: CameraID) -> Bool { cameras.contains { $0.id == camera } }
}
