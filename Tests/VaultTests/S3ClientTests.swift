import Core
import Glibc
import Synchronization
import Testing

@testable import Vault

/// The client against a server on the loopback that misbehaves as told.
@Suite struct S3ClientTests {
    static let secret = "not-a-real-secret"
    static let policy = RetryPolicy(attempts: 4, firstMilliseconds: 1, longestMilliseconds: 20)

    private func client(
        _ server: FaultyServer, time: any TimeSource = SystemTime(), token: String? = nil,
        settings: HTTPClient.Settings = .init(), capabilities: RemoteCapabilities? = nil
    ) throws -> S3Client {
        try S3Client(
            S3Address(url: server.url),
            S3Credentials(
                accessKey: "AKIA", secret: SecretBytes(text: Self.secret),
                sessionToken: token.map { SecretBytes(text: $0) }),
            time: time, policy: Self.policy, settings: settings, capabilities: capabilities)
    }
    private static func checksum(_ bytes: [UInt8]) -> String { Base64.encode(Digest.sha256(bytes), padded: true) }
    private func fails(_ code: VaultError.Code, _ body: () async throws -> Void) async {
        await #expect(throws: VaultError(code, "")) { try await body() }
    }

    @Test func `V41: a PUT carries a plain body, its true hashes, and never overwrites`() async throws {
        let body = Array("sealed".utf8)
        let server = try FaultyServer { request, _ in
            .answer(
                200,
                [("ETag", "\"nonsense\""), ("x-amz-checksum-sha256", request.headers["x-amz-checksum-sha256"] ?? "")])
        }
        defer { server.stop() }
        let client = try client(server, token: "session")
        #expect(try await client.put("ab/c d", .bytes(body)) == .stored(isConfirmed: true))
        #expect(try await client.put("ab/e", .bytes(body)) == .stored(isConfirmed: true))
        let first = try #require(server.requests.first)
        #expect(first.method == "PUT" && first.target == "/vault/home/ab/c%20d" && first.body == body)
        #expect(first.headers["if-none-match"] == "*")
        #expect(first.headers["x-amz-content-sha256"] == Hex.encode(Digest.sha256(body)))
        #expect(first.headers["x-amz-checksum-sha256"] == Self.checksum(body))
        #expect(first.headers["x-amz-security-token"] == "session")
        #expect(
            first.headers["content-md5"] == Base64.encode(try HTTPBody.bytes(body).hash(into: .md5()), padded: true))
        #expect(first.headers["transfer-encoding"] == nil && first.headers["expect"] == nil)
        #expect(
            first.headers["authorization"]?.contains("content-md5;host;if-none-match;x-amz-checksum-sha256") == true)
        // Once the server has shown that it checks the better one, the worse one is not computed any more.
        #expect(server.requests.last?.headers["content-md5"] == nil)
        #expect(server.requests.map(\.connection) == [1, 1], "the connection is used again")
        for request in server.requests { #expect(!"\(request)".contains(Self.secret)) }
    }

    @Test func `a probe's word spares the first body its MD5, until the server says no checksum`() async throws {
        let server = try FaultyServer { request, number in
            let echo = ("x-amz-checksum-sha256", request.headers["x-amz-checksum-sha256"] ?? "")
            return .answer(200, number == 1 ? [] : [echo])
        }
        defer { server.stop() }
        var capabilities = RemoteCapabilities(probed: WallTime(seconds: 0))
        capabilities.answers = [.checksum: .yes, .checksumEcho: .yes]
        let client = try client(server, capabilities: capabilities)
        for key in ["a", "b", "c", "d"] { _ = try await client.put(key, .bytes([0])) }
        #expect(server.requests.map { $0.headers["content-md5"] != nil } == [false, false, true, false])
    }

    @Test func `V13: a yes with another checksum is no, without one it is unconfirmed, 412 is present`() async throws {
        let server = try FaultyServer { request, number in
            switch number {
            case 0: .answer(200, [("x-amz-checksum-sha256", Self.checksum([1]))])
            case 1: .answer(200)
            case 2: .error(412, "PreconditionFailed")
            default: .error(507, "InsufficientStorage")
            }
        }
        defer { server.stop() }
        let client = try client(server)
        await fails(.remoteFault) { _ = try await client.put("k", .bytes([0])) }
        #expect(try await client.put("k", .bytes([0])) == .stored(isConfirmed: false))
        #expect(try await client.put("k", .bytes([0])) == .present)
        await fails(.refused) { _ = try await client.put("k", .bytes([0])) }
        #expect(server.requests.count == 4)
    }

    @Test func `V38: resets, halves, 500, 503 and errors within a 200 are tried again with the same bytes`()
        async throws
    {
        let body = [UInt8](repeating: 7, count: 300_000)
        let server = try FaultyServer { request, number in
            switch number {
            case 0: .hangUp
            case 1: .error(500, "InternalError")
            case 2: .error(200, "SlowDown")
            case 3: .answer(200)
            default: .half(206, promised: 10, [1, 2, 3])
            }
        }
        defer { server.stop() }
        let client = try client(server)
        #expect(try await client.put("k", .bytes(body)) == .stored(isConfirmed: false))
        #expect(server.requests.count == 4 && server.requests.allSatisfy { $0.body == body })
        await fails(.unreachable) { _ = try await client.part("k", .range(0..<10)) }
        #expect(server.requests.count == 8)
    }

    @Test func `V37: a server that stays down ends with an error, and so does one that is not there`() async throws {
        let server = try FaultyServer { _, _ in .error(503, "ServiceUnavailable") }
        let client = try client(server)
        await fails(.unreachable) { _ = try await client.put("k", .bytes([0])) }
        #expect(server.requests.count == 4)
        server.stop()
        let gone = try self.client(server)
        await fails(.unreachable) { _ = try await gone.head("k") }
    }

    @Test func `V38: a silent server is given up after the stall limit`() async throws {
        let server = try FaultyServer { _, _ in .silence }
        defer { server.stop() }
        var settings = HTTPClient.Settings()
        settings.stallSeconds = 1
        let http = try HTTPClient(settings)
        await #expect(throws: HTTPFailure.self) { try await http.send(HTTPRequest(url: server.url)) }
    }

    @Test func `a wrong clock is put right from Date, for all that follows`() async throws {
        let server = try FaultyServer { request, number in
            let isRight = request.headers["x-amz-date"]?.hasPrefix("20130524T0000") == true
            let date = ("Date", "Fri, 24 May 2013 00:00:00 GMT")
            if isRight { return .answer(200, [date, ("Content-Length", "5")], Array("12345".utf8)) }
            return request.method == "HEAD" ? .answer(403, [date]) : .error(403, "RequestTimeTooSkewed", [date])
        }
        defer { server.stop() }
        let client = try client(server)
        #expect(try await client.head("k") == 5)
        #expect(try await client.head("k") == 5)
        #expect(server.requests.count == 3)
        let other = try self.client(server)
        #expect(try await other.put("k", .bytes([0])) == .stored(isConfirmed: false))
    }

    @Test func `parts come exactly, into memory and into a file`() async throws {
        let object = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let server = try FaultyServer { request, number in
            let range = request.headers["range"]?.dropFirst(6).split(separator: "-").compactMap { Int($0) } ?? []
            switch number {
            case 0, 1:
                return .answer(
                    206, [("Content-Range", "bytes \(range[0])-\(range[1])/\(object.count)")],
                    Array(object[range[0]...range[1]]))
            case 2: return .answer(200, [], Array(object[0..<10]))
            case 3: return .answer(206, [("Content-Range", "bytes 0-9/200000")], Array(object[0..<9]))
            case 4: return .answer(206, [("Content-Range", "bytes 1-10/200000")], Array(object[1...10]))
            case 5: return .answer(206, [("Content-Range", "bytes 0-9/200000")], object)
            case 6: return .error(404, "NoSuchKey")
            default: return .error(416, "InvalidRange")
            }
        }
        defer { server.stop() }
        let client = try client(server)
        #expect(try await client.part("k", .range(5..<199_999)).bytes == Array(object[5..<199_999]))
        let path = "/tmp/sudocam-s3-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let file = try PosixFileSystem().open(path, .create)
        unlink(path)
        let progress = Mutex<Int64>(0)
        try await client.part("k", 100..<150_000, into: file, at: 7) { _, received in
            progress.withLock { $0 = max($0, received) }
        }
        var copy = [UInt8](repeating: 0, count: 150_007)
        #expect(try file.read(at: 0, into: &copy) == 149_907)
        #expect(Array(copy[7..<149_907]) == Array(object[100..<150_000]))
        #expect(progress.withLock { $0 } == 149_900)
        for _ in 2...5 { await fails(.remoteFault) { _ = try await client.part("k", .range(0..<10)) } }
        await fails(.notFound) { _ = try await client.part("k", .range(0..<10)) }
        await fails(.refused) { _ = try await client.part("k", .range(0..<10)) }
        #expect(server.requests.count == 8)
    }

    @Test func `a body from a file is sent as it stands there`() async throws {
        let path = "/tmp/sudocam-s3-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let file = try PosixFileSystem().open(path, .create)
        unlink(path)
        let bytes = (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 17 >> 3) }
        try file.write(bytes, 0..<bytes.count, at: 0)
        let server = try FaultyServer { _, number in number == 0 ? .hangUp : .answer(200) }
        defer { server.stop() }
        let client = try client(server)
        #expect(try await client.put("k", .file(file, count: bytes.count)) == .stored(isConfirmed: false))
        #expect(server.requests.count == 2 && server.requests.allSatisfy { $0.body == bytes })
        await fails(.damaged) { _ = try await client.put("k", .file(file, count: bytes.count + 1)) }
    }

    @Test(arguments: [1, 7, 1000]) func `V35: a listing over pages gives every key once`(_ pageSize: Int) async throws {
        let keys = (0..<50).map { "home/o/" + String(100 + $0) }
        let server = try FaultyServer { request, _ in
            let query = request.target.split(separator: "?").last?.split(separator: "&").map(String.init) ?? []
            let from = query.first { $0.hasPrefix("continuation-token=") }.flatMap { Int($0.dropFirst(19)) } ?? 0
            let size = query.first { $0.hasPrefix("max-keys=") }.flatMap { Int($0.dropFirst(9)) } ?? 0
            let page = keys.dropFirst(from).prefix(size)
            let isLast = from + page.count == keys.count
            return .xml(
                200,
                "<ListBucketResult><IsTruncated>\(!isLast)</IsTruncated>"
                    + (isLast ? "" : "<NextContinuationToken>\(from + page.count)</NextContinuationToken>")
                    + page.map { "<Contents><Key>\($0)</Key><Size>3</Size></Contents>" }.joined()
                    + "</ListBucketResult>")
        }
        defer { server.stop() }
        var found: [String] = []
        try await client(server).list("o/", pageSize: pageSize) { found += $0.map(\.key) }
        #expect(found == keys.map { String($0.dropFirst(5)) })
        let target = server.requests[0].target
        #expect(target == "/vault?list-type=2&max-keys=\(pageSize)&prefix=home%2Fo%2F")
    }

    @Test func `a listing that is an error, a web page or a circle is an error`() async throws {
        let server = try FaultyServer { _, number in
            switch number {
            case 0: .xml(200, "<html></html>")
            case 1: .error(200, "AccessDenied")
            default:
                .xml(
                    200,
                    "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
                        + "</ListBucketResult>")
            }
        }
        defer { server.stop() }
        let client = try client(server)
        await fails(.remoteFault) { try await client.list { _ in } }
        await fails(.refused) { try await client.list { _ in } }
        await fails(.remoteFault) { try await client.list { _ in } }
        #expect(server.requests.count == 4)
    }

    @Test func `what is gone is nil for HEAD and fine for DELETE`() async throws {
        let server = try FaultyServer { request, _ in
            request.method == "HEAD"
                ? .answer(404) : request.target.hasSuffix("a") ? .answer(204) : .error(404, "NoSuchKey")
        }
        defer { server.stop() }
        let client = try client(server)
        #expect(try await client.head("k") == nil)
        for key in ["a", "b"] {
            #expect(try await client.delete(key, isForAllVersions: false) == .deleted(versions: 0))
        }
        #expect(server.requests.map(\.method) == ["HEAD", "DELETE", "DELETE"])
    }

    @Test func `a cancelled task ends its transfer at once, and the others go on`() async throws {
        let server = try FaultyServer { request, _ in request.target.hasSuffix("slow") ? .silence : .answer(200) }
        defer { server.stop() }
        let client = try client(server)
        let slow = Task { try await client.put("slow", .bytes([0])) }
        while server.requests.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
        #expect(try await client.put("k", .bytes([0])) == .stored(isConfirmed: false))
        slow.cancel()
        await fails(.closed) { _ = try await slow.value }
        let early = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await client.put("slow", .bytes([0]))
        }
        await fails(.closed) { _ = try await early.value }
    }

    @Test func `forty transfers at once share four connections`() async throws {
        let server = try FaultyServer { request, _ in .answer(200, [], request.body) }
        defer { server.stop() }
        let http = try HTTPClient()
        try await withThrowingTaskGroup(of: HTTPAnswer.self) { group in
            for index in 0..<40 {
                group.addTask {
                    try await http.send(HTTPRequest(method: "PUT", url: server.url, body: .bytes([UInt8(index)])))
                }
            }
            var bodies: Set<[UInt8]> = []
            for try await answer in group { bodies.insert(answer.body) }
            #expect(bodies.count == 40)
        }
        #expect(Set(server.requests.map(\.connection)).count <= 4)
    }

    @Test func `a server that takes no conditions gets none after the first, and other refusals stay refusals`()
        async throws
    {
        let server = try FaultyServer { request, _ in
            if request.target.hasSuffix("never") { return .xml(501, "<Error><Code>NotImplemented</Code></Error>") }
            guard request.headers["if-none-match"] == nil else {
                return .xml(501, "<Error><Code>NotImplemented</Code></Error>")
            }
            return .answer(200)
        }
        defer { server.stop() }
        let client = try client(server)
        await fails(.refused) { _ = try await client.put("never", .bytes([1])) }
        for key in ["a", "b"] { #expect(try await client.put(key, .bytes([1])) == .stored(isConfirmed: false)) }
        #expect(server.requests.map { $0.headers["if-none-match"] } == ["*", nil, "*", nil, nil])
    }

    @Test func `a wrong region and a wrong clock are one sentence, and what to do`() async throws {
        let region = try FaultyServer { _, _ in
            .xml(
                400,
                "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong</Message>"
                    + "<Region>eu-west-3</Region></Error>")
        }
        defer { region.stop() }
        do {
            _ = try await client(region).probe(now: WallTime(seconds: 0))
            Issue.record("no error")
        } catch let error as VaultError {
            #expect(error.code == .refused && error.hint == "Set the region to eu-west-3.")
        }
        #expect(!region.requests.contains { $0.method == "DELETE" }, "nothing was stored, so nothing is to be removed")

        // A server that does not believe its own clock.
        let clock = try FaultyServer { _, _ in
            .error(403, "RequestTimeTooSkewed", [("Date", "Fri, 24 May 2013 00:00:00 GMT")])
        }
        defer { clock.stop() }
        do {
            _ = try await client(clock).probe(now: WallTime(seconds: 0))
            Issue.record("no error")
        } catch let error as VaultError {
            #expect(error.code == .refused && error.hint?.contains("Set the clock") == true)
        }
    }

    @Test func `a request is made, and so signed, when its turn has come`() async throws {
        final class Log: Sendable { let lines = Mutex<[String]>([]) }
        let log = Log()
        let server = try FaultyServer { _, _ in
            log.lines.withLock { $0.append("answered") }
            return .answer(200)
        }
        defer { server.stop() }
        var settings = HTTPClient.Settings()
        settings.transfers = 1
        let http = try HTTPClient(settings)
        let url = server.url
        try await withThrowingTaskGroup(of: HTTPAnswer.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    try await http.send { () throws(HTTPFailure) in
                        log.lines.withLock { $0.append("made") }
                        return HTTPRequest(url: url)
                    }
                }
            }
            for try await answer in group { #expect(answer.status == 200) }
        }
        #expect(log.lines.withLock { $0 } == (0..<4).flatMap { _ in ["made", "answered"] })
        await #expect(throws: HTTPFailure.self) {
            try await http.send { () throws(HTTPFailure) in
                throw HTTPFailure(kind: .final, error: VaultError(.locked, "The secret was wiped."))
            }
        }
    }

    @Test func `an upload waits for what the limit leaves, and goes on when it is lifted`() async throws {
        let bodies = (0..<6).map { [UInt8](repeating: UInt8($0), count: 40_000) }
        let server = try FaultyServer { _, _ in .answer(200) }
        defer { server.stop() }
        let client = try client(server)
        // As slow as it gets: forty seconds for each of them, unless somebody lifts it.
        client.setUploadLimit(bytesPerSecond: 1)
        final class Sent: Sendable { let bytes = Mutex<Int64>(0) }
        let sent = Sent()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, body) in bodies.enumerated() {
                group.addTask {
                    _ = try await client.put("\(index)", .bytes(body)) { now, _ in
                        sent.bytes.withLock { $0 = max($0, now) }
                    }
                }
            }
            while sent.bytes.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(5)) }
            #expect(server.requests.isEmpty)
            client.setUploadLimit(bytesPerSecond: nil)
            try await group.waitForAll()
        }
        #expect(Set(server.requests.map(\.body)) == Set(bodies))
    }
}
