import Core
import Glibc
import Testing

@testable import Vault

/// The servers that a script has started beside the tests: Tests/PeerTests/s3_server.py, scripts/test-ceph, fault_proxy.py.
enum S3Servers {
    static func variable(_ name: String) -> String? { getenv("SUDOCAM_S3_" + name).map { String(cString: $0) } }

    static var isThere: Bool { variable("URL") != nil }
    static var kind: String { variable("KIND") ?? "" }
    /// Something in between loses, damages and delays on purpose.
    static var isFaulty: Bool { variable("FAULTY") != nil }

    enum Bucket: String {
        case plain = "URL"
        case versions = "VERSIONS_URL"
        case locked = "LOCKED_URL"
    }

    static let policy =
        isFaulty
        ? RetryPolicy(attempts: 20, firstMilliseconds: 10, longestMilliseconds: 100)
        : RetryPolicy(attempts: 3, firstMilliseconds: 50, longestMilliseconds: 500)

    static func client(
        _ bucket: Bucket = .plain, folder: String, who: String = "owner", secret: String? = nil,
        time: any TimeSource = SystemTime(), policy: RetryPolicy = policy
    ) throws -> S3Client {
        var settings = HTTPClient.Settings()
        // A stall on the loopback is one that the proxy made.
        if isFaulty { settings.stallSeconds = 2 }
        return try S3Client(
            S3Address(url: (variable(bucket.rawValue) ?? "") + "/" + folder),
            S3Credentials(accessKey: who, secret: SecretBytes(text: secret ?? who + "-secret")), time: time,
            policy: policy, settings: settings)
    }

    /// Each test works under a prefix of its own.
    static func folder() -> String { "t" + Hex.encode(randomBytes(8)) }
}
