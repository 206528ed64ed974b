package import Core
import Foundation

/// Times as people write and read them: ISO 8601, UTC in file names and output, any offset on input.
package enum FileTime {
    /// `20261125T140327Z`: no character that a file system or a header minds.
    package static func text(_ time: WallTime) -> String {
        Date(timeIntervalSince1970: Double(time.microseconds) / 1_000_000)
            .formatted(.iso8601.dateSeparator(.omitted).timeSeparator(.omitted))
    }

    /// `2026-11-25T14:03:27.480Z`
    package static func iso(_ time: WallTime) -> String {
        Date(timeIntervalSince1970: Double(time.microseconds) / 1_000_000)
            .formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }

    /// ISO 8601 with offset or `Z`, microseconds since the epoch, `now`, or `-90s`, `-5m`, `-2h`, `-1d` before now.
    package static func parse(_ text: String, now: WallTime) -> WallTime? {
        if text == "now" { return now }
        if text.hasPrefix("-"), let unit = text.last, let amount = Int64(text.dropFirst().dropLast()) {
            let seconds: Int64? =
                switch unit {
                case "s": 1
                case "m": 60
                case "h": 3600
                case "d": 86_400
                default: nil
                }
            guard let seconds, amount <= 100_000_000 else { return nil }
            return now - amount * seconds * 1_000_000
        }
        if let microseconds = Int64(text) { return WallTime(microseconds: microseconds) }
        for fractional in [true, false] {
            if let date = try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: fractional)) {
                return WallTime(microseconds: Int64((date.timeIntervalSince1970 * 1_000_000).rounded()))
            }
        }
        return nil
    }
}
