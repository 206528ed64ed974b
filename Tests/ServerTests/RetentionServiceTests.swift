import Core
import Foundation
import Logging
import Synchronization
import TestKit
import Testing
import Vault
import WebRTC

@testable import Server

/// What a recorder is told and tells of retention: log, metrics, alarms, receipts.
@Suite(.timeLimit(.minutes(20))) struct RetentionServiceTests {
    private static let hour: Int64 = 3_600_000_000

    /// A recorder's parts around a vault, none of them running and no camera recorded.
    private struct Recorder {
        let vault: Vault
        let services: RecorderServices
        let retention: RetentionService
        let lines = Lines()
        let camera: CameraID
        let time: ManualTime

        init(_ temporary: TemporaryVault, _ policy: RetentionPolicy) async throws {
            time = temporary.time
            vault = try await temporary.open()
            vault.setRetention(policy)
            camera = RecordingService.identity(of: "hall", in: vault.id)
            let configuration = Configuration(vault: temporary.path)
            let lines = lines
            let logger = Logger(label: "test") { _ in LineHandler(lines: lines) }
            let changes = ChangeStream()
            let recording = try await RecordingService(
                configuration: configuration, vault: vault, time: time, logger: logger, statusChanged: {})
            let directory = CameraDirectory(recording: recording, configuration: configuration, vault: vault)
            let media = try await MediaEndpoint(
                configuration: configuration, vault: vault, live: directory,
                certificate: try DTLSCertificate(now: time.wallNow()), time: time, logger: logger)
            services = RecorderServices(
                configuration: configuration, vault: vault, recording: recording, directory: directory, media: media,
                accounts: Accounts(time: time, idleMinutes: 0), changes: changes, time: time)
            retention = RetentionService(recorder: services, logger: logger)
            let watch = IdleLock(recorder: services, changes: changes, locksWhenIdle: false, logger: logger)
            let events = vault.events
            Task { await watch.passAlarmsOn(events) }
        }

        /// A clip an hour.
        func record(_ count: Int) async throws -> [ClipRecord] {
            var clips: [ClipRecord] = []
            for _ in 0..<count {
                let writer = try await vault.beginClip(camera: camera, run: .random(), start: time.wallNow())
                try await writer.append(patternBytes(2000, seed: UInt64(clips.count)))
                clips.append(try await writer.finish(end: time.wallNow() + 60_000_000))
                time.advance(microseconds: RetentionServiceTests.hour)
            }
            return clips
        }

        /// The value of one line of `/metrics`; nil where it has none.
        func metric(_ name: String) async -> Int? {
            let line = await services.metricsText().split(separator: "\n").first { $0.hasPrefix("sudocam_\(name) ") }
            return line?.split(separator: " ").last.flatMap { Int($0) }
        }
        var alarms: [String] { get async { await services.report(loggedIn: false).alarms } }
        func hasAlarm(_ words: String) async -> Bool { await alarms.contains { $0.contains(words) } }

        /// Events come by way of a stream: soon, not at once.
        func waits(for isThere: () async -> Bool) async throws -> Bool {
            for _ in 0..<200 {
                if await isThere() { return true }
                try await Task.sleep(for: .milliseconds(25))
            }
            return false
        }
    }

    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        func add(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    private struct LineHandler: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            let fields = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0)=\($1)" }
            lines.add("\(event.level) \(event.message) \(fields.joined(separator: " "))")
        }
    }

    @Test func `V17: what a full disk takes inside the promised window is logged, counted, listed and an alarm`()
        async throws
    {
        let temporary = try await TemporaryVault()
        var policy = RetentionPolicy()
        policy.rules = [.init(keep: 30 * 24 * Self.hour, minimum: 24 * Self.hour)]
        // No disk has so much: it counts as full.
        policy.freeBytes = .max
        let recorder = try await Recorder(temporary, policy)
        let clips = try await recorder.record(3)
        #expect(await recorder.alarms.isEmpty)
        await recorder.retention.pass()
        let isTold = try await recorder.waits { await recorder.hasAlarm("what the rules promise") }
        #expect(isTold)
        #expect(try await recorder.waits { await recorder.metric("retention_early_clips_total") == 3 })
        #expect(await recorder.metric(#"retention_deleted_clips_total{cause="disk-full"}"#) == 3)
        let bytes = clips.reduce(0) { $0 + $1.byteCount }
        #expect(await recorder.metric(#"retention_deleted_bytes_total{cause="disk-full"}"#) == bytes)
        let alarm = try #require(await recorder.alarms.first { $0.contains("what the rules promise") })
        // Up to where, and until when it was promised.
        #expect(alarm.contains(FileTime.iso(clips[2].end)))
        #expect(alarm.contains(FileTime.iso(clips[2].end + 30 * 24 * Self.hour)))
        let logged = recorder.lines.all.filter { $0.hasPrefix("warning deleted, since the disk is full") }
        #expect(logged.count == 3 && logged.allSatisfy { $0.contains("camera=\(recorder.camera)") })
        // `sudocam retention log`, from the ledger.
        let log = try await RetentionCommands.log(
            Configuration(vault: temporary.path), since: WallTime(seconds: 0), limit: 100)
        let receipts = log.filter { $0.what == "deleted" }
        #expect(receipts.map(\.object) == clips.map(\.object) && receipts.allSatisfy { $0.cause == "disk-full" })
        #expect(try await recorder.vault.verify().isClean)
        // It stays for its owner to see it, and goes by itself.
        recorder.time.advance(microseconds: 23 * Self.hour)
        await recorder.retention.pass()
        #expect(await recorder.alarms.contains(alarm))
        recorder.time.advance(microseconds: 2 * Self.hour)
        await recorder.retention.pass()
        #expect(await !recorder.alarms.contains(alarm))
        await recorder.vault.close()
    }

    @Test func `V17: a full disk that takes what no rule promised is no alarm`() async throws {
        let temporary = try await TemporaryVault()
        var policy = RetentionPolicy()
        policy.freeBytes = .max
        let recorder = try await Recorder(temporary, policy)
        // Without rules; and with one whose time is over.
        for rules in [[], [RetentionPolicy.Rule(minimum: Self.hour / 2)]] {
            policy.rules = rules
            recorder.vault.setRetention(policy)
            let before = recorder.lines.all.count
            _ = try await recorder.record(2)
            await recorder.retention.pass()
            #expect(
                try await recorder.waits {
                    recorder.lines.all[before...].count { $0.contains("since the disk is full") } == 2
                })
            #expect(await recorder.metric("retention_early_clips_total") == 0)
            #expect(await !recorder.hasAlarm("promise"))
        }
        await recorder.vault.close()
    }

    @Test func `V16: metrics say when retention last ran, what it could not do, and that it failed`() async throws {
        let temporary = try await TemporaryVault()
        let recorder = try await Recorder(temporary, RetentionPolicy())
        let clips = try await recorder.record(6)
        let hold = try await recorder.vault.hold(
            camera: recorder.camera, range: TimeRange(clips[0].start, clips[3].end), note: "")
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.vaultBytes = 3 * clips[0].byteCount
        recorder.vault.setRetention(policy)
        #expect(await recorder.metric("retention_last_run_seconds") == 0)
        #expect(await recorder.metric("clock_trusted") == 1)

        await recorder.retention.pass()
        let ran = recorder.time.wallNow()
        #expect(await recorder.metric("retention_last_run_seconds") == Int(ran.microseconds / 1_000_000))
        #expect(await recorder.metric(#"retention_deleted_clips_total{cause="vault-budget"}"#) == 2)
        let held = clips[..<4].reduce(0) { $0 + $1.byteCount }
        #expect(await recorder.metric(#"retention_unmet_bytes{cause="vault-budget"}"#) == held - 3 * clips[0].byteCount)
        #expect(await recorder.hasAlarm("The budget of the vault is exceeded"))

        try await recorder.vault.release(hold)
        recorder.time.advance(microseconds: 60_000_000)
        await recorder.retention.pass()
        #expect(await recorder.metric("retention_last_run_seconds") == Int(ran.microseconds / 1_000_000) + 60)
        #expect(await recorder.metric(#"retention_deleted_clips_total{cause="vault-budget"}"#) == 3)
        #expect(await recorder.metric(#"retention_unmet_bytes{cause="vault-budget"}"#) == nil)
        #expect(await recorder.alarms.isEmpty)
        #expect(await recorder.metric("retention_failures_total") == 0)

        recorder.time.stepWall(microseconds: 10 * 365 * 24 * Self.hour)
        await recorder.retention.pass()
        #expect(await recorder.metric("clock_trusted") == 0)
        recorder.time.stepWall(microseconds: -10 * 365 * 24 * Self.hour)
        await recorder.retention.pass()
        let last = await recorder.metric("retention_last_run_seconds")
        await recorder.vault.close()
        recorder.time.advance(microseconds: 60_000_000)
        await recorder.retention.pass()
        #expect(await recorder.metric("retention_failures_total") == 1)
        #expect(await recorder.metric("retention_last_run_seconds") == last)
        #expect(await recorder.hasAlarm("Retention could not do its work"))
    }

    @Test func `R2: when only held footage is left of what a full disk asks for, an alarm says so`() async throws {
        let temporary = try await TemporaryVault()
        var policy = RetentionPolicy()
        policy.freeBytes = .max
        let recorder = try await Recorder(temporary, policy)
        let clips = try await recorder.record(3)
        let hold = try await recorder.vault.hold(camera: nil, range: TimeRange(clips[0].start, clips[2].end), note: "")
        await recorder.retention.pass()
        #expect(recorder.vault.deleted.isEmpty)
        #expect(await recorder.hasAlarm("nothing more may be deleted"))
        #expect(try #require(await recorder.metric(#"retention_unmet_bytes{cause="disk-full"}"#)) > 0)
        // The hold ends, and the disk is no longer too small for anything.
        try await recorder.vault.release(hold)
        policy.freeBytes = 0
        recorder.vault.setRetention(policy)
        await recorder.retention.pass()
        #expect(await recorder.alarms.isEmpty)
        #expect(recorder.vault.deleted.isEmpty)
        await recorder.vault.close()
    }
}

@Suite struct RetentionWordsTests {
    private static let hour: Int64 = 3_600_000_000

    @Test func `R1: as configured by nobody everything stays, and plan and explain say for how long`() async throws {
        let temporary = try await TemporaryVault()
        let text = "vault: \(temporary.path)\ncameras: { hall: { source: \"test:\" } }\n"
        let configuration = try ConfigurationReader.parse(text, folder: "/").get()
        let empty = try await RetentionCommands.plan(configuration).text.split(separator: "\n").map(String.init)
        #expect(empty[0] == "No rules: everything is kept until the disk is full; then the oldest goes.")
        #expect(empty[1].hasPrefix("Disk: ") && empty[1].contains(" free, full below "), "\(empty)")
        #expect(empty.count > 2 && empty[2].hasPrefix("Next pass: 0 clip(s), "))

        // The commands ask this machine's clock.
        temporary.time.stepWall(microseconds: SystemTime().wallNow() - temporary.time.wallNow() - 30 * Self.hour)
        temporary.time.setSynchronised(true)
        let vault = try await temporary.open()
        var clips: [ClipRecord] = []
        for index in 0..<29 {
            let writer = try await vault.beginClip(
                camera: RecordingService.identity(of: "hall", in: vault.id), run: .random(),
                start: temporary.time.wallNow())
            try await writer.append(patternBytes(50_000, seed: UInt64(index)))
            clips.append(try await writer.finish(end: temporary.time.wallNow() + 60_000_000))
            temporary.time.advance(microseconds: Self.hour)
        }
        await vault.close()

        let plan = try await RetentionCommands.plan(configuration)
        let words = plan.text.split(separator: "\n").map(String.init)
        #expect(words[0] == empty[0])
        // What there is, what comes each day, and how many days that gives.
        #expect(
            words[1].wholeMatch(
                of: /hall: 29 clips, 1[.,]5 MB, 1[.,]3 MB a day, reaches back [0-9.,]+ days \(disk-full\)/) != nil,
            "\(words[1])")
        #expect(
            words[2].wholeMatch(of: /Disk: .+ of .+ free, full below .+; full on [0-9]{4,}-.+ if nothing went/) != nil)
        #expect(words.count == 4 && words[3] == "Next pass: 0 clip(s), 0 bytes would be deleted.", "\(words[3])")
        let camera = try #require(plan.cameras.first)
        let room = camera.bytes + plan.freeBytes - plan.keepFreeBytes
        let reach = try #require(camera.reachDays)
        #expect(abs(reach * Double(camera.bytesPerDay) / Double(room) - 1) < 0.01)
        #expect(plan.next.deletions.isEmpty)

        let explained = try await RetentionCommands.explain(
            configuration, FileTime.iso(clips[0].start + 1_000_000), camera: "hall")
        #expect(explained.map(\.object) == [clips[0].object])
        let lines = explained[0].text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        #expect(lines[0].hasPrefix("hall  \(FileTime.iso(clips[0].start)) to "))
        #expect(lines[1] == "No rule fits it: only a budget or a full disk takes it.")
        #expect(lines[2].wholeMatch(of: /disk-full: its turn after .+ more, about [0-9]{4,}-.+/) != nil, "\(lines[2])")
        #expect(
            lines[3...] == [
                "A rule under `retention` in sudocam.yaml would give it an age.",
                "`sudocam retention hold` keeps it until it is released.",
            ])
        let applied = try await RetentionCommands.apply(configuration, isDryRun: false)
        #expect(applied.deletions.isEmpty && applied.timeTrusted)
    }
}
