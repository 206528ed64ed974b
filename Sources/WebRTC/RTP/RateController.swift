import Core

/// The pacer's rate from loss (RR) and from the trend of delay (transport-wide feedback).
///
/// Not a full congestion control: it starts generous, because most viewers sit on the LAN, and gives way quickly.
struct RateController {
    static let maximum = 80_000_000
    static let minimum = 2_000_000
    private(set) var bitRate = Self.maximum
    private var sentAt: [UInt16: MonotonicTime] = [:]
    /// The least one-way delay seen lately, in µs with an unknown constant.
    private var baseline: (value: Int64, at: MonotonicTime)?
    private var lastChange: MonotonicTime?

    mutating func didSend(_ sequence: UInt16, at time: MonotonicTime) {
        sentAt[sequence] = time
        // Feedback comes within a second or never.
        sentAt[sequence &- 8192] = nil
    }

    mutating func handle(lost256: UInt8) {
        if lost256 > 26 {
            scale(0.8)
        } else if lost256 < 5 {
            scale(1.1)
        }
    }

    mutating func handle(base: UInt16, arrivals: [Int64?], now: MonotonicTime) {
        var delays: [Int64] = []
        for (index, arrival) in arrivals.enumerated() {
            let sequence = base &+ UInt16(truncatingIfNeeded: index)
            guard let arrival, let sent = sentAt.removeValue(forKey: sequence) else { continue }
            delays.append(arrival &* 250 &- sent.microseconds)
        }
        guard let least = delays.min() else { return }
        let median = delays.sorted()[delays.count / 2]
        if let known = baseline, now - known.at < 10_000_000, known.value < least {
        } else {
            baseline = (least, now)
        }
        guard let baseline else { return }
        if let lastChange, now - lastChange < 100_000 { return }
        let queueing = median.subtractingSaturating(baseline.value)
        if queueing > 100_000 {
            scale(0.85)
            lastChange = now
        } else if queueing < 30_000 {
            scale(1.05)
            lastChange = now
        }
    }

    private mutating func scale(_ factor: Double) {
        bitRate = min(Self.maximum, max(Self.minimum, Int(Double(bitRate) * factor)))
    }
}
