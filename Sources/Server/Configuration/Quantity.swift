import Foundation

/// Lengths of time and sizes as people write them, in `sudocam.yaml` and on the command line.
package enum Quantity {
    private static let times: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
    private static let sizes: [(String, Int)] = [
        ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("kB", 1000), ("KB", 1000),
        ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("", 1),
    ]

    /// `90d`, `12h`, `30m`, `10s`; µs.
    package static func duration(_ text: String) -> Int64? {
        guard let unit = text.last.flatMap({ times[$0] }), let amount = Int64(text.dropLast()),
            (0...1_000_000).contains(amount)
        else { return nil }
        return amount * unit * 1_000_000
    }

    /// `500GB`, `64MiB`, `2TB`, or a number of bytes.
    package static func size(_ text: String) -> Int? {
        guard let (suffix, unit) = sizes.first(where: { text.hasSuffix($0.0) }) else { return nil }
        let number = text.dropLast(suffix.count).trimmingCharacters(in: .whitespaces)
        // `Double` also reads 0x10, 1e3, inf and nan.
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy { ("0"..."9").contains($0) } }),
            let amount = Double(number), amount * Double(unit) < 1e18
        else { return nil }
        return Int(amount * Double(unit))
    }

    /// `22:00` as a minute of the day; `24:00` is its end.
    package static func minute(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...2).contains(parts[0].count), parts[1].count == 2,
            parts.allSatisfy({ $0.allSatisfy { $0.isASCII && $0.isNumber } }), let hour = Int(parts[0]),
            let minute = Int(parts[1]), minute < 60, hour * 60 + minute <= 1440
        else { return nil }
        return hour * 60 + minute
    }

    /// `1.5 GB`, for people.
    package static func text(bytes: Int) -> String {
        bytes.formatted(.byteCount(style: .file, allowedUnits: [.kb, .mb, .gb, .tb], spellsOutZero: false))
    }
}
