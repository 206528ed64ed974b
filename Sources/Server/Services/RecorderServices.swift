import Core
import Ingest
import Logging
import Playback
import ServiceLifecycle
import Synchronization
import Vault

/// What the HTTP routes and the control socket act upon: the recorder's parts, put together.
final class RecorderServices: Sendable {
    enum Change: Sendable { case changed, heartbeat }

    let vault: Vault
    let recording: RecordingService
    let directory: CameraDirectory
    let media: MediaEndpoint
    let accounts: Accounts
    let changes: ChangeStream
    let time: any TimeSource
    let started: MonotonicTime
    /// What the owner must hear of, by what it is about; newer words replace older ones.
    private let alarms = Mutex<[(topic: String, text: String)]>([])
    private let inForce: Mutex<Configuration>
    let notices = NoticeCounts()
    let retention = RetentionStatus()
    let scrub = ScrubStatus()
    let remotes = RemoteStatuses()
    let reloads = ReloadStatus()
    static let heartbeat = Duration.seconds(15)

    init(
        configuration: Configuration, vault: Vault, recording: RecordingService, directory: CameraDirectory,
        media: MediaEndpoint, accounts: Accounts, changes: ChangeStream, time: any TimeSource
    ) {
        inForce = Mutex(configuration)
        self.vault = vault
        self.recording = recording
        self.directory = directory
        self.media = media
        self.accounts = accounts
        self.changes = changes
        self.time = time
        started = time.monotonicNow()
    }

    /// The configuration in force; a reload changes it.
    var configuration: Configuration { inForce.withLock { $0 } }

    /// Whoever reads `configuration` sees the new one from now on; what holds on to a part of it takes its own.
    func adopt(_ new: Configuration) {
        inForce.withLock { $0 = new }
        vault.setRetention(new.retentionPolicy(vault: vault.id))
        accounts.setIdle(minutes: new.lockAfterMinutes)
        directory.adopt(new)
    }

    func unlock(passphrase: consuming SecretBytes) async throws(VaultError) {
        try await vault.unlock(passphrase: passphrase)
        changes.changed()
    }

    /// Nobody sees anything afterwards: key wiped, sessions ended, connections closed.
    func lock() async {
        vault.lock()
        accounts.logOutAll()
        await media.closeAll()
        changes.changed()
    }

    /// - Parameter topic: what `clear` takes back; the text itself where nothing does.
    /// - Returns: whether it says something new.
    @discardableResult
    func raise(alarm: String, topic: String? = nil) -> Bool {
        let topic = topic ?? alarm
        let isNew = alarms.withLock { alarms in
            if let place = alarms.firstIndex(where: { $0.topic == topic }) {
                guard alarms[place].text != alarm else { return false }
                alarms[place].text = alarm
            } else {
                alarms.append((topic, alarm))
            }
            return true
        }
        if isNew { changes.changed() }
        return isNew
    }

    var standingAlarms: [(topic: String, text: String)] { alarms.withLock { $0 } }

    func clear(topic: String) {
        let isGone = alarms.withLock { alarms in
            let count = alarms.count
            alarms.removeAll { $0.topic == topic }
            return alarms.count < count
        }
        if isGone { changes.changed() }
    }

    func report(loggedIn: Bool) async -> StateReport {
        var cameras: [StateReport.Camera] = []
        let recorded = recording.cameras
        for camera in recorded {
            let status = await camera.pipeline.status
            let span = try? await vault.span(camera: camera.id)
            let open = vault.openClips(camera: camera.id).last
            cameras.append(
                StateReport.Camera(
                    id: camera.id, name: loggedIn ? camera.configuration.name : nil,
                    state: StateReport.CameraState(status.state),
                    since: status.since, reason: loggedIn ? status.reason : nil,
                    frozenSince: status.frozenSince, codec: status.codec,
                    width: status.width, height: status.height, first: span?.start ?? open?.identity.start,
                    last: open?.end ?? span?.end))
        }
        for camera in directory.archived(besides: recorded) {
            let span = try? await vault.span(camera: camera)
            cameras.append(
                StateReport.Camera(
                    id: camera, name: loggedIn ? directory.name(camera) : nil, state: .archived,
                    since: span?.end ?? time.wallNow(), width: 0, height: 0, first: span?.start, last: span?.end))
        }
        return StateReport(
            version: Version.current, vault: vault.id, locked: !vault.isUnlocked,
            loggedIn: loggedIn && vault.isUnlocked, now: time.wallNow(), cameras: cameras,
            verifiedSince: scrub.current?.verifiedSince,
            alarms: alarms.withLock { $0.map(\.text) },
            remotes: loggedIn ? remotes.all.map(StateReport.Remote.init) : nil)
    }

    /// Changes, and a sign of life now and then so that a dead connection is noticed.
    func changesWithHeartbeat() -> AsyncStream<Change> {
        let (stream, continuation) = AsyncStream.makeStream(of: Change.self, bufferingPolicy: .bufferingNewest(2))
        let changes = changes.listen()
        let pump = Task {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { for await _ in changes { continuation.yield(.changed) } }
                group.addTask {
                    while (try? await Task.sleep(for: Self.heartbeat)) != nil { continuation.yield(.heartbeat) }
                }
                // The server waits for every answer to end, also for this endless one, whose reader may be long gone.
                group.addTask { try? await gracefulShutdown() }
                await group.next()
                group.cancelAll()
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in pump.cancel() }
        return stream
    }

    /// What was noticed; what goes on still reaches until now, though the ledger has its beginning only.
    func events(camera: CameraID, overlapping range: TimeRange) async throws(VaultError) -> [EventRecord] {
        let since = await recording.cameras.first { $0.id == camera }?.pipeline.status.frozenSince
        let now = time.wallNow()
        // Of what goes on, what the ledger has may lie before the range.
        let asked = since.map { TimeRange(min($0, range.start), range.end) } ?? range
        return try await vault.events(camera: camera, overlapping: asked).map { event in
            guard event.range.start == since, event.label == .frozen else { return event }
            var event = event
            event.range.end = max(event.range.end, now)
            return event
        }.filter { $0.range.end > range.start }
    }

    func fileName(camera: CameraID, range: TimeRange) -> String {
        let name = recording.cameras.first { $0.id == camera }?.configuration.key ?? "camera"
        let safe = name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
        return "\(String(safe))-\(FileTime.text(range.start)).mp4"
    }
}
