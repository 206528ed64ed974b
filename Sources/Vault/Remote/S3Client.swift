import Core
import Synchronization

/// The few operations on a bucket that SudoCam needs. The server is trusted with nothing: success is what its answers
/// prove, not what they say.
///
/// Errors of all: `.unreachable` (tried often enough), `.refused`, `.remoteFault`, `.notFound`, `.closed` when the task
/// was cancelled, and those of the files that bodies come from and go to.
final class S3Client: Sendable {
    enum PutOutcome: Hashable, Sendable {
        /// `isConfirmed`: the server sent back the checksum that it computed, and it was ours.
        case stored(isConfirmed: Bool)
        /// Something stood under the key already, which was not touched; whether it is the same, a listing tells.
        case present
    }

    private struct State: Sendable {
        /// Microseconds from our clock to the server's.
        var offset: Int64 = 0
        /// Whether the server has shown that it checks `x-amz-checksum-sha256`.
        var echoesChecksum = false
    }
    private struct Call: Sendable {
        var method: String
        var key: String
        var query: [(name: String, value: String)] = []
        var headers: [(name: String, value: String)] = []
        var body: HTTPBody?
        var bodyHash = S3Client.emptyHash
        var sink = HTTPSink.bytes(limit: 1 << 16)
        var progress: (@Sendable (Int64, Int64) -> Void)?
        /// What an error calls it.
        var what: String { key.isEmpty ? "\(method) of the bucket" : "\(method) of \(key)" }
    }

    static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    let address: S3Address
    private let credentials: S3Credentials
    private let http: HTTPClient
    private let time: any TimeSource
    private let policy: RetryPolicy
    private let state = Mutex(State())
    /// Bodies are read for their checksums here.
    private let lane = Lane.concurrent("s3")

    /// - Parameter settings: its `authorities` and `bypassesProxy` follow from the address.
    init(
        _ address: S3Address, _ credentials: S3Credentials, time: any TimeSource = SystemTime(),
        policy: RetryPolicy = RetryPolicy(), settings: HTTPClient.Settings = .init()
    ) throws(VaultError) {
        var settings = settings
        settings.authorities = address.authorities
        settings.bypassesProxy = address.isLoopback
        self.address = address
        self.credentials = credentials
        self.time = time
        self.policy = policy
        http = try HTTPClient(settings)
    }

    // MARK: Operations

    /// Stores an object under a name where nothing stands. Durable there as far as the server's word goes; look again
    /// later before relying on it (V5).
    ///
    /// - Parameter sha256: of the body, when it is known already; the server gets it either way.
    func put(
        _ key: String, _ body: HTTPBody, sha256 known: [UInt8]? = nil,
        progress: (@Sendable (_ sent: Int64, _ received: Int64) -> Void)? = nil
    ) async throws(VaultError) -> PutOutcome {
        let sha256: [UInt8]
        if let known {
            sha256 = known
        } else {
            sha256 = try await lane.run { () throws(VaultError) in try body.hash(into: Digest.sha256()) }
        }
        let checksum = Base64.encode(sha256, padded: true)
        var call = Call(method: "PUT", key: address.prefix + key, body: body, bodyHash: Hex.encode(sha256))
        call.progress = progress
        call.headers = [("if-none-match", "*"), ("x-amz-checksum-sha256", checksum)]
        if !state.withLock({ $0.echoesChecksum }) {
            // Servers that ignore the checksum do look at this one.
            let md5 = try await lane.run { () throws(VaultError) in try body.hash(into: Digest.md5()) }
            call.headers.append(("content-md5", Base64.encode(md5, padded: true)))
        }
        let answer: HTTPAnswer
        do throws(VaultError) {
            answer = try await send(call)
        } catch  where error.code == .exists { return .present }
        guard let echo = answer.headers["x-amz-checksum-sha256"] else { return .stored(isConfirmed: false) }
        guard echo == checksum else { throw S3Judgement.fault("stored other bytes than were sent (\(call.what))") }
        state.withLock { $0.echoesChecksum = true }
        return .stored(isConfirmed: true)
    }

    /// A part of an object, exactly. Errors: `.remoteFault` also for a whole object in place of the part.
    func get(_ key: String, _ range: Range<Int>) async throws(VaultError) -> [UInt8] {
        guard !range.isEmpty, range.lowerBound >= 0 else { return [] }
        return try await get(key, range, .bytes(limit: range.count)).body
    }

    /// The same into a file, at `offset`.
    func get(
        _ key: String, _ range: Range<Int>, into file: any OpenFile, at offset: Int,
        progress: (@Sendable (_ sent: Int64, _ received: Int64) -> Void)? = nil
    ) async throws(VaultError) {
        guard !range.isEmpty, range.lowerBound >= 0 else { return }
        _ = try await get(key, range, .file(file, offset: offset, limit: range.count), progress)
    }

    private func get(
        _ key: String, _ range: Range<Int>, _ sink: HTTPSink, _ progress: (@Sendable (Int64, Int64) -> Void)? = nil
    ) async throws(VaultError) -> HTTPAnswer {
        var call = Call(method: "GET", key: address.prefix + key, sink: sink, progress: progress)
        call.headers = [("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")]
        let answer = try await send(call)
        try S3Judgement.checkRange(answer, range, what: call.what)
        return answer
    }

    /// Its size; nil when there is no such object.
    func head(_ key: String) async throws(VaultError) -> Int? {
        let answer: HTTPAnswer
        do throws(VaultError) {
            answer = try await send(Call(method: "HEAD", key: address.prefix + key))
        } catch  where error.code == .notFound { return nil }
        guard let size = answer.headers["content-length"].flatMap({ Int($0) }), size >= 0 else {
            throw S3Judgement.fault("does not say how large \(key) is")
        }
        return size
    }

    /// Fine when it is gone already.
    func delete(_ key: String) async throws(VaultError) {
        do throws(VaultError) {
            _ = try await send(Call(method: "DELETE", key: address.prefix + key))
        } catch  where error.code == .notFound {}
    }

    /// Every object whose key begins with `prefix`, page by page and in order; keys without the address's prefix.
    ///
    /// Errors: `.remoteFault` also when the listing turns in a circle (V35); pages that were given out before are not
    /// the whole then, and the caller must not take them for it.
    func list(
        _ prefix: String = "", pageSize: Int = 1000, page take: ([ListPage.Object]) throws(VaultError) -> Void
    ) async throws(VaultError) {
        let whole = address.prefix + prefix
        var machine = ListingMachine(prefix: whole)
        var token: String?
        while true {
            var call = Call(method: "GET", key: "", sink: .bytes(limit: ListPage.sizeLimit))
            call.query = [("list-type", "2"), ("max-keys", String(min(1000, max(1, pageSize)))), ("prefix", whole)]
            if let token { call.query.append(("continuation-token", token)) }
            let page = try ListPage(parsing: try await send(call).body)
            let action = try machine.handle(page)
            try take(
                page.objects.map { ListPage.Object(key: String($0.key.dropFirst(address.prefix.count)), size: $0.size) }
            )
            guard case .ask(let next) = action else { return }
            token = next
        }
    }

    // MARK: Sending

    private func send(_ call: Call) async throws(VaultError) -> HTTPAnswer {
        var machine = RetryMachine(policy)
        while true {
            var answer: HTTPAnswer?
            let outcome: AttemptOutcome
            do throws(HTTPFailure) {
                let received = try await http.send(try signed(call))
                outcome = S3Judgement.judge(received, what: call.what, now: time.wallNow())
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

    /// Signed anew for every attempt: a signature is good for a quarter of an hour only.
    private func signed(_ call: Call) throws(HTTPFailure) -> HTTPRequest {
        let now = time.wallNow() + state.withLock { $0.offset }
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
