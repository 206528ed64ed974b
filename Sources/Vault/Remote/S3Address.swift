/// Where a remote is: endpoint, bucket, prefix, and how the server wants to be spoken to.
package struct S3Address: Sendable, Hashable, CustomStringConvertible {
    package enum Style: String, Sendable, Hashable, CaseIterable {
        /// `https://endpoint/bucket/key`: works with every server.
        case path
        /// `https://bucket.endpoint/key`: what AWS wants.
        case virtualHost = "virtual-host"
    }

    package let isTLS: Bool
    /// Lower case, without brackets.
    package let host: String
    package let port: UInt16
    package let bucket: String
    /// Begins every key; empty, or ends with a slash.
    package let prefix: String
    package let region: String
    package let style: Style
    /// A file with the certificates of the authorities to trust instead of the system's; nil for those.
    package let authorities: String?

    /// - Parameters:
    ///   - url: `https://host[:port]/bucket[/prefix]`. `http` only for this machine itself, or where `allowsPlain` says
    ///     that the operator accepts it: whoever is on the line could answer in the server's place.
    ///   - region: what the server is set to; `us-east-1` is what most accept.
    ///   - style: nil for what suits the host.
    /// Errors: `.invalid`.
    package init(
        url: String, region: String? = nil, style: Style? = nil, authorities: String? = nil, allowsPlain: Bool = false
    ) throws(VaultError) {
        let scheme = url.prefix { $0 != ":" }.lowercased()
        guard scheme == "https" || scheme == "http", url.dropFirst(scheme.count).hasPrefix("://") else {
            throw Self.invalid("it does not begin with https://")
        }
        isTLS = scheme == "https"
        let rest = url.dropFirst(scheme.count + 3)
        guard rest.utf8.allSatisfy({ $0 > 32 && $0 != 127 }), !rest.contains(where: { "?#\\%".contains($0) }) else {
            throw Self.invalid("it holds a character that has no place there")
        }
        let parts = rest.split(separator: "/", omittingEmptySubsequences: false)
        let authority = try Self.authority(parts[0])
        host = authority.host
        port = authority.port ?? (isTLS ? 443 : 80)
        guard isTLS || allowsPlain || Self.isLoopback(host) else {
            throw VaultError(
                .invalid, "The remote's address is http, which anybody on the line may read and answer.",
                hint: "Use https; give the server's own certificate authority if it has one.")
        }
        guard parts.count >= 2, Self.isBucket(parts[1]) else {
            throw Self.invalid("the name of the bucket is malformed")
        }
        bucket = String(parts[1])
        let folders = parts.dropFirst(2).filter { !$0.isEmpty }
        guard !folders.contains("."), !folders.contains("..") else { throw Self.invalid("the prefix goes up") }
        prefix = folders.map { $0 + "/" }.joined()
        guard prefix.utf8.count <= 512 else { throw Self.invalid("the prefix is longer than 512 bytes") }
        self.region = region ?? Self.region(of: host) ?? "us-east-1"
        guard (1...64).contains(self.region.utf8.count), self.region.utf8.allSatisfy(Self.isLabel) else {
            throw Self.invalid("the region is malformed")
        }
        // A bucket with a dot fits no wildcard certificate, and an address of numbers has no names below it.
        let canPrepend = !bucket.contains(".") && !Self.isNumeric(host)
        self.style = style ?? (Self.isAmazon(host) && canPrepend ? .virtualHost : .path)
        guard self.style == .path || !Self.isNumeric(host) else {
            throw Self.invalid("virtual-host style needs a name, not an IP address")
        }
        self.authorities = authorities
    }

    /// What stands in `Host`: the port only when it is not the scheme's own, as every client writes it.
    var hostHeader: String {
        let name = style == .virtualHost ? "\(bucket).\(host)" : host.contains(":") ? "[\(host)]" : host
        return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }
    /// Not encoded; an empty key is the bucket.
    func path(_ key: String) -> String {
        style == .virtualHost ? "/" + key : key.isEmpty ? "/" + bucket : "/\(bucket)/\(key)"
    }
    var isLoopback: Bool { Self.isLoopback(host) }

    package var description: String { "\(isTLS ? "https" : "http")://\(hostHeader)\(path(prefix))" }

    private static func authority(_ text: Substring) throws(VaultError) -> (host: String, port: UInt16?) {
        guard !text.contains("@") else {
            throw VaultError(
                .invalid, "The remote's address holds a user or a password.",
                hint: "Credentials belong into a file or the environment.")
        }
        let host: Substring
        let tail: Substring
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw invalid("the IPv6 address has no end") }
            host = text[text.index(after: text.startIndex)..<end]
            tail = text[text.index(after: end)...]
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                throw invalid("the IPv6 address is malformed")
            }
        } else {
            host = text.prefix { $0 != ":" }
            tail = text[host.endIndex...]
            guard !host.isEmpty, host.utf8.count <= 253, !host.hasPrefix("."), !host.hasPrefix("-"),
                host.utf8.allSatisfy({ isLabel($0) || $0 == UInt8(ascii: ".") })
            else { throw invalid("the host is malformed") }
        }
        if tail.isEmpty { return (host.lowercased(), nil) }
        guard tail.hasPrefix(":"), tail.dropFirst().utf8.allSatisfy({ (48...57).contains($0) }),
            let port = UInt16(tail.dropFirst()), port > 0
        else { throw invalid("the port is malformed") }
        return (host.lowercased(), port)
    }

    private static func isLabel(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    /// S3's rule for names: 3 to 63 of lower-case letters, digits, dots and dashes.
    private static func isBucket(_ name: Substring) -> Bool {
        (3...63).contains(name.utf8.count) && !name.contains("..") && !name.hasPrefix(".") && !name.hasSuffix(".")
            && !name.hasPrefix("-") && !name.hasSuffix("-")
            && name.utf8.allSatisfy { (isLabel($0) || $0 == UInt8(ascii: ".")) && !(65...90).contains($0) }
    }

    private static func isNumeric(_ host: String) -> Bool {
        host.contains(":") || host.utf8.allSatisfy { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
    }
    /// A name is not resolved here, so that only what cannot be anything else counts.
    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || (isNumeric(host) && host.hasPrefix("127."))
    }
    private static func isAmazon(_ host: String) -> Bool {
        host.hasSuffix(".amazonaws.com") || host.hasSuffix(".amazonaws.com.cn")
    }
    /// `s3.eu-central-1.amazonaws.com`.
    private static func region(of host: String) -> String? {
        let parts = host.split(separator: ".")
        return isAmazon(host) && parts.count >= 4 && parts[0] == "s3" ? String(parts[1]) : nil
    }

    private static func invalid(_ reason: String) -> VaultError {
        VaultError(
            .invalid, "The remote's address is not understood: \(reason).",
            hint: "Write https://host[:port]/bucket[/prefix].")
    }
}
