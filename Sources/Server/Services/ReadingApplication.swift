import CProcess
public import Core
public import Logging
import ServiceLifecycle
import Vault
import WebRTC

/// A machine that plays what another one records: follows the ledger in a remote and signs nothing. No cameras, no retention, no
/// scrub; what would change something is refused by the vault, in words.
public struct ReadingApplication: Sendable {
    private let configuration: Configuration
    private let remote: String
    private let time: any TimeSource
    private let logger: Logger

    /// - Parameters:
    ///   - configuration: its cameras are only names here.
    ///   - remote: name of the remote in the vault's folder, as `RestoreCommands.mirror` left it.
    public init(configuration: Configuration, remote: String, time: (any TimeSource)? = nil, logger: Logger) {
        self.configuration = configuration
        self.remote = remote
        self.time = time ?? SystemTime { sudocam_wall_clock_is_synchronised() }
        self.logger = logger
    }

    /// - Parameter ready: as `RecorderApplication.run`.
    public func run(ready: @escaping @Sendable (_ url: String, _ fingerprint: String?) -> Void) async throws {
        Hardening.apply()
        let vault = try await Vault.open(at: configuration.vault, mode: .mirror, time: time)
        do {
            try await run(vault, ready)
        } catch {
            await vault.close()
            throw error
        }
        await vault.close()
    }

    private func run(
        _ vault: Vault, _ ready: @escaping @Sendable (_ url: String, _ fingerprint: String?) -> Void
    ) async throws {
        let source = try vault.remote(named: remote)
        let changes = ChangeStream()
        let accounts = Accounts(time: time, idleMinutes: configuration.lockAfterMinutes)
        var withoutCameras = configuration
        withoutCameras.cameras = []
        let recording = try await RecordingService(
            configuration: withoutCameras, vault: vault, time: time, logger: logger, statusChanged: {})
        let directory = CameraDirectory(recording: recording, configuration: configuration, vault: vault)
        try await directory.refresh()
        let media = try await MediaEndpoint(
            configuration: configuration, vault: vault, live: directory,
            certificate: try DTLSCertificate(now: time.wallNow()), time: time, logger: logger)
        let services = RecorderServices(
            configuration: configuration, vault: vault, recording: recording, directory: directory, media: media,
            accounts: accounts, changes: changes, time: time)
        for alarm in vault.openingAlarms { services.raise(alarm: alarm) }
        try await media.bind()
        let page = try PageServer(configuration: configuration, recorder: services, time: time, logger: logger)
            .service(ready: ready)
        let control = ControlSocket(
            path: configuration.vault + "/control.sock", recorder: services, reload: nil, logger: logger)
        let follow = FollowService(recorder: services, remote: source, logger: logger)
        let keys = KeyService(recorder: services, unlock: configuration.unlock, logger: logger)
        let watch = IdleLock(
            recorder: services, changes: changes, locksWhenIdle: configuration.unlock == nil, logger: logger)
        try await ServiceGroup.runAll(
            [media, follow, NameService(recorder: services), keys, control, watch, page], logger: logger)
    }
}

/// Takes in what the remote's ledger gains.
struct FollowService: Service {
    let recorder: RecorderServices
    let remote: Remote
    let logger: Logger

    private static let interval = Duration.seconds(5)

    func run() async throws {
        await cancelWhenGracefulShutdown { await follow() }
    }

    private func follow() async {
        var backoff = Backoff()
        var lastSuccess: WallTime?
        while !Task.isCancelled {
            var failure: String?
            var wait = Self.interval
            do throws(VaultError) {
                if try await remote.followLedger() > 0 { try await recorder.directory.refresh() }
                lastSuccess = recorder.time.wallNow()
                backoff = Backoff()
            } catch {
                guard !Task.isCancelled else { return }
                failure = error.description
                wait = max(wait, .milliseconds(backoff.next(chance: .random(in: 0...1))))
            }
            await tell(failure, lastSuccess)
            guard (try? await Task.sleep(for: wait)) != nil else { return }
        }
    }

    private func tell(_ failure: String?, _ lastSuccess: WallTime?) async {
        let topic = "remote \(remote.name)"
        if let failure {
            let isNew = recorder.raise(
                alarm: "Remote \(remote.name) cannot be followed; what was seen before stays readable. \(failure)",
                topic: topic)
            if isNew { logger.error("alarm", metadata: ["remote": "\(remote.name)", "error": "\(failure)"]) }
        } else {
            recorder.clear(topic: topic)
        }
        guard var status = try? await remote.status() else { return }
        let newest = (try? await recorder.vault.recordedSpans())?.map(\.span.end).max()
        status.lagSeconds = newest.map { max(0, (recorder.time.wallNow() - $0) / 1_000_000) } ?? 0
        status.progress.lastSuccess = lastSuccess
        status.progress.failure = failure
        if recorder.remotes.set(RemoteStatuses.Entry(status: status, isFollowed: true)) { recorder.changes.changed() }
    }
}
