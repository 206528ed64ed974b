import Core
import Foundation
import Glibc
import Synchronization
import TestKit
import Testing

@testable import Vault

/// A small file system of its own, mounted for the test; nil where nothing may be mounted.
private final class SmallDisk: Sendable {
    enum Kind: String, CaseIterable { case tmpfs, ext4 }
    let path: String
    private let folder: TemporaryFolder

    init?(_ kind: Kind, mebibytes: Int) throws {
        folder = try TemporaryFolder(in: FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : nil)
        path = folder.path + "/disk"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        guard geteuid() == 0 else { return nil }
        do {
            switch kind {
            case .tmpfs:
                _ = try outputOfProgram("mount", ["-t", "tmpfs", "-o", "size=\(mebibytes)m", "tmpfs", path])
            case .ext4:
                let image = folder.path + "/image"
                _ = try outputOfProgram("truncate", ["-s", "\(mebibytes)M", image])
                // No blocks kept for root: full is full.
                _ = try outputOfProgram("mkfs.ext4", ["-q", "-F", "-m", "0", "-b", "4096", image])
                _ = try outputOfProgram("mount", ["-o", "loop", image, path])
            }
        } catch {
            return nil
        }
        // A failed mount leaves the folder on the disk it was made on, which must not be filled.
        guard Self.device(path) != Self.device(folder.path) else { return nil }
    }
    private static func device(_ path: String) -> UInt {
        var status = stat()
        return stat(path, &status) == 0 ? UInt(status.st_dev) : 0
    }
    deinit { _ = try? outputOfProgram("umount", ["-l", path]) }

    var free: Int { (try? PosixFileSystem().space(path).free) ?? 0 }
}

/// Another program that wants every block there is.
private final class Filler: Sendable {
    private let disk: SmallDisk
    private let path: String
    private let lastBlocks = Mutex<[String]>([])
    private let isOver = Atomic(false)
    private let ended = DispatchSemaphore(value: 0)

    init(_ disk: SmallDisk) {
        self.disk = disk
        path = disk.path + "/filler"
    }

    /// To the last byte, once.
    func fill() {
        // ext4 gives back what was deleted only with its journal's next commit.
        for _ in 0..<50 {
            append(to: path)
            if disk.free == 0 { return }
            // A long file's next extent may need a block for its tree as well, which one free block does not
            // hold; a file of its own takes it.
            append(
                to: lastBlocks.withLock {
                    $0.append("\(path)-\($0.count)")
                    return $0[$0.count - 1]
                })
            if disk.free == 0 { return }
            usleep(20_000)
        }
    }
    private func append(to path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        for size in [1 << 20, 4096, 1] {
            let bytes = [UInt8](repeating: 7, count: size)
            while write(descriptor, bytes, size) > 0 {}
        }
        fsync(descriptor)
    }
    /// And whatever becomes free from now on.
    func goOn() {
        Thread.detachNewThread { [self] in
            let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
            let bytes = [UInt8](repeating: 7, count: 4096)
            while !isOver.load(ordering: .relaxed) {
                if write(descriptor, bytes, bytes.count) <= 0 { usleep(50) }
            }
            close(descriptor)
            ended.signal()
        }
    }
    func stop() {
        isOver.store(true, ordering: .relaxed)
        ended.wait()
    }
    func remove() { for path in [path] + lastBlocks.withLock({ $0 }) { unlink(path) } }
}

@Suite(.serialized) struct FullDiskTests {
    private static let camera = CameraID.random()
    private static let clipBytes = 300_000

    private static func open(_ disk: SmallDisk, _ time: ManualTime) async throws -> Vault {
        let vault = try await Vault.open(
            at: disk.path + "/vault", mode: .write(softwareVersion: "test"), time: time)
        var policy = RetentionPolicy()
        // Only what the disk refuses counts.
        policy.freeBytes = 0
        vault.setRetention(policy)
        return vault
    }
    private static func record(_ vault: Vault, _ time: ManualTime) async throws -> ClipRecord {
        let clip = try await RecordingTests.record(vault, patternBytes(clipBytes), at: time.wallNow(), camera: camera)
        time.advance(microseconds: 60_000_000)
        return clip
    }

    @Test(arguments: SmallDisk.Kind.allCases)
    private func `S4 V11: at 0 bytes free the oldest goes, whoever else wants the space`(kind: SmallDisk.Kind)
        async throws
    {
        guard let disk = try SmallDisk(kind, mebibytes: 24) else {
            print("skipped: no \(kind.rawValue) may be mounted here")
            return
        }
        let time = ManualTime()
        _ = try await Vault.create(
            at: disk.path + "/vault", passphrase: SecretBytes(text: TemporaryVault.passphrase), time: time,
            scryptWorkFactor: 4, ballast: 1 << 20)
        var vault = try await Self.open(disk, time)
        var clips: [ClipRecord] = []
        for _ in 0..<40 { clips.append(try await Self.record(vault, time)) }
        _ = try await vault.hold(camera: nil, range: clips[0].range, note: "evidence")

        // Filled once: recording goes on as if nothing were.
        let filler = Filler(disk)
        filler.fill()
        #expect(disk.free == 0)
        for _ in 0..<15 { clips.append(try await Self.record(vault, time)) }
        #expect(try vault.index.knowsObject(clips[0].object), "the held clip is gone")
        #expect(try !vault.index.knowsObject(clips[1].object), "nothing was deleted")
        var findings = try await vault.verify().findings
        #expect(findings.isEmpty, "\(findings)")

        // Filled again and again: not one clip can be recorded, but every deletion is entered and done.
        filler.goOn()
        var refused = 0
        for _ in 0..<12 {
            do { clips.append(try await Self.record(vault, time)) } catch let error as VaultError {
                #expect(error.code == .noSpace, "\(error)")
                refused += 1
                time.advance(microseconds: 60_000_000)
            }
        }
        filler.stop()
        filler.fill()
        #expect(disk.free == 0)
        let tail = try vault.ledger.tail(from: 0)
        #expect(tail.deleted.count > 10 && !tail.deleted.contains(clips[0].object))
        for object in tail.deleted {
            #expect(try vault.files.attributes(vault.layout.object(object)) == nil, "deleted and still there")
        }

        // A start at 0 bytes free.
        await vault.close()
        filler.fill()
        vault = try await Self.open(disk, time)
        findings = try await vault.verify().findings
        #expect(findings.isEmpty, "\(findings)")
        // Space comes: recording goes on without another start.
        filler.remove()
        clips.append(try await Self.record(vault, time))
        _ = try await vault.applyRetention()
        findings = try await vault.verify().findings
        #expect(findings.isEmpty, "\(findings)")
        await vault.close()
        vault = try await Self.open(disk, time)
        findings = try await vault.verify().findings
        #expect(findings.isEmpty, "\(findings)")
        #expect(try vault.index.knowsObject(clips[clips.count - 1].object))
        print("\(kind.rawValue): \(tail.deleted.count) clips went, \(refused) of 12 found no space")
        await vault.close()
    }

    /// With the reserve gone and not a byte for SQLite: eviction is entered in the ledger's own space, and the databases are told later.
    @Test(arguments: SmallDisk.Kind.allCases)
    private func `S4: at 0 bytes free copies that a remote has go first, and no footage`(kind: SmallDisk.Kind)
        async throws
    {
        guard let disk = try SmallDisk(kind, mebibytes: 24) else {
            print("skipped: no \(kind.rawValue) may be mounted here")
            return
        }
        let time = ManualTime()
        _ = try await Vault.create(
            at: disk.path + "/vault", passphrase: SecretBytes(text: TemporaryVault.passphrase), time: time,
            scryptWorkFactor: 4, ballast: 0)
        let vault = try await Self.open(disk, time)
        var description = RemoteDescription(
            name: "offsite", url: "https://s3.example/vault", credentials: .environment, added: WallTime(seconds: 0))
        description.eviction = EvictionTests.policy
        let remote = try vault.use(description, store: MemoryStore())
        var clips: [ClipRecord] = []
        for _ in 0..<30 { clips.append(try await Self.record(vault, time)) }
        _ = try await vault.hold(camera: nil, range: clips[0].range, note: "evidence")
        try await remote.sync()
        time.advance(microseconds: RemoteBench.day + 7_200_000_000)
        try await remote.listAgain(after: RemoteBench.day)

        func isHere(_ clip: ClipRecord) -> Bool {
            FileManager.default.fileExists(atPath: vault.layout.object(clip.object))
        }
        let filler = Filler(disk)
        // By whoever looks after the disk, and what becomes free is taken by another program at once.
        for round in 1...2 {
            filler.fill()
            #expect(disk.free == 0)
            #expect(try await remote.evict(limit: 4, isPressed: true).objects == 4)
            #expect(clips.prefix(10).map(isHere) == (0..<10).map { $0 == 0 || $0 > 4 * round })
        }
        // By whoever writes.
        filler.fill()
        #expect(disk.free == 0)
        for _ in 0..<10 { clips.append(try await Self.record(vault, time)) }
        var gone = try vault.ledger.tail(from: 0)
        #expect(gone.deleted.isEmpty && vault.deleted.isEmpty, "footage went that lies there")
        #expect(gone.evicted.count > 10 && isHere(clips[0]))
        #expect(gone.evicted == Set(clips.filter { !isHere($0) }.map(\.object)), "entered twice, or not at all")

        // With space all know of it: nothing is given up twice, and nothing is missed.
        filler.remove()
        clips.append(try await Self.record(vault, time))
        try await remote.sync()
        _ = try await remote.evict(limit: 1)
        gone = try vault.ledger.tail(from: 0)
        #expect(try await remote.status().evictedObjects == gone.evicted.count)
        for clip in clips { #expect(try vault.index.isEvicted(clip.object) == !isHere(clip)) }
        let found = try await vault.verify()
        #expect(found.findings == [] && found.evicted == gone.evicted.count)
        await vault.close()
    }

    @Test(arguments: SmallDisk.Kind.allCases)
    private func `S4 R2: when only held footage is left, recording stops with an alarm and returns with space`(
        kind: SmallDisk.Kind
    ) async throws {
        guard let disk = try SmallDisk(kind, mebibytes: 16) else {
            print("skipped: no \(kind.rawValue) may be mounted here")
            return
        }
        let time = ManualTime()
        _ = try await Vault.create(
            at: disk.path + "/vault", passphrase: SecretBytes(text: TemporaryVault.passphrase), time: time,
            scryptWorkFactor: 4, ballast: 0)
        let vault = try await Self.open(disk, time)
        let alarms = vault.events
        var clips: [ClipRecord] = []
        for _ in 0..<10 { clips.append(try await Self.record(vault, time)) }
        _ = try await vault.hold(camera: nil, range: TimeRange(clips[0].start, clips[9].end), note: "")
        let filler = Filler(disk)
        filler.fill()
        await #expect(throws: VaultError(.noSpace, "")) {
            for _ in 0..<20 { clips.append(try await Self.record(vault, time)) }
        }
        for clip in clips.prefix(10) { #expect(try vault.index.knowsObject(clip.object)) }
        #expect(vault.diskPressure == .stopped)
        filler.remove()
        clips.append(try await Self.record(vault, time))
        #expect(vault.diskPressure == .full)
        _ = try await vault.applyRetention()
        #expect(vault.diskPressure == .none)
        let findings = try await vault.verify().findings
        #expect(findings.isEmpty, "\(findings)")
        await vault.close()
        var isTold = false
        for await case .disk(.stopped) in alarms { isTold = true }
        #expect(isTold)
    }
}
