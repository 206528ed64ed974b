import Dispatch
import Testing

@testable import Vault

@Suite struct LaneTests {
    /// With the cooperative pool's own threads it ends only after minutes, one more thread coming each second.
    @Test(.timeLimit(.minutes(1)))
    func `jobs of a lane that wait hold up no task and no other job`() async throws {
        let lane = Lane.concurrent("test")
        let gate = DispatchGroup()
        gate.enter()
        async let held: Int = withTaskGroup(of: Int.self) { group in
            for _ in 0..<120 {
                group.addTask {
                    (try? await lane.run { () -> Int in
                        wait(gate); return 1
                    }) ?? 0
                }
            }
            return await group.reduce(0, +)
        }
        for number in 0..<50 {
            try await Task.sleep(for: .milliseconds(1))
            #expect(try await lane.run { number } == number)
        }
        gate.leave()
        #expect(await held == 120)
    }
}

/// Blocks; a call of its own, since none may stand in asynchronous code.
private func wait(_ gate: DispatchGroup) { gate.wait() }
