import Glibc

/// Who writes to a remote. The secret and the token never leave locked memory as text of our own making; printing,
/// dumping or reflecting one shows the access key at most.
package struct S3Credentials: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package let accessKey: String
    let secret: SecretBytes
    /// Of credentials that end by themselves.
    let sessionToken: SecretBytes?

    package var description: String { "S3 credentials \(accessKey)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["accessKey": accessKey]) }

    /// Errors: `.invalid` for an empty or malformed part; the parts themselves are never quoted.
    package init(
        accessKey: String, secret: SecretBytes, sessionToken: SecretBytes? = nil
    ) throws(VaultError) {
        guard (1...256).contains(accessKey.utf8.count),
            accessKey.utf8.allSatisfy({ (33...126).contains($0) && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ",") })
        else { throw VaultError(.invalid, "The access key is empty or malformed.") }
        guard try Self.isPrintable(secret), secret.count <= 1024 else {
            throw VaultError(.invalid, "The secret access key of \(accessKey) is empty or malformed.")
        }
        if let sessionToken {
            guard try Self.isPrintable(sessionToken) else {
                throw VaultError(.invalid, "The session token of \(accessKey) is empty or malformed.")
            }
        }
        self.accessKey = accessKey
        self.secret = secret
        self.sessionToken = sessionToken
    }

    /// What goes into one header line and one HMAC: no line end, no space.
    private static func isPrintable(_ secret: SecretBytes) throws(VaultError) -> Bool {
        try unsafe secret.withBytes { (bytes) throws(VaultError) in
            unsafe !bytes.isEmpty && bytes.allSatisfy { (33...126).contains($0) }
        }
    }

    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if there is one, `AWS_SESSION_TOKEN`. Nil when neither key is
    /// set. Errors: `.invalid`, also when only one of both is there.
    package init?(environment: [String: String]) throws(VaultError) {
        let accessKey = environment["AWS_ACCESS_KEY_ID"] ?? ""
        let secret = environment["AWS_SECRET_ACCESS_KEY"] ?? ""
        if accessKey.isEmpty, secret.isEmpty { return nil }
        guard !accessKey.isEmpty, !secret.isEmpty else {
            throw VaultError(
                .invalid, "Only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set.",
                hint: "Set both, or neither.")
        }
        let token = environment["AWS_SESSION_TOKEN"].flatMap { $0.isEmpty ? nil : SecretBytes(text: $0) }
        try self.init(accessKey: accessKey, secret: SecretBytes(text: secret), sessionToken: token)
    }

    static let fileSizeLimit = 64 << 10

    /// Reads the file that AWS's own tools use: `[profile]`, then `name = value` lines.
    ///
    /// Errors: `.keys` when others than its owner may read it, or it belongs to somebody else; `.notFound`; `.io`;
    /// `.invalid` with the line that cannot be understood.
    package init(file path: String, profile: String = "default") throws(VaultError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let isMissing = errno == ENOENT
            throw VaultError(
                isMissing ? .notFound : .io, "The credentials in \(path) cannot be read: \(Self.reason(errno)).",
                hint: "Give the path of a file with an access key and a secret.")
        }
        defer { close(descriptor) }
        // Asked of the open file, not of the path: nobody can put another one there in between.
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw VaultError(.io, "\(path) is no regular file.", hint: "Put the credentials into a file.")
        }
        guard status.st_mode & 0o077 == 0, status.st_uid == geteuid() || status.st_uid == 0 else {
            throw VaultError(
                .keys, "The credentials in \(path) may be read or changed by others.",
                hint: "Run: chmod 600 \(path), and let it belong to the recorder's user.")
        }
        try self.init(
            parsing: SecretBytes.contents(of: descriptor, limit: Self.fileSizeLimit), profile: profile, path: path)
    }

    private static func reason(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

    /// Values are never quoted in an error, only their line's number.
    init(parsing text: SecretBytes, profile: String = "default", path: String) throws(VaultError) {
        var found = try unsafe text.withBytes { (bytes) throws(VaultError) -> Values in
            var copy = unsafe Array(bytes)
            defer { wipeBytes(&copy) }
            return try Self.values(copy, profile: profile, path: path)
        }
        text.wipe()
        guard let accessKey = found.accessKey, let secret = found.secret else {
            throw VaultError(
                .invalid, "\(path) has no access key and secret for the profile \(profile).",
                hint: "Write [\(profile)], aws_access_key_id = …, aws_secret_access_key = …, each on a line of its own."
            )
        }
        try self.init(accessKey: accessKey, secret: secret, sessionToken: found.sessionToken)
        found.secret = nil
    }

    private struct Values {
        var accessKey: String?
        var secret: SecretBytes?
        var sessionToken: SecretBytes?
    }

    private static func values(
        _ bytes: [UInt8], profile: String, path: String
    ) throws(VaultError) -> Values {
        var values = Values()
        // Lines before the first heading belong to the default profile.
        var isOurs = profile == "default"
        for (index, raw) in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            let line = trim(raw)
            guard let first = line.first, first != UInt8(ascii: "#"), first != UInt8(ascii: ";") else { continue }
            if first == UInt8(ascii: "[") {
                guard line.last == UInt8(ascii: "]"), line.count > 2 else { throw malformed(path, index) }
                isOurs = trim(line.dropFirst().dropLast()).elementsEqual(profile.utf8)
                continue
            }
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { throw malformed(path, index) }
            guard isOurs else { continue }
            let name = String(decoding: trim(line[..<equals]), as: UTF8.self).lowercased()
            var value = Array(trim(line[(equals + 1)...]))
            defer { wipeBytes(&value) }
            switch name {
            case "aws_access_key_id": values.accessKey = String(decoding: value, as: UTF8.self)
            case "aws_secret_access_key": values.secret = SecretBytes(&value)
            case "aws_session_token": values.sessionToken = SecretBytes(&value)
            // AWS's tools keep both beside; the region of a remote stands in its address.
            case "region", "output": break
            default: throw malformed(path, index)
            }
        }
        return values
    }

    private static func trim(_ slice: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isSpace: (UInt8) -> Bool = { $0 == 32 || $0 == 9 || $0 == 13 }
        var slice = slice.drop(while: isSpace)
        while let last = slice.last, isSpace(last) { slice.removeLast() }
        return slice
    }

    private static func malformed(_ path: String, _ index: Int) -> VaultError {
        VaultError(
            .invalid, "Line \(index + 1) of \(path) is not understood.",
            hint: "It may hold [profile] and aws_access_key_id, aws_secret_access_key, aws_session_token.")
    }
}
