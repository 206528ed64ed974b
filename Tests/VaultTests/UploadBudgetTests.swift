import Core
import Testing

@testable import Vault

@Suite struct UploadBudgetTests {
    private func at(_ microseconds: Int64) -> MonotonicTime { MonotonicTime(microseconds: microseconds) }

    @Test(arguments: [1 << 10, 100_000, 3_333_333, 1 << 30])
    func `over ten seconds it gives out the limit, and never a quarter more in any second`(_ limit: Int) {
        var budget = UploadBudget()
        budget.set(limit)
        var given: [Int] = []
        var now: Int64 = 7
        for _ in 0..<10 {
            var second = 0
            for _ in 0..<10_000 {
                while let piece = budget.take(now: at(now)) { second += piece }
                now += 100
            }
            given.append(second)
        }
        #expect(given.allSatisfy { $0 <= limit + limit / 4 + 512 })
        let whole = given.reduce(0, +)
        #expect(whole >= limit * 10 - budget.piece && whole <= limit * 10 + 2 * budget.piece)
    }

    @Test func `after a pause there is no burst, and a wait is as long as it says`() {
        var budget = UploadBudget()
        budget.set(160_000)
        #expect(budget.piece == 10_000)
        #expect(budget.take(now: at(0)) == 10_000)
        #expect(budget.take(now: at(0)) == nil)
        #expect(budget.waitMilliseconds == 63)
        #expect(budget.take(now: at(62_000)) == nil)
        #expect(budget.take(now: at(63_000)) == 10_000)
        var burst = 0
        while let piece = budget.take(now: at(3_600_000_000)) { burst += piece }
        #expect(burst == 20_000)
        // A clock that goes back, or the same time again, gives nothing and takes nothing.
        #expect(budget.take(now: at(0)) == nil)
    }

    @Test func `without a limit there is no end, and a limit too low is the least one`() {
        var budget = UploadBudget()
        #expect(budget.take(now: at(0)) == .max && budget.waitMilliseconds == 0)
        for low in [Int.min, -1, 0, 1, 1023] {
            budget.set(low)
            #expect(budget.bytesPerSecond == 1024)
        }
        budget.set(.max)
        #expect(budget.take(now: at(.min)) == 1 << 18)
        #expect(budget.take(now: at(.max)) == 1 << 18)
        budget.set(nil)
        #expect(budget.take(now: at(0)) == .max)
    }
}
