import Foundation
import Glibc

/// The machine a figure belongs to.
struct Machine: Codable, Sendable {
    var cpu: String
    var cores: Int
    var kernel: String
    var memoryMiB: Int
    /// Of the folder the vaults were made in.
    var fileSystem: String
    var swiftVersion: String
    /// First line each yardstick's program prints of itself; absent when it is not installed.
    var tools: [String: String]

    var sentence: String {
        "\(cpu), \(cores) cores, \(memoryMiB) MiB of memory, Linux \(kernel), \(fileSystem)."
    }

    static func describe(scratch: String) throws -> Machine {
        let cpu = value(of: "model name", in: "/proc/cpuinfo") ?? value(of: "Model", in: "/proc/cpuinfo") ?? "unknown"
        let memory = value(of: "MemTotal", in: "/proc/meminfo")?.split(separator: " ").first.flatMap { Int($0) } ?? 0
        var tools: [String: String] = [:]
        for (name, arguments) in [
            ("openssl", ["version"]), ("restic", ["version"]), ("ffmpeg", ["-version"]), ("nginx", ["-v"]),
            ("rclone", ["version"]),
            ("chromium", ["--version"]), ("chromedriver", ["--version"]),
        ] {
            guard let output = try? Program.output(name, arguments, mergingErrors: true) else { continue }
            // Debian's chromium wrapper may complain first.
            let lines = output.split(separator: "\n").filter { !$0.contains("unexpected operator") }
            if let line = lines.first { tools[name] = String(line) }
        }
        return Machine(
            cpu: cpu, cores: ProcessInfo.processInfo.activeProcessorCount,
            kernel: try text("/proc/sys/kernel/osrelease").trimmingCharacters(in: .whitespacesAndNewlines),
            memoryMiB: memory / 1024, fileSystem: mount(of: scratch), swiftVersion: compiler, tools: tools)
    }

    private static let compiler: String = {
        #if compiler(>=6.4)
        "6.4 or newer"
        #elseif compiler(>=6.3)
        "6.3"
        #else
        "6.2"
        #endif
    }()

    /// The type of the longest mount point that `path` lies under.
    private static func mount(of path: String) -> String {
        let lines = (try? text("/proc/mounts"))?.split(separator: "\n") ?? []
        let mounts = lines.compactMap { line -> (point: String, type: String)? in
            let parts = line.split(separator: " ")
            return parts.count > 2 ? (String(parts[1]), String(parts[2])) : nil
        }
        let holding = mounts.filter { $0.point == "/" || path == $0.point || path.hasPrefix($0.point + "/") }
        return holding.max { $0.point.count < $1.point.count }?.type ?? "unknown"
    }

    /// What stands behind `key :` in one of the kernel's tables.
    static func value(of key: String, in path: String) -> String? {
        let line = (try? text(path))?.split(separator: "\n").first { $0.hasPrefix(key) }
        guard let line, let colon = line.firstIndex(of: ":") else { return nil }
        return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }

    static func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
}

/// A folder that goes with its owner, unless it is to be kept.
final class ScratchFolder: Sendable {
    let path: String
    private let isKept: Bool

    init(in parent: String) throws {
        path = parent + "/sudocam-bench-\(UUID().uuidString.prefix(8))"
        isKept = false
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    init(kept path: String) throws {
        self.path = path
        isKept = true
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { if !isKept { try? FileManager.default.removeItem(atPath: path) } }

    /// A fresh folder inside, which goes with its own owner.
    func folder() throws -> ScratchFolder { try ScratchFolder(in: path) }
}
