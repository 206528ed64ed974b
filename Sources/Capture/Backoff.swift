/// Pauses between attempts: doubling from 0.5 s to 30 s, each shortened at random by up to half, so that cameras that went
/// together do not come back together. Never gives up (I12).
struct Backoff {
    /// Whoever delivered for so long gets a quick second chance, µs.
    static let worthwhile: Int64 = 30_000_000
    static let longest: Int64 = 30_000_000
    private static let shortest: Int64 = 500_000

    private var attempt = 0

    /// The next pause.
    /// - Parameter connected: µs for which the attempt before it delivered.
    /// - Returns: µs.
    mutating func next(connected: Int64, using generator: inout some RandomNumberGenerator) -> Int64 {
        if connected >= Self.worthwhile { attempt = 0 }
        let whole = min(Self.longest, Self.shortest << Int64(min(attempt, 10)))
        attempt += 1
        return Int64.random(in: whole / 2...whole, using: &generator)
    }
}
