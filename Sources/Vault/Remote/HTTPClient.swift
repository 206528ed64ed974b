import CCurl
import Core
import Dispatch
import Synchronization

/// Owns libcurl's multi handle: connections are kept and shared (HTTP/2 where the server offers it), their number and
/// the number of transfers at once are bounded.
///
/// Everything of libcurl happens on one serial queue. The queue holds a thread only while there are transfers; what
/// comes in meanwhile wakes it with `curl_multi_wakeup`.
///
///     send → waiting → running (at most `transfers`) → answered
///     cancel → out of either, at once
@safe final class HTTPClient: Sendable {
    struct Settings: Sendable {
        var connectMilliseconds = 15_000
        /// Slower than this for `stallSeconds` counts as broken off, also while waiting for an answer.
        var stallBytesPerSecond = 64
        var stallSeconds = 60
        var connections = 4
        var transfers = 8
        /// A PEM file that replaces the system's certificate authorities.
        var authorities: String?
        /// Remotes on this machine are not asked for through a proxy of the environment.
        var bypassesProxy = false
    }

    private struct Job: Sendable {
        var id: UInt64
        var make: @Sendable () throws(HTTPFailure) -> HTTPRequest
        var complete: @Sendable (Result<HTTPAnswer, HTTPFailure>) -> Void
    }
    private struct Inbox: Sendable {
        var jobs: [Job] = []
        /// Sent and not answered yet; only these can be cancelled.
        var live: Set<UInt64> = []
        var cancelled: Set<UInt64> = []
        var lastID: UInt64 = 0
        var isPumping = false
        var uploadLimit: Int?
    }

    private let settings: Settings
    private let inbox = Mutex(Inbox())
    private let queue = DispatchQueue(label: "sudocam.http")
    private let multi: Multi
    private struct Uplink: Sendable {
        var budget = UploadBudget()
        /// Who waits for leave to send, longest first.
        var line: [UInt64] = []
    }
    /// Touched on the queue alone.
    private let uplink = Mutex(Uplink())
    private let time = SystemTime()

    /// Errors: `.noSpace` when libcurl gets no memory.
    init(_ settings: Settings = Settings()) throws(VaultError) {
        self.settings = settings
        guard curlIsReady, let multi = Multi() else { throw VaultError(.noSpace, "libcurl cannot be started.") }
        self.multi = multi
        multi.bound(connections: settings.connections)
    }

    func send(_ request: HTTPRequest) async throws(HTTPFailure) -> HTTPAnswer {
        try await send { () throws(HTTPFailure) in request }
    }

    /// Waits for the whole answer. A cancelled task ends the transfer, and its connection with it.
    ///
    /// - Parameter make: called when the request's turn has come, on the client's queue: behind slow uploads that may be
    ///   longer than a signature holds.
    func send(
        _ make: @escaping @Sendable () throws(HTTPFailure) -> HTTPRequest
    ) async throws(HTTPFailure) -> HTTPAnswer {
        let id = inbox.withLock { inbox in
            inbox.lastID += 1
            inbox.live.insert(inbox.lastID)
            return inbox.lastID
        }
        defer {
            inbox.withLock { inbox in
                inbox.live.remove(id)
                inbox.cancelled.remove(id)
            }
        }
        let result: Result<HTTPAnswer, HTTPFailure> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                submit(Job(id: id, make: make) { continuation.resume(returning: $0) })
            }
        } onCancel: {
            cancel(id)
        }
        return try result.get()
    }

    /// What all bodies together may send in a second, also those under way; nil: no limit. Less than 1 KiB counts as that.
    func setUploadLimit(bytesPerSecond: Int?) {
        inbox.withLock { $0.uploadLimit = bytesPerSecond }
        multi.wake()
    }

    private func submit(_ job: Job) {
        let mustStart = inbox.withLock { inbox in
            inbox.jobs.append(job)
            defer { inbox.isPumping = true }
            return !inbox.isPumping
        }
        if mustStart { queue.async { self.pump() } } else { multi.wake() }
    }

    /// Also before `submit` was called: the mark waits for the job.
    private func cancel(_ id: UInt64) {
        inbox.withLock { inbox in
            if inbox.live.contains(id) { inbox.cancelled.insert(id) }
        }
        multi.wake()
    }

    private func start(_ job: Job) throws(HTTPFailure) -> CurlTransfer {
        let request = try job.make()
        guard let transfer = CurlTransfer(id: job.id, request, settings, complete: job.complete), multi.add(transfer)
        else {
            throw HTTPFailure(kind: .final, error: VaultError(.noSpace, "libcurl cannot take another transfer."))
        }
        return transfer
    }

    /// Gives waiting bodies what the limit leaves, those first that have waited longest. Returns after how many
    /// milliseconds there is more to give.
    private func share(_ limit: Int?, _ running: [UInt64: CurlTransfer]) -> Int {
        uplink.withLock { uplink in
            uplink.budget.set(limit)
            uplink.line.removeAll { running[$0]?.isWaiting != true }
            uplink.line += running.values.filter(\.isWaiting).map(\.id).filter { !uplink.line.contains($0) }.sorted()
            while let first = uplink.line.first, let transfer = running[first] {
                guard let piece = uplink.budget.take(now: time.monotonicNow()) else {
                    return min(1000, max(1, uplink.budget.waitMilliseconds))
                }
                transfer.allow(piece)
                uplink.line.removeFirst()
            }
            return 1000
        }
    }

    /// Runs on the queue until nothing is left to do.
    private func pump() {
        var waiting: [Job] = []
        var running: [UInt64: CurlTransfer] = [:]
        while true {
            let (jobs, cancelled, limit) = inbox.withLock { inbox -> ([Job], Set<UInt64>, Int?) in
                defer { inbox.jobs = [] }
                let here = Set(inbox.jobs.map(\.id) + waiting.map(\.id) + running.keys)
                // Said under the lock, so that a job is either taken here or starts a pump of its own.
                inbox.isPumping = !here.isEmpty
                return (inbox.jobs, inbox.cancelled.intersection(here), inbox.uploadLimit)
            }
            if jobs.isEmpty, waiting.isEmpty, running.isEmpty { return }
            waiting += jobs
            for id in cancelled {
                if let transfer = running.removeValue(forKey: id) {
                    multi.remove(transfer)
                    transfer.cancel()
                }
                for job in waiting where job.id == id {
                    job.complete(
                        .failure(
                            HTTPFailure(kind: .cancelled, error: VaultError(.closed, "The transfer was cancelled."))))
                }
                waiting.removeAll { $0.id == id }
            }
            while running.count < settings.transfers, !waiting.isEmpty {
                let job = waiting.removeFirst()
                do throws(HTTPFailure) {
                    running[job.id] = try start(job)
                } catch { job.complete(.failure(error)) }
            }
            for transfer in running.values { transfer.limit(limit != nil) }
            let done = multi.perform(running)
            for (transfer, code) in done {
                running[transfer.id] = nil
                multi.remove(transfer)
                transfer.finish(code)
            }
            if done.isEmpty { multi.wait(milliseconds: share(limit, running)) }
        }
    }
}

/// `curl_global_init`, once; safe from any thread as a Swift global.
private let curlIsReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

/// Owns the multi handle. `wake` may be called from any thread (curl_multi_wakeup(3)), the rest only on the client's
/// queue, one call at a time.
@safe private final class Multi: @unchecked Sendable {  // see above; the pointer itself never changes
    private let multi: UnsafeMutableRawPointer

    init?() {
        guard let multi = unsafe curl_multi_init() else { return nil }
        unsafe self.multi = multi
    }
    deinit { unsafe curl_multi_cleanup(multi) }

    func bound(connections: Int) {
        unsafe sudocam_curl_multi_long(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections)
        unsafe sudocam_curl_multi_long(multi, CURLMOPT_MAXCONNECTS, connections)
    }
    func wake() { unsafe curl_multi_wakeup(multi) }

    func add(_ transfer: CurlTransfer) -> Bool {
        unsafe transfer.withHandle { unsafe curl_multi_add_handle(multi, $0) == CURLM_OK }
    }
    func remove(_ transfer: CurlTransfer) {
        unsafe transfer.withHandle { _ = unsafe curl_multi_remove_handle(multi, $0) }
    }

    /// Moves bytes, and returns who is done.
    func perform(_ running: [UInt64: CurlTransfer]) -> [(CurlTransfer, CURLcode)] {
        var count: Int32 = 0
        guard unsafe curl_multi_perform(multi, &count) == CURLM_OK else {
            return running.values.map { ($0, CURLE_OUT_OF_MEMORY) }
        }
        var done: [(CurlTransfer, CURLcode)] = []
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(multi, &left) {
            guard unsafe message.pointee.msg == CURLMSG_DONE else { continue }
            let result = unsafe sudocam_curl_result(message)
            let handle = unsafe message.pointee.easy_handle
            if let transfer = running.values.first(where: { unsafe $0.withHandle { unsafe $0 == handle } }) {
                done.append((transfer, result))
            }
        }
        return done
    }

    /// Until there are bytes to move, somebody wakes it, or the time is over.
    func wait(milliseconds: Int) { unsafe curl_multi_poll(multi, nil, 0, Int32(clamping: milliseconds), nil) }
}
