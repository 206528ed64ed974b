import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// What lies in a remote and here, when the power goes anywhere: the remote's own state is lost each time.
@Suite struct RemoteCrashTests {
    private static func use(_ vault: Vault, _ store: MemoryStore) throws -> Remote {
        // SQLite's files lie in a real folder, as the index's.
        try FileManager.default.createDirectory(atPath: vault.layout.remotes, withIntermediateDirectories: true)
        var description = RemoteDescription(
            name: "offsite", url: "https://s3.example/v", credentials: .environment, added: WallTime(seconds: 0))
        description.eviction = RemoteDescription.Eviction(after: 0, settle: 1_000_000)
        return try vault.use(description, store: store)
    }
    /// Sent, listed later and so proven.
    private static func settle(_ remote: Remote, _ time: ManualTime) async throws {
        try await remote.sync()
        time.advance(microseconds: 10_000_000)
        try await remote.listAgain(after: 1)
    }
    /// A store and the clips that a body sends there.
    private struct Sent {
        let store = MemoryStore()
        private let clips = Box()
        private final class Box: Sendable { let clips = Mutex<[ClipRecord]>([]) }

        /// Three clips, proven to lie there.
        func prepare(_ bench: CrashBench) async throws -> (Vault, Remote) {
            try await bench.create()
            let vault = try await bench.open()
            for _ in 0..<3 {
                let clip = try await bench.record(vault, 70_000)
                clips.clips.withLock { $0.append(clip) }
            }
            let remote = try use(vault, store)
            try await settle(remote, bench.time)
            return (vault, remote)
        }

        /// Every clip is here or there, and nothing takes space that the ledger says is given up.
        @Sendable func check(_ vault: Vault) async throws {
            guard let time = vault.time as? ManualTime else { return }
            let clips = clips.clips.withLock { $0 }
            let store = MemoryStore()
            store.objects = self.store.objects
            let remote = try use(vault, store)
            func isHere(_ clip: ClipRecord) throws -> Bool {
                try vault.files.attributes(vault.layout.object(clip.object)) != nil
            }
            for clip in clips {
                #expect(
                    try isHere(clip) || store.objects[RemoteLayout.object(clip.object)]?.bytes.count == clip.byteCount)
                #expect(try isHere(clip) || vault.index.isEvicted(clip.object))
                let source = try await vault.openObject(clip)
                #expect(source.count > 0)
            }
            try await settle(remote, time)
            try await settle(remote, time)
            try await remote.proveByReading(limit: 100)
            _ = try await remote.evict()
            for clip in clips { #expect(try !isHere(clip) && vault.index.isEvicted(clip.object)) }
            #expect(try await remote.backfill().objects == clips.count)
            for clip in clips { #expect(try isHere(clip) && !vault.index.isEvicted(clip.object)) }
            #expect(try await remote.verify(.all).findings == [])
        }
    }

    @Test func `copies here are given up, cut anywhere`() async throws {
        let sent = Sent()
        try await forEveryCut(of: "evict", extra: sent.check) { bench in
            let (vault, _) = try await sent.prepare(bench)
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            let remote = try Self.use(vault, sent.store)
            #expect(try await remote.evict().objects == 3)
            await vault.close()
        }
    }

    @Test func `clips come back, cut anywhere`() async throws {
        let sent = Sent()
        try await forEveryCut(of: "back-fill", extra: sent.check) { bench in
            let (vault, remote) = try await sent.prepare(bench)
            #expect(try await remote.evict().objects == 3)
            await vault.close()
        } body: { bench in
            let vault = try await bench.open()
            let remote = try Self.use(vault, sent.store)
            #expect(try await remote.backfill().objects == 3)
            await vault.close()
        }
    }

    @Test
    func
        `a vault is mirrored from its remote: cut off at any file operation it is no vault yet, and begun again it is whole`()
        async throws
    {
        var source = try await RemoteBench()
        try await source.record(3)
        try await source.remote.sync()
        let recovery = source.temporary.creation.recoveryIdentity.revealed()
        let folder = try TemporaryFolder()
        var number = 0
        while true {
            let path = folder.path + "/\(number)"
            let failing = FailingFileSystem(PosixFileSystem(), failures: .all, after: number, with: .io)
            // Folders cost most of the calls; each of the first, then every seventh.
            number += number < 12 ? 1 : 7
            func mirror(_ files: any FileSystem) async throws {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                let mirror = RemoteMirror(
                    layout: Layout(path), files: files, store: source.store, epochStore: nil, name: "offsite",
                    lane: .serial("mirror"))
                _ = try await mirror.fetch(key: nil, acceptsOlder: false) { _, _ in }
            }
            do { try await mirror(failing) } catch let error as VaultError {
                #expect(error.code == .io)
                await #expect(throws: VaultError.self) {
                    _ = try await Vault.open(at: path, mode: .mirror, time: source.temporary.time)
                }
            }
            try await mirror(PosixFileSystem())
            let (vault, remote) = try await RestoreTests.open(path, .mirror, source)
            try await remote.adoptMirrored()
            try await vault.unlock(identity: SecretBytes(text: recovery))
            for clip in source.clips { #expect(try await vault.openObject(clip).count > 0) }
            let found = try await vault.verify()
            #expect(found.findings == [] && found.evicted == 3)
            await vault.close()
            if !failing.hasFailed { break }
        }
        #expect(number > 300)
    }
}
