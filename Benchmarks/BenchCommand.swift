import ArgumentParser
import Core
import Foundation

@main
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sudocam-bench",
        abstract: "Measure SudoCam, each row beside its yardstick in the same run.",
        discussion: "Prints one JSON document, or with --table a Markdown table; progress goes to standard error. "
            + "docs/performance.md says how each row is measured.")

    @Flag(help: "Print a Markdown table instead of JSON.") var table = false
    @Option(help: "Also write the JSON document to this file.") var json: String?
    @Option(parsing: .upToNextOption, help: "Only these groups of rows; --list names them.") var only: [String] = []
    @Flag(help: "Name the groups of rows and end.") var list = false
    @Flag(help: "Few and short runs: to see that everything works, not to quote.") var quick = false
    @Option(help: "Where files are made and removed again; on the disk to be measured.") var scratch: String?
    @Option(help: "The sudocam binary; default: the one beside this program.") var sudocam: String?
    @Option(
        parsing: .upToNextOption,
        help: "Clips in the vaults of the scale and rebuild rows; default: 10000 100000 1000000.")
    var clips: [Int] = []
    @Option(
        help:
            "Keep the vaults of the scale and rebuild rows in this folder, and use those that an earlier run has left there."
    )
    var vaults: String?

    func run() async throws {
        if list {
            for benchmark in Benchmarks.all { print("\(benchmark.name)  \(benchmark.summary)") }
            return
        }
        let unknown = only.filter { name in !Benchmarks.all.contains { $0.name == name } }
        guard unknown.isEmpty else {
            throw ValidationError("There is no group \(unknown.joined(separator: ", ")); --list names them.")
        }
        let folder = try ScratchFolder(in: scratch ?? FileManager.default.temporaryDirectory.path)
        let context = BenchContext(
            scratch: folder, isQuick: quick, sudocam: sudocam ?? Self.sibling("sudocam"),
            scales: !clips.isEmpty ? clips : quick ? [1_000, 4_000] : [10_000, 100_000, 1_000_000],
            vaults: vaults ?? folder.path + "/vaults")
        var rows: [Row] = []
        var omitted: [Omission] = []
        for benchmark in Benchmarks.all where only.isEmpty || only.contains(benchmark.name) {
            context.log("== \(benchmark.name): \(benchmark.summary)")
            do {
                rows += try await benchmark.run(context)
            } catch {
                // A missing tool or a failure costs its own rows only; they are named instead of guessed.
                context.log("left out: \(error)")
                omitted.append(Omission(name: benchmark.name, reason: "\(error)"))
            }
        }
        let report = Report(machine: try Machine.describe(scratch: folder.path), rows: rows, omitted: omitted)
        if let json { try Data(try report.json().utf8).write(to: URL(fileURLWithPath: json)) }
        print(table ? report.table() : try report.json())
    }

    /// A program in the folder this one stands in.
    static func sibling(_ name: String) -> String {
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: own).deletingLastPathComponent().path + "/" + name
    }
}

/// What every group of rows is given.
struct BenchContext: Sendable {
    let scratch: ScratchFolder
    let isQuick: Bool
    /// Path of the release binary whose processes are measured.
    let sudocam: String
    let scales: [Int]
    /// Where the vaults of the scale and rebuild rows lie, so that each is made once.
    let vaults: String

    func log(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }

    /// `full` runs, or a few.
    func runs(_ full: Int) -> Int { isQuick ? max(2, full / 8) : full }

    func requireSudocam() throws(BenchError) {
        guard FileManager.default.isExecutableFile(atPath: sudocam) else {
            throw BenchError(
                .toolMissing, "There is no program \(sudocam).",
                hint: "swift build -c release --product sudocam, or name it with --sudocam.")
        }
    }
}

/// One group of rows that is set up and measured together.
protocol Benchmark: Sendable {
    var name: String { get }
    var summary: String { get }
    func run(_ context: BenchContext) async throws -> [Row]
}

enum Benchmarks {
    static let all: [any Benchmark] = [
        SealBenchmark(), OpenBenchmark(), VerifyBenchmark(), CommitBenchmark(), RebuildBenchmark(), ScaleBenchmark(),
        CameraBenchmark(), RemoteBenchmark(), BrowserBenchmark(),
    ]
}
