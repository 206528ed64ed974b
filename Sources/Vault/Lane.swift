import Core
import Dispatch
import Synchronization

/// Threads for blocking work: never the cooperative pool, which has only as many threads as cores.
///
/// On Linux the jobs of a concurrent `DispatchQueue` run on that very pool: tasks are jobs of the same global queue, which has a thread
/// for each core and gets one more a second while none of them can run (swift-corelibs-libdispatch, `src/event/workqueue.c`). Two reads
/// that wait for a remote would hold up the task that is to answer them. Serial queues have another pool, of at most 255 threads
/// (`src/shims.h`), which all lanes share: so a concurrent one takes no more than `limit` of them, and recording always finds one.
struct Lane: Sendable {
    private enum Kind {
        case serial(DispatchQueue)
        case concurrent(ConcurrentJobs)
    }
    private let kind: Kind

    /// Jobs of a concurrent lane that run at once; more wait for one of them to end.
    static let limit = 64

    static func serial(_ name: String) -> Lane { Lane(kind: .serial(DispatchQueue(label: "sudocam." + name))) }
    static func concurrent(_ name: String) -> Lane { Lane(kind: .concurrent(ConcurrentJobs("sudocam." + name))) }

    /// Waits on the calling thread, which must not be one of this lane's own.
    func runBlocking<Value>(_ body: () -> Value) -> Value {
        switch kind {
        case .serial(let queue): queue.sync(execute: body)
        case .concurrent: body()
        }
    }

    /// Does not wait.
    func start(_ body: @escaping @Sendable () -> Void) {
        switch kind {
        case .serial(let queue): queue.async(execute: body)
        case .concurrent(let jobs): jobs.start(body)
        }
    }

    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(VaultError) -> Value
    ) async throws(VaultError) -> Value {
        let result: Result<Value, VaultError> = await withCheckedContinuation { continuation in
            start {
                do throws(VaultError) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}

/// Runs jobs beside one another, each thread on a queue of its own, in the order in which they came.
private final class ConcurrentJobs: Sendable {
    private struct State {
        var running = 0
        var waiting: [@Sendable () -> Void] = []
    }
    private let name: String
    private let state = Mutex(State())

    init(_ name: String) { self.name = name }

    func start(_ job: @escaping @Sendable () -> Void) {
        let hasThread = state.withLock { state in
            guard state.running < Lane.limit else {
                state.waiting.append(job)
                return false
            }
            state.running += 1
            return true
        }
        guard hasThread else { return }
        DispatchQueue(label: name).async { [self] in
            var next = Optional(job)
            while let job = next {
                job()
                next = state.withLock { state in
                    guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
                    state.running -= 1
                    return nil
                }
            }
        }
    }
}
