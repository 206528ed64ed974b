import Core
import Glibc
import Ingest
import Logging
import ServiceLifecycle
import Synchronization
import UnixSignals
import Vault

/// What `sudocam reload` prints, and what the log says of it in one line: cameras by their keys, settings by theirs.
public struct ReloadReport: Codable, Sendable, Equatable {
    public var started: [String] = []
    /// Took another source.
    public var restarted: [String] = []
    public var stopped: [String] = []
    public var renamed: [String] = []
    /// Settings that are in force now.
    public var changed: [String] = []
    /// Settings that keep their old values until the recorder is started anew.
    public var needsRestart: [String] = []

    /// In the order in which they are told; without those that name nothing.
    public var parts: [(what: String, names: [String])] {
        [
            ("started", started), ("restarted", restarted), ("stopped", stopped), ("renamed", renamed),
            ("changed", changed), ("needs a restart", needsRestart),
        ].filter { !$0.1.isEmpty }
    }
}

extension ReloadReport {
    init(_ changes: ConfigurationChanges) {
        started = changes.started.map(\.key)
        restarted = changes.restarted.map(\.key)
        stopped = changes.stopped.map(\.key)
        renamed = changes.renamed.map(\.key)
        changed = changes.changed
        needsRestart = changes.needsRestart
    }
}

/// How readings of the configuration ended since the start, for `/metrics`.
final class ReloadStatus: Sendable {
    enum Result: String, CaseIterable { case applied, unchanged, refused }
    struct Counts: Sendable {
        var results: [Result: UInt64] = [:]
        var isLastSuccessful = true
    }
    private let state = Mutex(Counts())
    var counts: Counts { state.withLock { $0 } }

    func ended(_ result: Result) {
        state.withLock { counts in
            counts.results[result, default: 0] += 1
            counts.isLastSuccessful = result != .refused
        }
    }
}

/// Reads `sudocam.yaml` anew when asked, by SIGHUP or over the control socket, and applies what differs: only what a change
/// concerns is touched. A file with an error in it changes nothing.
final class ReloadService: Service {
    private let recorder: RecorderServices
    private let logger: Logger
    private let turn = Turn()
    private let hadTerminal = isatty(STDIN_FILENO) == 1
    private let signals: UnixSignalsSequence

    /// From now on SIGHUP ends the process no longer.
    init(recorder: RecorderServices, logger: Logger) async {
        signals = await UnixSignalsSequence(trapping: .sighup)
        self.recorder = recorder
        self.logger = logger
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            for await _ in self.signals {
                // The other meaning of the signal: whoever started the recorder by hand closed the window.
                if self.hadTerminal, isatty(STDIN_FILENO) == 0 {
                    self.logger.notice("the terminal is gone; the recorder ends")
                    return
                }
                // Told by the log.
                _ = try? await self.reload()
            }
        }
    }

    /// One at a time. Cameras that are gone are over on return, their last clips committed.
    ///
    /// Errors: `.configuration`, and `.refused` when the index cannot be asked; nothing has changed then.
    func reload() async throws(ServerError) -> ReloadReport {
        await turn.take()
        let result: Result<ReloadReport, ServerError>
        do throws(ServerError) { result = .success(try await apply()) } catch { result = .failure(error) }
        await turn.give()
        tell(result)
        return try result.get()
    }

    private func apply() async throws(ServerError) -> ReloadReport {
        guard let path = recorder.configuration.path else {
            throw ServerError(.refused, "This recorder was started without a configuration file.")
        }
        let old = recorder.configuration
        let changes = ConfigurationChanges(from: old, to: try ConfigurationReader.read(path))
        guard !changes.isEmpty else { return ReloadReport(changes) }
        let (recording, policy) = (recorder.recording, RecordingService.policy(changes.result))
        // What may fail comes first.
        do throws(VaultError) {
            try recorder.vault.check(changes.result.retentionPolicy(vault: recorder.vault.id))
        } catch {
            throw ServerError(.configuration, error.reason, hint: error.hint, underlying: error.underlying)
        }
        var started: [CameraRecording] = []
        do throws(VaultError) {
            for camera in changes.started { started.append(try await recording.prepare(camera, policy)) }
        } catch {
            throw ServerError(.refused, "The new cameras cannot be begun.", underlying: error)
        }
        recorder.adopt(changes.result)
        let present = recording.cameras
        if changes.result.clipSeconds != old.clipSeconds {
            for camera in present { await camera.pipeline.recorder.setPolicy(policy) }
        }
        for camera in changes.result.cameras {
            await present.first { $0.configuration.key == camera.key }?.change(to: camera)
        }
        let gone = Set(changes.stopped.map(\.key))
        await recording.end(present.filter { gone.contains($0.configuration.key) })
        do { try await recorder.directory.refresh() } catch {
            logger.warning("what is archived is not known", metadata: ["error": "\(error)"])
        }
        for camera in started { recording.begin(camera) }
        recording.arrange(changes.result.cameras.map(\.key))
        recorder.changes.changed()
        return ReloadReport(changes)
    }

    private func tell(_ result: Result<ReloadReport, ServerError>) {
        switch result {
        case .success(let report):
            recorder.reloads.ended(report.parts.isEmpty ? .unchanged : .applied)
            let text = report.parts.map { "\($0.what): \($0.names.joined(separator: ", "))" }.joined(separator: "; ")
            logger.notice("configuration reloaded", metadata: ["result": "\(text.isEmpty ? "nothing changed" : text)"])
        case .failure(let error):
            recorder.reloads.ended(.refused)
            let line = error.description.split(whereSeparator: \.isNewline).joined(separator: ";")
            logger.error("configuration not reloaded; the old one goes on", metadata: ["error": "\(line)"])
        }
    }
}
