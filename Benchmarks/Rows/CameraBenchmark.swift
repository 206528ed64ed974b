import Foundation
import Glibc

/// What recording an RTSP camera costs as a process, beside FFmpeg writing the same stream into plain files.
///
/// Both record the same four cameras at the same time, so that every window of time holds both.
struct CameraBenchmark: Benchmark {
    let name = "camera"
    let summary = "processor time and memory per recorded 1080p camera at 4 Mbit/s"

    private static let cameras = 4

    func run(_ context: BenchContext) async throws -> [Row] {
        try Program.require("ffmpeg", package: "ffmpeg")
        try context.requireSudocam()
        let folder = try context.scratch.folder()
        let path = folder.path
        context.log("encoding the cameras' film")
        let film = try film(path, seconds: 20, repeats: context.isQuick ? 6 : 24)
        let port = Loopback.freePort(SOCK_STREAM)
        let server = try Program(
            "/usr/bin/python3",
            [
                try BenchFiles.path("rtsp_files.py"), "--port", "\(port)", "--mounts", "\(Self.cameras)", "--file",
                film,
            ],
            folder: path, log: path + "/rtsp.log")
        defer { server.stop() }
        try await Self.wait(10, for: "the RTSP server") { server.lastWords.contains("ready") }
        let urls = (0..<Self.cameras).map { "rtsp://127.0.0.1:\(port)/camera\($0)" }

        let idle = try SudocamProcess(context, path + "/idle", cameras: [:])
        defer { idle.stop() }
        let recorder = try SudocamProcess(
            context, path + "/recorder",
            cameras: Dictionary(uniqueKeysWithValues: urls.enumerated().map { ("camera\($0.offset)", $0.element) }))
        defer { recorder.stop() }
        var plain: [Program] = []
        defer { for program in plain { program.stop() } }
        for (index, url) in urls.enumerated() {
            plain.append(
                try Program(
                    "ffmpeg",
                    [
                        "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url, "-c", "copy", "-f",
                        "segment", "-segment_time", "60", "-reset_timestamps", "1", "plain\(index)-%05d.mp4",
                    ], folder: path, log: path + "/ffmpeg\(index).log"))
        }
        try await Self.wait(30, for: "every camera to be recorded") { recorder.isRecording(Self.cameras) }
        // Start-up, the first key frames, the first allocations.
        try await Task.sleep(for: .seconds(context.isQuick ? 3 : 20))

        var (ours, yardstick, memory, plainMemory) = (Samples(), Samples(), Samples(), Samples())
        let window = context.isQuick ? 5.0 : 20.0
        let cameras = Double(Self.cameras)
        for _ in 0..<context.runs(10) {
            let began = Measurement.now()
            let before = try (ProcessTable.cpuSeconds(recorder.pid), Self.cpuSeconds(plain))
            try await Task.sleep(for: .seconds(window))
            let after = try (ProcessTable.cpuSeconds(recorder.pid), Self.cpuSeconds(plain))
            let seconds = Measurement.now() - began
            ours.add((after.0 - before.0) / seconds / cameras * 100)
            yardstick.add((after.1 - before.1) / seconds / cameras * 100)
            let grown = ProcessTable.residentMiB(recorder.pid) - ProcessTable.residentMiB(idle.pid)
            memory.add(grown / cameras)
            plainMemory.add(plain.reduce(0) { $0 + ProcessTable.residentMiB($1.pid) } / cameras)
        }
        guard plain.allSatisfy(\.isRunning), recorder.isRecording(Self.cameras) else {
            throw BenchError(.programFailed, "A recorder ended early. \(recorder.lastWords)\(plain[0].lastWords)")
        }
        let note = "\(Self.cameras) cameras, 1080p, 25 frames/s"
        return [
            Row(
                "processor per recorded camera", unit: "% of a core", better: .lower, ours: ours,
                yardstick: ("ffmpeg -c copy -f segment, a process a camera, unsealed", yardstick),
                ratioLimit: .atMost(1.25), note: note),
            Row(
                "memory per recorded camera", unit: "MiB", better: .lower, ours: memory,
                yardstick: ("ffmpeg, a process a camera", plainMemory), limit: .atMost(30),
                note: "resident, above a recorder without cameras"),
        ]
    }

    private static func cpuSeconds(_ programs: [Program]) throws -> Double {
        try programs.reduce(0) { try $0 + ProcessTable.cpuSeconds($1.pid) }
    }

    /// A moving picture with noise, 4 Mbit/s, encoded once and repeated without encoding, so that the cameras cost little.
    private func film(_ folder: String, seconds: Int, repeats: Int) throws -> String {
        try Program.output(
            "ffmpeg",
            [
                "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i",
                "testsrc2=size=1920x1080:rate=25:duration=\(seconds),noise=alls=12:allf=t", "-c:v", "libx264",
                "-preset", "superfast", "-profile:v", "high", "-bf", "0", "-g", "50", "-b:v", "4M", "-maxrate", "4M",
                "-bufsize", "4M", "-pix_fmt", "yuv420p", "once.mp4",
            ], folder: folder)
        try Program.output(
            "ffmpeg",
            [
                "-nostdin", "-loglevel", "error", "-stream_loop", "\(repeats - 1)", "-i", "once.mp4", "-c", "copy",
                "film.mp4",
            ], folder: folder)
        return folder + "/film.mp4"
    }

    static func wait(_ seconds: Double, for what: String, until isThere: () -> Bool) async throws {
        let end = Measurement.now() + seconds
        while !isThere() {
            guard Measurement.now() < end else {
                throw BenchError(.programFailed, "Waited \(number(seconds)) s in vain for \(what).")
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }
}

/// A real `sudocam serve` with a vault and ports of its own.
struct SudocamProcess {
    private let program: Program
    private let sudocam: String
    private let configuration: String
    var pid: Int32 { program.pid }
    var lastWords: String { program.lastWords }

    /// - Parameters:
    ///   - cameras: sources by key.
    ///   - isVaultThere: use the vault in the folder instead of making one.
    init(_ context: BenchContext, _ folder: String, cameras: [String: String], isVaultThere: Bool = false) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        sudocam = context.sudocam
        configuration = folder + "/sudocam.yaml"
        var text = """
            vault: ./vault
            listen: 127.0.0.1:\(Loopback.freePort(SOCK_STREAM))
            media-port: \(Loopback.freePort(SOCK_DGRAM))
            media-addresses: [127.0.0.1]

            """
        if !cameras.isEmpty { text += "cameras:\n" }
        for (key, source) in cameras.sorted(by: { $0.key < $1.key }) { text += "  \(key): { source: \"\(source)\" }\n" }
        try Data(text.utf8).write(to: URL(fileURLWithPath: configuration))
        if !isVaultThere {
            try Program.output(
                sudocam, ["init", folder + "/vault", "--passphrase-fd", "0", "--config", configuration], folder: folder,
                input: "correct horse\n")
        }
        program = try Program(
            sudocam, ["serve", "--config", configuration], folder: folder, log: folder + "/serve.log")
    }

    func stop() { program.stop() }

    /// Whether it says that so many cameras are being recorded.
    func isRecording(_ count: Int) -> Bool {
        struct Status: Decodable {
            struct Camera: Decodable { var state: String }
            var cameras: [Camera]
        }
        // The command ends with 5 when an alarm stands, which is no reason to stop: its output is what counts.
        guard
            let text = try? Program.output(
                "/bin/sh",
                ["-c", "\"$0\" status --json --config \"$1\" || test $? = 5", sudocam, configuration]),
            let status = try? JSONDecoder().decode(Status.self, from: Data(text.utf8))
        else { return false }
        return status.cameras.count { $0.state == "recording" } == count
    }
}

/// The programs that stand beside this target's sources.
enum BenchFiles {
    /// Looked for from the current folder and from the program upwards, since SwiftPM builds inside the package.
    static func path(_ name: String) throws(BenchError) -> String {
        let own = BenchCommand.sibling("")
        for start in [FileManager.default.currentDirectoryPath, own] {
            var folder = URL(fileURLWithPath: start)
            for _ in 0..<6 {
                let candidate = folder.path + "/Benchmarks/" + name
                if FileManager.default.fileExists(atPath: candidate) { return candidate }
                folder.deleteLastPathComponent()
            }
        }
        throw BenchError(.toolMissing, "Benchmarks/\(name) is not found.", hint: "Run it inside SudoCam's folder.")
    }
}
