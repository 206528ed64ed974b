import Core
import Synchronization

extension S3Client: RemoteStore {
    static let metadataLimit = 2048
    private static let metadataBeginning = "x-amz-meta-"

    /// Durable there as far as the server's word goes; look again later before relying on it (V5).
    func put(
        _ key: String, _ body: HTTPBody, _ options: PutOptions = PutOptions(),
        progress: (@Sendable (_ sent: Int64, _ received: Int64) -> Void)? = nil
    ) async throws(VaultError) -> PutOutcome {
        let sha256: [UInt8]
        if let known = options.sha256 {
            sha256 = known
        } else {
            sha256 = try await lane.run { () throws(VaultError) in try body.hash(into: Digest.sha256()) }
        }
        let checksum = Base64.encode(sha256, padded: true)
        var call = Call(method: "PUT", key: address.prefix + key, body: body, bodyHash: Hex.encode(sha256))
        call.progress = progress
        call.headers = try Self.headers(options.metadata)
        call.headers.append(("x-amz-checksum-sha256", checksum))
        if !state.withLock({ $0.echoesChecksum }) {
            // Servers that ignore the checksum do look at this one.
            let md5 = try await lane.run { () throws(VaultError) in try body.hash(into: Digest.md5()) }
            call.headers.append(("content-md5", Base64.encode(md5, padded: true)))
        }
        let answer: HTTPAnswer
        do throws(VaultError) {
            answer = options.replaces ? try await send(call) : try await sendConditionally(call)
        } catch  where error.code == .exists && !options.replaces { return .present }
        guard let echo = answer.headers["x-amz-checksum-sha256"] else {
            // Another server than before.
            state.withLock { $0.echoesChecksum = false }
            return .stored(isConfirmed: false)
        }
        guard echo == checksum else { throw S3Judgement.fault("stored other bytes than were sent (\(call.what))") }
        state.withLock { $0.echoesChecksum = true }
        return .stored(isConfirmed: true)
    }

    /// With `If-None-Match: *`, unless the server takes no conditions (501, as OpenStack Swift 2.30 says): there the same object goes over
    /// itself, which is what becomes of it where the header is ignored.
    private func sendConditionally(_ call: Call) async throws(VaultError) -> HTTPAnswer {
        if state.withLock({ $0.refusesConditions }) { return try await send(call) }
        var conditional = call
        conditional.headers.append(("if-none-match", "*"))
        conditional.accepted = [501]
        let answer = try await send(conditional)
        guard answer.status == 501 else { return answer }
        let plain = try await send(call)
        state.withLock { $0.refusesConditions = true }
        return plain
    }

    /// Only what every server, proxy and signer passes on as it is. Errors: `.invalid`.
    private static func headers(
        _ metadata: [(name: String, value: String)]
    ) throws(VaultError) -> [(name: String, value: String)] {
        let isGood = metadata.allSatisfy { name, value in
            !name.isEmpty && name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
                && !value.isEmpty && value.utf8.allSatisfy { (32...126).contains($0) }
                && value == SignatureV4.trim(value)
        }
        guard isGood, Set(metadata.map(\.name)).count == metadata.count,
            metadata.reduce(0, { $0 + $1.name.utf8.count + $1.value.utf8.count }) <= metadataLimit
        else { throw VaultError(.invalid, "The metadata of an object is malformed or too large.") }
        return metadata.map { (metadataBeginning + $0.name, $0.value) }
    }

    func part(_ key: String, _ part: RemotePart.Request) async throws(VaultError) -> RemotePart {
        let (answer, range, count) = try await get(key, part, .bytes(limit: part.limit))
        var metadata: [String: String] = [:]
        for (name, value) in answer.headers where name.hasPrefix(Self.metadataBeginning) {
            metadata[String(name.dropFirst(Self.metadataBeginning.count))] = value
        }
        return RemotePart(bytes: answer.body, range: range, count: count, metadata: metadata)
    }

    func part(
        _ key: String, _ range: Range<Int>, into file: any OpenFile, at offset: Int,
        progress: (@Sendable (_ sent: Int64, _ received: Int64) -> Void)? = nil
    ) async throws(VaultError) {
        _ = try await get(key, .range(range), .file(file, offset: offset, limit: range.count), progress)
    }

    private func get(
        _ key: String, _ part: RemotePart.Request, _ sink: HTTPSink,
        _ progress: (@Sendable (Int64, Int64) -> Void)? = nil
    ) async throws(VaultError) -> (answer: HTTPAnswer, range: Range<Int>, count: Int) {
        guard let header = part.header else {
            throw VaultError(.invalid, "A part of \(key) that is empty was asked for.")
        }
        var call = Call(method: "GET", key: address.prefix + key, sink: sink, progress: progress)
        call.headers = [("range", header)]
        let answer = try await send(call)
        let (range, count) = try S3Judgement.part(answer, part, what: call.what)
        return (answer, range, count)
    }

    func contents(_ key: String, limit: Int) async throws(VaultError) -> [UInt8] {
        let call = Call(method: "GET", key: address.prefix + key, sink: .bytes(limit: limit))
        let answer = try await send(call)
        try S3Judgement.whole(answer, what: call.what)
        return answer.body
    }

    func head(_ key: String) async throws(VaultError) -> Int? {
        let answer: HTTPAnswer
        do throws(VaultError) {
            answer = try await send(Call(method: "HEAD", key: address.prefix + key))
        } catch  where error.code == .notFound { return nil }
        guard let size = answer.headers["content-length"].flatMap({ Int($0) }), size >= 0 else {
            throw S3Judgement.fault("does not say how large \(key) is")
        }
        return size
    }

    /// Keys come without the address's prefix.
    ///
    /// Errors: `.remoteFault` also when the listing turns in a circle (V35); pages that were given out before are not
    /// the whole then, and the caller must not take them for it.
    func list(
        _ prefix: String = "", after: String? = nil, pageSize: Int = 1000,
        page take: ([ListPage.Object]) throws(VaultError) -> Void
    ) async throws(VaultError) {
        let whole = address.prefix + prefix
        var machine = ListingMachine(prefix: whole)
        var token: String?
        while true {
            var call = Call(method: "GET", key: "", sink: .bytes(limit: ListPage.sizeLimit))
            call.query = [("list-type", "2"), ("max-keys", String(min(1000, max(1, pageSize)))), ("prefix", whole)]
            if let token {
                call.query.append(("continuation-token", token))
            } else if let after {
                call.query.append(("start-after", address.prefix + after))
            }
            let page = try ListPage(parsing: try await send(call).body)
            let action = try machine.handle(page)
            // By bytes: to Swift two keys are equal that differ in how an accent is written.
            let objects = page.objects.map {
                ListPage.Object(
                    key: String(decoding: $0.key.utf8.dropFirst(address.prefix.utf8.count), as: UTF8.self),
                    size: $0.size)
            }
            if let after, objects.contains(where: { $0.key.utf8.elementsEqual(after.utf8) }) {
                throw S3Judgement.fault("begins its listing elsewhere than was asked for")
            }
            try take(objects)
            guard case .ask(let next) = action else { return }
            token = next
        }
    }
}
