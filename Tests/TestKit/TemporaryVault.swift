import Core
import Foundation
public import Vault

/// A folder that goes with its owner.
public final class TemporaryFolder: Sendable {
    public let path: String

    /// - Parameter parent: the system's folder for such things unless told.
    public init(in parent: String? = nil) throws {
        path = (parent ?? FileManager.default.temporaryDirectory.path) + "/sudocam-test-\(Core.UUID.random())"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    public func contents(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path + "/" + name)))
    }
    public func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
    }
    /// Every file below, as paths relative to the folder, sorted.
    public func everyFile() throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: path).filter { name in
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: path + "/" + name, isDirectory: &isFolder)
                && !isFolder.boolValue
        }.sorted()
    }
}

/// A fresh vault in a folder of its own, with a cheap passphrase and a clock the test moves.
public struct TemporaryVault: Sendable {
    public static let passphrase = "correct horse battery staple"

    public let folder: TemporaryFolder
    public let time: ManualTime
    public let creation: VaultCreation
    public var path: String { folder.path + "/vault" }

    public init(files: any FileSystem = PosixFileSystem()) async throws {
        folder = try TemporaryFolder()
        time = ManualTime()
        creation = try await Vault.create(
            at: folder.path + "/vault", passphrase: SecretBytes(text: Self.passphrase), files: files, time: time,
            scryptWorkFactor: 4, ballast: 0)
    }

    /// The same vault as it lies there now, in a folder of its own, under the same clock.
    public func copy() throws -> TemporaryVault { try TemporaryVault(copying: self) }

    private init(copying other: TemporaryVault) throws {
        folder = try TemporaryFolder()
        time = other.time
        creation = other.creation
        try FileManager.default.copyItem(atPath: other.path, toPath: folder.path + "/vault")
    }

    public func open(
        _ mode: VaultMode = .write(softwareVersion: "test"), files: any FileSystem = PosixFileSystem()
    ) async throws -> Vault {
        try await Vault.open(at: path, mode: mode, files: files, time: time)
    }
    public static func unlock(_ vault: Vault) async throws {
        try await vault.unlock(passphrase: SecretBytes(text: passphrase))
    }
}

/// Bytes that look random and are the same for the same seed.
public func patternBytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    var bytes = [UInt8](repeating: 0, count: count)
    for index in bytes.indices {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        bytes[index] = UInt8(truncatingIfNeeded: state >> 32)
    }
    return bytes
}
