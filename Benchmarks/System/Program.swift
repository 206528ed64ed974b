import Foundation
import Glibc
import Synchronization

/// A program that runs beside this one and ends with its owner. Output goes into files: Foundation's pipes fail when a
/// signal interrupts them.
final class Program: Sendable {
    let pid: Int32
    private let process: Mutex<Process>
    private let log: String

    /// - Parameters:
    ///   - log: file that gets standard output and standard error.
    ///   - input: file that becomes standard input.
    init(_ program: String, _ arguments: [String], folder: String, log: String, input: String? = nil) throws {
        let process = try Self.prepared(program, arguments, folder: folder, output: log, errors: log, input: input)
        try Self.start(process)
        pid = process.processIdentifier
        self.process = Mutex(process)
        self.log = log
    }
    deinit { stop() }

    var isRunning: Bool { process.withLock { $0.isRunning } }
    /// The end of what it said.
    var lastWords: String { String(((try? Machine.text(log)) ?? "").suffix(600)) }

    /// SIGTERM, and after five seconds SIGKILL.
    func stop() {
        process.withLock { process in
            guard process.isRunning else { return }
            process.terminate()
            for _ in 0..<100 where process.isRunning { usleep(50_000) }
            if process.isRunning { kill(pid, SIGKILL) }
            process.waitUntilExit()
        }
    }

    /// A child inherits the mask of the thread that makes it, and libdispatch's threads block every signal: a program
    /// started from one could not be asked to end.
    private static func start(_ process: Process) throws {
        var none = sigset_t()
        var before = sigset_t()
        unsafe sigemptyset(&none)
        unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        try process.run()
    }

    private static func prepared(
        _ program: String, _ arguments: [String], folder: String?, output: String?, errors: String?, input: String?
    ) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
        process.standardInput = input.flatMap { FileHandle(forReadingAtPath: $0) } ?? FileHandle.nullDevice
        process.standardOutput = try output.map(appending) ?? FileHandle.nullDevice
        process.standardError = try errors.map(appending) ?? FileHandle.nullDevice
        return process
    }
    private static func appending(_ path: String) throws -> FileHandle {
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        guard let handle = FileHandle(forWritingAtPath: path) else {
            throw BenchError(.programFailed, "\(path) cannot be written.")
        }
        try handle.seekToEnd()
        return handle
    }

    // MARK: Programs that end by themselves

    static func isInstalled(_ name: String) -> Bool {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        return (path.split(separator: ":") + ["/usr/sbin"]).contains {
            FileManager.default.isExecutableFile(atPath: $0 + "/" + name)
        }
    }
    static func require(_ name: String, package: String) throws(BenchError) {
        guard isInstalled(name) else {
            throw BenchError(
                .toolMissing, "\(name) is not installed.", hint: "scripts/setup --bench (Debian package \(package)).")
        }
    }

    /// Standard output. Errors: `.programFailed` with the end of what it said.
    @discardableResult
    static func output(
        _ program: String, _ arguments: [String], folder: String? = nil, input: String? = nil,
        mergingErrors: Bool = false
    ) throws -> String {
        let scratch = try ScratchFolder(in: FileManager.default.temporaryDirectory.path)
        let (out, err) = (scratch.path + "/out", scratch.path + "/err")
        if let input { try Data(input.utf8).write(to: URL(fileURLWithPath: scratch.path + "/in")) }
        let process = try prepared(
            program, arguments, folder: folder, output: out, errors: mergingErrors ? out : err,
            input: input == nil ? nil : scratch.path + "/in")
        try start(process)
        process.waitUntilExit()
        let text = try Machine.text(out)
        guard process.terminationStatus == 0 else {
            let words = mergingErrors ? text : (try? Machine.text(err)) ?? ""
            throw BenchError(
                .programFailed,
                "\(program) \(arguments.prefix(2).joined(separator: " ")) ended with \(process.terminationStatus): \(words.suffix(400))"
            )
        }
        return text
    }
}

/// What the kernel says of a running process.
enum ProcessTable {
    /// Seconds of processor time, user and kernel, of all threads past and present (proc(5): fields 14 and 15).
    static func cpuSeconds(_ pid: Int32) throws -> Double {
        let text = try Machine.text("/proc/\(pid)/stat")
        guard let end = text.lastIndex(of: ")") else { return 0 }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let kernel = Double(fields[12]) else { return 0 }
        return (user + kernel) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Resident memory, MiB.
    static func residentMiB(_ pid: Int32) -> Double { mebibytes("VmRSS", pid) }
    /// The most it ever was.
    static func mostResidentMiB(_ pid: Int32) -> Double { mebibytes("VmHWM", pid) }

    private static func mebibytes(_ key: String, _ pid: Int32) -> Double {
        let text = Machine.value(of: key, in: "/proc/\(pid)/status")
        return (text?.split(separator: " ").first.flatMap { Double($0) } ?? 0) / 1024
    }
}

enum Loopback {
    /// A port nobody listens on now.
    static func freePort(_ kind: __socket_type) -> UInt16 {
        let descriptor = socket(AF_INET, Int32(kind.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                _ = unsafe bind(descriptor, address, size)
                _ = unsafe getsockname(descriptor, address, &size)
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }
}
