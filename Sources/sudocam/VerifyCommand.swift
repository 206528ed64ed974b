import ArgumentParser
import Dispatch
import Foundation
import Glibc
import Server
import Synchronization
import Vault

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check every object, ledger entry and checkpoint; needs no key.",
        discussion: """
            Writes nothing into the vault and works beside the recorder. Broken off with Ctrl-C it can be continued with --resume: \
            what was found clean is then only looked for, not read again.
            """)
    @OptionGroup var configuration: ConfigurationOptions
    @Flag(help: "Ask for the passphrase, open every chunk and compare what it says of itself.") var open = false
    @Flag(help: "Go on where the last run was broken off.") var resume = false
    @Flag(help: "Only the ledger, and presence and size of each object.") var quick = false
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await reporting {
            let secret = open || passphrase.passphraseFD != nil ? try passphrase.read() : nil
            let options = VerifyCommands.Options(passphrase: secret, resumes: resume, isQuick: quick)
            let configuration = try configuration.read()
            let meter = Meter()
            let work = Task { try await VerifyCommands.verify(configuration, options) { meter.show($0) } }
            let interrupt = Interrupt { work.cancel() }
            let report: VerifyCommands.Verified
            do {
                report = try await work.value
            } catch let error as VaultError where interrupt.hasCome && error.code == .closed {
                meter.end()
                FileHandle.standardError.write(Data("Broken off. `sudocam verify --resume` goes on from here.\n".utf8))
                throw ExitCode(130)
            }
            meter.end()
            try output.print(report) {
                let sum =
                    "\(report.entries) entries, \(report.objects) objects, \(megabytes(report.bytes)) read\(report.resumed ? ", the rest by an earlier run" : "")"
                let more = report.omittedFindings > 0 ? ["and \(report.omittedFindings) more"] : []
                let count = report.findings.count + report.omittedFindings
                let known =
                    report.knownLost + report.knownQuarantined > 0
                    ? " Known since earlier repairs: \(report.knownLost) clip(s) lost, \(report.knownQuarantined) in quarantine."
                    : ""
                return report.clean
                    ? "Nothing found: \(sum).\(known)"
                    : (report.findings + more + ["\(count) finding(s): \(sum)."]).joined(separator: "\n")
            }
            if !report.clean { throw ExitCode(2) }
        }
    }
}

/// How far it is, how fast, and how long it will take; on a terminal, four times a second.
private final class Meter: Sendable {
    private let line = ProgressLine()
    private let began = ContinuousClock.now
    private let last = Mutex(ContinuousClock.now)

    func show(_ progress: VerificationProgress) {
        guard line.isShown else { return }
        let now = ContinuousClock.now
        let isDue = last.withLock { last in
            guard now - last >= .milliseconds(250) else { return false }
            last = now
            return true
        }
        guard isDue else { return }
        let seconds = Double((now - began).components.seconds) + Double((now - began).components.attoseconds) / 1e18
        let rate = Double(progress.bytesRead) / max(0.001, seconds)
        let left = Double(max(0, progress.bytesTotal - progress.bytesDone)) / max(1, rate)
        line.show(
            "\(progress.objectsDone) of \(progress.objectsTotal) objects, \(megabytes(progress.bytesDone)) of \(megabytes(progress.bytesTotal)), \(megabytes(Int(rate)))/s, \(Self.text(left)) left"
        )
    }
    func end() { line.end() }

    private static func text(_ seconds: Double) -> String {
        let whole = Int(min(seconds, 1e7))
        return whole >= 3600
            ? "\(whole / 3600) h \(whole % 3600 / 60) min"
            : whole >= 60 ? "\(whole / 60) min \(whole % 60) s" : "\(whole) s"
    }
}

/// Ctrl-C, SIGTERM and the terminal's end, once; a second Ctrl-C ends the program as always.
final class Interrupt: @unchecked Sendable {  // the sources are made in `init` and only kept
    private let came = Atomic(false)
    private let sources: [any DispatchSourceSignal]
    var hasCome: Bool { came.load(ordering: .acquiring) }

    init(_ body: @escaping @Sendable () -> Void) {
        sources = [SIGINT, SIGTERM, SIGHUP].filter { !Self.isIgnored($0) }.map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        for source in sources {
            source.setEventHandler { [weak self] in
                signal(SIGINT, SIG_DFL)
                self?.came.store(true, ordering: .releasing)
                body()
            }
            source.resume()
        }
    }

    /// By whoever started the program, as nohup(1) does: it is to go on without a terminal.
    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard unsafe sigaction(number, nil, &action) == 0 else { return false }
        return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}

extension Interrupt {
    /// Ends the program with status 130; recordings and keys in clear do not stay behind.
    convenience init(leavingNothingOf output: any Abandonable, _ line: ProgressLine, but remark: String = "") {
        self.init {
            output.abandon { left in
                line.end()
                let kept = left.map { "\($0) could not be removed: remove it yourself." } ?? "nothing of it was kept."
                FileHandle.standardError.write(Data("Broken off; \(kept)\(remark)\n".utf8))
                _exit(130)
            }
        }
    }
}
