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
        /// Where that was, when it was somewhere else.
        public var seenAt: String?
        public var vault: VaultID?
        public var key: String?
        /// Whether it is the one that was given; nil when none was.
        public var isKeyGiven: Bool?

        /// In a sentence.
        public var text: String {
            let place = seenAt.map { " at \($0)" } ?? ""
            let before = "\(sizeBefore ?? 0) were seen\(place)\(since.map { " (witnessed since \($0))" } ?? "")"
            return switch verdict {
            case .first where isKeyGiven == true: "first seen: \(size) entries, signed with the key that was given."
            case .first:
                "first seen: \(size) entries. Compare the key with the recorder's `sudocam prove --show-key`:\n  \(key ?? "")"
            case .continues: "continues: \(size) entries, \(before)."
            case .rollback where seenAt != nil:
                "ROLLBACK: it shows \(size) entries, \(before). This is an older copy, or what came since is gone."
            case .rollback:
                "ROLLBACK: it shows \(size) entries, \(before). An older copy was put back, or what came since is gone."
            case .fork: "FORK: it shows another past than was seen. Its ledger was rewritten."
            case .key where isKeyGiven == false: "OTHER KEY: it signs with another key than the one given."
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
        let client = target.contains("://") ? try WitnessClient(target, fingerprint: fingerprint) : nil
        guard client != nil || FileManager.default.fileExists(atPath: target) else {
            throw ServerError(
                .configuration, "There is no folder \(target).", hint: "Write http:// or https:// before an address.")
        }
        let place = client?.name ?? URL(fileURLWithPath: target).standardizedFileURL.path
        try? FileManager.default.createDirectory(
            atPath: URL(fileURLWithPath: pins).deletingLastPathComponent().path, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        var pins = try WitnessPins(path: pins)
        func ask(_ size: Int) async throws -> CheckpointPin.Shown {
            if let client { return try await client.ask(continuing: size) }
            return try await CheckpointPin.shown(inFolder: target, continuing: size)
        }
        let last = pins.last(at: place)
        var shown = try await ask(last?.size ?? 0)
        let now = SystemTime().wallNow()
        var reference = last.map { (place: place, pin: $0) }
        if let vault = CheckpointPin.judge(shown, after: nil, at: now).pin?.vault, last == nil || last?.vault == vault {
            reference = pins.newest(of: vault)
            // The proof is asked for anew when what it has to continue was seen somewhere else.
            if let size = reference?.pin.size, size != last?.size { shown = try await ask(size) }
        }
        let pin = reference?.pin
        var judged = CheckpointPin.judge(shown, after: pin, at: now)
        let isBeginning = accepts && !judged.verdict.isGood && judged.verdict != .forged
        if isBeginning { judged = CheckpointPin.judge(shown, after: nil, at: now) }
        let isKeyGiven = key.map { $0 == shown.key }
        if isKeyGiven == false { judged = (.key, nil, judged.size) }
        if let next = judged.pin { try pins.keep(next, at: place, isBeginning: isBeginning) }
        return Look(
            at: FileTime.iso(now), target: place, verdict: judged.verdict, size: judged.size, sizeBefore: pin?.size,
            since: (pin?.since).map(FileTime.iso), seenAt: reference?.place == place ? nil : reference?.place,
            vault: judged.pin?.vault ?? pin?.vault, key: judged.pin?.key ?? pin?.key, isKeyGiven: isKeyGiven)
    }
}
