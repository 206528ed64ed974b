import Testing

@testable import Media

@Suite struct DecodeTimesTests {
    /// One key frame, then P B B as x264 sends them.
    private let presented: [Int64] =
        [0] + (0..<200).flatMap { group in [3, 1, 2].map { (Int64(group) * 3 + $0) * 3600 } }

    @Test(arguments: [1, 2, 4])
    func `B-frames never turn decoding times back, nor let them run ahead of the clock`(depth: Int) {
        var times = DecodeTimes(depth: depth)
        let decoded = presented.map { times.next(pts: $0) }
        #expect(times.depth == depth)
        for (index, dts) in decoded.enumerated() {
            #expect(dts <= presented[index])
            if index > 0 { #expect(dts > decoded[index - 1]) }
        }
        #expect(decoded.last == Int64(presented.count - 1 - depth) * 3600)
    }

    @Test func `reordering that nobody declared is found out at the first jump back`() {
        var times = DecodeTimes(depth: 0)
        let decoded = presented.map { times.next(pts: $0) }
        #expect(times.depth == 1)
        #expect(zip(decoded, decoded.dropFirst()).filter { $0 >= $1 }.count == 1)
    }

    @Test func `a clock that stumbles back again and again adds a few frames at most`() {
        var times = DecodeTimes(depth: 0)
        for index: Int64 in 0..<10_000 { _ = times.next(pts: index * 3600 - index / 100 * 90_000) }
        #expect(times.depth == 4)
    }

    @Test func `a stream without B-frames keeps its times, and may start anew`() {
        var times = DecodeTimes(depth: 0)
        for pts: Int64 in [0, 3600, 7200, 9_000_000, 9_003_600, 0, 3600, .max, .min, 0] {
            #expect(times.next(pts: pts) == pts)
        }
        #expect(times.depth == 0)
        var deep = DecodeTimes(depth: 2)
        for pts: Int64 in [0, .max, .min, 3, .min, .max] { _ = deep.next(pts: pts) }
    }
}
