import ArgumentParser
import Foundation
import Server
import Vault

/// Where a remote is, and who asks there.
struct ServerOptions: ParsableArguments {
    @Option(help: "The server's region; default: what the address says, else us-east-1.") var region: String?
    @Option(help: "How the bucket is named: path, or virtual-host; default: what suits the server.") var style: String?
    @Option(help: "A PEM file of the authorities to trust in place of the system's.") var ca: String?
    @Flag(help: "Speak http with another machine: whoever is on the line can answer in the server's place.")
    var allowPlain = false
    @Option(help: "The access key and its secret, in a file like ~/.aws/credentials, 0600; default: the environment.")
    var credentials: String?
    @Option(help: "With --credentials: which part of the file.") var profile: String?

    func validate() throws {
        guard profile == nil || credentials != nil else {
            throw ValidationError("--profile names a part of the file that --credentials names.")
        }
        guard style.map({ ["path", "virtual-host"].contains($0) }) ?? true else {
            throw ValidationError("--style is path or virtual-host.")
        }
    }

    /// The recorder has another working directory, and reads the files itself.
    static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }

    func fill(_ settings: inout RemoteCommands.Settings) {
        settings.region = region
        settings.style = style
        settings.authorities = ca.map(Self.absolute)
        settings.allowsPlain = allowPlain ? true : nil
        settings.credentials = credentials.map { .file(Self.absolute($0), profile: profile ?? "default") }
    }

    /// Of a remote that no vault here knows yet.
    func description(_ name: String, _ url: String) -> RemoteDescription {
        var settings = RemoteCommands.Settings()
        fill(&settings)
        return RestoreCommands.description(name, url, settings)
    }
}

/// How a remote is used.
struct UseOptions: ParsableArguments {
    @Option(help: "Upload at most so many bytes a second, as 2MB; none: as fast as it goes.") var limit: String?
    @Option(help: "Another limit from one time of day to another, as 08:00-22:00=500kB; may be given several times.")
    var limitAt: [String] = []
    @Flag(help: "With remote set: no limits by time of day any more.") var noLimitAt = false
    @Option(
        help: "Give up the copy here of what ended so long ago and is proven to lie there, as 7d; never: keep all.")
    var evictAfter: String?
    @Option(help: "How long after sending a listing counts as proof; default: 1d.") var evictSettle: String?
    @Option(help: "Keep so much of what was read back from there, as 2GB.") var cache: String?
    @Flag(help: "Put keys/owner.age there too: the passphrase alone then opens a restored vault.") var withOwnerKey =
        false

    func fill(_ settings: inout RemoteCommands.Settings) throws {
        settings.limit = try limit.map { $0 == "none" ? 0 : try Self.rate($0) }
        if noLimitAt || !limitAt.isEmpty { settings.limits = try limitAt.map(Self.limit) }
        settings.evictAfter = try evictAfter.map { $0 == "never" ? -1 : try Self.duration($0, "--evict-after") }
        settings.settle = try evictSettle.map { try Self.duration($0, "--evict-settle") }
        settings.cacheBytes = try cache.map { text in
            guard let size = Quantity.size(text) else { throw CommandFailure("--cache wants a size, as 2GB.") }
            return size
        }
        settings.carriesOwner = withOwnerKey ? true : nil
    }

    private static func duration(_ text: String, _ option: String) throws -> Int64 {
        guard let duration = Quantity.duration(text) else {
            throw CommandFailure("\(option) wants a length of time, as 7d, 12h or 90m.")
        }
        return duration
    }
    private static func rate(_ text: String) throws -> Int {
        guard let rate = Quantity.size(text), rate >= 1024 else {
            throw CommandFailure("\(text) is no rate: write bytes a second, at least 1KiB, as 500kB or 2MB.")
        }
        return rate
    }
    private static func limit(_ text: String) throws -> RemoteDescription.Limit {
        let parts = text.split(separator: "=", maxSplits: 1)
        let times = parts.first?.split(separator: "-") ?? []
        guard parts.count == 2, times.count == 2, let from = Quantity.minute(String(times[0])),
            let to = Quantity.minute(String(times[1])), from != to
        else { throw CommandFailure("--limit-at \(text) is not understood: write 08:00-22:00=500kB.") }
        return RemoteDescription.Limit(from: from, to: to, bytesPerSecond: try rate(String(parts[1])))
    }
}

func bytes(_ count: Int) -> String {
    count.formatted(.byteCount(style: .file, allowedUnits: [.bytes, .kb, .mb, .gb, .tb], spellsOutZero: false))
}

/// `2 h 5 min`, `3 min 10 s`, `8 s`.
func span(_ seconds: Double) -> String {
    let whole = Int(max(0, min(seconds, 1e7)))
    return whole >= 3600
        ? "\(whole / 3600) h \(whole % 3600 / 60) min"
        : whole >= 60 ? "\(whole / 60) min \(whole % 60) s" : "\(whole) s"
}
