import CCrypto
import CSodium
import Core

/// AWS Signature Version 4 for requests whose body is hashed as a whole ("Authenticating Requests: Using the
/// Authorization Header", single chunk). Pure: the time is an argument, nothing is sent.
///
/// The encoded path and query come from here too, and the transport sends them as they are: what is signed is what
/// goes over the wire.
struct SignatureV4: Sendable {
    /// What is signed. Header names in any case; `host` must be among them.
    struct Request: Sendable {
        var method: String
        /// Not encoded, begins with a slash.
        var path: String
        /// Not encoded, in any order.
        var query: [(name: String, value: String)] = []
        var headers: [(name: String, value: String)] = []
        /// SHA-256 of the body in hex.
        var bodyHash: String

        /// Encoded once, slashes kept: S3 encodes once, other services twice.
        var encodedPath: String { SignatureV4.encode(path, keepsSlash: true) }

        /// Sorted by encoded name, then by encoded value; a name without a value keeps its "=".
        var encodedQuery: String {
            query.map { (SignatureV4.encode($0.name), SignatureV4.encode($0.value)) }
                .sorted { a, b in
                    a.0 == b.0
                        ? a.1.utf8.lexicographicallyPrecedes(b.1.utf8) : a.0.utf8.lexicographicallyPrecedes(b.0.utf8)
                }
                .map { "\($0.0)=\($0.1)" }.joined(separator: "&")
        }

        /// Lower-case names and trimmed values, sorted; values of one name are joined in the order they were given.
        var canonicalHeaders: [(name: String, value: String)] {
            var merged: [String: [String]] = [:]
            for header in headers {
                merged[header.name.lowercased(), default: []].append(SignatureV4.trim(header.value))
            }
            return merged.map { ($0.key, $0.value.joined(separator: ",")) }
                .sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        }
        var signedHeaders: String { canonicalHeaders.map(\.name).joined(separator: ";") }

        var canonical: String {
            ([method, encodedPath, encodedQuery] + canonicalHeaders.map { "\($0.name):\($0.value)" }
                + ["", signedHeaders, bodyHash]).joined(separator: "\n")
        }
    }

    var accessKey: String
    var region: String
    var service = "s3"

    /// The value of `Authorization`. The caller has put `host`, `x-amz-date`, `x-amz-content-sha256` and what else
    /// belongs to the request among its headers. Errors: `.locked` when the secret was wiped.
    func authorization(
        of request: Request, at time: WallTime, secret: SecretBytes
    ) throws(VaultError) -> String {
        let stamp = HTTPDate.basic(time)
        let day = String(stamp.prefix(8))
        let scope = "\(day)/\(region)/\(service)/aws4_request"
        let text = ["AWS4-HMAC-SHA256", stamp, scope, Hex.encode(Digest.sha256(Array(request.canonical.utf8)))]
            .joined(separator: "\n")
        var key = try signingKey(day: day, secret: secret)
        defer { wipeBytes(&key) }
        let signature = Hex.encode(HMAC256.code(text, key: key))
        return "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope), SignedHeaders=\(request.signedHeaders), "
            + "Signature=\(signature)"
    }

    /// Good for one day, region and service.
    func signingKey(day: String, secret: SecretBytes) throws(VaultError) -> [UInt8] {
        var key = try unsafe secret.withBytes { (bytes) throws(VaultError) -> [UInt8] in
            // In one allocation, so that there is one to wipe.
            var key: [UInt8] = []
            key.reserveCapacity(4 + bytes.count)
            key.append(contentsOf: "AWS4".utf8)
            unsafe key.append(contentsOf: bytes)
            return key
        }
        for part in [day, region, service, "aws4_request"] {
            let next = HMAC256.code(part, key: key)
            wipeBytes(&key)
            key = next
        }
        return key
    }

    /// RFC 3986: everything but the unreserved characters, upper-case digits.
    static func encode(_ text: String, keepsSlash: Bool = false) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                bytes.append(byte)
            case UInt8(ascii: "/") where keepsSlash: bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Without spaces at the ends, and one for several in between.
    static func trim(_ value: String) -> String {
        value.split { $0 == " " || $0 == "\t" }.joined(separator: " ")
    }
}

/// HMAC-SHA-256 (RFC 2104) by libcrypto.
enum HMAC256 {
    static func code(_ text: String, key: [UInt8]) -> [UInt8] {
        let bytes = Array(text.utf8)
        var output = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 32
        unsafe HMAC(EVP_sha256(), key, Int32(clamping: key.count), bytes, bytes.count, &output, &count)
        return output
    }
}
