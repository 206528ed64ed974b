import CProcess
import Core
import Foundation
import Media
public import Vault

/// `sudocam repair` and `sudocam rebuild`: both open the vault themselves, while no recorder runs; a dry run of repair only
/// reads, and works beside one.
public enum RepairCommands {
    private static var time: any TimeSource { SystemTime { sudocam_wall_clock_is_synchronised() } }

    public struct Repaired: Codable, Sendable {
        public struct Step: Codable, Sendable {
            public var action: String
            public var subject: String
            public var detail: String
        }
        public var applied: Bool
        public var steps: [Step]
        /// Something is left that repair does nothing about.
        public var complete: Bool
        /// More than half of all objects are missing: nothing was entered as lost.
        public var braked: Bool
        public var objects: Int
    }

    /// - Parameter copy: a copy of the vault to fetch good files from.
    public static func repair(
        _ configuration: Configuration, apply: Bool, all: Bool, force: Bool, from copy: String?,
        passphrase: SecretBytes?,
        progress: @escaping @Sendable (VerificationProgress) -> Void
    ) async throws -> Repaired {
        var options = RepairOptions()
        options.isApplied = apply
        options.quarantinesPlayable = all
        options.isForced = force
        if let copy {
            guard FileManager.default.fileExists(atPath: copy + "/objects") else {
                throw ServerError(
                    .configuration, "\(copy) is no copy of a vault.", hint: "Name the folder that has objects/ in it.")
            }
            options.source = FolderSource(copy)
        }
        if apply { try await PinStore(configuration).recognise(configuration, acceptsDamage: true) }
        let report = try await Vault.repair(
            at: configuration.vault, options, software: Version.current, passphrase: passphrase, time: time,
            progress: progress)
        return Repaired(
            applied: report.isApplied,
            steps: report.steps.map {
                Repaired.Step(action: $0.action.rawValue, subject: $0.subject.description, detail: $0.detail)
            }, complete: report.isComplete, braked: report.isBraked, objects: report.objects)
    }

    public struct RebuiltIndex: Codable, Sendable {
        public var entries: Int
        public var clips: Int
        public var malformedEntries: Int
        /// Nil: there is no checkpoint with a good signature.
        public var matchesCheckpoint: Bool?
    }

    public static func rebuildIndex(
        _ configuration: Configuration, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws -> RebuiltIndex {
        try await PinStore(configuration).recognise(configuration)
        let rebuilt = try await Vault.rebuildIndex(at: configuration.vault, progress: progress)
        return RebuiltIndex(
            entries: rebuilt.entries, clips: rebuilt.clips, malformedEntries: rebuilt.malformed,
            matchesCheckpoint: rebuilt.matchesCheckpoint)
    }

    public struct RebuiltLedger: Codable, Sendable {
        public var applied: Bool
        public var clips: Int
        public var epochs: Int
        public var quarantined: [String]
        public var unreadable: [String]
        public var entriesBefore: Int?
    }

    public static func rebuildLedger(
        _ configuration: Configuration, apply: Bool, progress: @escaping @Sendable (_ objects: Int) -> Void
    ) async throws -> RebuiltLedger {
        let store = PinStore(configuration)
        let pin = try store.load()
        let rebuilt = try await store.opening { _ in
            try await Vault.rebuildLedger(
                at: configuration.vault, expecting: pin, isApplied: apply, time: time, progress: progress)
        }
        if apply {
            // What was seen is gone for good, and the new ledger says so: it is what is known from here on.
            try store.save(try await configuration.reading(time: time) { try await $0.pin() })
        }
        return RebuiltLedger(
            applied: rebuilt.isApplied, clips: rebuilt.clips, epochs: rebuilt.epochs, quarantined: rebuilt.quarantined,
            unreadable: rebuilt.unreadable, entriesBefore: rebuilt.sizeBefore)
    }
}
