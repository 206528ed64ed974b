/// An instant on the wall clock: microseconds since the Unix epoch, UTC. May step; never used to measure a duration.
public struct WallTime: Sendable, Hashable, Comparable, BitwiseCopyable, Codable {
    public var microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }
    public init(seconds: Int64) { microseconds = seconds.multipliedReportingOverflow(by: 1_000_000).partialValue }
    public init(from decoder: any Decoder) throws {
        microseconds = try decoder.singleValueContainer().decode(Int64.self)
    }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(microseconds)
    }

    public static func < (a: Self, b: Self) -> Bool { a.microseconds < b.microseconds }
    /// Saturates instead of trapping: times come from files and cameras.
    public static func + (a: Self, microseconds: Int64) -> Self {
        Self(microseconds: a.microseconds.addingSaturating(microseconds))
    }
    public static func - (a: Self, microseconds: Int64) -> Self {
        Self(microseconds: a.microseconds.subtractingSaturating(microseconds))
    }
    /// Microseconds from `b` to `a`.
    public static func - (a: Self, b: Self) -> Int64 { a.microseconds.subtractingSaturating(b.microseconds) }

    /// Days since 1970-01-01 UTC, rounded down: one epoch of the vault per camera and day.
    public var utcDay: Int64 {
        let day: Int64 = 86_400_000_000
        return microseconds >= 0 ? microseconds / day : (microseconds + 1) / day - 1
    }
}

/// An instant on the monotonic clock, in microseconds from an arbitrary origin; never steps, means nothing elsewhere.
public struct MonotonicTime: Sendable, Hashable, Comparable {
    public var microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }

    public static func < (a: Self, b: Self) -> Bool { a.microseconds < b.microseconds }
    public static func + (a: Self, microseconds: Int64) -> Self {
        Self(microseconds: a.microseconds.addingSaturating(microseconds))
    }
    public static func - (a: Self, microseconds: Int64) -> Self {
        Self(microseconds: a.microseconds.subtractingSaturating(microseconds))
    }
    /// Microseconds from `b` to `a`.
    public static func - (a: Self, b: Self) -> Int64 { a.microseconds.subtractingSaturating(b.microseconds) }
}

/// A stretch of wall time, `start` included, `end` not. Empty when `end <= start`.
public struct TimeRange: Sendable, Hashable, Codable {
    public var start: WallTime
    public var end: WallTime

    public init(_ start: WallTime, _ end: WallTime) {
        self.start = start
        self.end = end
    }
    public var isEmpty: Bool { end <= start }
    /// Microseconds; 0 when empty.
    public var duration: Int64 { max(0, end - start) }
    public func contains(_ time: WallTime) -> Bool { start <= time && time < end }
    public func overlaps(_ other: TimeRange) -> Bool { start < other.end && other.start < end }
}

extension Int64 {
    public func addingSaturating(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
    public func subtractingSaturating(_ other: Int64) -> Int64 {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? (other < 0 ? .max : .min) : difference
    }
}
