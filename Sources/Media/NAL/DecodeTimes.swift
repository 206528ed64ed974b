/// Decoding times for streams that carry presentation times only, as RTP does (RFC 6184 section 5.1).
///
/// Frames come in decoding order. With `depth` frames of reordering, a frame is decoded when the one shown `depth` frames
/// earlier is shown, so the smallest of the last `depth` + 1 presentation times is the decoding time; taken as they came,
/// times would jump back at every B-frame and a time line would run ahead of the clock (I3).
struct DecodeTimes {
    private(set) var depth: Int
    private var waiting: [Int64] = []
    private var last: Int64?

    /// A stream starts anew where its times lie further apart than reordering explains, 90 kHz.
    private static let restart: Int64 = 5 * 90_000
    /// ITU-T H.264 annex E: max_num_reorder_frames.
    private static let deepest = 16
    /// What undeclared B-frames can need; a clock that stumbles often must not add up to more.
    private static let learnable = 4

    init(depth: Int) { self.depth = min(Self.deepest, max(0, depth)) }

    /// New parameter sets may admit to more reordering.
    mutating func deepen(to depth: Int) { self.depth = min(Self.deepest, max(self.depth, depth)) }

    mutating func next(pts: Int64) -> Int64 {
        if let last {
            let (ahead, overflow) = pts.subtractingReportingOverflow(last)
            if overflow || ahead.magnitude > UInt64(Self.restart) {
                waiting = []
            } else if ahead < 0, depth < Self.learnable {
                // More reordering than the parameter sets admit to; many cameras declare none.
                depth += 1
            }
        }
        let dts = place(pts)
        last = dts
        return dts
    }

    private mutating func place(_ pts: Int64) -> Int64 {
        waiting.insert(pts, at: waiting.firstIndex { $0 > pts } ?? waiting.endIndex)
        // The first frames have none before them to count from: a tick apart is enough for order.
        guard waiting.count > depth else { return waiting[0] &- Int64(depth + 1 - waiting.count) }
        return waiting.removeFirst()
    }
}
