import Core

/// What an answer of S3 means for the request that it answers. Pure.
enum S3Judgement {
    /// - Parameters:
    ///   - what: of the request, for the error's sentence.
    ///   - now: the clock's time, without the offset that the request was signed with.
    static func judge(_ answer: HTTPAnswer, what: String, now: WallTime) -> AttemptOutcome {
        let body = S3ErrorBody(answer.body)
        // A 200 was on its way already when the server met its failure.
        if answer.isGood, body == nil { return .done }
        let code = body?.code ?? ""
        let words = body.map { "\($0.code)\($0.message.isEmpty ? "" : ": " + $0.message)" } ?? "status \(answer.status)"

        if let offset = skew(answer, code: code, now: now) {
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

    private static func refusal(_ answer: HTTPAnswer, _ code: String, _ words: String, _ what: String) -> VaultError {
        switch (answer.status, code) {
        case (_, "NoSuchBucket"):
            return VaultError(
                .refused, "The remote has no such bucket.", hint: "Create the bucket, or correct its name.")
        case (404, _), (_, "NoSuchKey"): return VaultError(.notFound, "The remote has no such object (\(what)).")
        case (412, _): return VaultError(.exists, "The remote has such an object already (\(what)).")
        case (300...399, _):
            let region = answer.headers["x-amz-bucket-region"].map { S3ErrorBody.printable($0, limit: 64) }
            return VaultError(
                .refused, "The remote sends \(what) elsewhere (\(words)).",
                hint: region.map { "The bucket's region is \($0)." } ?? "Give the bucket's own endpoint and region.")
        case (401, _), (403, _):
            return VaultError(
                .refused, "The remote refuses \(what) (\(words)).",
                hint: "Check the access key, its secret and its rights: it needs PutObject and ListBucket.")
        case (200...299, _):
            return VaultError(.refused, "The remote said yes to \(what) and then no (\(words)).")
        default: return VaultError(.refused, "The remote refuses \(what) (\(words)).")
        }
    }

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

    /// What to add to our clock. A HEAD has no body that could name the reason, so there the dates decide alone.
    private static func skew(_ answer: HTTPAnswer, code: String, now: WallTime) -> Int64? {
        guard answer.status == 403 || answer.status == 400, let theirs = answer.headers["date"].flatMap(HTTPDate.parse)
        else { return nil }
        let offset = theirs - now
        let isNamed = code == "RequestTimeTooSkewed" || code == "RequestExpired"
        return isNamed || (code.isEmpty && answer.status == 403 && abs(offset) > 300_000_000) ? offset : nil
    }

    /// Exactly what was asked for, or an error; `*` as the total is not enough.
    static func checkRange(_ answer: HTTPAnswer, _ range: Range<Int>, what: String) throws(VaultError) {
        guard answer.status == 206 else {
            throw fault("does not serve parts of objects: \(what) brought status \(answer.status)")
        }
        let value = answer.headers["content-range"] ?? ""
        let start = "bytes \(range.lowerBound)-\(range.upperBound - 1)/"
        guard value.hasPrefix(start), let total = Int(value.dropFirst(start.count)), total >= range.upperBound,
            answer.received == range.count
        else {
            throw fault(
                "sends another part than was asked for (\(what): \"\(S3ErrorBody.printable(value, limit: 80))\", "
                    + "\(answer.received) bytes)")
        }
    }

    static func fault(_ reason: String) -> VaultError {
        VaultError(.remoteFault, "The remote \(reason).", hint: "Nothing of it is used; check the server.")
    }
}
