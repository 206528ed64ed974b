import Core

/// The ways S3 writes an instant: `20130524T000000Z` in a signature, `Fri, 24 May 2013 00:00:00 GMT` in `Date`,
/// `2013-05-24T00:00:00.000Z` where an object is locked.
enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// ISO 8601 basic, whole seconds, UTC.
    static func basic(_ time: WallTime) -> String {
        let seconds = time.microseconds.subtractingSaturating(time.microseconds >= 0 ? 0 : 999_999) / 1_000_000
        let day = time.utcDay
        let ofDay = seconds - day * 86_400
        let date = civil(day)
        return digits(date.year, 4) + digits(date.month, 2) + digits(date.day, 2) + "T" + digits(ofDay / 3600, 2)
            + digits(ofDay / 60 % 60, 2) + digits(ofDay % 60, 2) + "Z"
    }

    /// IMF-fixdate (RFC 9110, 5.6.7) alone: no server writes the obsolete forms. Nil for anything else.
    static func parse(_ text: String) -> WallTime? {
        let parts = text.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 6, parts[0].hasSuffix(","), parts[5] == "GMT",
            let day = number(parts[1], 2), (1...31).contains(day),
            let month = months.firstIndex(of: String(parts[2])),
            let year = number(parts[3], 4), year >= 1970
        else { return nil }
        let clock = parts[4].split(separator: ":", omittingEmptySubsequences: false)
        guard clock.count == 3, let hour = number(clock[0], 2), let minute = number(clock[1], 2),
            let second = number(clock[2], 2), hour < 24, minute < 60, second <= 60
        else { return nil }
        let days = days(year, Int64(month) + 1, day)
        return WallTime(seconds: days * 86_400 + hour * 3600 + minute * 60 + second)
    }

    /// RFC 3339 in UTC, with a `Z` or `+00:00`; of a fraction of a second up to microseconds count. Nil for anything else.
    static func parse(timestamp text: String) -> WallTime? {
        let bytes = text.utf8
        guard (20...40).contains(bytes.count), bytes.allSatisfy({ $0 < 128 }) else { return nil }
        let ending = text.hasSuffix("Z") ? "Z" : "+00:00"
        guard text.hasSuffix(ending) else { return nil }
        let halves = text.dropLast(ending.count).split(separator: "T", omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        let date = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        let clock = halves[1].split(separator: ":", omittingEmptySubsequences: false)
        guard date.count == 3, clock.count == 3, let year = number(date[0], 4), year >= 1970,
            let month = number(date[1], 2), (1...12).contains(month),
            let day = number(date[2], 2), (1...31).contains(day),
            let hour = number(clock[0], 2), hour < 24, let minute = number(clock[1], 2), minute < 60,
            let second = number(clock[2].prefix(2), 2), second <= 60
        else { return nil }
        let fraction = clock[2].dropFirst(2)
        guard
            fraction.isEmpty
                || fraction.hasPrefix(".") && fraction.dropFirst().utf8.allSatisfy({ (48...57).contains($0) })
        else { return nil }
        let micros = fraction.dropFirst().prefix(6)
        let whole = WallTime(seconds: days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
        return whole + (Int64(micros + String(repeating: "0", count: 6 - micros.count)) ?? 0)
    }

    private static func number(_ text: some StringProtocol, _ count: Int) -> Int64? {
        guard text.utf8.count == count, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int64(text)
    }

    private static func digits(_ value: Int64, _ count: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }

    /// Howard Hinnant, "chrono-compatible low-level date algorithms": civil_from_days.
    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * ofYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, ofYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// The same, days_from_civil.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + ofYear - 719_468
    }
}
