import Core
import Foundation
public import Vault

/// The command line's side: one function a command.
extension RemoteCommands {
    /// A remote as its owner sees it.
    public struct Described: Codable, Sendable {
        public var name: String
        public var url: String
        public var contents: RemoteDescription.Contents
        /// Where the credentials are, not what they are.
        public var credentials: String
        public var ownerKeyIsThere: Bool
        public var limit: Int?
        public var limits: [RemoteDescription.Limit]
        public var evictAfterSeconds: Int64?
        public var cacheBytes: Int
        /// What the server can; nil: never asked.
        public var capabilities: RemoteCapabilities?

        public init(_ description: RemoteDescription) {
            name = description.name
            url = description.url
            contents = description.contents
            credentials =
                switch description.credentials {
                case .environment: "the environment"
                case .file(let path, let profile): "\(path) [\(profile)]"
                }
            ownerKeyIsThere = description.carriesOwner
            limit = description.limit
            limits = description.limits
            evictAfterSeconds = description.eviction.map { $0.after / 1_000_000 }
            cacheBytes = description.cacheBytes
            capabilities = description.capabilities
        }
    }
    public struct Status: Codable, Sendable {
        public var name: String
        public var url: String
        public var contents: RemoteDescription.Contents
        public var lagSeconds: Int64
        public var lagObjects: Int
        public var lagBytes: Int
        public var oldestUnsentEvent: String?
        public var objects: Int
        public var bytes: Int
        public var provenObjects: Int
        public var evictedObjects: Int
        public var unsendableObjects: Int
        public var lockedObjects: Int
        public var lockedUntil: String?
        public var ledgerEntries: Int
        public var sentEntries: Int
        public var lastListing: String?
        public var lastSuccess: String?
        public var failure: String?
        public var cacheBytes: Int

        init(_ status: RemoteStatus) {
            name = status.name
            url = status.url
            contents = status.contents
            (lagSeconds, lagObjects, lagBytes) = (status.lagSeconds, status.waitingObjects, status.waitingBytes)
            oldestUnsentEvent = status.oldestUnsentEvent.map(FileTime.iso)
            (objects, bytes, provenObjects) = (status.objects, status.bytes, status.provenObjects)
            (evictedObjects, unsendableObjects) = (status.evictedObjects, status.unsendableObjects)
            (lockedObjects, lockedUntil) = (status.lockedObjects, status.lockedUntil.map(FileTime.iso))
            (ledgerEntries, sentEntries) = (status.ledgerEntries, status.sentEntries)
            lastListing = status.lastListing.map(FileTime.iso)
            lastSuccess = status.progress.lastSuccess.map(FileTime.iso)
            failure = status.progress.failure
            cacheBytes = status.cacheBytes
        }
    }

    private static func described(_ answer: Answer) throws(ServerError) -> Described {
        guard let description = answer.description else { throw silent }
        return Described(description)
    }
    private static var silent: ServerError { ServerError(.refused, "The recorder did not say what it did.") }

    public static func add(
        _ configuration: Configuration, _ name: String, _ settings: Settings, contents: RemoteDescription.Contents,
        isProbed: Bool
    ) async throws -> Described {
        try described(
            try await ask(
                configuration,
                Request(action: .add, name: name, settings: settings, contents: contents, isProbed: isProbed)))
    }
    public static func set(
        _ configuration: Configuration, _ name: String, _ settings: Settings, isProbed: Bool
    ) async throws -> Described {
        try described(
            try await ask(configuration, Request(action: .set, name: name, settings: settings, isProbed: isProbed)))
    }
    /// Needs neither the recorder nor the network.
    public static func list(_ configuration: Configuration) throws -> [Described] {
        try Vault.remotes(at: configuration.vault).map(Described.init)
    }
    /// - Returns: of each remote that is in use, and a sentence on each that cannot be.
    public static func status(
        _ configuration: Configuration, _ name: String?
    ) async throws -> (statuses: [Status], outOfUse: [String]) {
        let answer = try await ask(configuration, Request(action: .status, name: name))
        guard let statuses = answer.statuses else { throw silent }
        return (statuses.map(Status.init), answer.outOfUse ?? [])
    }
    public static func sync(
        _ configuration: Configuration, _ name: String, progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> Status {
        let answer = try await ask(configuration, Request(action: .sync, name: name), progress: progress)
        guard let status = answer.statuses?.first else { throw silent }
        return Status(status)
    }
    /// - Parameter sample: objects to read back; less than 0: all; 0: names and sizes only.
    public static func verify(
        _ configuration: Configuration, _ name: String, sample: Int, progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> RemoteReport {
        let request = Request(action: .verify, name: name, sample: sample)
        guard let report = try await ask(configuration, request, progress: progress).report else { throw silent }
        return report
    }
    public static func evict(
        _ configuration: Configuration, _ name: String, isDryRun: Bool,
        progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> Evicted {
        let request = Request(action: .evict, name: name, isDryRun: isDryRun)
        guard let evicted = try await ask(configuration, request, progress: progress).evicted else { throw silent }
        return evicted
    }
    public static func remove(_ configuration: Configuration, _ name: String, isForced: Bool) async throws {
        _ = try await ask(configuration, Request(action: .remove, name: name, isForced: isForced))
    }
    /// Brings back what lies in a remote only.
    public static func fetch(
        _ configuration: Configuration, _ name: String, progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> BackfillReport {
        let answer = try await ask(configuration, Request(action: .fetch, name: name), progress: progress)
        guard let report = answer.backfill else { throw silent }
        return report
    }
}
