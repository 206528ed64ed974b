import Core
import Foundation
import Ingest
import Logging
import ServiceLifecycle
import Synchronization

/// What became of notices since the start, for `/metrics`.
final class NoticeCounts: Sendable {
    /// `logged`: no command is configured.
    enum Result: String, CaseIterable { case told, failed, logged }
    private let counts = Mutex<[Result: Int]>([:])
    var all: [Result: Int] { counts.withLock { $0 } }
    func count(_ result: Result) { counts.withLock { $0[result, default: 0] += 1 } }
}

/// Looks every few seconds for what the owner must hear of, and runs the command of `notify` once for each.
struct NoticeService: Service {
    let recorder: RecorderServices
    let logger: Logger

    static let interval = Duration.seconds(3)

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var machine = NoticeMachine()
            var failing: [String]?
            while (try? await Task.sleep(for: Self.interval)) != nil {
                var cameras: [NoticeMachine.Camera] = []
                for camera in recorder.recording.cameras {
                    let (settings, status) = (camera.configuration, await camera.pipeline.status)
                    cameras.append(NoticeMachine.Camera(key: settings.key, name: settings.name, status: status))
                }
                // That notices do not reach their reader is no notice.
                let alarms = recorder.standingAlarms.filter { $0.topic != Self.topic }
                let notices = machine.look(
                    cameras, alarms: alarms, at: recorder.time.monotonicNow(), recorder.time.wallNow())
                for notice in notices {
                    let isGiven = await tell(notice, &failing)
                    machine.tried(notice, isGiven: isGiven, at: recorder.time.monotonicNow())
                }
                if let command = failing, command != recorder.configuration.notify?.command {
                    failing = nil
                    recorder.clear(topic: Self.topic)
                }
            }
        }
    }

    /// - Parameter failing: the command that failed last.
    private func tell(_ notice: NoticeMachine.Notice, _ failing: inout [String]?) async -> Bool {
        logger.warning("notice", metadata: ["topic": "\(notice.topic.rawValue)", "text": "\(notice.text)"])
        guard let command = recorder.configuration.notify?.command else {
            recorder.notices.count(.logged)
            return true
        }
        do throws(ServerError) {
            try await NoticeCommand(command).run(notice)
            recorder.notices.count(.told)
            failing = nil
            recorder.clear(topic: Self.topic)
            return true
        } catch {
            guard !Task.isCancelled else { return false }
            recorder.notices.count(.failed)
            logger.error("a notice could not be given", metadata: ["error": "\(error)"])
            failing = command
            recorder.raise(alarm: "Notices do not reach you: \(error)", topic: Self.topic)
            return false
        }
    }

    private static let topic = "notify"
}

/// The program that tells the owner: no shell, no secrets in its environment, ended when it takes too long.
struct NoticeCommand {
    private let command: [String]
    private let patience: Duration

    init(_ command: [String], patience: Duration = .seconds(30)) {
        self.command = command
        self.patience = patience
    }

    /// Errors: `.refused` when it cannot be started, fails or does not end, or when this task is cancelled: then it is ended.
    func run(_ notice: NoticeMachine.Notice) async throws(ServerError) {
        let hint = "Try it by hand as the recorder's user; `notify` in sudocam.yaml names it."
        guard let program = command.first else { return }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = command.dropFirst() + [notice.text]
        var environment = [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
            "SUDOCAM_TOPIC": notice.topic.rawValue, "SUDOCAM_TIME": FileTime.iso(notice.at),
        ]
        environment["SUDOCAM_CAMERA"] = notice.camera
        environment["HOME"] = ProcessInfo.processInfo.environment["HOME"]
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        // What it says belongs to the recorder's own log.
        process.standardOutput = FileHandle.standardError
        process.standardError = FileHandle.standardError
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        process.terminationHandler = { _ in end.finish() }
        do {
            try process.run()
        } catch {
            throw ServerError(
                .refused, "\(program) cannot be started.", hint: hint, underlying: FoundationReason(error))
        }
        let isOver = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await _ in ends {}
                return !Task.isCancelled
            }
            group.addTask { [patience] in
                try? await Task.sleep(for: patience)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
        guard isOver else {
            // With what it started itself, where it leads a group of its own.
            let pid = process.processIdentifier
            kill(getpgid(pid) == pid ? -pid : pid, SIGKILL)
            throw ServerError(
                .refused,
                Task.isCancelled ? "\(program) was ended." : "\(program) did not end within \(patience).", hint: hint)
        }
        guard process.terminationReason == .exit, process.terminationStatus == 0 else {
            throw ServerError(
                .refused, "\(program) failed with status \(process.terminationStatus).", hint: hint)
        }
    }
}
