import Core

/// Puts a camera's sound on the clock of its pictures. Pure; one for each connection over RTP.
///
/// libavformat places streams by the camera's sender reports (RFC 3550 section 6.4.1) as soon as there is more than one: the
/// pictures' times jump when the first report comes, and when the camera's clock is set. Pictures keep the times that they would
/// have had alone: such a jump is taken out of both. Where reports are missing or lie, what arrives together belongs together.
struct MediaClock {
    /// A picture cannot come earlier than the least delayed one; a jump of this much is seen by it, 90 kHz.
    private static let tolerance: Int64 = 13_500
    /// Times that go back by so much were set back; less is reordering, or the time line's matter.
    private static let setBack: Int64 = 90_000
    /// Sound that lies further than this from the pictures it arrives with is placed by its arrival …
    private static let unbelievable: Int64 = 27_000
    /// … until it lies nearer than this again.
    private static let believable: Int64 = 18_000

    private var videoShift: Int64 = 0
    private var soundShift: Int64 = 0
    /// The picture before, and how long after the one before it that was read.
    private var lastVideo: (pts: Int64, arrival: Int64, passed: Int64)?
    private var step: Int64?
    private var video = LeastDelay()
    private var lastSound: Int64?
    private var sound = LeastDelay()

    /// - Parameters:
    ///   - pts: as libavformat has it.
    ///   - arrival: when its packet was read.
    /// - Returns: the picture's time.
    mutating func video(_ pts: Int64, at arrival: MonotonicTime) -> Int64 {
        let arrival = Ticks.ticks(microseconds: arrival.microseconds)
        // A picture is known to be whole, and handed out, when the next one begins: it began to come when the last one was read.
        let began = lastVideo?.arrival
        if let last = lastVideo {
            let way = pts.subtractingSaturating(last.pts)
            var isJump = false
            if let step {
                let jump = way.subtractingSaturating(step)
                let isEarly =
                    video.least.map { $0.subtractingSaturating(delay(pts, last.arrival)) > Self.tolerance } ?? false
                isJump = jump > Self.tolerance && isEarly || way < -Self.setBack
                if isJump {
                    // A picture that was long in coming is that much later all the same; less is jitter.
                    let isLong = last.passed.subtractingSaturating(step) > Self.tolerance
                    videoShift = videoShift.addingSaturating(way.subtractingSaturating(isLong ? last.passed : step))
                    sound = LeastDelay()
                }
            }
            if !isJump, (1...180_000).contains(way) { step = way }
        }
        lastVideo = (pts, arrival, began.map(arrival.subtractingSaturating) ?? 0)
        if step != nil, let began { video.note(delay(pts, began), at: arrival) }
        return pts.subtractingSaturating(videoShift)
    }

    private func delay(_ pts: Int64, _ began: Int64) -> Int64 {
        began.subtractingSaturating(pts.subtractingSaturating(videoShift))
    }

    /// - Returns: the sound's time on the pictures' clock; nil before the second picture.
    mutating func sound(_ pts: Int64, at arrival: MonotonicTime) -> Int64? {
        let arrival = Ticks.ticks(microseconds: arrival.microseconds)
        if let last = lastSound, pts.subtractingSaturating(last).magnitude > UInt64(Self.tolerance) {
            sound = LeastDelay()
        }
        lastSound = pts
        let placed = pts.subtractingSaturating(videoShift)
        sound.note(arrival.subtractingSaturating(placed), at: arrival)
        guard let pictures = video.least, let least = sound.least else { return nil }
        let apart = least.subtractingSaturating(pictures)
        if soundShift == 0 ? apart.magnitude <= UInt64(Self.unbelievable) : apart.magnitude <= UInt64(Self.believable) {
            soundShift = 0
        } else if apart.subtractingSaturating(soundShift).magnitude > UInt64(Self.believable) {
            soundShift = apart
        }
        return placed.addingSaturating(soundShift)
    }

    /// The smallest difference of arrival and time: what was delayed least. It is forgotten by 1 ms a second, so that clocks may drift.
    private struct LeastDelay {
        private(set) var least: Int64?
        private var noted: Int64 = 0

        mutating func note(_ delay: Int64, at arrival: Int64) {
            let leak = max(0, arrival.subtractingSaturating(noted)) / 1000
            least = least.map { min(delay, $0.addingSaturating(leak)) } ?? delay
            noted = arrival
        }
    }
}
