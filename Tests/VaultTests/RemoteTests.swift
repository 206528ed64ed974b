import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// A vault with a remote in memory.
struct RemoteBench {
    let temporary: TemporaryVault
    let store: MemoryStore
    var vault: Vault
    var remote: Remote
    var clips: [ClipRecord] = []

    static let camera = CameraID.random()
    static let day: Int64 = 86_400_000_000

    init(
        _ store: MemoryStore = MemoryStore(), contents: RemoteDescription.Contents = .everything,
        eviction: RemoteDescription.Eviction? = nil
    ) async throws {
        temporary = try await TemporaryVault()
        self.store = store
        vault = try await temporary.open()
        var description = RemoteDescription(
            name: "offsite", url: "https://s3.example/vault", credentials: .environment, added: WallTime(seconds: 0))
        description.contents = contents
        description.eviction = eviction
        remote = try vault.use(description, store: store)
    }

    /// The same after a restart of the recorder.
    mutating func restart(keepsState: Bool = true) async throws {
        let description = remote.description
        await vault.close()
        if !keepsState {
            for suffix in ["", "-wal", "-shm"] {
                try? FileManager.default.removeItem(atPath: temporary.path + "/remotes/offsite.sqlite" + suffix)
            }
        }
        vault = try await temporary.open()
        remote = try vault.use(description, store: store)
    }

    @discardableResult
    mutating func record(
        _ count: Int = 1, bytes: Int = 90_000, kind: RetentionClass = .continuous, camera: CameraID = Self.camera
    ) async throws -> ClipRecord {
        for _ in 0..<count {
            let start = temporary.time.wallNow()
            let writer = try await vault.beginClip(camera: camera, run: .random(), start: start)
            try await writer.append(patternBytes(bytes + clips.count))
            clips.append(try await writer.finish(end: start + 60_000_000, kind: kind))
            temporary.time.advance(microseconds: 60_000_000)
        }
        return clips[clips.count - 1]
    }

    func key(_ clip: ClipRecord) -> String { RemoteLayout.object(clip.object) }
    func isHere(_ clip: ClipRecord) -> Bool {
        FileManager.default.fileExists(atPath: vault.layout.object(clip.object))
    }
    func verify(_ reading: RemoteReading = .all) async throws -> [RemoteFinding] {
        try await remote.verify(reading).findings
    }
}

@Suite struct RemoteTests {
    @Test func `B1: clips with events go first, then the newest, and the ledger follows`() async throws {
        var bench = try await RemoteBench()
        for number in 0..<9 { try await bench.record(kind: number == 3 || number == 5 ? .event : .continuous) }
        // One after the other, so that the order can be seen.
        let order = [5, 3, 8, 7, 6, 4, 2, 1, 0].map { bench.key(bench.clips[$0]) }
        try await bench.remote.sync()
        let sent = bench.store.puts("objects/")
        // Four are under way at once: whoever is among the first four may overtake.
        #expect(Set(sent.prefix(4)) == Set(order.prefix(4)))
        #expect(Set(sent) == Set(order) && sent.count == 9)
        #expect(
            bench.store.calls.last { $0.method == "PUT" }?.key == RemoteLayout.witness(try bench.vault.index.position())
        )
        let status = try await bench.remote.status()
        #expect(status.waitingObjects == 0 && status.objects == 9 && status.sentEntries == status.ledgerEntries)
        #expect(try await bench.verify() == [])
        // An age file as it lies there opens like any other, and its head stands beside it.
        let there = try #require(bench.store.objects[bench.key(bench.clips[0])])
        #expect(there.bytes.count == bench.clips[0].byteCount)
        #expect(
            try there.metadata[RemoteLayout.head].flatMap { Base64.decode(Array($0.utf8), padded: true) }
                .map { try AgeHeader(parsing: $0).count + 16 == $0.count } == true)
    }

    @Test func `what was sent is not sent again, after a restart or when the state is lost`() async throws {
        var bench = try await RemoteBench()
        try await bench.record(5)
        try await bench.remote.sync()
        bench.store.forgetCalls()
        try await bench.remote.sync()
        #expect(bench.store.puts("") == [])
        try await bench.restart()
        try await bench.record()
        try await bench.remote.sync()
        #expect(bench.store.puts("objects/") == [bench.key(bench.clips[5])])
        bench.store.forgetCalls()
        try await bench.restart(keepsState: false)
        try await bench.remote.sync()
        #expect(bench.store.puts("objects/") == [])
        #expect(try await bench.verify() == [])
    }

    @Test
    func `damage to what is known of a remote is told as its own, costs no footage, and is put right when opened`()
        async throws
    {
        var bench = try await EvictionTests.settled(count: 5)
        try await bench.remote.listAgain(after: RemoteBench.day)
        bench.temporary.time.advance(microseconds: 7_200_000_000)
        #expect(try await bench.remote.evict().objects == 5)
        await bench.vault.close()
        let path = bench.temporary.path + "/remotes/offsite.sqlite"
        var bytes = try bench.temporary.folder.contents("vault/remotes/offsite.sqlite")
        // The first page stays, so that it is use which meets the damage, not the opening.
        bytes.replaceSubrange(4096..., with: patternBytes(bytes.count - 4096))
        try bench.temporary.folder.write(bytes, to: "vault/remotes/offsite.sqlite")
        bench.store.forgetCalls()

        let description = bench.remote.description
        bench.vault = try await bench.temporary.open()
        bench.remote = try bench.vault.use(description, store: bench.store)
        do {
            try await bench.remote.sync()
            Issue.record("the damage was not met")
        } catch {
            #expect(error.code == .index && error.reason.contains("remotes/offsite.sqlite"))
            #expect(error.hint?.contains("rebuild") == false)
        }
        #expect(FileManager.default.fileExists(atPath: path + ".damaged"))
        // The ledger says that it lies elsewhere.
        try await TemporaryVault.unlock(bench.vault)
        let object = try await bench.vault.openObject(bench.clips[2])
        #expect(try await object.read(at: 0, count: 1000) == Array(patternBytes(400_002)[..<1000]))

        #expect(try await bench.vault.renewDamaged(bench.remote))
        #expect(!bench.vault.remotes.contains { $0 === bench.remote })
        await bench.vault.close()
        bench.vault = try await bench.temporary.open()
        bench.remote = try bench.vault.use(description, store: bench.store)
        #expect(try await bench.vault.renewDamaged(bench.remote) == false)
        try await bench.remote.sync()
        #expect(bench.store.puts("objects/") == [])
        #expect(try await bench.verify() == [])
        #expect(try await bench.remote.status().evictedObjects == 5)
    }

    @Test
    func
        `V37 V38: whichever request fails, before or after it was carried out, the next passes bring the remote level`()
        async throws
    {
        var bench = try await RemoteBench()
        try await bench.record(6)
        try await bench.remote.sync()
        let requests = bench.store.calls.count
        #expect(requests >= 15)
        for isAfter in [false, true] {
            for number in 0..<requests {
                let store = MemoryStore()
                store.set { count, _ in
                    guard count == number else { return nil }
                    return isAfter ? .after(MemoryStore.unreachable) : .before(MemoryStore.unreachable)
                }
                try await bench.restart(keepsState: false)
                let remote = try bench.vault.use(
                    RemoteDescription(
                        name: "other-\(isAfter ? 1 : 0)-\(number)", url: "https://s3.example/v",
                        credentials: .environment, added: WallTime(seconds: 0)), store: store)
                do {
                    try await remote.sync()
                    Issue.record("request \(number) failed and nobody said so")
                } catch {
                    #expect(error.code == .unreachable)
                    #expect(try await remote.status().progress.failure != nil)
                }
                try await remote.sync()
                #expect(try await remote.status().progress.failure == nil)
                #expect(try await remote.verify(.all).findings == [], "request \(number)")
                // Sent twice only where nobody could know that it came.
                let puts = store.puts("objects/")
                #expect(puts.count <= Set(puts).count + (isAfter ? 0 : 1), "request \(number)")
                #expect(Set(puts).count == 6)
            }
        }
    }

    @Test func `whoever has the bucket flips a byte, swaps, removes, rolls back, forges: each is found and named`()
        async throws
    {
        var bench = try await RemoteBench()
        try await bench.record(3)
        try await bench.remote.sync()
        let old = bench.store.objects
        try await bench.record(3)
        try await bench.remote.sync()
        let good = bench.store.objects
        func found(_ change: (inout [String: MemoryStore.Object]) -> Void) async throws -> [RemoteFinding] {
            var objects = good
            change(&objects)
            bench.store.objects = objects
            let findings = try await bench.verify()
            bench.store.objects = good
            // Whatever was lost is sent again, and all is well.
            try await bench.remote.sync()
            #expect(try await bench.verify() == [])
            return findings
        }
        let (first, second) = (bench.key(bench.clips[0]), bench.key(bench.clips[1]))
        var findings = try await found { $0[first]?.bytes[50_000] ^= 1 }
        #expect(findings.map(\.kind) == [.damaged] && findings.map(\.key) == [first])
        findings = try await found { ($0[first], $0[second]) = ($0[second], $0[first]) }
        #expect(Set(findings.map(\.key)) == [first, second] && findings.allSatisfy { $0.kind == .missing })
        findings = try await found { $0[second] = nil }
        #expect(findings.map(\.kind) == [.missing] && findings.map(\.key) == [second])
        findings = try await found { objects in
            for (key, object) in old where key.hasPrefix("ledger/") { objects[key] = object }
        }
        #expect(findings.contains { $0.kind == .rolledBack && $0.key == RemoteLayout.checkpoint })
        findings = try await found { objects in
            let bytes = [UInt8](repeating: 7, count: 1000)
            if let id = try? ObjectID(hashing: bytes) {
                objects[RemoteLayout.object(id)] = MemoryStore.Object(bytes: bytes)
            }
        }
        #expect(findings.map(\.kind) == [.forged] && findings[0].key.hasPrefix("objects/"))
        findings = try await found { $0["objects/zz/what"] = MemoryStore.Object(bytes: [1]) }
        #expect(findings.map(\.kind) == [.forged] && findings[0].key == "objects/zz/what")
        findings = try await found { $0[RemoteLayout.bundle(0)]?.bytes[40] ^= 1 }
        #expect(findings.map(\.key) == [RemoteLayout.bundle(0)])
        findings = try await found { $0[RemoteLayout.vaultFile]?.bytes[40] ^= 1 }
        #expect(findings.map(\.key) == [RemoteLayout.vaultFile])
        findings = try await found { $0[RemoteLayout.checkpoint]?.bytes[60] ^= 1 }
        #expect(findings.map(\.key) == [RemoteLayout.checkpoint] && findings[0].kind == .otherHistory)
        let epoch = try #require(good.keys.first { $0.hasPrefix("epochs/") })
        findings = try await found { $0[epoch]?.bytes[40] ^= 1 }
        #expect(findings.map(\.key) == [epoch] && findings[0].kind == .damaged)
        findings = try await found { $0["epochs/x.age"] = MemoryStore.Object(bytes: [1]) }
        #expect(findings.map(\.kind) == [.forged])
    }

    @Test func `credentials that may only put suffice to record; what they may not do is remembered`() async throws {
        var bench = try await RemoteBench()
        bench.store.allow([.list])
        try await bench.record(4)
        try await bench.remote.sync()
        try await bench.record(2)
        try await bench.restart()
        try await bench.remote.sync()
        #expect(bench.store.objects.keys.count { $0.hasPrefix("objects/") } == 6)
        // Retention may not delete there.
        try await bench.vault.deleteAll([bench.clips[0]])
        try await bench.remote.sync()
        var status = try await bench.remote.status()
        #expect(
            status.lockedObjects == 1 && status.lockedUntil == nil
                && bench.store.objects[bench.key(bench.clips[0])] != nil)
        // Until it may.
        bench.store.allow(.all)
        bench.temporary.time.advance(microseconds: 2 * RemoteBench.day)
        try await bench.remote.listAgain(after: RemoteBench.day)
        try await bench.remote.sync()
        status = try await bench.remote.status()
        #expect(status.lockedObjects == 0 && bench.store.objects[bench.key(bench.clips[0])] == nil)
        #expect(try await bench.verify() == [])
    }

    @Test func `V43: object lock is "locked until", and retention comes back when it ends`() async throws {
        var bench = try await RemoteBench()
        try await bench.record(2)
        try await bench.remote.sync()
        let until = bench.temporary.time.wallNow() + 10 * RemoteBench.day
        bench.store.lock(until: until)
        try await bench.vault.deleteAll([bench.clips[0]])
        try await bench.remote.sync()
        #expect(try await bench.remote.status().lockedUntil == until)
        bench.temporary.time.advance(microseconds: 2 * RemoteBench.day)
        bench.store.forgetCalls()
        try await bench.remote.listAgain(after: RemoteBench.day)
        try await bench.remote.sync()
        #expect(!bench.store.calls.contains { $0.method == "DELETE" }, "it is known to be in vain")
        bench.temporary.time.advance(microseconds: 9 * RemoteBench.day)
        bench.store.lock(until: nil)
        try await bench.remote.listAgain(after: RemoteBench.day)
        try await bench.remote.sync()
        #expect(try await bench.remote.status().lockedObjects == 0)
        #expect(bench.store.objects[bench.key(bench.clips[0])] == nil)
    }

    @Test func `shredding says which copies of the key it destroyed and which it could not`() async throws {
        var bench = try await RemoteBench()
        try await bench.record(2)
        bench.temporary.time.advance(microseconds: RemoteBench.day)
        try await bench.record(1)
        try await bench.remote.sync()
        #expect(bench.store.objects.keys.count { $0.hasPrefix("epochs/") } == 2)
        bench.store.lock(until: bench.temporary.time.wallNow() + RemoteBench.day)
        let report = try await bench.vault.shred(camera: RemoteBench.camera, day: bench.clips[0].start.utcDay)
        var copies = await bench.vault.destroyCopies(of: report.epochs)
        #expect(copies.map(\.outcome) == [.notDestroyed] && copies[0].why?.contains("object lock") == true)
        #expect(try await bench.verify().contains { $0.kind == .notDeleted && $0.key.hasPrefix("epochs/") })
        bench.store.lock(until: nil)
        bench.temporary.time.advance(microseconds: 2 * RemoteBench.day)
        try await bench.remote.listAgain(after: RemoteBench.day)
        copies = await bench.vault.destroyCopies(of: report.epochs)
        #expect(copies.map(\.outcome) == [.destroyed])
        #expect(bench.store.objects.keys.count { $0.hasPrefix("epochs/") } == 1)
        try await bench.remote.sync()
        #expect(try await bench.verify() == [])
    }

    @Test func `R7: a remote whose description is damaged is named by a shredding, and costs the others nothing`()
        async throws
    {
        var bench = try await RemoteBench()
        try await bench.record(1)
        bench.temporary.time.advance(microseconds: RemoteBench.day)
        try await bench.remote.sync()
        try bench.temporary.folder.write(Array("{".utf8), to: "vault/remotes/broken.json")
        #expect(throws: VaultError(.damaged, "")) { try bench.vault.remoteDescriptions() }
        var events = bench.vault.events.makeAsyncIterator()
        #expect(try bench.vault.openRemotes().map(\.name) == ["offsite"])
        guard case .alarm(let alarm) = await events.next() else {
            Issue.record("no alarm")
            return
        }
        #expect(alarm.hasPrefix("Remote broken cannot be used") && alarm.contains("broken.json"))
        #expect(bench.vault.remotesOutOfUse == [alarm])
        let report = try await bench.vault.shred(camera: RemoteBench.camera, day: bench.clips[0].start.utcDay)
        // Opening them again tells again.
        let copies = await bench.vault.destroyCopies(of: report.epochs)
        #expect(copies.map(\.remote) == ["broken", "offsite"] && copies.map(\.outcome) == [.notDestroyed, .destroyed])
        try FileManager.default.removeItem(atPath: bench.temporary.path + "/remotes/broken.json")
        try bench.vault.openRemotes()
        #expect(bench.vault.remotesOutOfUse == [])
        while let event = await events.next() {
            if case .calm(let topic) = event {
                #expect(topic == "Remote broken cannot be used")
                break
            }
        }
    }

    @Test func `epoch keys stay off a remote, or go to another one alone`() async throws {
        var footage = try await RemoteBench(contents: .withoutEpochKeys)
        try await footage.record(2)
        let keys = MemoryStore()
        var description = RemoteDescription(
            name: "keys", url: "https://s3.example/keys", credentials: .environment, added: WallTime(seconds: 0))
        description.contents = .onlyEpochKeys
        let second = try footage.vault.use(description, store: keys)
        try await footage.remote.sync()
        try await second.sync()
        #expect(!footage.store.objects.keys.contains { $0.hasPrefix("epochs/") })
        #expect(keys.objects.keys.allSatisfy { $0.hasPrefix("epochs/") } && keys.objects.count == 1)
        #expect(try await footage.verify() == [])
        #expect(try await second.verify(.all).findings == [])
    }

    @Test func `an older copy of the vault, or another vault, overwrites nothing there`() async throws {
        var bench = try await RemoteBench()
        try await bench.record(2)
        try await bench.remote.sync()
        await bench.vault.close()
        let older = try bench.temporary.copy()
        bench.vault = try await bench.temporary.open()
        bench.remote = try bench.vault.use(bench.remote.description, store: bench.store)
        try await bench.record(3)
        try await bench.remote.sync()
        let before = bench.store.objects
        let vault = try await older.open()
        let remote = try vault.use(bench.remote.description, store: bench.store)
        await #expect(throws: VaultError(.otherHistory, "")) { try await remote.sync() }
        let other = try await RemoteBench(bench.store)
        await #expect(throws: VaultError(.otherVault, "")) { try await other.remote.sync() }
        #expect(bench.store.objects == before)
    }

    @Test func `a description that somebody edited: what cannot be is refused, and nothing overflows`() throws {
        var description = RemoteDescription(
            name: "offsite", url: "https://s3.example/v", credentials: .environment, added: WallTime(seconds: 0))
        description.limit = 4096
        description.limits = [RemoteDescription.Limit(from: 60, to: 1440, bytesPerSecond: 2048)]
        description.eviction = RemoteDescription.Eviction(after: 0, settle: 1)
        #expect(try RemoteDescription(parsing: try description.encoded, path: "x") == description)
        let changes: [(inout RemoteDescription) -> Void] = [
            { $0.limit = 0 }, { $0.limits[0].bytesPerSecond = -1 }, { $0.limits[0].to = 1441 },
            { $0.eviction?.after = .min }, { $0.eviction?.settle = .max }, { $0.cacheBytes = -1 },
            { $0.name = "../x" },
        ]
        for (number, change) in changes.enumerated() {
            var changed = description
            change(&changed)
            let bytes = try changed.encoded
            #expect(throws: VaultError(.damaged, ""), "\(number)") {
                try RemoteDescription(parsing: bytes, path: "x")
            }
        }
        description.version += 1
        let newer = try description.encoded
        #expect(throws: VaultError(.newerFormat, "")) { try RemoteDescription(parsing: newer, path: "x") }
        #expect(throws: VaultError(.damaged, "")) { try RemoteDescription(parsing: Array("{".utf8), path: "x") }
    }
}

extension Vault {
    /// As retention removes clips.
    func deleteAll(_ clips: [ClipRecord]) async throws {
        try await retentionLane.run { [self] () throws(VaultError) in
            try delete(clips.map { ($0, .diskFull) }, retention.withLock { $0.policy })
        }
    }
}
