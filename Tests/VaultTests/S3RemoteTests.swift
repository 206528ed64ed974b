import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// A vault and its remote, beside a real server.
@Suite(.enabled(if: S3Servers.isThere && !S3Servers.isFaulty), .serialized) struct S3RemoteTests {
    private static let eviction = RemoteDescription.Eviction(after: 0, settle: 0)

    private static func remote(_ vault: Vault, _ store: any RemoteStore) throws -> Remote {
        var description = RemoteDescription(
            name: "offsite", url: "https://s3.example/vault", credentials: .environment, added: WallTime(seconds: 0))
        description.eviction = eviction
        return try vault.use(description, store: store)
    }

    @Test func `sent, proven, evicted, read through in two requests, mirrored and brought back`() async throws {
        let store = try S3Servers.client(.plain, folder: S3Servers.folder())
        let counting = CountingStore(store)
        let temporary = try await TemporaryVault()
        let recovery = temporary.creation.recoveryIdentity.revealed()
        let vault = try await temporary.open()
        let remote = try Self.remote(vault, counting)
        var clips: [ClipRecord] = []
        for number in 0..<12 {
            let start = temporary.time.wallNow()
            let writer = try await vault.beginClip(camera: RemoteBench.camera, run: .random(), start: start)
            try await writer.append(patternBytes(900_000 + number))
            clips.append(try await writer.finish(end: start + 60_000_000, kind: number == 3 ? .event : .continuous))
            temporary.time.advance(microseconds: 60_000_000)
        }
        try await remote.sync()
        #expect(try await remote.verify(.all).findings == [])
        temporary.time.advance(microseconds: 60_000_000)
        try await remote.listAgain(after: 0)
        // What does not check a checksum by itself is read once.
        try await remote.proveByReading(limit: 100)
        #expect(try await remote.evict().objects == 12)
        #expect(try await vault.verify().evicted == 12)

        try await vault.unlock(identity: SecretBytes(text: recovery))
        let before = counting.count
        let source = try await vault.openObject(clips[5])
        let expected = patternBytes(900_005)
        #expect(try await source.read(at: 895_000, count: 5005) == Array(expected[895_000...]))
        #expect(try await source.read(at: 200_000, count: 400_000) == Array(expected[200_000..<600_000]))
        #expect(counting.count - before == 2)
        #expect(try await source.read(at: 0, count: 900_005) == expected)

        let folder = try TemporaryFolder()
        let path = folder.path + "/restored"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let mirror = RemoteMirror(
            layout: Layout(path), files: PosixFileSystem(), store: store, epochStore: nil, name: "offsite",
            lane: .serial("mirror"))
        let key = vault.file.ledger.text(of: vault.id)
        let report = try await mirror.fetch(key: key, acceptsOlder: false) { _, _ in }
        #expect(report.clips == 12 && report.missingEpochs == 0)
        let restored = try await Vault.open(at: path, mode: .mirror, time: temporary.time)
        let again = try Self.remote(restored, store)
        try await again.adoptMirrored()
        try await restored.unlock(identity: SecretBytes(text: recovery))
        #expect(try await restored.openObject(clips[2]).read(at: 0, count: 1_000_000) == patternBytes(900_002))
        #expect(try await again.backfill().objects == 12)
        let found = try await restored.verify()
        #expect(found.findings == [] && found.objects == 12)
        await restored.close()

        // Deleted here, deleted there.
        try await vault.deleteAll([clips[0]])
        try await remote.sync()
        #expect(try await store.head(RemoteLayout.object(clips[0].object)) == nil)
        #expect(try await remote.verify(.sample(4)).findings == [])
        await vault.close()
    }

    @Test func `credentials that may only put and list suffice to record`() async throws {
        let folder = S3Servers.folder()
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let remote = try Self.remote(vault, try S3Servers.client(.plain, folder: folder, who: "recorder"))
        for number in 0..<3 {
            _ = try await RecordingTests.record(vault, patternBytes(100_000 + number), at: temporary.time.wallNow())
            temporary.time.advance(microseconds: 60_000_000)
        }
        try await remote.sync()
        #expect(try await remote.status().waitingObjects == 0)
        await vault.close()
        let again = try await temporary.open()
        let owner = try Self.remote(again, try S3Servers.client(.plain, folder: folder))
        #expect(try await owner.verify(.all).findings == [])
        await again.close()
    }
}

/// Counts what is asked for.
private final class CountingStore: RemoteStore {
    private let base: any RemoteStore
    private let requests = Counter()
    var count: Int { requests.value }

    init(_ base: any RemoteStore) { self.base = base }

    func put(
        _ key: String, _ body: HTTPBody, _ options: PutOptions, progress: (@Sendable (Int64, Int64) -> Void)?
    ) async throws(VaultError) -> PutOutcome {
        requests.add()
        return try await base.put(key, body, options, progress: progress)
    }
    func part(_ key: String, _ part: RemotePart.Request) async throws(VaultError) -> RemotePart {
        requests.add()
        return try await base.part(key, part)
    }
    func part(
        _ key: String, _ range: Range<Int>, into file: any OpenFile, at offset: Int,
        progress: (@Sendable (Int64, Int64) -> Void)?
    ) async throws(VaultError) {
        requests.add()
        try await base.part(key, range, into: file, at: offset, progress: progress)
    }
    func contents(_ key: String, limit: Int) async throws(VaultError) -> [UInt8] {
        requests.add()
        return try await base.contents(key, limit: limit)
    }
    func head(_ key: String) async throws(VaultError) -> Int? {
        requests.add()
        return try await base.head(key)
    }
    func delete(_ key: String, isForAllVersions: Bool) async throws(VaultError) -> RemoteDeletion {
        requests.add()
        return try await base.delete(key, isForAllVersions: isForAllVersions)
    }
    func list(
        _ prefix: String, after: String?, pageSize: Int, page take: ([ListPage.Object]) throws(VaultError) -> Void
    ) async throws(VaultError) {
        requests.add()
        try await base.list(prefix, after: after, pageSize: pageSize, page: take)
    }
}
private final class Counter: Sendable {
    private let number = Mutex(0)
    var value: Int { number.withLock { $0 } }
    func add() { number.withLock { $0 += 1 } }
}
