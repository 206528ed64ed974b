import Core
import Ingest
import Logging
import Media
import Playback
import ServiceLifecycle
import Synchronization
import Vault

/// Runs every camera: source → pipeline → vault, and the one timer that syncs all open clips. Cameras come and go while it runs.
///
/// Stops in order: sources first, then the queues run dry, then the last clips are committed.
final class RecordingService: Service {
    private let recorded = Mutex<[CameraRecording]>([])
    private let (begun, begins) = AsyncStream.makeStream(of: CameraRecording.self)
    private let vault: Vault
    private let time: any TimeSource
    private let logger: Logger
    private let statusChanged: @Sendable () -> Void

    /// Well below the promised second, so that a late timer does not break the promise.
    static let syncInterval = Duration.milliseconds(700)

    init(
        configuration: Configuration, vault: Vault, time: any TimeSource, logger: Logger,
        statusChanged: @escaping @Sendable () -> Void
    ) async throws(VaultError) {
        self.vault = vault
        self.time = time
        self.logger = logger
        self.statusChanged = statusChanged
        for camera in configuration.cameras { begin(try await prepare(camera, Self.policy(configuration))) }
    }

    /// In the order of the configuration.
    var cameras: [CameraRecording] { recorded.withLock { $0 } }

    static func policy(_ configuration: Configuration) -> Recorder.Policy {
        Recorder.Policy(clipLength: Int64(configuration.clipSeconds) * 1_000_000)
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

    // MARK: Cameras that come and go

    /// Ready to `begin`; nothing happens yet. Errors: of the index.
    func prepare(
        _ camera: Configuration.Camera, _ policy: Recorder.Policy
    ) async throws(VaultError) -> CameraRecording {
        let id = Self.identity(of: camera.key, in: vault.id)
        let span = try await vault.span(camera: id)
        let pipeline = Pipeline(
            camera: id, name: camera.name, vault: vault, policy: policy, lastRecorded: span?.end, time: time,
            logger: logger, statusChanged: statusChanged)
        return CameraRecording(id, camera, pipeline: pipeline, time: time, logger: logger)
    }

    /// Recorded as soon as the service runs.
    func begin(_ camera: CameraRecording) {
        recorded.withLock { $0.append(camera) }
        begins.yield(camera)
    }

    /// Returns once their last clips are committed; until `arrange` they are listed still.
    func end(_ cameras: [CameraRecording]) async {
        for camera in cameras { camera.end() }
        for camera in cameras { await camera.ended() }
    }

    /// Lists those that were ended no longer, and the others in the order of these keys.
    func arrange(_ keys: [String]) {
        recorded.withLock { recorded in
            let places = Dictionary(uniqueKeysWithValues: zip(keys, keys.indices))
            recorded = recorded.compactMap { camera in places[camera.configuration.key].map { ($0, camera) } }
                .sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    // MARK: Running

    func run() async throws {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.syncAndTick() }
                for await camera in begun { group.addTask { await camera.run() } }
            }
        } onGracefulShutdown: {
            // None begins after this; one that has begun is listed.
            self.begins.finish()
            for camera in self.cameras { camera.end() }
        }
    }

    private func syncAndTick() async {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: Self.syncInterval)
                for camera in self.cameras { await camera.pipeline.recorder.tick() }
                await self.vault.syncOpenClips()
            }
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
