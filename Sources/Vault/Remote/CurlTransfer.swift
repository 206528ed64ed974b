import CCurl
import Core

/// Owns one easy handle of libcurl for one request, and what its callbacks need. Lives on the queue of its `HTTPClient`
/// only; the handle goes back into libcurl's hands between `curl_multi_add_handle` and `curl_multi_remove_handle`.
@safe final class CurlTransfer {
    static let headerLimit = 1 << 16
    static let errorBodyLimit = 1 << 16

    let id: UInt64
    private let request: HTTPRequest
    private let complete: @Sendable (Result<HTTPAnswer, HTTPFailure>) -> Void
    private let easy: UnsafeMutableRawPointer
    private var list: UnsafeMutablePointer<curl_slist>?
    private let message: UnsafeMutablePointer<CChar>

    private var headers: [String: String] = [:]
    private var headerBytes = 0
    private var body: [UInt8] = []
    /// What came and is not in the file yet: libcurl hands out 16 KiB at a time, which would be a call of the system each.
    private var pending: [UInt8] = []
    private static let pendingLimit = 1 << 18
    private var received = 0
    private var sent = 0
    /// Bytes that may be sent before the transfer has to ask again; nil: any.
    private var allowance: Int?
    /// Waits for an allowance; libcurl does not ask for more until `resume`.
    private(set) var isWaiting = false
    /// What one of our own callbacks stumbled over; libcurl only says that one did.
    private var stumble: VaultError?

    init?(
        id: UInt64, _ request: HTTPRequest, _ settings: HTTPClient.Settings,
        complete: @escaping @Sendable (Result<HTTPAnswer, HTTPFailure>) -> Void
    ) {
        guard let easy = unsafe curl_easy_init() else { return nil }
        self.id = id
        self.request = request
        self.complete = complete
        unsafe self.easy = easy
        unsafe message = .allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe message.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        guard configure(settings) else { return nil }
    }
    deinit {
        unsafe curl_easy_cleanup(easy)
        unsafe curl_slist_free_all(list)
        unsafe message.deallocate()
    }

    /// Whether it has something to send that a limit would hold up.
    var isUpload: Bool { (request.body?.count ?? 0) > 0 }

    /// From now on it asks before it sends, or does so no more. Never within one of its callbacks.
    func limit(_ isLimited: Bool) {
        guard isUpload, isLimited != (allowance != nil) else { return }
        allowance = isLimited ? 0 : nil
        if !isLimited { resume() }
    }

    /// Lets a waiting transfer send so many bytes. Never within one of its callbacks.
    func allow(_ count: Int) {
        allowance = count
        resume()
    }

    private func resume() {
        guard isWaiting else { return }
        isWaiting = false
        unsafe curl_easy_pause(easy, CURLPAUSE_CONT)
    }

    func withHandle<Value>(_ use: (UnsafeMutableRawPointer) -> Value) -> Value { unsafe use(easy) }

    // MARK: Setting up

    /// False when libcurl refuses an option, for want of memory or of support.
    private func configure(_ settings: HTTPClient.Settings) -> Bool {
        var isGood = true
        func check(_ code: CURLcode) { isGood = isGood && code == CURLE_OK }
        func set(_ option: CURLoption, _ value: Int) { check(unsafe sudocam_curl_long(easy, option, value)) }
        func set(_ option: CURLoption, _ value: String?) { check(unsafe sudocam_curl_text(easy, option, value)) }

        set(CURLOPT_URL, request.url)
        set(CURLOPT_PATH_AS_IS, 1)
        let isTLS = request.url.hasPrefix("https://")
        set(CURLOPT_PROTOCOLS_STR, isTLS ? "https" : "http")
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
        // TLS says at once whether a connection can be shared. Without it only the first answer does, and a server that
        // does not give one would hold up everything behind it.
        set(CURLOPT_PIPEWAIT, isTLS ? 1 : 0)
        set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_BUFFERSIZE, 1 << 18)
        set(CURLOPT_UPLOAD_BUFFERSIZE, 1 << 18)
        set(CURLOPT_CONNECTTIMEOUT_MS, settings.connectMilliseconds)
        set(CURLOPT_LOW_SPEED_LIMIT, settings.stallBytesPerSecond)
        set(CURLOPT_LOW_SPEED_TIME, settings.stallSeconds)
        set(CURLOPT_USERAGENT, "SudoCam")
        if let authorities = settings.authorities {
            // Instead of the system's, not beside them.
            set(CURLOPT_CAINFO, authorities)
            set(CURLOPT_CAPATH, nil)
        }
        if settings.bypassesProxy { set(CURLOPT_NOPROXY, "*") }
        switch request.method {
        case "GET": set(CURLOPT_HTTPGET, 1)
        case "HEAD": set(CURLOPT_NOBODY, 1)
        case "PUT":
            set(CURLOPT_UPLOAD, 1)
            check(unsafe sudocam_curl_size(easy, CURLOPT_INFILESIZE_LARGE, request.body?.count ?? 0))
        default: set(CURLOPT_CUSTOMREQUEST, request.method)
        }
        // libcurl would wait a second for a "100 Continue" that many servers never send.
        for line in request.headers.map({ "\($0.name): \($0.value)" }) + ["Expect:"] {
            guard let longer = unsafe curl_slist_append(list, line) else { return false }
            unsafe list = longer
        }
        check(unsafe sudocam_curl_list(easy, CURLOPT_HTTPHEADER, list))
        check(unsafe sudocam_curl_pointer(easy, CURLOPT_ERRORBUFFER, message))
        setCallbacks(check)
        return isGood
    }

    private func setCallbacks(_ check: (CURLcode) -> Void) {
        // Unretained: the client keeps the transfer for as long as libcurl has its handle.
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        for option in [CURLOPT_WRITEDATA, CURLOPT_HEADERDATA, CURLOPT_READDATA, CURLOPT_SEEKDATA, CURLOPT_XFERINFODATA]
        {
            check(unsafe sudocam_curl_pointer(easy, option, me))
        }
        check(
            unsafe sudocam_curl_bytes(easy, CURLOPT_WRITEFUNCTION) { bytes, size, count, me in
                unsafe CurlTransfer.from(me)?.write(UnsafeRawBufferPointer(start: bytes, count: size * count)) ?? 0
            })
        check(
            unsafe sudocam_curl_bytes(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, me in
                unsafe CurlTransfer.from(me)?.header(UnsafeRawBufferPointer(start: bytes, count: size * count)) ?? 0
            })
        check(
            unsafe sudocam_curl_bytes(easy, CURLOPT_READFUNCTION) { bytes, size, count, me in
                unsafe CurlTransfer.from(me)?.read(UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
                    ?? Int(CURL_READFUNC_ABORT)
            })
        check(
            unsafe sudocam_curl_seek(easy) { me, offset, origin in
                unsafe CurlTransfer.from(me)?.seek(offset, origin) ?? CURL_SEEKFUNC_FAIL
            })
        guard request.progress != nil else { return }
        check(unsafe sudocam_curl_long(easy, CURLOPT_NOPROGRESS, 0))
        check(
            unsafe sudocam_curl_progress(easy) { me, _, received, _, sent in
                unsafe CurlTransfer.from(me)?.request.progress?(Int64(sent), Int64(received))
                return 0
            })
    }

    private static func from(_ pointer: UnsafeMutableRawPointer?) -> CurlTransfer? {
        guard let pointer = unsafe pointer else { return nil }
        return unsafe Unmanaged<CurlTransfer>.fromOpaque(pointer).takeUnretainedValue()
    }

    // MARK: What libcurl calls

    private var status: Int {
        var status = 0
        unsafe sudocam_curl_status(easy, &status)
        return status
    }

    /// Fewer bytes than given make libcurl give up.
    private func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        let isGood = (200...299).contains(status)
        do throws(VaultError) {
            switch request.sink {
            case .file(let file, let offset, let limit) where isGood:
                try room(received + bytes.count, limit)
                unsafe pending.append(contentsOf: bytes)
                if pending.count >= Self.pendingLimit { try flush(file, end: offset + received + bytes.count) }
            case .bytes(let limit) where isGood:
                try room(received + bytes.count, limit)
                unsafe body.append(contentsOf: bytes)
            default:
                // Words of a failure; what is too much of them is not worth a failure of its own.
                if body.count < Self.errorBodyLimit { unsafe body.append(contentsOf: bytes) }
            }
        } catch {
            stumble = error
            return 0
        }
        received += bytes.count
        return bytes.count
    }

    /// Writes what is pending, so that it ends at `end`.
    private func flush(_ file: any OpenFile, end: Int) throws(VaultError) {
        guard !pending.isEmpty else { return }
        try file.write(pending, 0..<pending.count, at: end - pending.count)
        // A whole clip at once would be waited for at its end, while the line stands idle.
        file.beginWriting(end - pending.count..<end)
        pending.removeAll(keepingCapacity: true)
    }

    private func room(_ count: Int, _ limit: Int) throws(VaultError) {
        guard count <= limit else {
            throw VaultError(.remoteFault, "The remote sends more than the \(limit) bytes that were asked for.")
        }
    }

    private func header(_ bytes: UnsafeRawBufferPointer) -> Int {
        headerBytes += bytes.count
        guard headerBytes <= Self.headerLimit else {
            stumble = VaultError(.remoteFault, "The remote's answer has too many headers.")
            return 0
        }
        let line = unsafe String(decoding: bytes, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            // A new answer: what came before was "100 Continue" or a proxy's.
            headers = [:]
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...]
            let isSpace: (Character) -> Bool = { $0.isWhitespace }
            var trimmed = value.drop(while: isSpace)
            while let last = trimmed.last, isSpace(last) { trimmed.removeLast() }
            headers[line[..<colon].lowercased()] = String(trimmed)
        }
        return bytes.count
    }

    private func read(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        if allowance == 0, sent < request.body?.count ?? 0 {
            isWaiting = true
            return Int(CURL_READFUNC_PAUSE)
        }
        do throws(VaultError) {
            let piece = try request.body?.read(at: sent, limit: min(buffer.count, allowance ?? .max)) ?? []
            unsafe buffer.copyBytes(from: piece)
            sent += piece.count
            allowance = allowance.map { $0 - piece.count }
            return piece.count
        } catch {
            stumble = error
            return Int(CURL_READFUNC_ABORT)
        }
    }

    /// Asked for when a kept connection turns out to be dead and the body has to go out again.
    private func seek(_ offset: Int, _ origin: Int32) -> Int32 {
        guard origin == 0, (0...(request.body?.count ?? 0)).contains(offset) else {
            return CURL_SEEKFUNC_FAIL
        }
        sent = offset
        return CURL_SEEKFUNC_OK
    }

    private var version: String? {
        var version = 0
        unsafe sudocam_curl_version(easy, &version)
        return switch version {
        case Int(CURL_HTTP_VERSION_1_0): "1.0"
        case Int(CURL_HTTP_VERSION_1_1): "1.1"
        case Int(CURL_HTTP_VERSION_2_0): "2"
        case Int(CURL_HTTP_VERSION_3): "3"
        default: nil
        }
    }

    // MARK: Ending

    func cancel() {
        complete(
            .failure(HTTPFailure(kind: .cancelled, error: VaultError(.closed, "The transfer was cancelled."))))
    }

    func finish(_ code: CURLcode) {
        if code == CURLE_OK, case .file(let file, let offset, _) = request.sink {
            do throws(VaultError) { try flush(file, end: offset + received) } catch {
                return complete(.failure(HTTPFailure(kind: .final, error: error)))
            }
        }
        guard code != CURLE_OK else {
            complete(
                .success(
                    HTTPAnswer(status: status, headers: headers, body: body, received: received, version: version)))
            return
        }
        if let stumble {
            complete(.failure(HTTPFailure(kind: .final, error: stumble)))
            return
        }
        let own = unsafe String(cString: message)
        let text = own.isEmpty ? unsafe String(cString: curl_easy_strerror(code)) : own
        complete(.failure(Self.failure(code, S3ErrorBody.printable(text, limit: 300))))
    }

    private static func failure(_ code: CURLcode, _ text: String) -> HTTPFailure {
        switch code {
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS:
            HTTPFailure(
                kind: .final,
                error: VaultError(
                    .refused, "The remote's certificate is not trusted: \(text).",
                    hint:
                        "If the server has an authority of its own, give its certificate; else somebody may be in between."
                ))
        case CURLE_SSL_CACERT_BADFILE:
            HTTPFailure(
                kind: .final,
                error: VaultError(
                    .invalid, "The file with the remote's certificate authority cannot be used: \(text).",
                    hint: "It has to be a readable PEM file."))
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_FUNCTION_ARGUMENT, CURLE_OUT_OF_MEMORY,
            CURLE_NOT_BUILT_IN, CURLE_UNKNOWN_OPTION, CURLE_FAILED_INIT:
            HTTPFailure(kind: .final, error: VaultError(.invalid, "The request cannot be made: \(text)."))
        default:
            HTTPFailure(
                kind: .transient,
                error: VaultError(
                    .unreachable, "The remote cannot be reached: \(text).",
                    hint: "Check the network and the remote's address; it is tried again by itself."))
        }
    }
}
