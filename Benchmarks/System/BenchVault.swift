import Core
import Vault

/// A vault on the measured disk, through the same interface that `sudocam serve` uses.
struct BenchVault {
    static let passphrase = "correct horse"

    let folder: ScratchFolder
    var path: String { folder.path + "/vault" }

    /// Made with a cheap passphrase and without ballast: neither is what is measured.
    init(_ folder: ScratchFolder, files: any FileSystem = PosixFileSystem()) async throws {
        self.folder = folder
        _ = try await Vault.create(
            at: folder.path + "/vault", passphrase: SecretBytes(text: Self.passphrase), files: files,
            time: SystemTime(), scryptWorkFactor: 10, ballast: 0)
    }
    init(_ context: BenchContext) async throws { try await self.init(try context.scratch.folder()) }
    /// One that an earlier run has made.
    init(kept folder: ScratchFolder) { self.folder = folder }

    func open(
        _ mode: VaultMode = .write(softwareVersion: "bench"), files: any FileSystem = PosixFileSystem()
    ) async throws -> Vault {
        try await Vault.open(at: path, mode: mode, files: files, time: SystemTime())
    }

    static func unlock(_ vault: Vault) async throws {
        try await vault.unlock(passphrase: SecretBytes(text: passphrase))
    }

    /// One clip, committed on return.
    static func store(
        _ pieces: [[UInt8]], in vault: Vault, camera: CameraID, run: RunID, start: WallTime, seconds: Int64
    ) async throws -> ClipRecord {
        let writer = try await vault.beginClip(camera: camera, run: run, start: start)
        for piece in pieces { try await writer.append(piece) }
        return try await writer.finish(end: start + seconds * 1_000_000)
    }
}

/// Bytes that do not compress, the same in every run (SplitMix64).
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        value ^= value >> 31
        for index in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
    }
    bytes.removeLast(bytes.count - count)
    return bytes
}

/// The machine's files without any sync: for making large vaults that are only looked at afterwards.
struct UnsyncedFileSystem: FileSystem {
    private let base = PosixFileSystem()

    private final class File: OpenFile {
        private let base: any OpenFile
        init(_ base: any OpenFile) { self.base = base }
        var path: String { base.path }
        func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
            try base.read(at: offset, into: &buffer)
        }
        func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) {
            try base.write(bytes, range, at: offset)
        }
        func count() throws(VaultError) -> Int { try base.count() }
        func truncate(to count: Int) throws(VaultError) { try base.truncate(to: count) }
        func allocate(_ count: Int) throws(VaultError) {}
        func sync() throws(VaultError) {}
    }

    func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile {
        File(try base.open(path, mode))
    }
    func attributes(_ path: String) throws(VaultError) -> FileAttributes? { try base.attributes(path) }
    func list(_ path: String) throws(VaultError) -> [String] { try base.list(path) }
    func makeDirectory(_ path: String) throws(VaultError) { try base.makeDirectory(path) }
    func rename(_ from: String, to: String) throws(VaultError) { try base.rename(from, to: to) }
    func link(_ from: String, to: String) throws(VaultError) { try base.link(from, to: to) }
    func remove(_ path: String) throws(VaultError) { try base.remove(path) }
    func syncDirectory(_ path: String) throws(VaultError) {}
    func isNetwork(_ path: String) throws(VaultError) -> Bool { try base.isNetwork(path) }
    func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) { try base.space(path) }
    func lock(_ path: String) throws(VaultError) -> (any OpenFile)? { try base.lock(path) }
}
