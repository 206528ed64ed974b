import Foundation

/// Where a camera's pictures come from, as written in `sudocam.yaml`. Only these schemes; nothing is ever given to a shell.
///
///     rtsp://user:password@host:554/path   rtsps://…
///     file:/path/to/video.mp4              file:/path/to/video.mp4?loop=0
///     test:?size=1280x720&rate=25&gop=50&bitrate=4000000&bframes=0&profile=high
public struct SourceAddress: Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        case rtsp(url: String)
        case file(path: String, loops: Bool)
        case test(TestPattern.Settings)
    }

    public let kind: Kind
    /// Without a password.
    public let description: String

    static let schemes = "rtsp://, rtsps://, file: and test:"

    public init(_ text: String) throws(CaptureError) {
        guard !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }), text.utf8.count <= 4096 else {
            throw CaptureError(.badAddress, "the address holds control characters or is longer than 4096 bytes")
        }
        if text.hasPrefix("rtsp://") || text.hasPrefix("rtsps://") {
            guard let url = URLComponents(string: text), let host = url.host, !host.isEmpty else {
                throw CaptureError(
                    .badAddress, "the address names no host", hint: "As in rtsp://192.0.2.10:554/stream.")
            }
            // `rtsp://admin:12#34@host` means host `admin` to a URL parser: refuse it rather than show half a password.
            guard !text.drop(while: { $0 != "/" }).dropFirst(2).drop(while: { !"/?#".contains($0) }).contains("@")
            else {
                throw CaptureError(
                    .badAddress, "an @ stands after the host",
                    hint: "Write / ? # @ in a user or password as %2F %3F %23 %40; likewise an @ in the path.")
            }
            kind = .rtsp(url: text)
            description = Self.masked(url, host)
        } else if text.hasPrefix("file:") {
            let (path, query) = try Self.split(text, scheme: "file:")
            try Self.allow(query, ["loop"])
            guard path.hasPrefix("/") else {
                throw CaptureError(
                    .badAddress, "`file:` wants a path from the root", hint: "As in file:/srv/video.mp4.")
            }
            kind = .file(path: path, loops: try Self.number(query, "loop", 0...1) ?? 1 == 1)
            description = "file:\(path)"
        } else if text.hasPrefix("test:") {
            let (_, query) = try Self.split(text, scheme: "test:")
            kind = .test(try Self.testPattern(query))
            description = text
        } else {
            throw CaptureError(.badAddress, "unknown kind of source; known are \(Self.schemes)")
        }
    }

    /// Scheme, user, host, port and the path's first words; some cameras take user and password in path or query, so
    /// nothing behind the first `=` or `?` is shown.
    private static func masked(_ url: URLComponents, _ host: String) -> String {
        var shown = url
        if shown.password != nil { shown.password = "***" }
        let rest = shown.percentEncodedQuery != nil || shown.percentEncodedFragment != nil
        shown.percentEncodedQuery = nil
        shown.percentEncodedFragment = nil
        guard let text = shown.string else { return "rtsp://\(host)/" }
        if let sign = text.firstIndex(of: "=") { return text[...sign] + "***" }
        return rest ? text + "?***" : text
    }

    private static func split(_ text: String, scheme: String) throws(CaptureError) -> (String, [String: String]) {
        let rest = text.dropFirst(scheme.count)
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var query: [String: String] = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1)
            guard sides.count == 2 else { throw CaptureError(.badAddress, "`\(pair)` is no key=value") }
            query[String(sides[0])] = String(sides[1])
        }
        return (parts.first.map(String.init) ?? "", query)
    }

    private static func allow(_ query: [String: String], _ known: [String]) throws(CaptureError) {
        for key in query.keys.sorted() where !known.contains(key) {
            throw CaptureError(.badAddress, "unknown setting `\(key)`; known are \(known.joined(separator: ", "))")
        }
    }

    private static func number(
        _ query: [String: String], _ key: String, _ range: ClosedRange<Int>
    ) throws(CaptureError) -> Int? {
        guard let text = query[key] else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw CaptureError(
                .badAddress, "`\(key)` wants a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private static func testPattern(_ query: [String: String]) throws(CaptureError) -> TestPattern.Settings {
        try allow(query, ["size", "rate", "gop", "bitrate", "bframes", "profile"])
        var settings = TestPattern.Settings()
        if let size = query["size"] {
            let sides = size.split(separator: "x").compactMap { Int($0) }
            guard sides.count == 2, (320...3840).contains(sides[0]), (240...2160).contains(sides[1]), sides[0] % 2 == 0,
                sides[1] % 2 == 0
            else { throw CaptureError(.badAddress, "`size` wants even pixels from 320x240 to 3840x2160") }
            settings.width = sides[0]
            settings.height = sides[1]
        }
        settings.rate = try number(query, "rate", 1...60) ?? settings.rate
        settings.keyInterval = try number(query, "gop", 1...600) ?? settings.rate * 2
        settings.bitRate = try number(query, "bitrate", 50_000...100_000_000) ?? settings.bitRate
        settings.bFrames = try number(query, "bframes", 0...4) ?? 0
        if let profile = query["profile"] {
            guard ["baseline", "main", "high"].contains(profile) else {
                throw CaptureError(.badAddress, "`profile` is baseline, main or high")
            }
            settings.profile = profile
        }
        return settings
    }
}
