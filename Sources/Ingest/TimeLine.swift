public import Core

/// One clock per run: maps a stream's 90 kHz ticks to wall time, and says what cannot be placed.
///
/// The least delayed frame wins: network and camera can only delay a frame, so the smallest (arrival − ticks) is nearest to
/// the truth (moonfire-nvr `design/time.md`). The first second of a run is held back until that frame is known; later,
/// better knowledge and drift between the camera's clock and ours are steered in slowly, never by a jump. The wall clock is
/// read once per run; a step of it (NTP, a person) ends the run, so that media time inside a run never moves.
///
///     settling ──1 s of arrivals, or an exact capture time──▶ running ──clock step, lasting jump of ticks──▶ (new TimeLine)
public struct TimeLine: Sendable {
    public struct Input: Sendable, Equatable {
        /// 90 kHz ticks.
        public var dts: Int64
        public var pts: Int64
        public var arrival: MonotonicTime
        public var wall: WallTime
        /// The source knows when the picture was taken: `arrival` and `wall` are that instant.
        public var isExact: Bool

        public init(dts: Int64, pts: Int64, arrival: MonotonicTime, wall: WallTime, isExact: Bool = false) {
            self.dts = dts
            self.pts = pts
            self.arrival = arrival
            self.wall = wall
            self.isExact = isExact
        }
    }

    public struct Placement: Sendable, Equatable {
        public var time: WallTime
        public var decodeTime: WallTime
    }

    public enum Verdict: Sendable, Equatable {
        /// The run's offset is not known yet: keep the frame, then ask `settle` for all kept ones.
        case hold
        /// Held frames can be placed now, in the order they came, this one last.
        case settled
        case placed(Placement)
        /// This frame alone lies far off its neighbours (I1): leave it out.
        case drop
        /// The frames go on elsewhere: end this run and give the frame to a new one.
        case newRun(RunEnd)
    }

    public enum RunEnd: String, Sendable, Equatable {
        case clockStep
        case timestampsJumped
    }

    /// What one frame may lie away from where the last ones say it belongs before it is suspected.
    static let suspicion: Int64 = 10_000_000
    /// Wall clock against monotonic clock; smaller differences are steered.
    static let stepThreshold: Int64 = 2_000_000
    /// Long enough for a burst of pre-roll (T8) to end.
    static let settleTime: Int64 = 1_000_000
    /// Steering speed: 1 ms a second keeps 500 ppm of drift below a tenth of a second (T7) and is seen by nobody.
    static let slewPerMillion: Int64 = 1000
    static let driftWindow: Int64 = 30_000_000

    private let wallBase: WallTime
    private let monotonicBase: MonotonicTime
    private var wallCorrection: Int64 = 0
    /// Wall time of tick 0, once settled.
    private var offset: Int64?
    private var bestOffset: Int64 = .max
    private var windowBest: Int64 = .max
    private var windowStart: MonotonicTime
    private var lastSteered: MonotonicTime
    private var last: (dts: Int64, arrival: MonotonicTime)?
    /// Added to the camera's ticks after a small backward jump (I3).
    private var shift: Int64 = 0
    private var suspects: [(dts: Int64, arrival: MonotonicTime)] = []

    public init(first: Input) {
        wallBase = first.wall
        monotonicBase = first.arrival
        windowStart = first.arrival
        lastSteered = first.arrival
    }

    /// 2^55 ticks are twelve thousand years: beyond that a number is no time, and sums of sane ones cannot overflow.
    static let saneTicks: UInt64 = 1 << 55
    static let saneMicroseconds: UInt64 = 1 << 58

    public mutating func place(_ input: Input) -> Verdict {
        guard input.dts.magnitude < Self.saneTicks, input.pts.magnitude < Self.saneTicks,
            input.wall.microseconds.magnitude < Self.saneMicroseconds,
            input.arrival.microseconds.magnitude < Self.saneMicroseconds
        else { return .drop }
        let arrivalWall = wallBase + (input.arrival - monotonicBase) + wallCorrection
        let step = input.wall - arrivalWall
        if abs(step) > Self.stepThreshold { return .newRun(.clockStep) }

        var dts = input.dts.addingSaturating(shift)
        if let last {
            let ticksPassed = Ticks.microseconds(dts.subtractingSaturating(last.dts))
            let arrivalPassed = input.arrival - last.arrival
            if abs(ticksPassed.subtractingSaturating(arrivalPassed)) > Self.suspicion, !isBurst(ticksPassed) {
                return suspect(dts: dts, arrival: input.arrival)
            }
            if dts <= last.dts {
                shift = shift.addingSaturating(last.dts - dts + 1)
                dts = last.dts + 1
            }
        }
        suspects.removeAll()
        last = (dts, input.arrival)

        let candidate = arrivalWall.microseconds.subtractingSaturating(
            Ticks.microseconds(input.isExact ? input.pts : dts))
        if offset == nil {
            bestOffset = min(bestOffset, candidate)
            guard input.isExact || input.arrival - monotonicBase >= Self.settleTime else { return .hold }
            offset = bestOffset
            windowStart = input.arrival
            lastSteered = input.arrival
            return .settled
        }
        steer(candidate: candidate, step: step, now: input.arrival)
        return .placed(placement(dts: dts, pts: input.pts.addingSaturating(shift)))
    }

    /// Places a frame that was held; nil before `.settled`.
    public func settle(_ input: Input) -> Placement? {
        offset == nil ? nil : placement(dts: input.dts.addingSaturating(shift), pts: input.pts.addingSaturating(shift))
    }

    /// Whether frames are placed, and not held any more.
    public var isSettled: Bool { offset != nil }

    /// Where sound on the same clock lies; nil before `.settled`, and for what is no time.
    public func place(sound pts: Int64) -> WallTime? {
        guard offset != nil, pts.magnitude < Self.saneTicks else { return nil }
        let ticks = pts.addingSaturating(shift)
        return placement(dts: ticks, pts: ticks).time
    }

    private func placement(dts: Int64, pts: Int64) -> Placement {
        let base = WallTime(microseconds: offset ?? 0)
        return Placement(time: base + Ticks.microseconds(pts), decodeTime: base + Ticks.microseconds(dts))
    }

    /// Frames that come faster than real time while settling are pre-roll, not a fault (T8).
    private func isBurst(_ ticksPassed: Int64) -> Bool {
        offset == nil && ticksPassed > 0 && ticksPassed < Self.suspicion
    }

    private mutating func suspect(dts: Int64, arrival: MonotonicTime) -> Verdict {
        let follows = suspects.last.map { before in
            let ticks = Ticks.microseconds(dts.subtractingSaturating(before.dts))
            return ticks > 0 && abs(ticks.subtractingSaturating(arrival - before.arrival)) < Self.stepThreshold
        }
        if follows == false { suspects.removeAll() }
        suspects.append((dts, arrival))
        // Two in a row that agree with each other: the camera's clock was set, and stays there (I4).
        return suspects.count >= 2 ? .newRun(.timestampsJumped) : .drop
    }

    private mutating func steer(candidate: Int64, step: Int64, now: MonotonicTime) {
        windowBest = min(windowBest, candidate)
        let passed = now - lastSteered
        guard passed >= 100_000 else { return }
        lastSteered = now
        let allowance = passed.multipliedReportingOverflow(by: Self.slewPerMillion).partialValue / 1_000_000
        // The wall clock is disciplined by NTP; following it keeps the index true, at the same slow pace.
        wallCorrection += min(max(step, -allowance), allowance)
        guard let current = offset else { return }
        if windowBest < current {
            offset = max(windowBest, current - allowance)
        } else if now - windowStart >= Self.driftWindow {
            bestOffset = windowBest
            windowBest = .max
            windowStart = now
        } else if bestOffset > current {
            offset = min(bestOffset, current + allowance)
        }
    }
}
