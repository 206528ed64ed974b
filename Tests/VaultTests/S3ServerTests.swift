import Core
import Glibc
import Testing

@testable import Vault

/// Where Tests/PeerTests/s3_server.py runs a real server.
private func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

/// The contract with a real server: what each operation has to do, whoever answers.
@Suite(.enabled(if: variable("SUDOCAM_S3_URL") != nil), .serialized, .timeLimit(.minutes(3)))
struct S3ServerTests {
    /// Each test works under a prefix of its own.
    private let folder = "t" + Hex.encode((0..<8).map { _ in UInt8.random(in: 0...255) })

    private func client(_ who: String = "owner", secret: String? = nil, time: any TimeSource = SystemTime()) throws
        -> S3Client
    {
        try S3Client(
            S3Address(url: (variable("SUDOCAM_S3_URL") ?? "") + "/" + folder),
            S3Credentials(accessKey: who, secret: SecretBytes(text: secret ?? who + "-secret")), time: time,
            policy: RetryPolicy(attempts: 3, firstMilliseconds: 50, longestMilliseconds: 500))
    }
    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) } }

    @Test func `V44: what is put comes back, whatever the key is made of`() async throws {
        let client = try client()
        for (index, key) in ["plain", "a/b/c", "with space", "a+b=c&d", "ümläut/é", "(1)'!*", "per%20cent", "~-._"]
            .enumerated()
        {
            let body = bytes(1000 + index)
            #expect(try await client.put(key, .bytes(body)) == .stored(isConfirmed: true), "\(key)")
            #expect(try await client.head(key) == body.count, "\(key)")
            #expect(try await client.get(key, 0..<body.count) == body, "\(key)")
            #expect(try await client.get(key, 500..<501) == [body[500]], "\(key)")
        }
        var found: [String] = []
        try await client.list { found += $0.map(\.key) }
        #expect(found.count == 8 && found.contains("with space") && found.contains("per%20cent"))
    }

    @Test func `V41: nothing is overwritten, of sixteen at once one wins, and a lie about the body is refused`()
        async throws
    {
        let client = try client()
        #expect(try await client.put("k", .bytes([1])) == .stored(isConfirmed: true))
        #expect(try await client.put("k", .bytes([2])) == .present)
        #expect(try await client.get("k", 0..<1) == [1])
        let wins = await withTaskGroup(of: Bool.self, returning: Int.self) { group in
            for index in 0..<16 {
                group.addTask { (try? await client.put("race", .bytes([UInt8(index)]))) == .stored(isConfirmed: true) }
            }
            var wins = 0
            for await isWinner in group where isWinner { wins += 1 }
            return wins
        }
        #expect(wins == 1)
        await #expect(throws: VaultError(.unreachable, "")) {
            try await client.put("lie", .bytes([1]), sha256: Digest.sha256([2]))
        }
        #expect(try await client.head("lie") == nil)
    }

    @Test func `V35: pages of 1, 7 and 1000 give the same set`() async throws {
        let client = try client()
        let keys = (0..<23).map { "o/" + String(100 + $0) }
        for key in keys { _ = try await client.put(key, .bytes([0])) }
        for pageSize in [1, 7, 1000] {
            var found: [ListPage.Object] = []
            try await client.list("o/", pageSize: pageSize) { found += $0 }
            #expect(found == keys.map { ListPage.Object(key: $0, size: 1) }, "\(pageSize)")
        }
    }

    @Test func `an eight-megabyte object goes there and back through files`() async throws {
        let client = try client()
        let body = randomBytes(8 << 20)
        let path = "/tmp/sudocam-s3-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let file = try PosixFileSystem().open(path, .create)
        unlink(path)
        try file.write(body, 0..<body.count, at: 0)
        #expect(try await client.put("large", .file(file, count: body.count)) == .stored(isConfirmed: true))
        try await client.get("large", 0..<body.count, into: file, at: body.count)
        var copy = [UInt8](repeating: 0, count: 2 * body.count)
        #expect(try file.read(at: 0, into: &copy) == copy.count)
        #expect(Array(copy[body.count...]) == body)
        await #expect(throws: VaultError.self) { try await client.get("large", body.count..<(body.count + 1)) }
        await #expect(throws: VaultError(.remoteFault, "")) { try await client.get("large", 0..<(body.count + 1)) }
    }

    @Test func `a recorder may put and list, and neither read nor delete`() async throws {
        let recorder = try client("recorder")
        _ = try await client().put("first", .bytes([0]))
        #expect(try await recorder.put("k", .bytes([1])) == .stored(isConfirmed: true))
        var found: [String] = []
        try await recorder.list { found += $0.map(\.key) }
        #expect(found == ["first", "k"])
        await #expect(throws: VaultError(.refused, "")) { try await recorder.get("k", 0..<1) }
        await #expect(throws: VaultError(.refused, "")) { try await recorder.delete("k") }
        await #expect(throws: VaultError(.refused, "")) { try await client("owner", secret: "wrong").head("k") }
        await #expect(throws: VaultError(.refused, "")) { try await client("nobody").put("k", .bytes([1])) }
    }

    @Test func `a clock that is an hour off is put right`() async throws {
        struct Late: TimeSource {
            func wallNow() -> WallTime { SystemTime().wallNow() + -3_600_000_000 }
            func monotonicNow() -> MonotonicTime { SystemTime().monotonicNow() }
            func isWallSynchronised() -> Bool { false }
        }
        let client = try client(time: Late())
        #expect(try await client.head("none") == nil)
        #expect(try await client.put("k", .bytes([1])) == .stored(isConfirmed: true))
    }

    @Test func `what is deleted is gone, and deleting it again is fine`() async throws {
        let client = try client()
        _ = try await client.put("k", .bytes([1]))
        try await client.delete("k")
        try await client.delete("k")
        #expect(try await client.head("k") == nil)
        await #expect(throws: VaultError(.notFound, "")) { try await client.get("k", 0..<1) }
    }

    @Test func `TLS is trusted with the server's own authority and refused without it`() async throws {
        let url = variable("SUDOCAM_S3_TLS_URL") ?? ""
        let credentials = try S3Credentials(accessKey: "owner", secret: SecretBytes(text: "owner-secret"))
        let trusting = try S3Client(S3Address(url: url, authorities: variable("SUDOCAM_S3_CA")), credentials)
        #expect(try await trusting.put(folder + "/k", .bytes([1])) == .stored(isConfirmed: true))
        #expect(try await trusting.get(folder + "/k", 0..<1) == [1])
        let suspicious = try S3Client(S3Address(url: url), credentials)
        await #expect(throws: VaultError(.refused, "")) { try await suspicious.head(folder + "/k") }
        let mistaken = try S3Client(S3Address(url: url, authorities: "/nonexistent.pem"), credentials)
        await #expect(throws: VaultError(.invalid, "")) { try await mistaken.head(folder + "/k") }
    }
}
