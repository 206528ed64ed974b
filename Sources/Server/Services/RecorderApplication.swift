import CProcess
public import Core
import Foundation
import Glibc
public import Logging
import ServiceLifecycle
import Vault
import WebRTC

/// The recorder as a whole: opens the vault, puts the services together, runs them until SIGTERM or SIGINT.
public struct RecorderApplication: Sendable {
    private let configuration: Configuration
    private let time: any TimeSource
    private let logger: Logger
    private let acceptsOlderCopy: Bool

    /// - Parameter acceptsOlderCopy: a vault that is behind, or beside, what was seen of it goes on, and its ledger says so.
    public init(
        configuration: Configuration, acceptsOlderCopy: Bool = false, time: (any TimeSource)? = nil, logger: Logger
    ) {
        self.configuration = configuration
        self.acceptsOlderCopy = acceptsOlderCopy
        self.time = time ?? SystemTime { sudocam_wall_clock_is_synchronised() }
        self.logger = logger
    }

    /// - Parameter ready: called once everything listens, with the page's address and, under TLS, the certificate's
    ///   SHA-256 fingerprint.
    public func run(ready: @escaping @Sendable (_ url: String, _ fingerprint: String?) -> Void) async throws {
        Hardening.apply()
        let (vault, pin) = try await PinStore(configuration).openWriting(
            configuration, time: time, acceptsOlderCopy: acceptsOlderCopy)
        do {
            try await run(vault, pin, ready)
        } catch {
            await vault.close()
            throw error
        }
        await vault.close()
    }

    private func run(
        _ vault: Vault, _ pin: CheckpointPin,
        _ ready: @escaping @Sendable (_ url: String, _ fingerprint: String?) -> Void
    ) async throws {
        let policy = configuration.retentionPolicy(vault: vault.id)
        try vault.check(policy)
        vault.setRetention(policy)
        let changes = ChangeStream()
        let accounts = Accounts(time: time, idleMinutes: configuration.lockAfterMinutes)
        let recording = try await RecordingService(
            configuration: configuration, vault: vault, time: time, logger: logger,
            statusChanged: { changes.changed() })
        let directory = CameraDirectory(recording: recording, configuration: configuration, vault: vault)
        try await directory.refresh()
        let media = try await MediaEndpoint(
            configuration: configuration, vault: vault, live: directory,
            certificate: try DTLSCertificate(now: time.wallNow()), time: time, logger: logger)
        let services = RecorderServices(
            configuration: configuration, vault: vault, recording: recording, directory: directory, media: media,
            accounts: accounts, changes: changes, time: time)
        for alarm in vault.openingAlarms {
            services.raise(alarm: alarm)
            logger.error("found at the start", metadata: ["alarm": "\(alarm)"])
        }
        if !SecretBytes.canLockMemory {
            services.raise(
                alarm:
                    "Keys may be written to swap: this process may not lock memory. Raise LimitMEMLOCK= in its systemd unit (`ulimit -l`), or switch swap off.",
                topic: "memory-lock")
        }
        if let alarm = vault.diskPressure.alarm { services.raise(alarm: alarm, topic: DiskPressure.topic) }
        try await media.bind()

        let page = try PageServer(configuration: configuration, recorder: services, time: time, logger: logger)
            .service(ready: ready)
        let reload = await ReloadService(recorder: services, logger: logger)
        let control = ControlSocket(
            path: configuration.vault + "/control.sock", recorder: services, reload: reload, logger: logger)
        let retention = RetentionService(recorder: services, logger: logger)
        let remotes = RemoteService(recorder: services, logger: logger)
        let scrub = ScrubService(recorder: services, logger: logger)
        let keys = KeyService(recorder: services, unlock: configuration.unlock, logger: logger)
        let pins = PinService(recorder: services, store: PinStore(configuration), first: pin, logger: logger)
        let watch = IdleLock(
            recorder: services, changes: changes, locksWhenIdle: configuration.unlock == nil, logger: logger)
        let notices = NoticeService(recorder: services, logger: logger)
        // Stopped in reverse order: the page first, the recorder last.
        try await ServiceGroup.runAll(
            [
                pins, recording, media, retention, remotes, NameService(recorder: services), keys, scrub, reload,
                control, watch, notices, page,
            ], logger: logger)
    }
}

/// No core files, no attaching by other users, files for their owner only, and memory that is given back is overwritten. For the
/// recorder and for every command: secrets pass through all of them.
package enum Hardening {
    package static func apply() {
        umask(0o077)
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        _ = sudocam_no_dump()
        // Swift's runtime would print registers and memory of a crash, by a second process that may not look into this one and
        // waits for ever. A crash shall end the process, and whoever started it shall see that.
        for number in [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGTRAP] { signal(number, SIG_DFL) }
        // Frames pass through many buffers of libav, Swift and NIO; `mallopt(3)` M_PERTURB fills each when it is freed, so that
        // a closed clip's plaintext does not linger (`docs/threat-model.md`).
        _ = sudocam_fill_freed_memory(0x5A)
    }
}

/// Locks the vault once nobody has used it for a while, and passes the vault's alarms on.
struct IdleLock: Service {
    let recorder: RecorderServices
    let changes: ChangeStream
    /// False when the owner has the vault unlocked by itself: then only `lock` locks it, and sessions end alone.
    let locksWhenIdle: Bool
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await passAlarmsOn(recorder.vault.events) }
                group.addTask { await lockWhenIdle() }
            }
        }
        changes.close()
    }

    func passAlarmsOn(_ events: AsyncStream<VaultEvent>) async {
        for await event in events {
            switch event {
            case .alarm(let text):
                logger.error("alarm", metadata: ["alarm": "\(text)"])
                // What follows the colon is this time's path and reason: one alarm of a kind is enough.
                recorder.raise(alarm: text, topic: String(text.prefix { $0 != ":" }))
            case .calm(let topic): recorder.clear(topic: topic)
            case .disk(let pressure): tell(pressure)
            case .deleted(let clip, .diskFull):
                logger.warning(
                    "deleted, since the disk is full",
                    metadata: ["camera": "\(clip.camera)", "from": "\(clip.start)", "to": "\(clip.end)"])
                tellEarly(clip)
                changes.changed()
            case .committed, .gap, .event, .deleted, .locked, .unlocked: changes.changed()
            }
        }
    }

    /// Unlike what a rule or a budget takes, its owner may have counted on it (V17).
    private func tellEarly(_ clip: ClipRecord) {
        let now = recorder.time.wallNow()
        guard let promise = recorder.vault.retentionPolicy.promise(for: clip), promise > now, clip.end <= now else {
            return
        }
        recorder.retention.tookEarly(at: recorder.time.monotonicNow())
        recorder.raise(
            alarm:
                "The disk is too full to keep what the rules promise: footage up to \(FileTime.iso(clip.end)) is gone, which was to stay until \(FileTime.iso(promise)). `sudocam retention log` lists it, `sudocam retention plan` says how far back the disk reaches.",
            topic: "early")
    }

    private func lockWhenIdle() async {
        while (try? await Task.sleep(for: .seconds(10))) != nil {
            guard locksWhenIdle, recorder.vault.isUnlocked, recorder.accounts.allIdle() else { continue }
            if await recorder.media.counts().sessions == 0 { await recorder.lock() }
        }
    }

    private func tell(_ pressure: DiskPressure) {
        guard let text = pressure.alarm else {
            logger.notice("there is space on the disk again")
            return recorder.clear(topic: DiskPressure.topic)
        }
        logger.error("alarm", metadata: ["alarm": "\(text)"])
        recorder.raise(alarm: text, topic: DiskPressure.topic)
    }
}

extension DiskPressure {
    static let topic = "disk"
    var alarm: String? {
        switch self {
        case .none: nil
        case .full:
            "The disk is full; what lies elsewhere too, then the oldest footage, is deleted here so that recording goes on."
        case .stopped:
            "The disk is full and nothing may be deleted: what is left is on hold, being read, or being recorded. Recording stops until there is space."
        }
    }
}
