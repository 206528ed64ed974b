import CProcess
public import Core
import Foundation
public import Vault

/// `sudocam witness`: a second machine that remembers what a recorder's ledger was, and says when it is another.
public enum WitnessCommands {
    public struct Look: Codable, Sendable {
        public var at: String
        public var target: String
        public var verdict: CheckpointPin.Verdict
        /// Entries that are shown now, and that were seen before.
        public var size: Int
        public var sizeBefore: Int?
        public var since: String?
        public var vault: VaultID?
        public var key: String?

        /// In a sentence.
        public var text: String {
            let before = "\(sizeBefore ?? 0) were seen\(since.map { " (witnessed since \($0))" } ?? "")"
            return switch verdict {
            case .first:
                "first seen: \(size) entries. Compare the key with the recorder's `sudocam prove --show-key`:\n  \(key ?? "")"
            case .continues: "continues: \(size) entries, \(before)."
            case .rollback:
                "ROLLBACK: it shows \(size) entries, \(before). An older copy was put back, or what came since is gone."
            case .fork: "FORK: it shows another past than was seen. Its ledger was rewritten."
            case .key: "OTHER KEY: it signs with another key than was seen."
            case .otherVault: "OTHER VAULT: it shows another vault than was seen."
            case .forged: "FORGED: what it shows is not signed rightly."
            }
        }
    }

    /// `$STATE_DIRECTORY`, else as the XDG base directories have it.
    public static var standardPins: String {
        let environment = ProcessInfo.processInfo.environment
        if let state = environment["STATE_DIRECTORY"]?.split(separator: ":").first { return state + "/witness.json" }
        let state =
            environment["XDG_STATE_HOME"] ?? FileManager.default.homeDirectoryForCurrentUser.path + "/.local/state"
        return state + "/sudocam/witness.json"
    }

    /// One look; a good one is remembered, a bad one changes nothing.
    ///
    /// - Parameters:
    ///   - target: an address, or the folder of a vault or of its copy.
    ///   - key: the recorder's key as its owner told it; nil: the one seen first is believed.
    ///   - accepts: what is shown now is a new beginning, whatever was seen.
    public static func look(
        _ target: String, pins: String, key: String?, fingerprint: String?, accepts: Bool
    ) async throws -> Look {
        let isAddress = target.contains("://")
        let name = isAddress ? target : URL(fileURLWithPath: target).standardizedFileURL.path
        try? FileManager.default.createDirectory(
            atPath: URL(fileURLWithPath: pins).deletingLastPathComponent().path, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        let store = PinStore(path: pins, name: name)
        let pin = try store.load()
        let shown =
            isAddress
            ? try await WitnessClient(target, fingerprint: fingerprint).ask(continuing: pin?.size ?? 0)
            : try await CheckpointPin.shown(inFolder: target, continuing: pin?.size ?? 0)
        let now = SystemTime().wallNow()
        var judged = CheckpointPin.judge(shown, after: pin, at: now)
        if accepts, !judged.verdict.isGood, judged.verdict != .forged {
            judged = CheckpointPin.judge(shown, after: nil, at: now)
        }
        if let key, shown.key != key { judged = (.key, nil, judged.size) }
        if let next = judged.pin { try store.save(next) }
        return Look(
            at: FileTime.iso(now), target: name, verdict: judged.verdict, size: judged.size, sizeBefore: pin?.size,
            since: (pin?.since).map(FileTime.iso), vault: judged.pin?.vault ?? pin?.vault,
            key: judged.pin?.key ?? pin?.key)
    }
}
