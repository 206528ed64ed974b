import Core
import Synchronization

/// Finds out by trying what a server does and what the credentials may do: a few small objects below `probe/`, each with one
/// thing wrong that a careful server would refuse.
extension S3Client {
    /// What is removed again where that is allowed; where it is not, `leftBehind` names it.
    ///
    /// Errors: when not even a plain upload succeeds, with what to do: keys, region, bucket, clock, certificate.
    func probe(now: WallTime) async throws(VaultError) -> RemoteCapabilities {
        var probe = Probe(client: self, found: RemoteCapabilities(probed: now))
        do throws(VaultError) {
            try await probe.run()
        } catch {
            await probe.removeAll()
            throw error
        }
        return probe.found
    }

    /// Refusals that the probe reads itself.
    fileprivate static let no: Set<Int> = [400, 401, 403, 404, 405, 409, 411, 412, 416, 422, 501]
}

private struct Probe {
    let client: S3Client
    var found: RemoteCapabilities
    private let folder = "probe/" + Hex.encode(randomBytes(16))
    private let body = randomBytes(64)
    private let other = randomBytes(64)
    private let metadata = String(repeating: "m", count: RemoteLayout.headLimit)
    private var written: [String] = []

    init(client: S3Client, found: RemoteCapabilities) { (self.client, self.found) = (client, found) }

    mutating func run() async throws(VaultError) {
        try await upload()
        try await uploadWithMetadata()
        found.answers[.conditionalPut] = try await isRefused(
            "good", other, with: [("if-none-match", "*")], notImplemented: .no)
        found.answers[.checksum] = try await isRefused(
            "checksum", body, with: [("x-amz-checksum-sha256", Base64.encode(Digest.sha256(other), padded: true))])
        found.answers[.bodyHash] = try await isRefused("hash", body, hash: Hex.encode(Digest.sha256(other)), with: [])
        let md5 = try HTTPBody.bytes(other).hash(into: Digest.md5())
        found.answers[.md5] = try await isRefused(
            "md5", body, with: [("content-md5", Base64.encode(md5, padded: true))])
        try await read()
        try await list()
        try await askBucket()
        try await delete()
        let offset = client.state.withLock { $0.offset } / 1_000_000
        if offset != 0 { found.clockOffset = offset }
    }

    /// A good one, to learn that the others are refused for what is wrong with them.
    private mutating func upload() async throws(VaultError) {
        let checksum = Base64.encode(Digest.sha256(body), padded: true)
        var call = put("good", body)
        call.headers = [("x-amz-checksum-sha256", checksum), ("content-md5", try md5())]
        let answer: HTTPAnswer
        do throws(VaultError) {
            answer = try await client.send(call)
        } catch {
            guard error.code == .refused else {
                // Nobody knows whether it is there.
                written.append("good")
                throw error
            }
            // SeaweedFS would make a missing bucket for who may, and refuses the upload to all others. A listing tells.
            do throws(VaultError) {
                try await client.list(folder + "/", pageSize: 1) { _ in }
            } catch let other where other.reason == S3Judgement.noBucket.reason { throw other } catch {}
            throw error
        }
        written.append("good")
        found.answers[.checksumEcho] = answer.headers["x-amz-checksum-sha256"] == checksum ? .yes : .no
        found.httpVersion = answer.version
        if let id = answer.headers["x-amz-version-id"], id != "null" { found.answers[.versioning] = .yes }
    }

    /// The same with as much metadata as an object may carry (`RemoteLayout.head`): OpenStack Swift 2.30 takes 256 bytes a value by
    /// default, and answers more with an internal error. One hiccup says nothing; what stands there tells `read`.
    private mutating func uploadWithMetadata() async throws(VaultError) {
        var call = put("good", body)
        call.headers = [("content-md5", try md5()), ("x-amz-meta-" + RemoteLayout.head, metadata)]
        (call.accepted, call.isTriedOnce) = (S3Client.no.union([500]), true)
        for _ in 0..<2 where try await client.send(call).isGood { return }
        found.answers[.metadata] = .no
    }
    private func md5() throws(VaultError) -> String {
        Base64.encode(try HTTPBody.bytes(body).hash(into: Digest.md5()), padded: true)
    }

    private func put(_ name: String, _ bytes: [UInt8], hash: String? = nil) -> S3Client.Call {
        var call = S3Client.Call(method: "PUT", key: key(name), body: .bytes(bytes))
        call.bodyHash = hash ?? Hex.encode(Digest.sha256(bytes))
        return call
    }
    private func key(_ name: String) -> String { "\(client.address.prefix)\(folder)/\(name)" }

    private mutating func isRefused(
        _ name: String, _ bytes: [UInt8], hash: String? = nil, with headers: [(name: String, value: String)],
        notImplemented: RemoteCapabilities.Answer = .unknown
    ) async throws(VaultError) -> RemoteCapabilities.Answer {
        var call = put(name, bytes, hash: hash)
        call.headers = headers
        (call.accepted, call.isTriedOnce) = (S3Client.no, true)
        if !written.contains(name) { written.append(name) }
        let answer = try await client.send(call)
        if answer.isGood { return .no }
        // "Not implemented" says nothing about what the server would do with a wrong one, but of a condition that there is none.
        return answer.status == 501 ? notImplemented : .yes
    }

    private mutating func read() async throws(VaultError) {
        for request in [RemotePart.Request.range(5..<10), .suffix(7)] {
            var call = S3Client.Call(method: "GET", key: key("good"), sink: .bytes(limit: 1 << 16))
            call.headers = [("range", request.header ?? "")]
            call.accepted = S3Client.no
            let answer = try await client.send(call)
            guard answer.isGood else {
                found.answers[.mayRead] = [401, 403].contains(answer.status) ? .no : .unknown
                return
            }
            found.answers[.mayRead] = .yes
            let part = try? S3Judgement.part(answer, request, what: call.what)
            let isExact = part.map { $0.count == body.count && Array(body[$0.range]) == answer.body } ?? false
            // One that fails is enough.
            if found[.range] != .no { found.answers[.range] = isExact ? .yes : .no }
            found.answers[.metadata] = answer.headers["x-amz-meta-" + RemoteLayout.head] == metadata ? .yes : .no
        }
    }

    private mutating func list() async throws(VaultError) {
        var keys: [String] = []
        do throws(VaultError) {
            try await client.list(folder + "/") { keys += $0.map(\.key) }
        } catch  where error.code == .refused {
            found.answers[.mayList] = .no
            return
        }
        found.answers[.mayList] = keys.contains(folder + "/good") ? .yes : .unknown
    }

    private mutating func askBucket() async throws(VaultError) {
        if let answer = try await bucket("versioning") {
            let status = S3Configuration(answer, root: "VersioningConfiguration")?.values[["Status"]]
            found.answers[.versioning] = status == "Enabled" || found[.versioning] == .yes ? .yes : .no
        }
        guard let answer = try await bucket("object-lock", absent: "ObjectLockConfigurationNotFoundError") else {
            return
        }
        let values = S3Configuration(answer, root: "ObjectLockConfiguration")?.values ?? [:]
        found.answers[.objectLock] = values[["ObjectLockEnabled"]] == "Enabled" ? .yes : .no
        let rule = ["Rule", "DefaultRetention"]
        if let mode = values[rule + ["Mode"]] {
            let time = ["Days", "Years"].compactMap { unit in
                values[rule + [unit]].flatMap { Int($0) }.map {
                    "\($0) \($0 == 1 ? unit.dropLast().lowercased() : unit.lowercased())"
                }
            }
            found.defaultRetention = ([S3ErrorBody.printable(mode, limit: 32)] + time).joined(separator: ", ")
        }
    }

    /// Nil when it does not say; an empty answer when what it is asked for is not there.
    private func bucket(_ what: String, absent: String? = nil) async throws(VaultError) -> HTTPAnswer? {
        var call = S3Client.Call(method: "GET", key: "")
        call.query = [(what, "")]
        call.accepted = S3Client.no
        let answer = try await client.send(call)
        if answer.isGood { return answer }
        return absent != nil && S3ErrorBody(answer.body)?.code == absent ? HTTPAnswer(status: 200) : nil
    }

    private mutating func delete() async throws(VaultError) {
        // Whatever stands: also what was to be refused, and was not.
        for name in written {
            switch try await client.delete("\(folder)/\(name)", isForAllVersions: true) {
            case .deleted: if found[.mayDelete] == .unknown { found.answers[.mayDelete] = .yes }
            case .locked: leave(name)
            case .refused:
                found.answers[.mayDelete] = .no
                leave(name)
            }
        }
    }

    private mutating func leave(_ name: String) {
        // What the server refused to take was never there, and is as little to be deleted as the rest.
        let refusals: [String: RemoteCapabilities.Capability] = ["checksum": .checksum, "hash": .bodyHash, "md5": .md5]
        if let refusal = refusals[name], found[refusal] == .yes { return }
        found.leftBehind.append("\(folder)/\(name)")
    }

    /// After a failure in the middle, as far as it goes.
    func removeAll() async {
        for name in written { _ = try? await client.delete("\(folder)/\(name)", isForAllVersions: true) }
    }
}

/// A small document about the bucket: the text of its elements by their path below the root.
struct S3Configuration {
    var values: [[String]: String] = [:]

    /// Nil for anything else.
    init?(_ answer: HTTPAnswer, root: String) {
        var reader = XMLReader(answer.body)
        var path: [String] = []
        do throws(XMLReader.Malformed) {
            while let event = try reader.next() {
                switch event {
                case .open(let name):
                    path.append(name)
                    if path.count == 1, name != root { return nil }
                case .text(let text): values[Array(path.dropFirst()), default: ""] += text
                case .close: path.removeLast()
                }
            }
        } catch { return nil }
    }
}
