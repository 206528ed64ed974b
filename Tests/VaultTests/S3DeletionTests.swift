import Core
import Synchronization
import Testing

@testable import Vault

/// Deletion against a server on the loopback that keeps versions, locks them, or knows neither.
@Suite struct S3DeletionTests {
    private func client(_ server: FaultyServer) throws -> S3Client {
        try S3Client(
            S3Address(url: server.url),
            S3Credentials(accessKey: "AKIA", secret: SecretBytes(text: "not-a-real-secret")),
            policy: RetryPolicy(attempts: 2, firstMilliseconds: 1, longestMilliseconds: 5))
    }
    private static func isListing(_ request: FaultyServer.Request) -> Bool { request.target.contains("versions=") }
    private static func id(_ request: FaultyServer.Request) -> String? {
        request.target.split(separator: "?").last?.split(separator: "&").first { $0.hasPrefix("versionId=") }
            .map { String($0.dropFirst(10)) }
    }

    @Test func `every version and every marker is removed, over all pages, and nothing beside`() async throws {
        let server = try FaultyServer { request, _ in
            guard Self.isListing(request) else { return .answer(204) }
            return request.target.contains("key-marker=home%2Fa&")
                ? .xml(
                    200,
                    "<ListVersionsResult><IsTruncated>false</IsTruncated>"
                        + "<DeleteMarker><Key>home/a</Key><VersionId>m</VersionId></DeleteMarker>"
                        + "<Version><Key>home/a</Key><VersionId>v/2+</VersionId></Version></ListVersionsResult>")
                : .xml(200, ListVersionsTests.xml([("home/a", "v1"), ("home/ab", "w1")], next: ("home/a", "v1")))
        }
        defer { server.stop() }
        #expect(try await client(server).delete("a", isForAllVersions: true) == .deleted(versions: 2))
        let deletions = server.requests.filter { $0.method == "DELETE" }
        #expect(deletions.map(\.target) == ["v1", "m", "v%2F2%2B"].map { "/vault/home/a?versionId=\($0)" })
        #expect(server.requests[0].target == "/vault?max-keys=1000&prefix=home%2Fa&versions=")
        #expect(server.requests[1].target.hasSuffix("&version-id-marker=v1&versions="))
    }

    @Test func `V43: what a lock keeps is locked until its end, whatever the server calls it`() async throws {
        let until = "2099-05-24T01:02:03.500Z"
        let server = try FaultyServer { request, _ in
            switch (Self.isListing(request), request.method, Self.id(request)) {
            case (true, _, _):
                return .xml(200, ListVersionsTests.xml([("home/a", "1"), ("home/a", "2"), ("home/a", "3")]))
            case (_, "DELETE", "1"): return .error(403, "AccessDenied")
            case (_, "DELETE", "3"): return .error(400, "InvalidRequest")
            case (_, "HEAD", "1"): return .answer(200, [("x-amz-object-lock-retain-until-date", until)])
            case (_, "HEAD", "3"):
                return .answer(200, [("x-amz-object-lock-retain-until-date", "2098-01-01T00:00:00Z")])
            default: return .answer(204)
            }
        }
        defer { server.stop() }
        let end = try #require(HTTPDate.parse(timestamp: until))
        #expect(try await client(server).delete("a", isForAllVersions: true) == .locked(until: end))
        #expect(server.requests.filter { $0.method == "DELETE" }.count == 3, "what is not locked goes all the same")
    }

    @Test(arguments: [
        ("x-amz-object-lock-legal-hold", "ON"), ("x", "AccessDenied: forbidden by object lock"),
        ("x", "InvalidRequest: Object is WORM protected and cannot be overwritten"),
    ]) func `V43: a lock without an end is locked too`(_ header: String, _ words: String) async throws {
        let server = try FaultyServer { request, _ in
            if Self.isListing(request) { return .xml(200, ListVersionsTests.xml([("home/a", "1")])) }
            if request.method == "HEAD" { return .answer(200, [(header, words)]) }
            return .xml(403, "<Error><Code>AccessDenied</Code><Message>\(words)</Message></Error>")
        }
        defer { server.stop() }
        #expect(try await client(server).delete("a", isForAllVersions: true) == .locked(until: nil))
    }

    @Test func `without rights it is refused, in the server's words`() async throws {
        let server = try FaultyServer { request, _ in
            request.method == "HEAD" ? .answer(403) : .error(403, "AccessDenied")
        }
        defer { server.stop() }
        for isForAllVersions in [false, true] {
            #expect(
                try await client(server).delete("a", isForAllVersions: isForAllVersions) == .refused("AccessDenied: m"))
        }
        // An end of a lock that has passed already is none.
        let late = try FaultyServer { request, _ in
            request.method == "HEAD"
                ? .answer(200, [("x-amz-object-lock-retain-until-date", "2001-01-01T00:00:00Z")])
                : .error(403, "AccessDenied")
        }
        defer { late.stop() }
        #expect(try await client(late).delete("a", isForAllVersions: false) == .refused("AccessDenied: m"))
    }

    @Test func `where versions cannot be listed the name goes, and what stays behind is said`() async throws {
        let marker = Mutex(false)
        let server = try FaultyServer { request, number in
            if Self.isListing(request) {
                return number % 2 == 0
                    ? .error(501, "NotImplemented")
                    : .xml(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
            }
            return .answer(204, marker.withLock { $0 } ? [("x-amz-delete-marker", "true")] : [])
        }
        defer { server.stop() }
        let client = try client(server)
        #expect(try await client.delete("a", isForAllVersions: true) == .deleted(versions: 0))
        #expect(server.requests.map(\.method) == ["GET", "DELETE"])
        marker.withLock { $0 = true }
        guard case .refused(let words) = try await client.delete("a", isForAllVersions: true) else {
            Issue.record("versions stand and nobody says so")
            return
        }
        #expect(words.contains("older versions"))
        #expect(try await client.delete("a", isForAllVersions: false) == .deleted(versions: 0))
    }

    @Test func `a bucket without versions says none`() async throws {
        let server = try FaultyServer { request, _ in
            Self.isListing(request) ? .xml(200, ListVersionsTests.xml([("home/a", "null")])) : .answer(204)
        }
        defer { server.stop() }
        #expect(try await client(server).delete("a", isForAllVersions: true) == .deleted(versions: 0))
    }

    @Test func `wrong keys and a missing bucket are errors, and a server that is down is no refusal`() async throws {
        for (status, code, error) in [
            (403, "SignatureDoesNotMatch", VaultError.Code.refused), (404, "NoSuchBucket", .refused),
            (503, "SlowDown", .unreachable), (200, "InternalError", .unreachable),
        ] {
            let server = try FaultyServer { _, _ in .error(status, code) }
            defer { server.stop() }
            await #expect(throws: VaultError(error, ""), "\(code)") {
                try await client(server).delete("a", isForAllVersions: true)
            }
        }
    }
}
