import Core
import Glibc
import Testing

@testable import Vault

/// What is S3's own about a real server: keys, rights, clocks, TLS, and what the probe finds.
@Suite(.enabled(if: S3Servers.isThere && !S3Servers.isFaulty), .serialized) struct S3ServerTests {
    private let folder = S3Servers.folder()

    private func client(
        _ bucket: S3Servers.Bucket = .plain, _ who: String = "owner", secret: String? = nil,
        time: any TimeSource = SystemTime()
    ) throws -> S3Client {
        try S3Servers.client(bucket, folder: folder, who: who, secret: secret, time: time)
    }
    private func tlsClient(
        bucket: String = "vault", region: String? = nil, _ who: String = "owner", secret: String? = nil,
        authorities: String? = S3Servers.variable("CA")
    ) throws -> S3Client {
        let url = try #require(S3Servers.variable("TLS_URL")).replacing("/vault", with: "/" + bucket)
        return try S3Client(
            S3Address(url: "\(url)/\(folder)", region: region, authorities: authorities),
            S3Credentials(accessKey: who, secret: SecretBytes(text: secret ?? who + "-secret")),
            policy: S3Servers.policy)
    }
    struct Skewed: TimeSource {
        var seconds: Int64
        func wallNow() -> WallTime { SystemTime().wallNow() + seconds * 1_000_000 }
        func monotonicNow() -> MonotonicTime { SystemTime().monotonicNow() }
        func isWallSynchronised() -> Bool { false }
    }

    @Test func `a recorder may put and list, and not delete`() async throws {
        let recorder = try client(.plain, "recorder")
        _ = try await client().put("first", .bytes([0]))
        guard case .stored = try await recorder.put("k", .bytes([1])) else {
            Issue.record("a recorder could not store")
            return
        }
        var found: [String] = []
        try await recorder.list { found += $0.map(\.key) }
        #expect(found == ["first", "k"])
        await #expect(throws: VaultError(.refused, "")) { try await recorder.part("first", .range(0..<1)) }
        for isForAllVersions in [false, true] {
            guard case .refused = try await recorder.delete("k", isForAllVersions: isForAllVersions) else {
                Issue.record("a recorder could delete")
                continue
            }
        }
        #expect(try await client().head("k") == 1)
    }

    @Test(arguments: [-3600, 3600] as [Int64])
    func `a clock that is an hour off is put right, and the probe says by how much`(_ seconds: Int64) async throws {
        let client = try client(time: Skewed(seconds: seconds))
        #expect(try await client.head("none") == nil)
        guard case .stored = try await client.put("k", .bytes([1])) else {
            Issue.record("not stored")
            return
        }
        let offset = try #require(try await client.probe(now: SystemTime().wallNow()).clockOffset)
        #expect(abs(offset + seconds) < 60)
    }

    // MARK: Probe

    /// What research/vault.md, 8.3, measured of each.
    @Test func `the probe finds what the server does, and leaves nothing behind`() async throws {
        let client = try client()
        let now = SystemTime().wallNow()
        let found = try await client.probe(now: now)
        let isSeaweed = S3Servers.kind == "seaweedfs"
        #expect(
            found.answers == [
                .conditionalPut: .yes, .checksum: isSeaweed ? .yes : .no, .checksumEcho: isSeaweed ? .yes : .no,
                .bodyHash: isSeaweed ? .no : .yes, .md5: .yes, .range: .yes, .metadata: .yes, .versioning: .no,
                .objectLock: .no, .mayRead: .yes, .mayList: .yes, .mayDelete: .yes,
            ])
        #expect(found.probed == now && found.checksBodies && found.leftBehind.isEmpty && found.clockOffset == nil)
        #expect(found.httpVersion == "1.1")
        var left: [String] = []
        try await client.list { left += $0.map(\.key) }
        #expect(left.isEmpty)
        for line in found.lines { print("  \(line)") }
    }

    @Test func `the probe sees versions and locks, and says what it had to leave`() async throws {
        let versions = try await client(.versions).probe(now: SystemTime().wallNow())
        #expect(versions[.versioning] == .yes && versions[.objectLock] == .no && versions.leftBehind.isEmpty)
        guard case .found(let left) = try await client(.versions).versions(of: folder) else { return }
        #expect(left.isEmpty)
        let locked = try await client(.locked).probe(now: SystemTime().wallNow())
        #expect(locked[.versioning] == .yes && locked[.objectLock] == .yes)
        #expect(locked.defaultRetention == "GOVERNANCE, 1 day")
        #expect(!locked.leftBehind.isEmpty && locked.leftBehind.allSatisfy { $0.hasPrefix("probe/") })
        #expect(locked.lines.contains { $0.contains("may not remove") })
    }

    @Test func `V5: put-only credentials are enough for the probe, which then leaves a few bytes`() async throws {
        let found = try await client(.plain, "recorder").probe(now: SystemTime().wallNow())
        #expect(found[.conditionalPut] == .yes && found[.mayList] == .yes && found[.mayDelete] == .no)
        // On Ceph a writer owns what he wrote, and may read it in spite of the policy.
        #expect(found[.mayRead] == (S3Servers.kind == "ceph" ? .yes : .no))
        #expect(!found.leftBehind.isEmpty)
        var there: [String] = []
        try await client().list { there += $0.map(\.key) }
        #expect(Set(there) == Set(found.leftBehind))
    }

    // MARK: TLS, and what goes wrong

    static let hasTLS = S3Servers.variable("TLS_URL") != nil

    @Test(.enabled(if: hasTLS)) func `HTTP/2 over TLS is used, and a limit holds there too`() async throws {
        let client = try tlsClient()
        let found = try await client.probe(now: SystemTime().wallNow())
        print("  over TLS it speaks HTTP/\(found.httpVersion ?? "?")")
        #expect(found.httpVersion == "2")
        client.setUploadLimit(bytesPerSecond: 1 << 20)
        let body = randomBytes(300_000)
        try await withThrowingTaskGroup(of: PutOutcome.self) { group in
            for index in 0..<4 { group.addTask { try await client.put("\(index)", .bytes(body)) } }
            for try await outcome in group { #expect(outcome == .stored(isConfirmed: true)) }
        }
        for index in 0..<4 { #expect(try await client.part("\(index)", .range(0..<body.count)).bytes == body) }
    }

    @Test(.enabled(if: hasTLS)) func `what is set up wrongly is one sentence, and what to do`() async throws {
        func says(_ reason: String, _ hint: String, _ make: () throws -> S3Client) async throws {
            do {
                let found = try await make().probe(now: SystemTime().wallNow())
                Issue.record("no error, but \(found)")
            } catch let error as VaultError {
                print("  \(error.reason) — \(error.hint ?? "")")
                #expect(error.code == .refused || error.code == .invalid)
                #expect(error.reason.contains(reason) && error.hint?.contains(hint) == true, "\(error)")
                #expect(!"\(error)".contains("-secret"))
            }
        }
        try await says("signature", "secret key") { try tlsClient("owner", secret: "wrong-secret") }
        try await says("access key", "Check the access key") { try tlsClient("nobody") }
        // Its owner's first upload creates a bucket in SeaweedFS.
        try await says("no such bucket", "Create the bucket") { try tlsClient(bucket: "missing", "writer") }
        try await says("certificate", "authority") { try tlsClient(authorities: nil) }
        try await says("authority", "PEM") { try tlsClient(authorities: "/nonexistent.pem") }
        // SeaweedFS serves every region; what others answer stands in S3ClientTests.
        #expect(try await tlsClient(region: "eu-nowhere-1").probe(now: SystemTime().wallNow())[.mayRead] == .yes)
    }
}
