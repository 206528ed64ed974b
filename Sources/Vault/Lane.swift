import Core
import Dispatch

/// Threads for blocking work: never the cooperative pool, which has only as many threads as cores.
///
/// On Linux the jobs of a concurrent `DispatchQueue` run on that very pool: tasks are jobs of the same global queue, which has a thread
/// for each core and gets one more a second while none of them can run (swift-corelibs-libdispatch, `src/event/workqueue.c`). Two reads
/// that wait for a remote would hold up the task that is to answer them. A serial queue's thread is not counted there.
struct Lane: Sendable {
    private let name: String
    /// Nil where jobs run beside one another, each on a queue of its own, which costs no more than one for all (4 µs).
    private let queue: DispatchQueue?

    static func serial(_ name: String) -> Lane {
        Lane(name: "sudocam." + name, queue: DispatchQueue(label: "sudocam." + name))
    }
    static func concurrent(_ name: String) -> Lane { Lane(name: "sudocam." + name, queue: nil) }

    private var next: DispatchQueue { queue ?? DispatchQueue(label: name) }

    /// Waits on the calling thread, which must not be one of this lane's own.
    func runBlocking<Value>(_ body: () -> Value) -> Value { next.sync(execute: body) }

    /// Does not wait.
    func start(_ body: @escaping @Sendable () -> Void) { next.async(execute: body) }

    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(VaultError) -> Value
    ) async throws(VaultError) -> Value {
        let result: Result<Value, VaultError> = await withCheckedContinuation { continuation in
            next.async {
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
