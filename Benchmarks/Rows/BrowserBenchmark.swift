import Foundation

/// Seeks in a real Chromium. The browser is driven, and the seeks are measured inside the page, by `browser.py`.
struct BrowserBenchmark: Benchmark {
    let name = "browser"
    let summary = "seeks in Chromium beside <video> over Range requests, page open to first frame"

    private struct Outcome: Decodable {
        /// Milliseconds by row.
        var times: [String: [Double]]
        /// Of all exact paused seeks: how many showed the very frame.
        var exact: Int
        var exactOf: Int
        var fallbacks: [String]
    }

    func run(_ context: BenchContext) async throws -> [Row] {
        for (tool, package) in [
            ("chromium", "chromium"), ("chromedriver", "chromium-driver"), ("nginx", "nginx"),
            ("python3", "python3"),
        ] { try Program.require(tool, package: package) }
        try context.requireSudocam()
        let folder = try context.scratch.folder()
        let output = folder.path + "/browser.json"
        let (record, seeks, opens) = context.isQuick ? (24, 6, 4) : (120, 50, 30)
        let script = try Program(
            "python3",
            [
                try BenchFiles.path("browser.py"), "--sudocam", context.sudocam, "--folder", folder.path, "--output",
                output, "--record", "\(record)", "--seeks", "\(seeks)", "--opens", "\(opens)",
            ], folder: folder.path, log: folder.path + "/browser.log")
        var said = 0
        while script.isRunning {
            try await Task.sleep(for: .seconds(1))
            let lines = ((try? Machine.text(folder.path + "/browser.log")) ?? "").split(separator: "\n")
            for line in lines.dropFirst(said) { context.log(String(line)) }
            said = lines.count
        }
        guard let data = FileManager.default.contents(atPath: output) else {
            throw BenchError(.programFailed, "browser.py failed: \(script.lastWords)")
        }
        let outcome = try JSONDecoder().decode(Outcome.self, from: data)
        return rows(outcome)
    }

    private func rows(_ outcome: Outcome) -> [Row] {
        func samples(_ name: String) -> Samples { Samples(outcome.times[name] ?? []) }
        let yardstick = "exact seek of the same footage as plain MP4, Range from nginx, <video>"
        var rows: [Row] = []
        for state in ["paused", "playing"] {
            let plain = (yardstick, samples("video-\(state)"))
            let shown =
                state == "paused" ? "\(outcome.exact) of \(outcome.exactOf) showed the very frame" : nil
            rows.append(
                Row(
                    "seek, key frame, \(state)", unit: "ms", better: .lower, ours: samples("keyframe-\(state)"),
                    yardstick: plain, at: .p95, ratioLimit: .atMost(0.8), limit: .atMost(100)))
            rows.append(
                Row(
                    "seek, exact, \(state)", unit: "ms", better: .lower, ours: samples("exact-\(state)"),
                    yardstick: plain, at: .p95, ratioLimit: .atMost(1.3), limit: .atMost(200), note: shown))
        }
        rows.append(
            Row(
                "page open to first frame, after the offer", unit: "ms", better: .lower, ours: samples("open"),
                at: .p95,
                limit: .atMost(250)))
        return rows
    }
}
