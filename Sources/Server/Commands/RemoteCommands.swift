import CProcess
import Core
import Foundation
import Glibc
public import Vault

/// What `sudocam remote` does: by the running recorder, over its socket, or here when none runs. No secret passes through: who
/// works reads the credentials from their file, or its own environment.
public enum RemoteCommands {
    public struct Progress: Codable, Sendable {
        public var objects = 0
        public var totalObjects = 0
        public var bytes = 0
        public var totalBytes = 0
    }

    /// What the owner may set; nil: as it is, or as it comes.
    public struct Settings: Codable, Sendable {
        public var url: String?
        public var region: String?
        public var style: String?
        public var authorities: String?
        public var allowsPlain: Bool?
        public var credentials: RemoteDescription.Credentials?
        public var carriesOwner: Bool?
        /// Bytes a second; 0: no limit.
        public var limit: Int?
        public var limits: [RemoteDescription.Limit]?
        /// µs; less than 0: never.
        public var evictAfter: Int64?
        /// µs between sending and the listing that proves it.
        public var settle: Int64?
        public var cacheBytes: Int?

        public init() {}

        /// Whether the server is another one then, or sees another client.
        var isAboutServer: Bool {
            url != nil || region != nil || style != nil || authorities != nil || allowsPlain != nil
                || credentials != nil
        }
        public func apply(to description: inout RemoteDescription) {
            if let url { description.url = url }
            if let region { description.region = region }
            if let style { description.style = style }
            if let authorities { description.authorities = authorities }
            if let allowsPlain { description.allowsPlain = allowsPlain }
            if let credentials { description.credentials = credentials }
            if let carriesOwner { description.carriesOwner = carriesOwner }
            if let limit { description.limit = limit == 0 ? nil : limit }
            if let limits { description.limits = limits }
            if let evictAfter {
                description.eviction =
                    evictAfter < 0
                    ? nil
                    : RemoteDescription.Eviction(
                        after: evictAfter, settle: settle ?? description.eviction?.settle ?? 86_400_000_000)
            } else if let settle {
                description.eviction?.settle = settle
            }
            if let cacheBytes { description.cacheBytes = cacheBytes }
        }
    }

    /// One action, as it goes over the socket.
    struct Request: Codable, Sendable {
        enum Action: String, Codable { case add, set, status, sync, verify, evict, fetch, remove }
        var action: Action
        /// Nil: every remote (`status`).
        var name: String?
        var settings: Settings?
        var contents: RemoteDescription.Contents?
        var isProbed: Bool?
        /// Objects to read back; less than 0: all; nil: none.
        var sample: Int?
        var isDryRun: Bool?
        var isForced: Bool?
    }
    struct Answer: Codable, Sendable {
        var description: RemoteDescription?
        var statuses: [RemoteStatus]?
        /// Sentences on those that have no status, because they cannot be used.
        var outOfUse: [String]?
        var report: RemoteReport?
        var evicted: Evicted?
        var backfill: BackfillReport?
    }
    public struct Evicted: Codable, Sendable {
        public var dryRun: Bool
        public var objects: Int
        public var bytes: Int
    }

    static var time: any TimeSource { SystemTime { sudocam_wall_clock_is_synchronised() } }

    // MARK: In the recorder, or in its place

    static func perform(
        _ request: Request, _ vault: Vault, progress: @escaping @Sendable (Progress) -> Void
    ) async throws(VaultError) -> Answer {
        if request.action == .status {
            let remotes: [Remote]
            if let name = request.name {
                remotes = [try vault.remote(named: name)]
            } else {
                remotes = try vault.openRemotes()
            }
            var statuses: [RemoteStatus] = []
            for remote in remotes { statuses.append(try await remote.status()) }
            return Answer(statuses: statuses, outOfUse: request.name == nil ? vault.remotesOutOfUse : [])
        }
        guard let name = request.name else { throw VaultError(.invalid, "Which remote?") }
        switch request.action {
        case .status: return Answer()
        case .add: return Answer(description: try await add(name, request, vault))
        case .set: return Answer(description: try await set(name, request, vault))
        case .remove:
            try await vault.removeRemote(name, isForced: request.isForced ?? false)
            return Answer()
        case .sync:
            let remote = try vault.remote(named: name)
            try await sync(remote, progress)
            return Answer(statuses: [try await remote.status()])
        case .verify:
            let reading: RemoteReading =
                request.sample.map { $0 < 0 ? .all : $0 == 0 ? .none : .sample($0) } ?? .none
            let report = try await vault.remote(named: name).verify(reading) { report, total in
                progress(Progress(objects: report.readObjects, totalObjects: total, bytes: report.readBytes))
            }
            return Answer(report: report)
        case .evict: return Answer(evicted: try await evict(try vault.remote(named: name), request, progress))
        case .fetch:
            let remote = try vault.remote(named: name)
            try await remote.setBackfillWanted(true)
            let report = try await remote.backfill { report in
                progress(
                    Progress(
                        objects: report.objects, totalObjects: report.totalObjects, bytes: report.bytes,
                        totalBytes: report.totalBytes))
            }
            try await remote.setBackfillWanted(false)
            return Answer(backfill: report)
        }
    }

    private static func add(
        _ name: String, _ request: Request, _ vault: Vault
    ) async throws(VaultError) -> RemoteDescription {
        guard let settings = request.settings, let url = settings.url else {
            throw VaultError(.invalid, "A remote wants an address.", hint: "https://host[:port]/bucket[/prefix]")
        }
        var description = RemoteDescription(
            name: name, url: url, credentials: settings.credentials ?? .environment, added: time.wallNow())
        settings.apply(to: &description)
        if let contents = request.contents { description.contents = contents }
        try check(settings, description)
        return try await vault.add(description, isProbed: request.isProbed ?? true)
    }

    /// What was asked for makes sense of the remote that came of it.
    private static func check(_ settings: Settings, _ description: RemoteDescription) throws(VaultError) {
        guard description.eviction != nil else {
            guard settings.settle == nil else {
                throw VaultError(
                    .invalid,
                    "--evict-settle says when a copy counts as proven, and \(description.name) gives up none.",
                    hint: "Give --evict-after with it.")
            }
            return
        }
        // Keys that lie in no remote at all would be lost with this machine.
        guard description.contents != .onlyEpochKeys else {
            throw VaultError(
                .invalid, "A remote that has the epochs' keys only has no footage to rely on.",
                hint: "Give --evict-after to the remote with the footage.")
        }
    }

    private static func set(
        _ name: String, _ request: Request, _ vault: Vault
    ) async throws(VaultError) -> RemoteDescription {
        guard let settings = request.settings else { throw VaultError(.invalid, "What is to be set?") }
        guard settings.isAboutServer else {
            return try vault.change(name) { (description) throws(VaultError) in
                settings.apply(to: &description)
                try check(settings, description)
            }
        }
        guard var description = try vault.remoteDescriptions().first(where: { $0.name == name }) else {
            throw VaultError(
                .notFound, "There is no remote \(name).", hint: "`sudocam remote list` shows them.")
        }
        settings.apply(to: &description)
        try check(settings, description)
        return try await vault.add(description, replaces: true, isProbed: request.isProbed ?? true)
    }

    private static func sync(
        _ remote: Remote, _ progress: @escaping @Sendable (Progress) -> Void
    ) async throws(VaultError) {
        let before = remote.currentProgress
        let time = time
        let watch = Task {
            repeat {
                remote.applyLimit(at: time.wallNow())
                guard let waiting = try? await remote.waiting() else { return }
                let now = remote.currentProgress
                let sent = (now.sentObjects - before.sentObjects, now.sentBytes - before.sentBytes)
                progress(
                    Progress(
                        objects: sent.0, totalObjects: sent.0 + waiting.objects, bytes: sent.1,
                        totalBytes: sent.1 + waiting.bytes))
            } while (try? await Task.sleep(for: .milliseconds(500))) != nil
        }
        do throws(VaultError) { try await remote.sync() } catch {
            watch.cancel()
            await watch.value
            throw error
        }
        watch.cancel()
        await watch.value
    }

    private static func evict(
        _ remote: Remote, _ request: Request, _ progress: @escaping @Sendable (Progress) -> Void
    ) async throws(VaultError) -> Evicted {
        guard remote.description.eviction != nil else {
            throw VaultError(
                .invalid, "Nothing may be given up for remote \(remote.name).",
                hint: "`sudocam remote set \(remote.name) --evict-after 7d` allows it.")
        }
        if request.isDryRun == true {
            let (objects, bytes) = try await remote.evictable()
            return Evicted(dryRun: true, objects: objects, bytes: bytes)
        }
        // Proof needs a listing that began long enough after the sending.
        try await remote.listAgain(after: 0)
        while try await remote.proveByReading(limit: 64) == 64, !Task.isCancelled {}
        var evicted = Evicted(dryRun: false, objects: 0, bytes: 0)
        while !Task.isCancelled {
            let report = try await remote.evict()
            evicted.objects += report.objects
            evicted.bytes += report.bytes
            progress(Progress(objects: evicted.objects, bytes: evicted.bytes))
            guard report.isUnfinished else { break }
        }
        return evicted
    }

    static func ask(
        _ configuration: Configuration, _ request: Request,
        progress: @escaping @Sendable (Progress) -> Void = { _ in }
    ) async throws -> Answer {
        do throws(ServerError) {
            return try ControlClient.remote(vault: configuration.vault, request, progress: progress)
        } catch {
            guard error.code == .noService else { throw error }
        }
        let store = PinStore(configuration)
        let (vault, pin) = try await store.openWriting(configuration, time: time)
        do {
            let answer = try await perform(request, vault, progress: progress)
            try? store.save(try await vault.pin(after: pin))
            await vault.close()
            return answer
        } catch {
            await vault.close()
            throw error
        }
    }
}

extension Remote {
    /// The bandwidth that this minute of the local day allows.
    func applyLimit(at now: WallTime) {
        var seconds = time_t(now.microseconds / 1_000_000)
        var parts = tm()
        localtime_r(&seconds, &parts)
        limitUpload(bytesPerSecond: description.limit(minute: Int(parts.tm_hour) * 60 + Int(parts.tm_min)))
    }
}
