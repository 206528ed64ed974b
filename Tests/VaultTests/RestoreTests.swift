import Core
import Foundation
import TestKit
import Testing

@testable import Vault

@Suite struct RestoreTests {
    /// Mirrors what `store` has into a fresh folder.
    static func mirror(
        _ store: MemoryStore, to path: String, time: any TimeSource, key: String? = nil, acceptsOlder: Bool = false,
        epochs: MemoryStore? = nil
    ) async throws -> MirrorReport {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let mirror = RemoteMirror(
            layout: Layout(path), files: PosixFileSystem(), store: store, epochStore: epochs, name: "offsite",
            lane: .serial("mirror"))
        return try await mirror.fetch(key: key, acceptsOlder: acceptsOlder) { _, _ in }
    }
    static func open(
        _ path: String, _ mode: VaultMode, _ bench: RemoteBench, store: MemoryStore? = nil
    ) async throws -> (Vault, Remote) {
        let vault = try await Vault.open(at: path, mode: mode, time: bench.temporary.time)
        return (vault, try vault.use(bench.remote.description, store: store ?? bench.store))
    }
    private static func copies(_ vault: Vault, _ clips: [ClipRecord]) async throws {
        for (number, clip) in clips.enumerated() {
            let source = try await vault.openObject(clip)
            #expect(try await source.read(at: 0, count: 500_000) == patternBytes(90_000 + number))
        }
    }

    @Test func `the disk is gone: ledger, keys and index come first, everything plays, the rest comes newest first`()
        async throws
    {
        var bench = try await RemoteBench()
        try await bench.record(300, bytes: 90_000)
        try await bench.remote.sync()
        let folder = try TemporaryFolder()
        let path = folder.path + "/restored"
        let report = try await Self.mirror(bench.store, to: path, time: bench.temporary.time)
        #expect(report.clips == 300 && report.epochs == 1 && report.missingEpochs == 0)
        #expect(report.entries == (try bench.vault.index.position()))

        // The recovery identity brings the signing key too.
        let layout = Layout(path)
        let identity = try AgeIdentity(text: bench.temporary.creation.recoveryIdentity)
        let sealed = try #require(bench.store.objects[RemoteLayout.ledgerKey]?.bytes)
        let seed = try AgeFile.openSecret(sealed) { (header) throws(VaultError) in
            try AgeWrapping.unwrap(header, identities: [identity])
        }
        try PosixFileSystem().replace(layout.ledgerKey, with: try seed.withBytes { unsafe Array($0) })
        let (vault, remote) = try await Self.open(path, .write(softwareVersion: "restored"), bench)
        try await remote.adoptMirrored()
        try await vault.unlock(identity: bench.temporary.creation.recoveryIdentity)
        try await Self.copies(vault, Array(bench.clips.prefix(3)))
        var found = try await vault.verify()
        #expect(found.findings == [] && found.evicted == 300 && found.objects == 0)

        // Cut off in the middle, and gone on with.
        bench.store.forgetCalls()
        let failing = 130
        bench.store.set { count, _ in count == failing ? .before(MemoryStore.unreachable) : nil }
        await #expect(throws: VaultError(.unreachable, "")) { _ = try await remote.backfill() }
        let first = bench.store.calls.filter { $0.method == "GET" }.map(\.key)
        #expect(Set(first.prefix(64)) == Set(bench.clips.suffix(64).map(bench.key)), "the newest come first")
        bench.store.set(fault: nil)
        bench.store.forgetCalls()
        let filled = try await remote.backfill()
        #expect(filled.damaged == [] && filled.objects < 300 - 100 && filled.objects == filled.totalObjects)
        found = try await vault.verify()
        #expect(found.findings == [] && found.evicted == 0 && found.objects == 300)
        #expect(try await remote.status().evictedObjects == 0)
        // It goes on as the recorder: the same ledger, the same remote.
        bench.store.forgetCalls()
        var going = bench
        (going.vault, going.remote) = (vault, remote)
        await bench.vault.close()
        try await going.record(2)
        try await remote.sync()
        #expect(bench.store.puts("objects/").count == 2)
        #expect(try await remote.verify(.all).findings == [])
    }

    @Test func `what lies there is not believed: rolled back, altered, forged, cut off`() async throws {
        var bench = try await RemoteBench()
        try await bench.record(2)
        try await bench.remote.sync()
        let old = bench.store.objects
        try await bench.record(300)
        bench.temporary.time.advance(microseconds: 3_600_000_000)
        try await bench.record(1)
        try await bench.remote.sync()
        let good = bench.store.objects
        let folder = try TemporaryFolder()
        func attempt(
            _ number: Int, key: String? = nil, acceptsOlder: Bool = false,
            _ change: (inout [String: MemoryStore.Object]) -> Void
        ) async throws -> VaultError? {
            let store = MemoryStore()
            var objects = good
            change(&objects)
            store.objects = objects
            do {
                _ = try await Self.mirror(
                    store, to: folder.path + "/\(number)", time: bench.temporary.time, key: key,
                    acceptsOlder: acceptsOlder)
                return nil
            } catch let error as VaultError {
                #expect(
                    !FileManager.default.fileExists(atPath: folder.path + "/\(number)/vault.json"), "it is no vault")
                return error
            }
        }
        func rollBack(_ objects: inout [String: MemoryStore.Object]) {
            for (key, object) in old where key.hasPrefix("ledger/") { objects[key] = object }
        }
        #expect(try await attempt(1) { rollBack(&$0) } == VaultError(.olderCopy, ""))
        #expect(try await attempt(2, acceptsOlder: true) { rollBack(&$0) } == nil)
        #expect(try await attempt(3) { $0[RemoteLayout.bundle(0)]?.bytes[100] ^= 1 } == VaultError(.damaged, ""))
        #expect(try await attempt(4) { $0[RemoteLayout.bundle(1)]?.bytes.removeLast(20) } == VaultError(.damaged, ""))
        #expect(try await attempt(5) { $0[RemoteLayout.bundle(1)] = nil } == VaultError(.notFound, ""))
        #expect(try await attempt(6) { $0[RemoteLayout.checkpoint]?.bytes[70] ^= 1 } == VaultError(.damaged, ""))
        #expect(try await attempt(7) { $0[RemoteLayout.vaultFile] = nil } == VaultError(.notFound, ""))
        // A whole vault of the thief's own: only the key tells.
        let other = try await RemoteBench()
        try await other.remote.sync()
        let theirs = other.store.objects
        #expect(try await attempt(8) { $0 = theirs } == nil)
        let key = bench.vault.file.ledger.text(of: bench.vault.id)
        #expect(try await attempt(9, key: key) { $0 = theirs } == VaultError(.otherVault, ""))
        #expect(try await attempt(10, key: key) { _ in } == nil)
        // Into a folder where another vault stands: refused, and that one is left alone.
        await #expect(throws: VaultError(.exists, "")) {
            _ = try await Self.mirror(other.store, to: bench.temporary.path, time: bench.temporary.time)
        }
    }

    @Test func `objects that are damaged or gone there are named, and cost nothing else`() async throws {
        var bench = try await RemoteBench()
        try await bench.record(10)
        try await bench.remote.sync()
        bench.store.objects[bench.key(bench.clips[4])]?.bytes[40_000] ^= 1
        bench.store.objects[bench.key(bench.clips[6])] = nil
        let folder = try TemporaryFolder()
        let path = folder.path + "/restored"
        _ = try await Self.mirror(bench.store, to: path, time: bench.temporary.time)
        let (vault, remote) = try await Self.open(path, .mirror, bench)
        try await remote.adoptMirrored()
        let report = try await remote.backfill()
        #expect(report.objects == 8 && report.damaged == [bench.clips[4].object.description])
        #expect(try await vault.verify().objects == 8)
    }

    @Test
    func `a reading node follows: new clips play, and a ledger that was rolled back or altered changes nothing here`()
        async throws
    {
        var bench = try await RemoteBench()
        try await bench.record(200)
        try await bench.remote.sync()
        let folder = try TemporaryFolder()
        let path = folder.path + "/node"
        _ = try await Self.mirror(bench.store, to: path, time: bench.temporary.time)
        var (vault, remote) = try await Self.open(path, .mirror, bench)
        try await remote.adoptMirrored()
        try await vault.unlock(identity: bench.temporary.creation.recoveryIdentity)
        #expect(try await remote.followLedger() == 0)
        await #expect(throws: VaultError(.readOnly, "")) {
            _ = try await vault.hold(camera: nil, range: bench.clips[0].range, note: "")
        }
        let before = bench.store.objects
        try await bench.record(100)
        // Over midnight: a key that the node has not seen.
        bench.temporary.time.advance(microseconds: RemoteBench.day)
        try await bench.record(1)
        try await bench.remote.sync()
        let good = bench.store.objects
        // Altered entries, in what is new and in what is known.
        for (key, place) in [(RemoteLayout.bundle(1), 30), (RemoteLayout.bundle(0), 100)] {
            bench.store.objects = good
            bench.store.objects[key]?.bytes[place] ^= 1
            do {
                _ = try await remote.followLedger()
                Issue.record("altered and believed: \(key)")
            } catch {
                #expect([.otherHistory, .damaged].contains(error.code), "\(error)")
            }
            #expect(
                try await vault.clip(at: bench.clips[150].start + 1, camera: RemoteBench.camera) == bench.clips[150])
            #expect(try await vault.verify().findings == [])
        }
        bench.store.objects = good
        #expect(try await remote.followLedger() > 100)
        let newest = bench.clips[300]
        #expect(try await vault.clip(at: newest.start + 1, camera: RemoteBench.camera) == newest)
        #expect(try await vault.openObject(newest).read(at: 0, count: 500_000) == patternBytes(90_000 + 300))
        // Rolled back.
        bench.store.objects = before
        await #expect(throws: VaultError(.olderCopy, "")) { _ = try await remote.followLedger() }
        bench.store.objects = good
        // After a restart it goes on; half a bundle that was never found to be signed is taken away.
        await vault.close()
        let last = Layout(path).ledger + "/entries/" + MerkleTree.path(1)
        let handle = try #require(FileHandle(forWritingAtPath: last))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data([0, 5] + "hello".utf8))
        try handle.close()
        (vault, remote) = try await Self.open(path, .mirror, bench)
        try await bench.record(3)
        try await bench.remote.sync()
        #expect(try await remote.followLedger() == 3)
        #expect(try await vault.verify().findings == [])
        // A day is shredded on the recorder: the node forgets the key too.
        bench.temporary.time.advance(microseconds: RemoteBench.day)
        let report = try await bench.vault.shred(camera: RemoteBench.camera, day: bench.clips[0].start.utcDay)
        try await bench.remote.sync()
        _ = try await remote.followLedger()
        for epoch in report.epochs {
            #expect(!FileManager.default.fileExists(atPath: Layout(path).epoch(epoch)))
        }
    }

    @Test func `epoch keys come from another remote`() async throws {
        var bench = try await RemoteBench(contents: .withoutEpochKeys)
        try await bench.record(2)
        let keys = MemoryStore()
        var description = bench.remote.description
        (description.name, description.contents) = ("keys", .onlyEpochKeys)
        let second = try bench.vault.use(description, store: keys)
        try await bench.remote.sync()
        try await second.sync()
        let folder = try TemporaryFolder()
        var report = try await Self.mirror(bench.store, to: folder.path + "/without", time: bench.temporary.time)
        #expect(report.epochs == 0 && report.missingEpochs == 1)
        report = try await Self.mirror(
            bench.store, to: folder.path + "/with", time: bench.temporary.time, epochs: keys)
        #expect(report.epochs == 1 && report.missingEpochs == 0)
        let (vault, remote) = try await Self.open(folder.path + "/with", .mirror, bench)
        try await remote.adoptMirrored()
        try await vault.unlock(identity: bench.temporary.creation.recoveryIdentity)
        try await Self.copies(vault, bench.clips)
    }
}
