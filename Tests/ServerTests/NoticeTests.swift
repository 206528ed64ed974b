import Core
import Foundation
import Glibc
import TestKit
import Testing

@testable import Ingest
@testable import Server

@Suite struct NoticeTests {
    private static let start = WallTime(seconds: 1_764_000_000)

    private static func camera(_ state: Pipeline.Status.State, frozen: Bool = false) -> NoticeMachine.Camera {
        var status = Pipeline.Status(since: start)
        status.state = state
        status.reason = state == .offline ? "the camera says nothing" : nil
        status.frozenSince = frozen ? start : nil
        return NoticeMachine.Camera(key: "hall", name: "Hall", status: status)
    }
    /// One look every three seconds, as the service does it. Returns: when something was told, s, and what.
    private static func told(
        seconds: Int, _ camera: (Int) -> NoticeMachine.Camera,
        alarms: (Int) -> [(topic: String, text: String)] = { _ in [] }, isGiven: (Int) -> Bool = { _ in true }
    ) -> [(second: Int, notice: NoticeMachine.Notice)] {
        var machine = NoticeMachine()
        return stride(from: 0, to: seconds, by: 3).flatMap { second in
            let now = MonotonicTime(microseconds: Int64(second) * 1_000_000)
            let notices = machine.look(
                [camera(second)], alarms: alarms(second), at: now, start + Int64(second) * 1_000_000)
            for notice in notices { machine.tried(notice, isGiven: isGiven(second), at: now) }
            return notices.map { (second, $0) }
        }
    }

    @Test func `I13: a camera that is unplugged for a day is one notice`() throws {
        let told = Self.told(seconds: 86_400) { Self.camera($0 < 600 ? .recording : .offline) }
        try #require(told.count == 1)
        #expect((630...636).contains(told[0].second))
        #expect(told[0].notice.topic == .offline && told[0].notice.camera == "hall")
        #expect(told[0].notice.text.hasPrefix("Camera Hall has been offline since 2025-11-24T16:00:00"))
        #expect(told[0].notice.text.hasSuffix(": the camera says nothing"))
    }

    @Test func `I13: a frozen picture is one notice, and a later one another`() {
        let told = Self.told(seconds: 3600) { Self.camera(.recording, frozen: (100..<500).contains($0) || $0 >= 2000) }
        #expect(told.map(\.notice.topic) == [.frozen, .frozen])
        #expect(told.map(\.second) == [102, 2001])
        #expect(told[0].notice.text.contains("has not changed since 2025-11-24T16:00:00"))
    }

    @Test func `a camera that restarts is no news, and one that comes and goes is one notice`() {
        #expect(Self.told(seconds: 3600) { Self.camera($0 % 600 < 24 ? .offline : .recording) }.isEmpty)
        let flapping = Self.told(seconds: 3600) { Self.camera($0 % 12 < 3 ? .recording : .offline) }
        #expect(flapping.map(\.notice.topic) == [.offline])
        // One that never delivered anything is told too.
        #expect(Self.told(seconds: 60) { _ in Self.camera(.connecting) }.count == 1)
    }

    @Test func `an alarm is told at once, not again in other words, and again when it comes back`() {
        let told = Self.told(
            seconds: 3600, { _ in Self.camera(.recording) },
            alarms: { second in
                (9..<600).contains(second)
                    ? [("disk", "The disk is full, \(second).")]
                    : second >= 1800 ? [("disk", "The disk is full.")] : []
            })
        #expect(told.map(\.second) == [9, 1800])
        #expect(told.map(\.notice.topic) == [.alarm, .alarm] && told[0].notice.text == "The disk is full, 9.")
    }

    @Test func `I13: a notice that cannot be given while the network is away is given when it is back, once`() {
        let told = Self.told(seconds: 7200, { _ in Self.camera(.offline) }, isGiven: { $0 > 1000 })
        #expect(told.map(\.second) == [30, 90, 390, 1290])
    }

    @Test func `a slow command for one camera does not put off another's notice`() {
        var machine = NoticeMachine()
        // A command takes 29 s: the next look is that much later.
        let seconds: [Int64] = [0, 3, 6, 9, 38, 67]
        let told = seconds.filter { second in
            let now = MonotonicTime(microseconds: second * 1_000_000)
            return !machine.look([Self.camera(.offline)], alarms: [], at: now, Self.start).isEmpty
        }
        #expect(told.first == 38)
    }

    // MARK: The command

    private static let notice = NoticeMachine.Notice(
        topic: .frozen, camera: "hall", at: start, text: "The picture of camera 'Hall' $(touch x) does not change.")

    private static func script(_ text: String, in folder: TemporaryFolder) throws -> String {
        try folder.write(Array("#!/bin/sh\n\(text)\n".utf8), to: "tell")
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder.path + "/tell")
        return folder.path + "/tell"
    }

    @Test func `a notice reaches the command as one argument, without a shell, descriptors or secrets`() async throws {
        let folder = try TemporaryFolder()
        setenv("SUDOCAM_TEST_SECRET", "x", 1)
        defer { unsetenv("SUDOCAM_TEST_SECRET") }
        // As a library may open a file: one that a program started from here would inherit.
        try folder.write([1], to: "secret")
        let secret = open(folder.path + "/secret", O_RDONLY)
        defer { close(secret) }
        let script = try Self.script(
            "printf '%s\\n' \"$@\" > \(folder.path)/arguments; env > \(folder.path)/environment; ls -l /proc/self/fd > \(folder.path)/files",
            in: folder)
        try await NoticeCommand([script, "-t", "a b"]).run(Self.notice)
        #expect(secret >= 0)
        func text(_ name: String) throws -> String { String(decoding: try folder.contents(name), as: UTF8.self) }
        #expect(try text("arguments") == "-t\na b\n\(Self.notice.text)\n")
        let environment = try text("environment")
        #expect(environment.contains("SUDOCAM_TOPIC=frozen\n") && environment.contains("SUDOCAM_CAMERA=hall\n"))
        #expect(environment.contains("SUDOCAM_TIME=2025-11-24T16:00:00"))
        #expect(!environment.contains("SECRET"))
        #expect(try !text("files").contains("secret"))
    }

    @Test func `a command that is missing, fails or does not end is told as that`() async throws {
        let folder = try TemporaryFolder()
        func error(_ command: [String], patience: Duration = .seconds(30)) async -> ServerError? {
            do throws(ServerError) {
                try await NoticeCommand(command, patience: patience).run(Self.notice)
                return nil
            } catch { return error }
        }
        let missing = try #require(await error([folder.path + "/nothing"]))
        #expect(missing.reason.contains("cannot be started") && missing.hint?.contains("notify") == true)
        let failed = try #require(await error(["/bin/false"]))
        #expect(failed.reason == "/bin/false failed with status 1.")
        let script = try Self.script("echo $$ > \(folder.path)/pid; exec sleep 600", in: folder)
        let endless = try #require(await error([script], patience: .seconds(2)))
        #expect(endless.reason.contains("did not end within"))
        let pid = String(decoding: try folder.contents("pid"), as: UTF8.self).filter(\.isNumber)
        for _ in 0..<100 where FileManager.default.fileExists(atPath: "/proc/\(pid)") {
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(!FileManager.default.fileExists(atPath: "/proc/\(pid)"))
        #expect(await error(["/bin/true"]) == nil)
    }

    @Test func `notify is read, and its mistakes are told with what is wanted`() throws {
        func parse(_ notify: String) -> Result<Configuration, ConfigurationReader.Problems> {
            ConfigurationReader.parse("vault: ./v\nnotify: \(notify)\n", folder: "/etc")
        }
        #expect(
            try parse("{ command: [/usr/bin/logger, -t, sudocam] }").get().notify?.command
                == ["/usr/bin/logger", "-t", "sudocam"])
        for (wrong, words) in [
            ("tell-me", "wants `command`"), ("{ command: [logger] }", "whole path"), ("{ command: [] }", "a program"),
            ("{ comand: [/bin/x] }", "`command`?"), ("{}", "wants `command`"), ("{ command: /bin/x }", "wants a list"),
        ] {
            guard case .failure(let problems) = parse(wrong) else {
                Issue.record("\(wrong) was taken")
                continue
            }
            #expect(problems.problems.contains { $0.line == 2 && $0.message.contains(words) }, "\(wrong): \(problems)")
        }
    }
}
