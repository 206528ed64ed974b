import Core
import Testing

@testable import Ingest

@Suite struct TimeLineTests {
    static let start = WallTime(seconds: 1_764_000_000)

    /// A camera of 25 frames a second whose frame n was taken n × 40 ms after `start` and arrives `delay` later.
    static func input(_ frame: Int64, delay: Int64 = 30_000, ticks: Int64? = nil, wallStep: Int64 = 0) -> TimeLine.Input
    {
        let taken = frame * 40_000
        let ticks = ticks ?? frame * 3600
        return TimeLine.Input(
            dts: ticks, pts: ticks, arrival: MonotonicTime(microseconds: taken + delay),
            wall: start + taken + delay + wallStep)
    }

    /// Feeds frames until the line is settled; returns it and the first placements.
    static func settled(_ delay: (Int64) -> Int64 = { _ in 30_000 }) -> (line: TimeLine, first: [TimeLine.Placement]) {
        var line = TimeLine(first: input(0, delay: delay(0)))
        var held: [TimeLine.Input] = []
        for frame in 0..<400 {
            let input = input(Int64(frame), delay: delay(Int64(frame)))
            held.append(input)
            if line.place(input) == .settled { break }
        }
        return (line, held.compactMap { line.settle($0) })
    }

    @Test func `the least delayed frame decides`() throws {
        let (_, first) = Self.settled { frame in frame == 7 ? 5000 : 80_000 }
        #expect(first.count > 20)
        for (index, placement) in first.enumerated() {
            #expect(placement.time == Self.start + Int64(index) * 40_000 + 5000)
        }
    }

    @Test func `T8: a burst of pre-roll is timed backwards`() throws {
        // 5 s of frames arrive at once, then the stream goes on in real time.
        let now: Int64 = 125 * 40_000
        let (_, first) = Self.settled { frame in frame < 125 ? now - frame * 40_000 + 1000 : 1000 }
        try #require(first.count >= 100)
        #expect(first[0].time - Self.start < 10_000)

    }

    @Test func `I1: one frame hours off is dropped alone`() {
        var (line, _) = Self.settled()
        for frame in 30..<60 { _ = line.place(Self.input(Int64(frame))) }
        #expect(line.place(Self.input(60, ticks: 60 * 3600 + 90_000 * 7200)) == .drop)
        guard case .placed(let next) = line.place(Self.input(61)) else {
            Issue.record("the frame after was not placed")
            return
        }
        #expect(abs(next.time - (Self.start + 61 * 40_000 + 30_000)) < 2000)
    }

    @Test func `I4: timestamps that restart begin a new run`() {
        var (line, _) = Self.settled()
        for frame in 30..<500 { _ = line.place(Self.input(Int64(frame))) }
        #expect(line.place(Self.input(500, ticks: 0)) == .drop)
        #expect(line.place(Self.input(501, ticks: 3600)) == .newRun(.timestampsJumped))
    }

    @Test func `I3: a jump of 61 ms back keeps the stream alive and rising`() {
        var (line, _) = Self.settled()
        var last: WallTime?
        for frame in 30..<200 {
            let back: Int64 = frame >= 100 ? 61 * 90 : 0
            guard case .placed(let placement) = line.place(Self.input(Int64(frame), ticks: Int64(frame) * 3600 - back))
            else {
                Issue.record("frame \(frame) was not placed")
                return
            }
            if let last { #expect(placement.decodeTime > last) }
            last = placement.decodeTime
        }
    }

    @Test(arguments: [5_400_000_000, -3_600_000_000])
    func `T1, T2: a step of the wall clock begins a new run`(step: Int64) {
        var (line, _) = Self.settled()
        #expect(line.place(Self.input(30, wallStep: step)) == .newRun(.clockStep))
    }

    @Test(arguments: [500.0, -500.0])
    func `T7: a day of a camera clock 500 ppm off stays within 100 ms`(ppm: Double) {
        var (line, _) = Self.settled()
        var worst: Int64 = 0
        // A frame a second is enough to see drift.
        for second in 2..<86_400 {
            let taken = Int64(second) * 1_000_000
            let ticks = Int64(Double(second) * 90_000 * (1 + ppm / 1_000_000))
            let input = TimeLine.Input(
                dts: ticks, pts: ticks, arrival: MonotonicTime(microseconds: taken + 30_000),
                wall: Self.start + taken + 30_000)
            guard case .placed(let placement) = line.place(input) else {
                Issue.record("second \(second) was not placed")
                return
            }
            worst = max(worst, abs(placement.time - (Self.start + taken + 30_000)))
        }
        #expect(worst <= 100_000, "\(worst) µs")
    }

    /// Sound is not recorded. If it were, it would lie on this same line: what the picture is off, it would be apart.
    @Test(arguments: [100.0, -100.0])
    func `I10, the picture: ten minutes of a camera clock 100 ppm off, no frame is 40 ms from when it was taken`(
        ppm: Double
    ) {
        var (line, _) = Self.settled()
        for frame in Int64(60)..<15_000 {
            let ticks = Int64(Double(frame) * 3600 * (1 + ppm / 1_000_000))
            // Some are late, none is early.
            guard
                case .placed(let placement) = line.place(
                    Self.input(frame, delay: 30_000 + frame % 7 * 9000, ticks: ticks))
            else {
                Issue.record("frame \(frame) was not placed")
                return
            }
            let off = placement.time - (Self.start + frame * 40_000 + 30_000)
            guard abs(off) <= 40_000 else {
                Issue.record("frame \(frame) is off by \(off) µs")
                return
            }
        }
    }

    @Test func `hostile timestamps do not trap`() {
        var line = TimeLine(first: Self.input(0))
        for ticks in [Int64.max, .min, 0, -1, .max - 1, .min + 1] {
            for exact in [true, false] {
                _ = line.place(
                    TimeLine.Input(
                        dts: ticks, pts: ~ticks, arrival: MonotonicTime(microseconds: .max - 1),
                        wall: WallTime(microseconds: .min + 5), isExact: exact))
                _ = line.settle(Self.input(0, ticks: ticks))
            }
        }
    }
}
