import CCrypto
import CCurl
import Core
import Glibc

/// A PUT or a GET that is signed and ready to go: whoever sends it does nothing else.
struct BareRequest: Sendable {
    var url: String
    var headers: [String]
    /// Nil: a GET.
    var file: String?
    var count = 0
}

/// Signature Version 4 with keys that everybody may know, for a server on the loopback.
struct BareSigner: Sendable {
    var key = "owner"
    var secret = "owner-secret"
    /// `http://127.0.0.1:port`
    var server: String

    /// - Parameters:
    ///   - path: of characters that need no escaping.
    ///   - headers: signed too; lower-case names.
    func request(
        _ method: String, _ path: String, _ headers: [String: String], bodyHash: String, file: String? = nil,
        count: Int = 0
    ) -> BareRequest {
        var time = Glibc.time(nil)
        var parts = unsafe tm()
        unsafe gmtime_r(&time, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day = unsafe "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))"
        let stamp = unsafe "\(day)T\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))Z"
        var all = headers
        all["host"] = String(server.dropFirst("http://".count))
        all["x-amz-date"] = stamp
        all["x-amz-content-sha256"] = bodyHash
        let lines = all.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
        let names = all.keys.sorted().joined(separator: ";")
        let canonical = ([method, path, ""] + lines + ["", names, bodyHash]).joined(separator: "\n")
        let scope = "\(day)/us-east-1/s3/aws4_request"
        let text = "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n\(Hex.encode(Self.digest(canonical)))"
        var code = Array("AWS4\(secret)".utf8)
        for part in scope.split(separator: "/") { code = Self.hmac(String(part), code) }
        all["authorization"] =
            "AWS4-HMAC-SHA256 Credential=\(key)/\(scope), SignedHeaders=\(names), Signature=\(Hex.encode(Self.hmac(text, code)))"
        return BareRequest(
            url: server + path, headers: all.map { "\($0.key): \($0.value)" } + ["Expect:"], file: file, count: count)
    }

    static let emptyHash = Hex.encode(digest(""))

    private static func digest(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        var output = [UInt8](repeating: 0, count: 32)
        unsafe SHA256(bytes, bytes.count, &output)
        return output
    }
    private static func hmac(_ text: String, _ key: [UInt8]) -> [UInt8] {
        let bytes = Array(text.utf8)
        var output = [UInt8](repeating: 0, count: 32)
        var count: UInt32 = 32
        unsafe HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &output, &count)
        return output
    }
}

/// One easy handle of libcurl, used for one request after the other on the connection that it keeps. One thread at a time.
@safe final class BareConnection {
    private let easy: UnsafeMutableRawPointer
    private var descriptor: Int32 = -1
    private var left = 0
    /// Bytes of the last answer's body.
    private(set) var received = 0

    init() throws {
        guard let easy = unsafe curl_easy_init() else { throw Bare.failure("curl_easy_init") }
        unsafe self.easy = easy
    }
    deinit { unsafe curl_easy_cleanup(easy) }

    /// The answer's status.
    @discardableResult
    func send(_ request: BareRequest) throws -> Int {
        unsafe curl_easy_reset(easy)
        received = 0
        var list: UnsafeMutablePointer<curl_slist>?
        defer { unsafe curl_slist_free_all(list) }
        for header in request.headers { unsafe list = curl_slist_append(list, header) }
        unsafe sudocam_curl_text(easy, CURLOPT_URL, request.url)
        unsafe sudocam_curl_list(easy, CURLOPT_HTTPHEADER, list)
        unsafe sudocam_curl_long(easy, CURLOPT_NOSIGNAL, 1)
        unsafe sudocam_curl_text(easy, CURLOPT_NOPROXY, "*")
        unsafe sudocam_curl_long(easy, CURLOPT_BUFFERSIZE, 1 << 18)
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe sudocam_curl_pointer(easy, CURLOPT_WRITEDATA, me)
        unsafe sudocam_curl_bytes(easy, CURLOPT_WRITEFUNCTION) { _, size, count, me in
            guard let me = unsafe me else { return 0 }
            unsafe Unmanaged<BareConnection>.fromOpaque(me).takeUnretainedValue().received += size * count
            return size * count
        }
        if let file = request.file {
            descriptor = unsafe Glibc.open(file, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw Bare.failure("open of \(file)") }
            left = request.count
            unsafe sudocam_curl_long(easy, CURLOPT_UPLOAD, 1)
            unsafe sudocam_curl_long(easy, CURLOPT_UPLOAD_BUFFERSIZE, 1 << 18)
            unsafe sudocam_curl_size(easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(request.count))
            unsafe sudocam_curl_pointer(easy, CURLOPT_READDATA, me)
            unsafe sudocam_curl_bytes(easy, CURLOPT_READFUNCTION) { bytes, size, count, me in
                guard let me = unsafe me, let bytes = unsafe bytes else { return Int(CURL_READFUNC_ABORT) }
                return unsafe Unmanaged<BareConnection>.fromOpaque(me).takeUnretainedValue().read(bytes, size * count)
            }
        }
        defer {
            if descriptor >= 0 { close(descriptor) }
            descriptor = -1
        }
        let result = unsafe curl_easy_perform(easy)
        guard result == CURLE_OK else {
            throw Bare.failure("curl_easy_perform (\(unsafe String(cString: curl_easy_strerror(result))))")
        }
        var status = 0
        unsafe sudocam_curl_status(easy, &status)
        return status
    }

    /// Straight from the file into libcurl's buffer.
    private func read(_ bytes: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
        let read = unsafe Glibc.read(descriptor, bytes, min(count, left))
        guard read >= 0 else { return Int(CURL_READFUNC_ABORT) }
        left -= read
        return read
    }
}
