import Foundation

/// What a row's numbers mean when they grow.
enum Better: String, Codable, Sendable { case higher, lower }

/// Median and 95th percentile of several runs.
struct Figure: Codable, Sendable {
    /// Of what was measured, in the row's unit.
    var median: Double
    /// As good as, or better than, 95 % of the runs were not: the slow tail, whichever way is better.
    var p95: Double
    var runs: Int
}

/// What ours is measured beside.
struct Yardstick: Codable, Sendable {
    var name: String
    var median: Double
    var p95: Double
    var runs: Int
}

/// One line of the result.
struct Row: Codable, Sendable {
    var name: String
    var unit: String
    var better: Better
    var ours: Figure
    var yardstick: Yardstick?
    /// Ours through the yardstick's, of the quantile the budget names (medians where it names none).
    var ratio: Double?
    var budget: String?
    /// Nil where the row has no budget.
    var met: Bool?
    var note: String?
}

/// A group of rows that was not measured.
struct Omission: Codable, Sendable {
    var name: String
    var reason: String
}

/// The runs of one side of a row.
struct Samples: Sendable {
    private(set) var values: [Double] = []

    init(_ values: [Double] = []) { self.values = values }
    mutating func add(_ value: Double) { values.append(value) }

    /// Nearest-rank quantile; nil without runs.
    func quantile(_ part: Double) -> Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let rank = Int((part * Double(sorted.count)).rounded(.up)) - 1
        return sorted[min(max(0, rank), sorted.count - 1)]
    }
    var median: Double { quantile(0.5) ?? .nan }
    /// The slow tail.
    func p95(_ better: Better) -> Double { quantile(better == .lower ? 0.95 : 0.05) ?? .nan }

    func figure(_ better: Better) -> Figure { Figure(median: median, p95: p95(better), runs: values.count) }
    func yardstick(_ name: String, _ better: Better) -> Yardstick {
        Yardstick(name: name, median: median, p95: p95(better), runs: values.count)
    }
}

extension Row {
    /// A limit of `schemas`' kind: on the ratio to the yardstick, on our own figure, or on both.
    enum Limit {
        case atLeast(Double)
        case atMost(Double)

        func allows(_ value: Double) -> Bool {
            switch self {
            case .atLeast(let limit): value >= limit
            case .atMost(let limit): value <= limit
            }
        }
        func text(_ unit: String) -> String {
            switch self {
            case .atLeast(let limit): "≥ \(number(limit))\(unit)"
            case .atMost(let limit): "≤ \(number(limit))\(unit)"
            }
        }
    }
    enum Quantile: String { case median, p95 }

    /// - Parameters:
    ///   - at: which quantile ratio and limits are taken of.
    ///   - ratioLimit: on ours ÷ the yardstick's.
    ///   - limit: on ours alone.
    init(
        _ name: String, unit: String, better: Better, ours: Samples, yardstick: (name: String, samples: Samples)? = nil,
        at quantile: Quantile = .median, ratioLimit: Limit? = nil, limit: Limit? = nil, note: String? = nil
    ) {
        self.name = name
        self.unit = unit
        self.better = better
        self.ours = ours.figure(better)
        self.yardstick = yardstick.map { $0.samples.yardstick($0.name, better) }
        let own = quantile == .p95 ? self.ours.p95 : self.ours.median
        if let yardstick = self.yardstick {
            ratio = own / (quantile == .p95 ? yardstick.p95 : yardstick.median)
        }
        var texts: [String] = []
        var verdicts: [Bool] = []
        if let ratioLimit, let ratio {
            texts.append(ratioLimit.text(" ×"))
            verdicts.append(ratioLimit.allows(ratio))
        }
        if let limit {
            texts.append(limit.text(" " + unit))
            verdicts.append(limit.allows(own))
        }
        if !texts.isEmpty {
            budget = texts.joined(separator: ", ") + (quantile == .p95 ? " (p95)" : "")
            met = verdicts.allSatisfy { $0 }
        }
        self.note = note
    }
}

/// Everything one run of `sudocam-bench` says.
struct Report: Codable, Sendable {
    var machine: Machine
    var rows: [Row]
    var omitted: [Omission]

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    func table() -> String {
        var lines = [
            machine.sentence, "", "| what | ours: median (p95) | yardstick: median (p95) | ratio | budget | |",
            "|---|---|---|---|---|---|",
        ]
        for row in rows {
            let ours = "\(number(row.ours.median)) (\(number(row.ours.p95))) \(row.unit)"
            let yardstick = row.yardstick.map { "\($0.name): \(number($0.median)) (\(number($0.p95)))" } ?? "–"
            let verdict = row.met.map { $0 ? "met" : "**missed**" } ?? ""
            let name = row.note.map { "\(row.name); \($0)" } ?? row.name
            lines.append(
                "| \(name) | \(ours) | \(yardstick) | \(row.ratio.map(number) ?? "–") | \(row.budget ?? "–") | \(verdict) |"
            )
        }
        for omission in omitted { lines += ["", "Left out: \(omission.name). \(omission.reason)"] }
        return lines.joined(separator: "\n")
    }
}

/// Three significant digits, no exponent.
func number(_ value: Double) -> String {
    guard value.isFinite else { return "–" }
    let size = abs(value)
    let digits = size >= 100 || value == value.rounded() ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
    return String(format: "%.\(digits)f", value)
}
