import Dispatch
import Foundation
import Synchronization
import Testing

@testable import Vault

@Suite struct LaneTests {
    /// A pool's threads bear its name.
    @Test func `what waits on a lane has no thread of the cooperative pool`() async throws {
        @Sendable func thread() -> String {
            (try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)) ?? ""
        }
        let task = await Task.detached { thread() }.value
        #expect(!task.isEmpty)
        for lane in [Lane.concurrent("test"), Lane.serial("test")] {
            let job = try await lane.run { thread() }
            #expect(!job.isEmpty && job != task)
        }
    }

    @Test func `so many run at once, and more in the order in which they came`() async throws {
        let lane = Lane.concurrent("test")
        let gate = DispatchGroup()
        gate.enter()
        let begun = Mutex<[Int]>([])
        let done = DispatchGroup()
        for number in 0..<Lane.limit + 30 {
            done.enter()
            lane.start {
                begun.withLock { $0.append(number) }
                if number < Lane.limit { gate.wait() }
                done.leave()
            }
        }
        while begun.withLock({ $0.count }) < Lane.limit { try await Task.sleep(for: .milliseconds(1)) }
        #expect(begun.withLock { $0.sorted() } == Array(0..<Lane.limit))
        gate.leave()
        await withCheckedContinuation { all in done.notify(queue: .global()) { all.resume() } }
        #expect(begun.withLock { $0.sorted() } == Array(0..<Lane.limit + 30))
        // One thread after another is free again.
        #expect(try await lane.run { 7 } == 7)
    }
}
