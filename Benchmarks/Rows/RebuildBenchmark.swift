import Core
import Foundation
import Glibc
import Vault

/// After a disaster: the index from the ledger, beside reading the ledger's files, and beside what SQLite takes for the same rows;
/// and what the objects say of themselves, beside opening each and reading as much of it.
///
/// From the page cache, and from the disk. Both sides read the same files: the objects' first 4 KiB, or the ledger's entries.
struct RebuildBenchmark: Benchmark {
    let name = "rebuild"
    let summary = "the index from the ledger, everything from the objects' headers; warm and cold"

    func run(_ context: BenchContext) async throws -> [Row] {
        var rows: [Row] = []
        for clips in context.scales {
            let scale = try await ScaleVault(context, clips: clips)
            rows += try await ledger(scale, context)
            rows += try await objects(scale, context)
        }
        return rows
    }

    // MARK: From the ledger

    private func ledger(_ scale: ScaleVault, _ context: BenchContext) async throws -> [Row] {
        let path = scale.place.path
        let bundles = try FileManager.default.subpathsOfDirectory(atPath: path + "/ledger/entries")
            .map { "\(path)/ledger/entries/\($0)" }.filter { Self.isFile($0) }
        func rebuild() async throws {
            let rebuilt = try await Vault.rebuildIndex(at: path)
            guard rebuilt.matchesCheckpoint == true else {
                throw BenchError(.programFailed, "The rebuilt index does not match the checkpoint.")
            }
        }
        func read() throws { for bundle in bundles { try Self.read(bundle, .max) } }
        let bare = try BareIndex(reading: path + "/index.sqlite")
        let filled = try await Measurement.interleaved(context.runs(4), ours: rebuild) {
            let folder = try context.scratch.folder()
            try bare.fill(folder.path + "/index.sqlite")
        }
        let warm = try await Measurement.interleaved(context.runs(4), ours: rebuild, yardstick: read)
        let yardstick = "open and read the ledger's files"
        var rows = [
            Self.row(
                "rebuild the index from the ledger, beside SQLite alone", scale, filled,
                "the same rows and trees by SQLite, from memory"),
            Self.row("rebuild the index from the ledger", scale, warm, yardstick),
        ]
        if Self.canForget(context) {
            let cold = try await Measurement.interleaved(
                context.runs(4), before: Self.forget, ours: rebuild, yardstick: read)
            rows.append(Self.row("rebuild the index from the ledger, cold", scale, cold, yardstick))
        }
        return rows
    }

    // MARK: From the objects' headers

    private func objects(_ scale: ScaleVault, _ context: BenchContext) async throws -> [Row] {
        let path = scale.place.path
        let objects = try FileManager.default.subpathsOfDirectory(atPath: path + "/objects").filter { $0.contains("/") }
            .map { "\(path)/objects/\($0)" }
        // Without its ledger; a dry run reads and counts everything and begins none.
        let manager = FileManager.default
        try manager.moveItem(atPath: path + "/ledger", toPath: path + "/ledger.away")
        defer { try? manager.moveItem(atPath: path + "/ledger.away", toPath: path + "/ledger") }
        func rebuild() async throws {
            let rebuilt = try await Vault.rebuildLedger(at: path, isApplied: false, time: SystemTime())
            guard rebuilt.clips >= scale.clips else {
                throw BenchError(.programFailed, "Not every object was found by its header.")
            }
        }
        func read() throws { for object in objects { try Self.read(object, 4096) } }
        let yardstick = "open each object and read 4 KiB"
        let warm = try await Measurement.interleaved(context.runs(4), ours: rebuild, yardstick: read)
        var rows = [Self.row("rebuild from the objects' headers", scale, warm, yardstick)]
        if Self.canForget(context) {
            let cold = try await Measurement.interleaved(
                context.runs(4), before: Self.forget, ours: rebuild, yardstick: read)
            rows.append(Self.row("rebuild from the objects' headers, cold", scale, cold, yardstick))
        }
        return rows
    }

    // MARK: Cold

    /// Whether this process may tell the kernel to give its caches up.
    private static func canForget(_ context: BenchContext) -> Bool {
        guard unsafe access(caches, W_OK) == 0 else {
            context.log("left out: the cold rows, since only root may write to \(caches).")
            return false
        }
        return true
    }
    private static let caches = "/proc/sys/vm/drop_caches"

    /// Page cache, names and inodes; what the disk itself, or the host of a virtual one, keeps stays.
    private static func forget() throws {
        sync()
        let file = try BareFile(caches, O_WRONLY)
        try file.write(Array("3\n".utf8), count: 2, at: 0)
    }

    // MARK: Rows

    private static func row(
        _ name: String, _ scale: ScaleVault, _ costs: (ours: [Measurement.Cost], yardstick: [Measurement.Cost]),
        _ yardstick: String
    ) -> Row {
        let clips = Double(scale.clips)
        func samples(_ costs: [Measurement.Cost]) -> Samples { Samples(costs.map { clips / $0.seconds / 1000 }) }
        func processor(_ costs: [Measurement.Cost]) -> String {
            number(Samples(costs.map { $0.cpuSeconds / clips * 1e6 }).median)
        }
        return Row(
            name, unit: "thousand clips/s", better: .higher, ours: samples(costs.ours),
            yardstick: (yardstick, samples(costs.yardstick)), ratioLimit: .atLeast(0.8),
            note:
                "\(scale.clips) clips; processor \(processor(costs.ours)) µs a clip beside \(processor(costs.yardstick))"
        )
    }

    private static func isFile(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
    }

    private static func read(_ path: String, _ limit: Int) throws {
        let file = try BareFile.read(path)
        var buffer = [UInt8](repeating: 0, count: min(limit, 1 << 17))
        var offset = 0
        while offset < limit {
            let count = try file.read(into: &buffer, at: offset)
            guard count > 0 else { return }
            offset += count
        }
    }
}
