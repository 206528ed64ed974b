public import Core
import Foundation

/// A remote as its owner set it up: `remotes/<name>.json` in the vault. Holds no secret: where the credentials are, not what they
/// are.
public struct RemoteDescription: Codable, Sendable, Hashable {
    public static let version = 1

    /// What goes there.
    public enum Contents: String, Codable, Sendable, Hashable, CaseIterable {
        case everything
        /// All but the epochs' keys: whoever has this remote has noise, also with the owner's identity.
        case withoutEpochKeys = "without-epoch-keys"
        /// The epochs' keys alone, so that they lie where nothing is versioned or locked.
        case onlyEpochKeys = "only-epoch-keys"
    }
    public enum Credentials: Codable, Sendable, Hashable {
        /// `AWS_ACCESS_KEY_ID` and its siblings.
        case environment
        /// In the form of `~/.aws/credentials`, 0600.
        case file(String, profile: String)
    }
    /// From one minute of the day to another, local time; over midnight when `from` is later than `to`.
    public struct Limit: Codable, Sendable, Hashable {
        public var from: Int
        public var to: Int
        public var bytesPerSecond: Int

        public init(from: Int, to: Int, bytesPerSecond: Int) {
            (self.from, self.to, self.bytesPerSecond) = (from, to, bytesPerSecond)
        }
        public func covers(minute: Int) -> Bool {
            from <= to ? (from..<to).contains(minute) : minute >= from || minute < to
        }
    }
    /// When the copy on this machine may go. Nil: never.
    public struct Eviction: Codable, Sendable, Hashable {
        /// µs; clips that ended longer ago.
        public var after: Int64
        /// µs that must have passed between sending and the listing that proves it (V5).
        public var settle: Int64

        public init(after: Int64, settle: Int64 = 86_400_000_000) { (self.after, self.settle) = (after, settle) }
    }

    public var version = Self.version
    public var id: Core.UUID
    public var name: String
    /// `https://host[:port]/bucket[/prefix]`
    public var url: String
    public var region: String?
    public var style: String?
    /// PEM file of the authorities to trust in place of the system's.
    public var authorities: String?
    public var allowsPlain = false
    public var credentials: Credentials
    public var contents = Contents.everything
    /// Whether `keys/owner.age` goes there too.
    public var carriesOwner = false
    /// Bytes a second at any other time; nil: as fast as it goes.
    public var limit: Int?
    public var limits: [Limit] = []
    public var eviction: Eviction?
    /// Bytes of objects that were read back from there and are kept for the next time.
    public var cacheBytes = 2_000_000_000
    /// What `probe` found.
    public var capabilities: RemoteCapabilities?
    public var added: WallTime

    public init(name: String, url: String, credentials: Credentials, added: WallTime) {
        id = Core.UUID.random()
        (self.name, self.url, self.credentials, self.added) = (name, url, credentials, added)
    }

    /// Errors: `.invalid`.
    func address() throws(VaultError) -> S3Address {
        var kind: S3Address.Style?
        if let style {
            guard let known = S3Address.Style(rawValue: style) else {
                throw VaultError(.invalid, "\(style) is no style of address.", hint: "It is path or virtual-host.")
            }
            kind = known
        }
        return try S3Address(
            url: url, region: region, style: kind, authorities: authorities, allowsPlain: allowsPlain)
    }

    /// Errors: `.invalid`, `.keys`, `.notFound`.
    package func readCredentials() throws(VaultError) -> S3Credentials {
        switch credentials {
        case .environment:
            guard let found = try S3Credentials(environment: ProcessInfo.processInfo.environment) else {
                throw VaultError(
                    .keys, "There are no credentials for remote \(name) in the environment.",
                    hint: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a credentials file.")
            }
            return found
        case .file(let path, let profile): return try S3Credentials(file: path, profile: profile)
        }
    }

    /// The store itself. Errors: as above, and `.noSpace`.
    func store(time: any TimeSource) throws(VaultError) -> any RemoteStore {
        try S3Client(try address(), try readCredentials(), time: time, capabilities: capabilities)
    }

    /// Bytes a second allowed at a minute of the local day; nil: no limit.
    public func limit(minute: Int) -> Int? {
        limits.first { $0.covers(minute: minute) }?.bytesPerSecond ?? limit
    }

    /// A name that fits a file and a label.
    public static func isName(_ name: String) -> Bool {
        (1...40).contains(name.utf8.count) && name.first != "-"
            && name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
    }

    // MARK: File

    var encoded: [UInt8] {
        get throws(VaultError) {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            do { return Array(try encoder.encode(self)) + [10] } catch {
                throw VaultError(.invalid, "The remote's description cannot be written.", underlying: error)
            }
        }
    }

    /// Errors: `.damaged`, `.newerFormat`.
    init(parsing bytes: [UInt8], path: String) throws(VaultError) {
        do { self = try JSONDecoder().decode(Self.self, from: Data(bytes)) } catch {
            throw VaultError(
                .damaged, "\(path) is malformed.", hint: "Remove the file and add the remote again.",
                underlying: error)
        }
        guard version <= Self.version else {
            throw VaultError(.newerFormat, "\(path) is of version \(version).", hint: "Install a newer SudoCam.")
        }
        guard Self.isName(name) else { throw VaultError(.damaged, "\(path) names the remote in no way known.") }
        // Whoever edits the file by hand must not make the recorder divide by zero or overflow.
        let rates = [limit].compactMap { $0 } + limits.map(\.bytesPerSecond)
        let minutes = limits.flatMap { [$0.from, $0.to] }
        let times = [eviction?.after, eviction?.settle].compactMap { $0 }
        guard rates.allSatisfy({ $0 >= 1024 }), minutes.allSatisfy({ (0...1440).contains($0) }),
            times.allSatisfy({ (0...Self.longest).contains($0) }), cacheBytes >= 0
        else {
            throw VaultError(
                .damaged, "\(path) has a limit, a time or a size that cannot be.",
                hint: "Remove the file and add the remote again.")
        }
    }
    /// µs: far beyond every clip, and far from overflow.
    private static let longest: Int64 = 1_000_000_000_000_000_000
}
