import Core
import Synchronization

/// A bucket of an S3 server: signs requests, sends them, tries them again. The server is trusted with nothing: success is
/// what its answers prove, not what they say. What can be asked of it stands in `RemoteStore`.
///
/// Errors of all: `.unreachable` (tried often enough), `.refused`, `.remoteFault`, `.notFound`, `.closed` when the task
/// was cancelled, and those of the files that bodies come from and go to.
final class S3Client: Sendable {
    struct State: Sendable {
        /// Microseconds from our clock to the server's.
        var offset: Int64 = 0
        /// Whether the server has shown that it checks `x-amz-checksum-sha256`.
        var echoesChecksum = false
        /// Whether the server has said that it takes no `If-None-Match`.
        var refusesConditions = false
    }
    /// One request before it is signed.
    struct Call: Sendable {
        var method: String
        /// With the address's prefix; empty: the bucket.
        var key: String
        var query: [(name: String, value: String)] = []
        var headers: [(name: String, value: String)] = []
        var body: HTTPBody?
        var bodyHash = S3Client.emptyHash
        var sink = HTTPSink.bytes(limit: 1 << 16)
        var progress: (@Sendable (Int64, Int64) -> Void)?
        /// Statuses of a refusal that the caller wants to see himself, instead of an error.
        var accepted: Set<Int> = []
        /// Of these also what another attempt could change, as a damaged body.
        var isTriedOnce = false
        /// What an error calls it.
        var what: String { key.isEmpty ? "\(method) of the bucket" : "\(method) of \(key)" }
    }

    static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    let address: S3Address
    private let credentials: S3Credentials
    private let http: HTTPClient
    let time: any TimeSource
    private let policy: RetryPolicy
    let state = Mutex(State())
    /// Bodies are read for their checksums here.
    let lane = Lane.concurrent("s3")

    /// - Parameters:
    ///   - settings: its `authorities` and `bypassesProxy` follow from the address.
    ///   - capabilities: what a probe has found; spares the first bodies a hash that the server would not need.
    init(
        _ address: S3Address, _ credentials: S3Credentials, time: any TimeSource = SystemTime(),
        policy: RetryPolicy = RetryPolicy(), settings: HTTPClient.Settings = .init(),
        capabilities: RemoteCapabilities? = nil
    ) throws(VaultError) {
        var settings = settings
        settings.authorities = address.authorities
        settings.bypassesProxy = address.isLoopback
        self.address = address
        self.credentials = credentials
        self.time = time
        self.policy = policy
        http = try HTTPClient(settings)
        let echoes = capabilities?[.checksum] == .yes && capabilities?[.checksumEcho] == .yes
        state.withLock { $0.echoesChecksum = echoes }
    }

    /// What all uploads together may send in a second, also those under way; nil: no limit. Less than 1 KiB counts as that.
    func setUploadLimit(bytesPerSecond: Int?) { http.setUploadLimit(bytesPerSecond: bytesPerSecond) }

    // MARK: Sending

    func send(_ call: Call) async throws(VaultError) -> HTTPAnswer {
        var machine = RetryMachine(policy)
        while true {
            var answer: HTTPAnswer?
            let outcome: AttemptOutcome
            do throws(HTTPFailure) {
                let offset = state.withLock { $0.offset }
                let received = try await http.send { () throws(HTTPFailure) in try self.signed(call, offset: offset) }
                outcome = S3Judgement.judge(received, what: call.what, now: time.wallNow(), corrected: offset)
                if call.accepted.contains(received.status) {
                    switch outcome {
                    case .final: return received
                    case .transient where call.isTriedOnce: return received
                    default: break
                    }
                }
                answer = received
            } catch {
                outcome = error.kind == .transient ? .transient(error.error) : .final(error.error)
            }
            switch machine.handle(outcome, chance: .random(in: 0...1)) {
            case .done:
                if let answer { return answer }
            case .fail(let error): throw error
            case .correct(let offset): state.withLock { $0.offset = offset }
            case .retry(let milliseconds):
                do {
                    try await Task.sleep(for: .milliseconds(milliseconds))
                } catch { throw VaultError(.closed, "The transfer was cancelled.") }
            }
        }
    }

    /// Signed anew for every attempt, when it begins: a signature is good for a quarter of an hour only.
    /// - Parameter offset: µs from our clock to the server's, as far as is known.
    private func signed(_ call: Call, offset: Int64) throws(HTTPFailure) -> HTTPRequest {
        let now = time.wallNow() + offset
        do throws(VaultError) {
            var headers = call.headers
            headers += [
                ("host", address.hostHeader), ("x-amz-content-sha256", call.bodyHash),
                ("x-amz-date", HTTPDate.basic(now)),
            ]
            if let token = credentials.sessionToken { headers.append(("x-amz-security-token", token.revealed())) }
            let request = SignatureV4.Request(
                method: call.method, path: address.path(call.key), query: call.query, headers: headers,
                bodyHash: call.bodyHash)
            let signer = SignatureV4(accessKey: credentials.accessKey, region: address.region)
            headers.append(
                ("authorization", try signer.authorization(of: request, at: now, secret: credentials.secret)))
            let query = request.encodedQuery
            let url = "\(address.isTLS ? "https" : "http")://\(address.hostHeader)\(request.encodedPath)"
            return HTTPRequest(
                method: call.method, url: query.isEmpty ? url : url + "?" + query, headers: headers, body: call.body,
                sink: call.sink, progress: call.progress)
        } catch { throw HTTPFailure(kind: .final, error: error) }
    }
}
