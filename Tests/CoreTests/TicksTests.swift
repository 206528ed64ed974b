import Core
import Testing

@Suite struct TicksTests {
    @Test(arguments: [0, 1, -1, 3600, 90_000, -90_001, 158_000_000_000_000])
    func `ticks come back from microseconds`(ticks: Int64) {
        #expect(Ticks.ticks(microseconds: Ticks.microseconds(ticks)) == ticks)
    }
    @Test(arguments: [Int64.min, .max, .min + 1, .max - 1])
    func `what overflows saturates`(value: Int64) {
        #expect((Ticks.microseconds(value) < 0) == (value < 0))
        #expect((Ticks.ticks(microseconds: value) < 0) == (value < 0))
    }
}
