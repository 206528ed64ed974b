import Core

/// What an answer of S3 means for the request that it answers. Pure.
enum S3Judgement {
    /// - Parameters:
    ///   - what: of the request, for the error's sentence.
    ///   - now: the clock's time, without the offset that the request was signed with.
    ///   - corrected: that offset, in µs.
    static func judge(
        _ answer: HTTPAnswer, what: String, now: WallTime, corrected: Int64 = 0
    ) -> AttemptOutcome {
        let body = S3ErrorBody(answer.body)
        // A 200 was on its way already when the server met its failure.
        if answer.isGood, body == nil { return .done }
        let code = body?.code ?? ""
        let words = words(answer)

        if let offset = skew(answer, code: code, now: now, corrected: corrected) {
            return .skewed(
                offset: offset,
                VaultError(
                    .refused, "The remote finds this machine's clock wrong on \(what) (\(words)).",
                    hint: "Set the clock of this machine, or of the server."))
        }
        if isFull(answer.status, code) {
            return .final(
                VaultError(
                    .refused, "The remote is full: \(what) failed (\(words)).",
                    hint: "Give the remote more space; nothing is deleted there by itself."))
        }
        if isTransient(answer.status, code) {
            return .transient(
                VaultError(
                    .unreachable, "The remote cannot serve \(what) now (\(words)).",
                    hint: "It is tried again by itself; look after the server if this goes on."),
                after: answer.headers["retry-after"].flatMap { Int64($0) }.flatMap {
                    (0...86_400).contains($0) ? $0 * 1000 : nil
                })
        }
        return .final(refusal(answer, code, words, what))
    }

    /// The error of an answer that the caller had accepted, and finds to be one after all.
    static func refused(_ answer: HTTPAnswer, what: String) -> VaultError {
        refusal(answer, S3ErrorBody(answer.body)?.code ?? "", words(answer), what)
    }

    /// The server's own, safe to print.
    static func words(_ answer: HTTPAnswer) -> String {
        guard let body = S3ErrorBody(answer.body) else { return "status \(answer.status)" }
        return body.message.isEmpty ? body.code : "\(body.code): \(body.message)"
    }

    private static func refusal(_ answer: HTTPAnswer, _ code: String, _ words: String, _ what: String) -> VaultError {
        switch (answer.status, code) {
        case (_, "NoSuchBucket"): return noBucket
        case (404, _), (_, "NoSuchKey"): return VaultError(.notFound, "The remote has no such object (\(what)).")
        case (412, _): return VaultError(.exists, "The remote has such an object already (\(what)).")
        case (300...399, _):
            let region = answer.headers["x-amz-bucket-region"].map { S3ErrorBody.printable($0, limit: 64) }
            return VaultError(
                .refused, "The remote sends \(what) elsewhere (\(words)).",
                hint: region.map { "The bucket's region is \($0)." } ?? "Give the bucket's own endpoint and region.")
        case (_, "InvalidAccessKeyId"):
            return VaultError(
                .refused, "The remote does not know the access key (\(words)).", hint: "Check the access key.")
        case (_, "SignatureDoesNotMatch"):
            return VaultError(
                .refused, "The remote finds the signature of \(what) wrong (\(words)).",
                hint: "Check the secret key, and that nothing between here and there rewrites requests.")
        case (_, "AuthorizationHeaderMalformed"), (_, "IllegalLocationConstraintException"):
            let region = S3ErrorBody(answer.body)?.region
            return VaultError(
                .refused, "The remote is in another region (\(words)).",
                hint: region.map { "Set the region to \($0)." } ?? "Set the region that the server is set to.")
        case (401, _), (403, _):
            return VaultError(
                .refused, "The remote refuses \(what) (\(words)).",
                hint: "Check the access key, its secret and its rights: it needs PutObject and ListBucket.")
        case (200...299, _):
            return VaultError(.refused, "The remote said yes to \(what) and then no (\(words)).")
        default: return VaultError(.refused, "The remote refuses \(what) (\(words)).")
        }
    }

    static let noBucket = VaultError(
        .refused, "The remote has no such bucket.", hint: "Create the bucket, or correct its name.")

    private static func isFull(_ status: Int, _ code: String) -> Bool {
        status == 507
            || [
                "QuotaExceeded", "InsufficientStorage", "InsufficientCapacity", "XMinioStorageFull",
                "XMinioAdminBucketQuotaExceeded", "StorageFull",
            ].contains(code)
    }

    private static func isTransient(_ status: Int, _ code: String) -> Bool {
        // 400: damaged or cut on the way. 409: another upload of the same name was under way (If-None-Match).
        [
            "InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "BadDigest", "IncompleteBody",
            "XAmzContentSHA256Mismatch", "ConditionalRequestConflict", "OperationAborted", "ThrottlingException",
        ].contains(code) || status == 408 || status == 429 || (500...599).contains(status) && status != 501
    }

    /// What to add to our clock. A HEAD has no body that could name the reason, so there the dates decide alone: once the request
    /// carried the server's own time, it was refused for something else.
    private static func skew(_ answer: HTTPAnswer, code: String, now: WallTime, corrected: Int64) -> Int64? {
        guard answer.status == 403 || answer.status == 400,
            let theirs = answer.headers["date"].flatMap({ HTTPDate.parse($0) })
        else { return nil }
        let offset = theirs - now
        let isNamed = code == "RequestTimeTooSkewed" || code == "RequestExpired"
        let isFar = (offset - corrected).magnitude > 300_000_000
        return isNamed || code.isEmpty && answer.status == 403 && isFar ? offset : nil
    }

    /// Where the part lies and how large the whole is. Exactly what was asked for, or an error; `*` as the total is not
    /// enough. A whole object in place of its end will do, since all of it is its end.
    static func part(
        _ answer: HTTPAnswer, _ request: RemotePart.Request, what: String
    ) throws(VaultError) -> (range: Range<Int>, count: Int) {
        if answer.status == 200, case .suffix(let limit) = request, answer.received <= limit {
            return (0..<(try whole(answer, what: what)), answer.received)
        }
        guard answer.status == 206 else {
            throw fault("does not serve parts of objects: \(what) brought status \(answer.status)")
        }
        let value = answer.headers["content-range"] ?? ""
        guard let (range, count) = contentRange(value), range.count == answer.received,
            range == request.range(of: count)
        else {
            throw fault(
                "sends another part than was asked for (\(what): \"\(S3ErrorBody.printable(value, limit: 80))\", "
                    + "\(answer.received) bytes)")
        }
        return (range, count)
    }

    /// Bytes of an object that came as a whole, and says so.
    @discardableResult static func whole(_ answer: HTTPAnswer, what: String) throws(VaultError) -> Int {
        guard answer.status == 200, answer.headers["content-length"].flatMap(decimal) == answer.received else {
            throw fault("does not say that \(what) brought all of it (status \(answer.status))")
        }
        return answer.received
    }

    /// `bytes 0-9/200`; nil for all else.
    private static func contentRange(_ text: String) -> (range: Range<Int>, count: Int)? {
        guard text.hasPrefix("bytes ") else { return nil }
        let halves = text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let count = decimal(halves[1]) else { return nil }
        let ends = halves[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = decimal(ends[0]), let last = decimal(ends[1]), first <= last, last < count
        else { return nil }
        return (first..<last + 1, count)
    }

    private static func decimal(_ text: some StringProtocol) -> Int? {
        text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
    }

    static func fault(_ reason: String) -> VaultError {
        VaultError(.remoteFault, "The remote \(reason).", hint: "Nothing of it is used; check the server.")
    }
}

extension RemotePart.Request {
    /// The value of `Range`. Nil when there is nothing to ask for.
    var header: String? {
        switch self {
        case .range(let range) where range.lowerBound >= 0 && !range.isEmpty:
            "bytes=\(range.lowerBound)-\(range.upperBound - 1)"
        case .suffix(let count) where count > 0: "bytes=-\(count)"
        default: nil
        }
    }
    /// The most bytes that an answer may bring.
    var limit: Int {
        switch self {
        case .range(let range): range.count
        case .suffix(let count): count
        }
    }
    /// What it means for an object of `count` bytes.
    fileprivate func range(of count: Int) -> Range<Int> {
        switch self {
        case .range(let range): range
        case .suffix(let limit): max(0, count - limit)..<count
        }
    }
}
