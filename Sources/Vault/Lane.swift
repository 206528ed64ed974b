import Core
import Dispatch

/// Threads for blocking work: never the cooperative pool, which has only as many threads as cores.
struct Lane: Sendable {
    private let queue: DispatchQueue

    static func serial(_ name: String) -> Lane { Lane(queue: DispatchQueue(label: "sudocam." + name)) }
    static func concurrent(_ name: String) -> Lane {
        Lane(queue: DispatchQueue(label: "sudocam." + name, attributes: .concurrent))
    }

    /// Waits on the calling thread, which must not be one of this lane's own.
    func runBlocking<Value>(_ body: () -> Value) -> Value { queue.sync(execute: body) }

    /// Does not wait.
    func start(_ body: @escaping @Sendable () -> Void) { queue.async(execute: body) }

    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(VaultError) -> Value
    ) async throws(VaultError) -> Value {
        let result: Result<Value, VaultError> = await withCheckedContinuation { continuation in
            queue.async {
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
