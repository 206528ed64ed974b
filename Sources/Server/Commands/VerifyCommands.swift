public import Core
import Foundation
import Media
import Synchronization
public import Vault

/// `sudocam verify`: everything on disk against the ledger, and the ledger against its signature; can be broken off and resumed.
public enum VerifyCommands {
    public struct Verified: Codable, Sendable {
        public var clean: Bool
        public var entries: Int
        public var objects: Int
        /// Read in this run.
        public var bytes: Int
        public var findings: [String]
        /// Findings beyond the first ten thousand.
        public var omittedFindings: Int
        /// Numbers of clips that no entry has: clips that failed while a later one ran.
        public var sequenceHoles: Int
        /// What earlier repairs entered: no finding, and not forgotten.
        public var knownLost: Int
        public var knownQuarantined: Int
        /// Whether an earlier run that was broken off was continued.
        public var resumed: Bool
    }

    public struct Options: Sendable {
        /// Ask for the passphrase and open every chunk.
        public var passphrase: SecretBytes?
        /// Go on where an earlier run was broken off.
        public var resumes: Bool
        /// Only presence and size of objects.
        public var isQuick: Bool
        public init(passphrase: SecretBytes?, resumes: Bool, isQuick: Bool) {
            self.passphrase = passphrase
            self.resumes = resumes
            self.isQuick = isQuick
        }
    }

    /// Keyless; with a passphrase every chunk is opened as well and the inner identity compared. Writes nothing into the vault: how
    /// far it came is noted in the user's own state folder.
    public static func verify(
        _ configuration: Configuration, _ wanted: Options,
        progress: @escaping @Sendable (VerificationProgress) -> Void, time: any TimeSource = SystemTime()
    ) async throws -> Verified {
        try await configuration.reading(passphrase: wanted.passphrase, time: time) { vault in
            var options = VerificationOptions()
            options.readsObjects = !wanted.isQuick
            options.opensObjects = wanted.passphrase != nil
            if options.opensObjects { options.innerIdentity = { ClipReader.identity(inHead: $0) } }
            let notes = wanted.isQuick ? nil : VerificationNotes(vault: vault.id, opens: options.opensObjects)
            let done = wanted.resumes ? notes?.load() ?? [] : []
            options.done = done
            notes?.begin(with: done)
            let report = try await vault.verify(options, progress: progress) { notes?.add($0) }
            notes?.remove()
            return Verified(
                clean: report.isClean, entries: report.entries, objects: report.objects, bytes: report.bytes,
                findings: report.findings.map(\.description), omittedFindings: report.omittedFindings,
                sequenceHoles: report.sequenceHoles, knownLost: report.knownLost,
                knownQuarantined: report.knownQuarantined, resumed: !done.isEmpty)
        }
    }
}

/// Which folders a verification has found clean so far: a small file in `$XDG_STATE_HOME/sudocam`, so that the vault itself need
/// not be written. Where there is no such place, nothing is noted.
private final class VerificationNotes: Sendable {
    private struct Contents: Codable {
        var shards: [VerifiedShard]
    }
    private let path: String
    private let shards = Mutex<[VerifiedShard]>([])

    init?(vault: VaultID, opens: Bool) {
        let environment = ProcessInfo.processInfo.environment
        guard let base = environment["XDG_STATE_HOME"] ?? environment["HOME"].map({ $0 + "/.local/state" }),
            base.hasPrefix("/")
        else { return nil }
        let folder = base + "/sudocam"
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        path = "\(folder)/verify-\(vault)\(opens ? "-open" : "").json"
    }

    func load() -> [VerifiedShard] {
        guard let bytes = FileManager.default.contents(atPath: path), bytes.count < 1 << 20,
            let contents = try? JSONDecoder().decode(Contents.self, from: bytes)
        else { return [] }
        return contents.shards.filter { (0..<256).contains($0.shard) && $0.entries >= 0 }
    }

    func begin(with done: [VerifiedShard]) {
        shards.withLock { $0 = done }
        if done.isEmpty { remove() }
    }

    func add(_ shard: VerifiedShard) {
        shards.withLock { shards in
            // What was read before is still only as new as it was.
            guard !shards.contains(where: { $0.shard == shard.shard }) else { return }
            shards.append(shard)
            if let bytes = try? JSONEncoder().encode(Contents(shards: shards)) {
                try? bytes.write(to: URL(fileURLWithPath: path), options: .atomic)
            }
        }
    }

    func remove() { try? FileManager.default.removeItem(atPath: path) }
}
