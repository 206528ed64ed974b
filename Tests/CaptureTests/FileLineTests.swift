import TestKit
import Testing

@testable import Capture

@Suite struct FileLineTests {
    /// (dts, pts) of a film with B-frames that begins anywhere: I P B B, two frames of reordering.
    private static func film(from start: Int64) -> [(dts: Int64, pts: Int64)] {
        [0, 3, 1, 2, 6, 4, 5, 9, 7, 8].enumerated().map { index, shown in
            (start + Int64(index - 2) * 3600, start + shown * 3600)
        }
    }

    @Test(arguments: [0, 126_000, -7_200_000]) func `I3: loops of a film with B-frames go on without a seam`(
        start: Int64
    ) {
        var line = FileLine()
        var placed: [(dts: Int64, pts: Int64)] = []
        for _ in 0..<3 {
            placed += Self.film(from: start).map { line.place(dts: $0.dts, pts: $0.pts, duration: 3600) }
            line.beginAnew()
        }
        #expect(line.frames == 30)
        #expect(placed.map(\.dts) == (0..<30).map { $0 * 3600 })
        // Composition offsets are the film's own: shown are 30 frames, none of them twice and none left out.
        #expect(placed.map(\.pts).sorted() == (0..<30).map { ($0 + 2) * 3600 })
    }

    @Test func `without durations the distance of the frames is learnt`() {
        var line = FileLine()
        var placed: [Int64] = []
        for _ in 0..<2 {
            placed += [0, 6000, 12_000].map { line.place(dts: $0, pts: $0, duration: 0).dts }
            line.beginAnew()
        }
        #expect(placed == [0, 6000, 12_000, 18_000, 24_000, 30_000])
    }

    @Test func `I1: times that jump in a file are closed up, and those that stand still go on`() {
        var line = FileLine()
        let times: [Int64] = [0, 3600, 400_000_000_000, 400_000_003_600, 7200, 10_800, 10_800, 14_400, 90_000 * 30]
        let placed = times.map { line.place(dts: $0, pts: $0, duration: 3600).dts }
        #expect(placed == [0, 3600, 7200, 10_800, 14_400, 18_000, 18_001, 21_600, 21_600 + 90_000 * 30 - 14_400])
    }

    @Test func `random times never trap, and decoding times never fall`() {
        var generator = SeededGenerator(seed: 17)
        var line = FileLine()
        var last: Int64 = .min
        for _ in 0..<20_000 {
            func any() -> Int64 {
                [.max, .min, 0, .random(in: .min ... .max, using: &generator)][Int.random(in: 0..<4, using: &generator)]
            }
            let placed = line.place(dts: any(), pts: any(), duration: any())
            #expect(placed.dts >= last)
            last = placed.dts
            if Int.random(in: 0..<100, using: &generator) == 0 { line.beginAnew() }
        }
    }
}

@Suite struct BackoffTests {
    @Test func `I12: pauses double up to thirty seconds, stay there for ever, and differ`() {
        var generator = SeededGenerator(seed: 1)
        var backoff = Backoff()
        let pauses = (0..<1000).map { _ in backoff.next(connected: 0, using: &generator) }
        for (attempt, pause) in pauses.enumerated() {
            let whole: Int64 = min(30_000_000, 500_000 << Int64(min(attempt, 10)))
            #expect((whole / 2...whole).contains(pause))
        }
        #expect(Set(pauses).count > 900)
    }

    @Test func `I12: whoever delivered for a while is tried again quickly`() {
        var generator = SeededGenerator(seed: 2)
        var backoff = Backoff()
        for _ in 0..<8 { _ = backoff.next(connected: 29_999_999, using: &generator) }
        #expect(backoff.next(connected: 0, using: &generator) >= 15_000_000)
        #expect(backoff.next(connected: 30_000_000, using: &generator) <= 500_000)
    }
}
