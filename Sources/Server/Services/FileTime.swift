package import Core
import Foundation

/// Times as people write and read them: ISO 8601, UTC in file names and output, any offset on input.
///
/// A time is one instant, for every command: digits that are not written are zeros, and nothing is rounded. What is printed has all
/// of its microseconds, so it can be given back as it is. Who writes fewer (a whole second; a start that another program cut to the
/// millisecond) may get the end of the clip before as well: for a proof or an export rather a moment too much than one missing.
package enum FileTime {
    /// `20261125T140327Z`: no character that a file system or a header minds.
    package static func text(_ time: WallTime) -> String {
        date(time).formatted(.iso8601.dateSeparator(.omitted).timeSeparator(.omitted))
    }

    /// `2026-11-25T14:03:27.480000Z`: with its microseconds, so that what was read here and is given back finds the same clip.
    package static func iso(_ time: WallTime) -> String {
        let digits = String(time.microseconds - seconds(time) * 1_000_000)
        let zeros = String(repeating: "0", count: 6 - digits.count)
        return String(date(time).formatted(.iso8601).dropLast()) + ".\(zeros)\(digits)Z"
    }

    private static func date(_ time: WallTime) -> Date { Date(timeIntervalSince1970: Double(seconds(time))) }
    /// Rounded down, before 1970 too.
    private static func seconds(_ time: WallTime) -> Int64 {
        let (quotient, remainder) = time.microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        return remainder < 0 ? quotient - 1 : quotient
    }

    /// ISO 8601 with offset or `Z`, microseconds since the epoch, `now`, or `-90s`, `-5m`, `-2h`, `-1d` before now. Nil for a day
    /// that no calendar has: 30 February is not 2 March.
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
            guard let seconds, (0...100_000_000).contains(amount) else { return nil }
            return now - amount * seconds * 1_000_000
        }
        if let microseconds = Int64(text) {
            return microseconds.magnitude <= latest.magnitude ? WallTime(microseconds: microseconds) : nil
        }
        return iso(text)
    }
    /// Year 9999: what is later has no ISO 8601 form of four digits.
    private static let latest: Int64 = 253_402_300_799_999_999

    /// The UTC day that `2026-11-25` names, counted from 1970; nil for any other text, and for a day that no calendar has.
    package static func day(_ text: String) -> Int64? {
        guard text.utf8.count == 10 else { return nil }
        return iso(text + "T00:00:00Z")?.utcDay
    }

    private static func iso(_ text: String) -> WallTime? {
        let form =
            #/(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:[Zz]|([+-])(\d\d):?(\d\d))/#
            .asciiOnlyDigits()
        guard let match = text.wholeMatch(of: form)?.output else { return nil }
        func number(_ text: Substring?) -> Int { text.flatMap { Int($0) } ?? 0 }
        var parts = DateComponents()
        (parts.year, parts.month, parts.day) = (number(match.1), number(match.2), number(match.3))
        (parts.hour, parts.minute, parts.second) = (number(match.4), number(match.5), number(match.6))
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        let (hours, minutes) = (number(match.9), number(match.10))
        guard parts.isValidDate(in: calendar), let date = calendar.date(from: parts), hours < 24, minutes < 60 else {
            return nil
        }
        let fraction = Int64((match.7 ?? "").prefix(6).padding(toLength: 6, withPad: "0", startingAt: 0)) ?? 0
        let offset = Int64((match.8 == "-" ? -1 : 1) * (hours * 3600 + minutes * 60))
        return WallTime(microseconds: (Int64(date.timeIntervalSince1970.rounded()) - offset) * 1_000_000 + fraction)
    }
}
