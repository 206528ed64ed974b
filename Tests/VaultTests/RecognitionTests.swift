import Core
import Foundation
import TestKit
import Testing

@testable import Vault

/// S3, S6, S7, V25: the right vault, as it was left, or not a byte is written.
@Suite struct RecognitionTests {
    /// Everything of a folder that a write would change: names, inodes, times of change, sizes, bytes.
    static func everything(_ folder: TemporaryFolder) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: folder.path).sorted().map { name in
            let attributes = try FileManager.default.attributesOfItem(atPath: folder.path + "/" + name)
            let isFolder = attributes[.type] as? FileAttributeType == .typeDirectory
            let digest = isFolder ? [] : Digest.sha256(try folder.contents(name))
            return
                "\(name) \(attributes[.systemFileNumber] ?? 0) \(attributes[.modificationDate] ?? 0) \(Hex.encode(digest))"
        }
    }
    static func pinned(_ temporary: TemporaryVault) async throws -> CheckpointPin {
        let vault = try await temporary.open(.read)
        let pin = try await vault.pin()
        await vault.close()
        return pin
    }
    static func open(
        _ temporary: TemporaryVault, _ pin: CheckpointPin, acceptsOlderCopy: Bool = false
    ) async throws -> Vault {
        try await Vault.open(
            at: temporary.path, mode: .write(softwareVersion: "test"), pin: pin, acceptsOlderCopy: acceptsOlderCopy,
            time: temporary.time)
    }
    /// Opening with `pin` fails with `code`, and not a byte, name or inode changes.
    static func expectRefusal(
        _ code: VaultError.Code, _ temporary: TemporaryVault, _ pin: CheckpointPin,
        _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let before = try everything(temporary.folder)
        await #expect(throws: VaultError(code, ""), sourceLocation: location) { _ = try await open(temporary, pin) }
        #expect(try everything(temporary.folder) == before, sourceLocation: location)
    }
    static func record(_ temporary: TemporaryVault, _ count: Int = 1) async throws {
        let vault = try await temporary.open()
        for index in 0..<count {
            _ = try await RecordingTests.record(
                vault, patternBytes(100), at: temporary.time.wallNow() + Int64(index) * 60_000_000)
        }
        await vault.close()
    }

    @Test func `the vault that was left is opened, also after a crash that lost its newest checkpoint`() async throws {
        let temporary = try await TemporaryVault()
        try await Self.record(temporary)
        let old = try temporary.folder.contents("vault/ledger/checkpoint")
        try await Self.record(temporary)
        let pin = try await Self.pinned(temporary)
        // The checkpoint's rename need not survive a power cut; the entries do.
        try temporary.folder.write(old, to: "vault/ledger/checkpoint")
        let vault = try await Self.open(temporary, pin)
        let next = try await vault.pin(after: pin)
        #expect(next.size > pin.size)
        #expect(next.since == pin.since)
        await vault.close()
    }

    @Test func `S3: an empty mount point is refused and stays empty`() async throws {
        let temporary = try await TemporaryVault()
        try await Self.record(temporary)
        let pin = try await Self.pinned(temporary)
        try FileManager.default.removeItem(atPath: temporary.path)
        try await Self.expectRefusal(.notFound, temporary, pin)
        try FileManager.default.createDirectory(atPath: temporary.path, withIntermediateDirectories: true)
        try await Self.expectRefusal(.notFound, temporary, pin)
    }

    @Test func `another vault in its place is refused and not touched`() async throws {
        let temporary = try await TemporaryVault()
        try await Self.record(temporary)
        let other = try await TemporaryVault()
        try await Self.record(other)
        try await Self.expectRefusal(.otherVault, other, try await Self.pinned(temporary))
    }

    @Test func `an older copy is refused; accepted on purpose, it goes on and the ledger says so`() async throws {
        let temporary = try await TemporaryVault()
        try await Self.record(temporary)
        let older = try temporary.copy()
        try await Self.record(temporary, 3)
        let pin = try await Self.pinned(temporary)
        try await Self.expectRefusal(.olderCopy, older, pin)
        let vault = try await Self.open(older, pin, acceptsOlderCopy: true)
        let reader = vault.ledger
        var said: RebuiltRecord?
        try reader.replay(from: 0) { _, entry in
            if case .rebuilt(let record)? = entry?.body { said = record }
        }
        #expect(said?.why == .olderCopy)
        #expect(said?.before?.count == pin.size)
        // From here on it is the vault that is known; the newer one would be another past.
        let next = try await vault.pin()
        await vault.close()
        try await Self.expectRefusal(.otherHistory, temporary, next)
        let again = try await Self.open(older, next, acceptsOlderCopy: true)
        #expect(try await again.verify().findings == [])
        await again.close()
    }

    @Test func `a copy that recorded on its own is another past, whichever is longer`() async throws {
        let temporary = try await TemporaryVault()
        try await Self.record(temporary)
        let copy = try temporary.copy()
        try await Self.record(temporary, 2)
        try await Self.record(copy, 2)
        try await Self.expectRefusal(.otherHistory, copy, try await Self.pinned(temporary))
        try await Self.record(copy, 300)
        try await Self.expectRefusal(.otherHistory, copy, try await Self.pinned(temporary))
    }

    @Test func `a damaged tile is no other past`() async throws {
        let (temporary, _) = try await VerificationTests.recorded()
        let pin = try await Self.pinned(temporary)
        try RepairTests.damage(temporary, "vault/ledger/tile/0/000", at: 7)
        let vault = try await Self.open(temporary, pin)
        await vault.close()
    }

    @Test(arguments: [VaultError.Code.networkFileSystem])
    func `S6, V25: a vault on a network share is refused, and so is making one there`(code: VaultError.Code)
        async throws
    {
        let temporary = try await TemporaryVault()
        try await Self.record(temporary)
        let before = try Self.everything(temporary.folder)
        let files = NetworkFileSystem()
        await #expect(throws: VaultError(code, "")) { _ = try await temporary.open(files: files) }
        await #expect(throws: VaultError(code, "")) {
            _ = try await Vault.rebuildIndex(at: temporary.path, files: files)
        }
        await #expect(throws: VaultError(code, "")) { _ = try await RepairTests.repair(temporary, files: files) }
        #expect(try Self.everything(temporary.folder) == before)
        let folder = try TemporaryFolder()
        await #expect(throws: VaultError(code, "")) {
            _ = try await Vault.create(
                at: folder.path, passphrase: SecretBytes(text: "x"), files: files, time: temporary.time,
                scryptWorkFactor: 4, ballast: 0)
        }
        #expect(try folder.everyFile() == [])
    }

    @Test func `V25: sshfs and its like are told from FUSE file systems of this machine`() {
        let table = """
            22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
            90 22 0:50 / /srv/nas rw,nosuid - fuse.sshfs nas:/video rw,user_id=0
            91 22 8:17 / /srv/usb rw,relatime shared:9 - fuseblk /dev/sdb1 rw
            92 90 8:18 / /srv/nas/local rw - xfs /dev/sdc1 rw
            93 22 0:51 / /srv/with\\040space rw - fuse.rclone remote: rw
            """
        #expect(MountTable.isNetwork("/srv/nas", in: table))
        #expect(MountTable.isNetwork("/srv/nas/vault", in: table))
        #expect(MountTable.isNetwork("/srv/with space/vault", in: table))
        #expect(!MountTable.isNetwork("/srv/nas/local/vault", in: table))
        #expect(!MountTable.isNetwork("/srv/nasty", in: table))
        #expect(!MountTable.isNetwork("/srv/usb/vault", in: table))
        #expect(!MountTable.isNetwork("/", in: ""))
        #expect(MountTable.type(of: "/home", in: table) == "ext4")
        #expect(throws: Never.self) { try MountTable.isNetwork("/tmp") }
    }

    @Test func `a mount pulled while recording: nothing is made under its mount point, and it goes on when it is back`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        _ = try await RecordingTests.record(vault, patternBytes(100), at: temporary.time.wallNow())
        try FileManager.default.moveItem(atPath: temporary.path, toPath: temporary.folder.path + "/pulled")
        try FileManager.default.createDirectory(atPath: temporary.path, withIntermediateDirectories: true)
        for index in 1..<4 {
            await #expect(throws: VaultError.self) {
                _ = try await RecordingTests.record(
                    vault, patternBytes(100), at: temporary.time.wallNow() + Int64(index) * 60_000_000)
            }
        }
        for day in 1..<3 {
            await #expect(throws: VaultError.self) {
                _ = try await RecordingTests.record(
                    vault, patternBytes(100), at: temporary.time.wallNow() + Int64(day) * BusyVault.day)
            }
        }
        // Enough to fill a bundle, whose folder a careless writer would make anew.
        for index in 0..<300 {
            let from = temporary.time.wallNow() + Int64(index) * 1000
            try? await vault.recordGap(
                camera: RecordingTests.camera, range: TimeRange(from, from + 500), reason: .diskError)
        }
        _ = try? await vault.applyRetention()
        let made = try FileManager.default.subpathsOfDirectory(atPath: temporary.path)
        #expect(made.isEmpty, "\(made)")
        try FileManager.default.removeItem(atPath: temporary.path)
        try FileManager.default.moveItem(atPath: temporary.folder.path + "/pulled", toPath: temporary.path)
        let clip = try await RecordingTests.record(
            vault, patternBytes(100), at: temporary.time.wallNow() + 600_000_000)
        #expect(try await vault.clip(at: clip.start + 1, camera: RecordingTests.camera) == clip)
        await vault.close()
        let findings = try await RepairTests.findings(temporary).findings
        #expect(findings.isEmpty, "\(findings)")
    }

    @Test func `another vault mounted in its place while recording is not touched`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        _ = try await RecordingTests.record(vault, patternBytes(100), at: temporary.time.wallNow())
        let other = try await TemporaryVault()
        try await Self.record(other)
        try FileManager.default.moveItem(atPath: temporary.path, toPath: temporary.folder.path + "/pulled")
        try FileManager.default.moveItem(atPath: other.path, toPath: temporary.path)
        let before = try Self.everything(temporary.folder).filter { $0.hasPrefix("vault/") }
        for index in 1..<4 {
            await #expect(throws: VaultError(.otherVault, "")) {
                _ = try await RecordingTests.record(
                    vault, patternBytes(100), at: temporary.time.wallNow() + Int64(index) * 60_000_000)
            }
        }
        _ = try? await vault.applyRetention()
        _ = try? await vault.clip(at: temporary.time.wallNow(), camera: RecordingTests.camera)
        #expect(try Self.everything(temporary.folder).filter { $0.hasPrefix("vault/") } == before)
        await vault.close()
    }
}

/// The machine's files, as if another machine shared them.
private struct NetworkFileSystem: FileSystem {
    private let base = PosixFileSystem()
    func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile { try base.open(path, mode) }
    func attributes(_ path: String) throws(VaultError) -> FileAttributes? { try base.attributes(path) }
    func list(_ path: String) throws(VaultError) -> [String] { try base.list(path) }
    func makeDirectory(_ path: String) throws(VaultError) { try base.makeDirectory(path) }
    func rename(_ from: String, to: String) throws(VaultError) { try base.rename(from, to: to) }
    func link(_ from: String, to: String) throws(VaultError) { try base.link(from, to: to) }
    func remove(_ path: String) throws(VaultError) { try base.remove(path) }
    func syncDirectory(_ path: String) throws(VaultError) { try base.syncDirectory(path) }
    func isNetwork(_ path: String) throws(VaultError) -> Bool { true }
    func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) { try base.space(path) }
    func lock(_ path: String) throws(VaultError) -> (any OpenFile)? { try base.lock(path) }
}
