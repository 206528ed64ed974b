import Core
import Media

/// A file's times, from 0 and without an end however often it begins anew; 90 kHz. What nobody would wait for is left out.
struct FileLine {
    /// 25 frames a second, where the file does not say.
    private static let usualStep: Int64 = 3600
    /// A hole longer than a minute was made by cutting, or by a broken time; it is closed.
    private static let longestHole: Int64 = 60 * 90_000

    private(set) var frames = 0
    /// Added to the file's own ticks; nil until the first frame of a reading.
    private var shift: Int64?
    private var last: Int64?
    private var end: Int64 = 0
    private var step = FileLine.usualStep

    /// - Returns: where the frame lies; decoding times always rise, and composition offsets are kept.
    mutating func place(dts: Int64, pts: Int64, duration: Int64) -> (dts: Int64, pts: Int64) {
        if (1..<Self.longestHole).contains(duration) { step = duration }
        var shift = shift ?? end.subtractingSaturating(dts)
        var line = dts.addingSaturating(shift)
        if let last {
            let way = line.subtractingSaturating(last)
            if way == 0 {
                line = last.addingSaturating(1)
            } else if way < 0 || way > Self.longestHole {
                let next = last.addingSaturating(step)
                shift = shift.addingSaturating(next.subtractingSaturating(line))
                line = next
            } else if duration <= 0 {
                step = way
            }
        }
        self.shift = shift
        last = line
        end = max(end, line.addingSaturating(step))
        frames += 1
        return (line, line.addingSaturating(pts.subtractingSaturating(dts)))
    }

    /// Where sound lies that comes between pictures; nil before the first one of a reading.
    func place(sound pts: Int64) -> Int64? { shift.map(pts.addingSaturating) }

    /// The next frame follows the last one after an ordinary pause.
    mutating func beginAnew() { shift = nil }
}
