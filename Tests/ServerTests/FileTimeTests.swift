import Core
import Testing

@testable import Server

struct FileTimeTests {
    private static let now = WallTime(microseconds: 1_764_000_000_123_456)
    private static func parse(_ text: String) -> WallTime? { FileTime.parse(text, now: now) }

    @Test func `what is printed and given back is the same instant`() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let time = WallTime(
                microseconds: Int64.random(in: -62_135_596_800_000_000...253_402_300_799_999_999, using: &generator))
            #expect(Self.parse(FileTime.iso(time)) == time, "\(time.microseconds)")
        }
        for (text, microseconds) in [
            ("1970-01-01T00:00:00.000000Z", 0), ("1969-12-31T23:59:59.999999Z", -1), ("1969-12-31T23:59:59.999000Z", -1000),
            ("2026-11-29T15:37:07.085900Z", 1_795_966_627_085_900), ("2026-11-29T15:37:51.475000Z", 1_795_966_671_475_000),
        ] {
            #expect(FileTime.iso(WallTime(microseconds: Int64(microseconds))) == text)
            #expect(Self.parse(text) == WallTime(microseconds: Int64(microseconds)))
        }
    }

    @Test func `any offset, fraction and distance from now`() {
        let noon = WallTime(microseconds: 1_767_268_800_000_000)
        for text in [
            "2026-01-01T12:00:00Z", "2026-01-01T12:00Z", "2026-01-01 12:00:00.0Z", "2026-01-01T13:00:00+01:00",
            "2026-01-01T05:30:00-0630", "2026-01-02T01:45:00+13:45", "1767268800000000",
        ] {
            #expect(Self.parse(text) == noon, "\(text)")
        }
        #expect(Self.parse("2026-01-01T12:00:00,25Z") == noon + 250_000)
        #expect(Self.parse("2026-01-01T12:00:00.1234567Z") == noon + 123_456)
        #expect(Self.parse("now") == Self.now)
        #expect(Self.parse("-90s") == Self.now - 90_000_000)
        #expect(Self.parse("-2d") == Self.now - 172_800_000_000)
    }

    @Test(arguments: [
        "", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-10T00:00:00Z", "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T12:60:00Z", "2026-01-01T12:00:61Z",
        "2026-01-01T12:00:00", "2026-01-01", "2026-1-1T12:00:00Z", "2026-01-01T12:00:00+24:00", "2026-01-01T12:00:00Z ",
        "2025-02-29T00:00:00Z", "٢٠٢٦-01-01T12:00:00Z", "--5d", "--9223372036854775807d", "-9223372036854775807d", "-d",
        "9223372036854775807", "-9223372036854775808", "yesterday",
    ]) func `what no calendar has is no time`(text: String) {
        #expect(Self.parse(text) == nil)
    }

    @Test func `a day is one of the calendar`() {
        #expect(FileTime.day("1970-01-02") == 1)
        #expect(FileTime.day("2028-02-29") == 21_243)
        for text in ["2026-02-30", "2026-02-29", "2026-2-01", "2026-02-01T", "2026-02-01Z", "", "1970-01-02 "] {
            #expect(FileTime.day(text) == nil, "\(text)")
        }
    }
}
