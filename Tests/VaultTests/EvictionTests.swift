import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

@Suite struct EvictionTests {
    static let policy = RemoteDescription.Eviction(after: 3_600_000_000, settle: RemoteBench.day)

    /// Six clips sent, a day and a listing later.
    static func settled(_ store: MemoryStore = MemoryStore(), count: Int = 6) async throws -> RemoteBench {
        var bench = try await RemoteBench(store, eviction: policy)
        try await bench.record(count, bytes: 400_000)
        try await bench.remote.sync()
        bench.temporary.time.advance(microseconds: RemoteBench.day + 7_200_000_000)
        return bench
    }

    @Test func `nothing goes here before a later listing and a checksum have proven that it is there`() async throws {
        var bench = try await Self.settled()
        #expect(try await bench.remote.evict() == EvictionReport())
        // A listing proves only what was sent long enough before it.
        try await bench.record(1)
        try await bench.remote.sync()
        try await bench.remote.listAgain(after: RemoteBench.day)
        bench.temporary.time.advance(microseconds: 7_200_000_000)
        let report = try await bench.remote.evict()
        #expect(report.objects == 6 && !report.isUnfinished)
        #expect(bench.clips.map(bench.isHere) == [false, false, false, false, false, false, true])
        #expect(try await bench.remote.status().evictedObjects == 6)
        let found = try await bench.vault.verify()
        #expect(found.findings == [] && found.evicted == 6 && found.objects == 1)
        // Only what is here gives space to a full disk, on paper too.
        #expect(
            try bench.vault.memoryCatalog().clips(
                RemoteBench.camera, doubtful: false, here: true, after: nil, limit: 10
            ).map(\.object) == [bench.clips[6].object])
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        // Others write to the same disk, now and then much between the two looks.
        var apart = Int.max
        for _ in 0..<20 where apart >= 100_000_000 {
            let explained = try await bench.vault.explainRetention(bench.clips[6].object, policy)
            let free = try bench.vault.files.space(bench.vault.layout.root).free
            let room = try #require(explained.budgets.first { $0.cause == .diskFull }).distance
            apart = abs(room - free)
        }
        #expect(apart < 100_000_000)
        #expect(try await bench.vault.explainRetention(bench.clips[0].object, policy).budgets.isEmpty)
        // After a restart, and when the index and the remote's state are made anew from the ledger.
        try await bench.restart(keepsState: false)
        try await bench.remote.sync()
        #expect(try await bench.remote.status().evictedObjects == 6)
        await bench.vault.close()
        _ = try await Vault.rebuildIndex(at: bench.temporary.path)
        bench.vault = try await bench.temporary.open()
        #expect(bench.vault.openingAlarms == [])
        #expect(try await bench.vault.verify().findings == [])
        #expect(try bench.vault.index.isEvicted(bench.clips[0].object))
    }

    @Test func `V13: where the server's checksums mean nothing, one full reading decides`() async throws {
        let store = MemoryStore()
        store.set(confirms: false)
        let bench = try await Self.settled(store)
        store.objects[bench.key(bench.clips[2])]?.bytes[70_000] ^= 1
        try await bench.remote.listAgain(after: RemoteBench.day)
        #expect(try await bench.remote.evict().objects == 0)
        try await bench.remote.proveByReading(limit: 100)
        #expect(try await bench.remote.evict().objects == 5)
        #expect(bench.isHere(bench.clips[2]))
        // And the damaged one is sent anew.
        try await bench.remote.sync()
        #expect(try await bench.verify() == [])
    }

    @Test func `V5: what the server cut off after a power failure is sent again, not evicted`() async throws {
        let bench = try await Self.settled()
        bench.store.objects[bench.key(bench.clips[1])]?.bytes.removeLast(1000)
        bench.store.objects[bench.key(bench.clips[4])] = nil
        try await bench.remote.listAgain(after: RemoteBench.day)
        #expect(try await bench.remote.evict().objects == 4)
        #expect(bench.isHere(bench.clips[1]) && bench.isHere(bench.clips[4]))
        try await bench.remote.sync()
        #expect(try await bench.verify() == [])
        // Its time to settle begins anew.
        #expect(try await bench.remote.evict().objects == 0)
    }

    @Test func `a held clip stays, and a disk short of space asks for no age`() async throws {
        var bench = try await Self.settled()
        try await bench.remote.listAgain(after: RemoteBench.day)
        _ = try await bench.vault.hold(camera: nil, range: bench.clips[3].range, note: "")
        #expect(try await bench.remote.evict(isPressed: true).objects == 5)
        #expect(bench.isHere(bench.clips[3]))
        // A full disk deletes what would free something, not what lies elsewhere.
        try await bench.record(2, bytes: 400_000)
        let pass = RetentionPass(
            policy: RetentionPolicy(), holds: try await bench.vault.holds(), leases: [],
            now: bench.temporary.time.wallNow(), isTimeTrusted: true, needed: 1)
        let outcome = try pass.run(IndexCatalog(index: bench.vault.index, vault: bench.vault.id))
        #expect(outcome.deletions.map(\.clip) == [bench.clips[6]])
        // By age it goes all the same, there too.
        try await bench.vault.deleteAll([bench.clips[0]])
        try await bench.remote.sync()
        #expect(bench.store.objects[bench.key(bench.clips[0])] == nil)
        #expect(try await bench.vault.verify().findings.filter { $0.kind != .deletedEarly } == [])
    }

    @Test func `R4: a clip that is given up while it is watched goes on under the same name`() async throws {
        let bench = try await Self.settled()
        try await bench.remote.listAgain(after: RemoteBench.day)
        try await TemporaryVault.unlock(bench.vault)
        let clip = bench.clips[2]
        let expected = patternBytes(400_002)
        let watched = try await bench.vault.openObject(clip)
        #expect(try await watched.read(at: 0, count: 100_000) == Array(expected[..<100_000]))
        #expect(try await bench.remote.evict().objects == 6)
        #expect(!bench.isHere(clip))
        #expect(try await watched.read(at: 100_000, count: 300_002) == Array(expected[100_000...]))
        // The next one asks for the same object, by time or by name.
        let found = try #require(try await bench.vault.clip(at: clip.start, camera: clip.camera))
        #expect(found == clip)
        #expect(try await bench.vault.openObject(found).read(at: 0, count: 400_002) == expected)
        // And back again, under the eyes of somebody who reads from the remote.
        let far = try await bench.vault.openObject(clip)
        #expect(try await far.read(at: 0, count: 1000) == Array(expected[..<1000]))
        #expect(try await bench.remote.backfill().objects == 6)
        #expect(try await far.read(at: 200_000, count: 1000) == Array(expected[200_000..<201_000]))
        #expect(try await bench.vault.openObject(clip).read(at: 0, count: 400_002) == expected)
    }

    @Test func `more held clips than one look takes do not keep the later ones here`() async throws {
        let bench = try await Self.settled()
        try await bench.remote.listAgain(after: RemoteBench.day)
        let held = TimeRange(bench.clips[0].range.start, bench.clips[3].range.end)
        _ = try await bench.vault.hold(camera: nil, range: held, note: "")
        #expect(try await bench.remote.evictable().objects == 2)
        let first = try await bench.remote.evict(limit: 1)
        #expect(first.objects == 1 && first.isUnfinished)
        #expect(try await bench.remote.evict(limit: 2) == EvictionReport(objects: 1, bytes: first.bytes + 1))
        #expect(bench.clips.map(bench.isHere) == [true, true, true, true, false, false])
    }

    @Test func `an evicted clip reads through at once: a seek costs two requests, and nothing the second time`()
        async throws
    {
        let bench = try await Self.settled()
        try await bench.remote.listAgain(after: RemoteBench.day)
        _ = try await bench.remote.evict()
        try await TemporaryVault.unlock(bench.vault)
        bench.store.forgetCalls()
        let clip = bench.clips[2]
        let expected = patternBytes(400_002)
        let source = try await bench.vault.openObject(clip)
        #expect(source.count == 400_002)
        // As a player does: the end, then a fragment.
        #expect(try await source.read(at: 396_000, count: 4002) == Array(expected[396_000..<400_002]))
        #expect(try await source.read(at: 100_000, count: 90_000) == Array(expected[100_000..<190_000]))
        #expect(bench.store.calls.count == 2 && bench.store.calls.allSatisfy { $0.method == "GET" })
        #expect(try await source.read(at: 0, count: 400_002) == expected)
        bench.store.forgetCalls()
        let again = try await bench.vault.openObject(clip)
        #expect(try await again.read(at: 0, count: 400_002) == expected)
        #expect(bench.store.calls == [])
        // Without metadata it is one more, and with a lie in it too.
        bench.store.set(sendsMetadata: false)
        _ = try await bench.vault.openObject(bench.clips[0])
        #expect(bench.store.calls.count == 2)
        bench.store.set(sendsMetadata: true)
        let lie = try #require(bench.store.objects[bench.key(bench.clips[1])]?.metadata[RemoteLayout.head])
        for other in [lie, "AAAA", Base64.encode([UInt8](repeating: 65, count: 300), padded: true)] {
            bench.store.objects[bench.key(bench.clips[4])]?.metadata = [RemoteLayout.head: other]
            bench.remote.cache.forget(bench.clips[4].object)
            let source = try await bench.vault.openObject(bench.clips[4])
            #expect(try await source.read(at: 5, count: 10) == Array(patternBytes(400_004)[5..<15]))
        }
    }

    @Test func `what was kept is torn: the remote is asked again; what the remote has is damaged: an error says so`()
        async throws
    {
        let bench = try await Self.settled()
        try await bench.remote.listAgain(after: RemoteBench.day)
        _ = try await bench.remote.evict()
        try await TemporaryVault.unlock(bench.vault)
        let clip = bench.clips[0]
        _ = try await bench.vault.openObject(clip).read(at: 0, count: 400_000)
        let folder = bench.vault.layout.remoteCache("offsite")
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let url = URL(fileURLWithPath: folder + "/" + name)
            var bytes = try Data(contentsOf: url)
            for place in stride(from: 0, to: bytes.count, by: 1000) { bytes[place] ^= 1 }
            try bytes.write(to: url)
        }
        let source = try await bench.vault.openObject(clip)
        #expect(try await source.read(at: 0, count: 400_000) == patternBytes(400_000))
        bench.store.objects[bench.key(bench.clips[1])]?.bytes[200_000] ^= 1
        let damaged = try await bench.vault.openObject(bench.clips[1])
        await #expect(throws: VaultError(.payloadFailure, "")) {
            _ = try await damaged.read(at: 190_000, count: 50_000)
        }
        #expect(try await damaged.read(at: 0, count: 1000) == Array(patternBytes(400_001)[..<1000]))
        bench.store.objects[bench.key(bench.clips[2])] = nil
        await #expect(throws: VaultError(.notFound, "")) { _ = try await bench.vault.openObject(bench.clips[2]) }
        bench.store.set { _, _ in .before(MemoryStore.unreachable) }
        await #expect(throws: VaultError(.unreachable, "")) { _ = try await bench.vault.openObject(bench.clips[3]) }
    }

    @Test func `a bit that turned on the way costs another reading, not the only copy`() async throws {
        let bench = try await Self.settled()
        try await bench.remote.listAgain(after: RemoteBench.day)
        #expect(try await bench.remote.evict().objects == 6)
        let turned = Mutex<[String: Int]>([:])
        func turn(_ times: Int) {
            turned.withLock { $0 = [:] }
            bench.store.set { _, call in
                guard call.method == "GET", call.key.hasPrefix("objects/") else { return nil }
                return turned.withLock { turned in
                    turned[call.key, default: 0] += 1
                    return turned[call.key, default: 0] <= times ? .turned : nil
                }
            }
        }
        turn(1)
        #expect(try await bench.verify() == [])
        // Twice is what lies there, as far as anybody can tell; another day tells otherwise.
        turn(2)
        #expect(try await bench.verify().map(\.kind) == [RemoteFinding.Kind](repeating: .damaged, count: 6))
        #expect(try await bench.remote.status().unsendableObjects == 6)
        turn(0)
        #expect(try await bench.verify() == [])
        #expect(try await bench.remote.status().unsendableObjects == 0)
        // The same when they come back.
        turn(2)
        #expect(try await bench.remote.backfill().damaged.count == 6)
        turn(1)
        let back = try await bench.remote.backfill()
        #expect(back.objects == 6 && back.damaged == [] && bench.clips.allSatisfy(bench.isHere))
        #expect(try await bench.remote.status().unsendableObjects == 0)
        #expect(try await bench.vault.verify().findings == [])
        bench.store.forgetCalls()
        try await bench.remote.sync()
        #expect(bench.store.puts("objects/") == [])
    }

    @Test func `the cache keeps within its budget, the last used longest`() async throws {
        let folder = try TemporaryFolder()
        let cache = try RemoteCache(folder.path + "/cache/x", limit: 10_000, files: PosixFileSystem())
        let objects = try (0..<5).map { try ObjectID(hashing: [UInt8($0)]) }
        for (number, object) in objects.enumerated() {
            cache.keep(object, 100, [UInt8](repeating: UInt8(number), count: 3000))
            _ = cache.read(objects[0], 100..<200)
        }
        #expect(cache.bytes <= 10_000)
        #expect(cache.read(objects[0], 100..<3100) == [UInt8](repeating: 0, count: 3000))
        #expect(cache.read(objects[1], 100..<200) == nil)
        #expect(cache.missing(objects[0], 0..<5000) == 0..<5000)
        #expect(cache.missing(objects[0], 100..<5000) == 3100..<5000)
        #expect(cache.missing(objects[0], 0..<3000) == 0..<100)
        #expect(cache.missing(objects[0], 200..<300) == nil)
        cache.keep(objects[0], 0, [UInt8](repeating: 9, count: 3500))
        #expect(cache.read(objects[0], 0..<100)?.first == 9)
        // Whatever was left half written is gone with the next start, what is whole stays.
        try folder.write([1, 2], to: "cache/x/\(objects[2]).0.3")
        try folder.write([1, 2], to: "cache/x/nonsense")
        let again = try RemoteCache(folder.path + "/cache/x", limit: 10_000, files: PosixFileSystem())
        #expect(again.bytes == cache.bytes)
        #expect(again.read(objects[0], 200..<300) != nil)
        again.set(limit: 0)
        #expect(again.bytes == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/cache/x") == [])
    }
}
