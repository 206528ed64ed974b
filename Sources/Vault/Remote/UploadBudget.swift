import Core

/// Shares out what may be sent in a second among the transfers that want to send. Pure.
///
/// Whoever wants bytes waits in line and is given one piece at a time, so that a small file beside a large one is not kept
/// waiting for it. What nobody takes is saved up for an eighth of a second at most: after a pause there is no burst.
struct UploadBudget: Sendable {
    /// Less would have a server, or our own stall limit, give a transfer up.
    static let leastBytesPerSecond = 1 << 10

    private(set) var bytesPerSecond: Int?
    private var saved = 0
    /// Bytes of a second, times microseconds, that did not make a whole byte yet.
    private var remainder = 0
    private var last: MonotonicTime?

    /// Sixteen in a second, and no more than what libcurl asks for at once.
    var piece: Int {
        guard let bytesPerSecond else { return .max }
        return min(1 << 18, max(512, bytesPerSecond / 16))
    }

    /// - Parameter limit: nil: none; less than `leastBytesPerSecond` counts as that.
    mutating func set(_ limit: Int?) {
        let limit = limit.map { min(1 << 40, max(Self.leastBytesPerSecond, $0)) }
        guard limit != bytesPerSecond else { return }
        (bytesPerSecond, saved, remainder, last) = (limit, 0, 0, nil)
    }

    /// A piece for the next in line; nil when it has to wait.
    mutating func take(now: MonotonicTime) -> Int? {
        guard let bytesPerSecond else { return .max }
        // The first one does not wait; a second is the most that one step may bring.
        let passed = last.map { Int(min(1_000_000, max(0, now - $0))) }
        last = now
        if let passed {
            let product = passed * bytesPerSecond + remainder
            saved = min(max(piece, bytesPerSecond / 8), saved + product / 1_000_000)
            remainder = product % 1_000_000
        } else {
            saved = piece
        }
        guard saved >= piece else { return nil }
        saved -= piece
        return piece
    }

    /// Until the next piece is there, rounded up; 0 without a limit.
    var waitMilliseconds: Int {
        guard let bytesPerSecond else { return 0 }
        return (max(0, piece - saved) * 1000 + bytesPerSecond - 1) / bytesPerSecond
    }
}
