import Core
import Synchronization

extension S3Client {
    /// What a DELETE may answer that means "no" and not "not now".
    private static let refusals: Set<Int> = [400, 401, 403, 405, 409, 423]

    /// With `isForAllVersions` each version is listed and removed for good. A store that does not let itself be asked for
    /// versions is told to delete the name alone; when its answer shows that it keeps versions all the same, that is
    /// `.refused`, since the bytes are still there.
    ///
    /// Errors: `.remoteFault` also when the listing of versions turns in a circle; some may be gone then.
    func delete(_ key: String, isForAllVersions: Bool) async throws(VaultError) -> RemoteDeletion {
        let key = address.prefix + key
        guard isForAllVersions else { return try await deleteName(key).outcome }
        let versions: [VersionPage.Version]
        switch try await self.versions(of: key) {
        case .found(let found): versions = found
        case .refused(let words):
            let (outcome, keepsVersions) = try await deleteName(key)
            guard case .deleted = outcome, keepsVersions else { return outcome }
            return .refused("its older versions stand, since the remote does not list them (\(words))")
        }
        var removed = 0
        var worst: RemoteDeletion?
        for version in versions {
            let outcome = try await deleteVersion(version)
            switch outcome {
            case .deleted: if !version.isMarker { removed += 1 }
            // The lock that ends last is the one that counts, and one without an end ends last.
            case .locked(let until):
                guard case .locked(let other) = worst else {
                    worst = outcome
                    continue
                }
                worst = .locked(until: other.flatMap { a in until.map { b in max(a, b) } })
            case .refused: if worst == nil { worst = outcome }
            }
        }
        if let worst { return worst }
        // "null" alone is what a bucket without versions shows.
        return .deleted(versions: versions.map(\.id) == ["null"] ? 0 : removed)
    }

    private func deleteName(_ key: String) async throws(VaultError) -> (outcome: RemoteDeletion, keepsVersions: Bool) {
        let call = Call(method: "DELETE", key: key, accepted: Self.refusals)
        let answer: HTTPAnswer
        do throws(VaultError) {
            answer = try await send(call)
        } catch  where error.code == .notFound { return (.deleted(versions: 0), false) }
        guard answer.isGood else { return (try await refusal(answer, key, version: nil), false) }
        let id = answer.headers["x-amz-version-id"]
        return (.deleted(versions: 0), answer.headers["x-amz-delete-marker"] == "true" || id != nil && id != "null")
    }

    private func deleteVersion(_ version: VersionPage.Version) async throws(VaultError) -> RemoteDeletion {
        var call = Call(method: "DELETE", key: version.key, accepted: Self.refusals)
        call.query = [("versionId", version.id)]
        let answer: HTTPAnswer
        do throws(VaultError) {
            answer = try await send(call)
        } catch  where error.code == .notFound { return .deleted(versions: 0) }
        guard answer.isGood else { return try await refusal(answer, version.key, version: version.id) }
        return .deleted(versions: version.isMarker ? 0 : 1)
    }

    // MARK: Versions

    enum Versions: Sendable {
        case found([VersionPage.Version])
        /// The store does not know the request, or does not answer it to these credentials; its words.
        case refused(String)
    }

    /// - Parameter key: with the address's prefix.
    func versions(of key: String, pageSize: Int = 1000) async throws(VaultError) -> Versions {
        var machine = VersionListingMachine(key: key)
        var marker: VersionPage.Marker?
        while true {
            var call = Call(method: "GET", key: "", sink: .bytes(limit: ListPage.sizeLimit))
            call.accepted = [400, 403, 404, 405, 501]
            call.query = [("max-keys", String(pageSize)), ("prefix", key), ("versions", "")]
            if let marker {
                call.query.append(("key-marker", marker.key))
                if let id = marker.id { call.query.append(("version-id-marker", id)) }
            }
            let answer = try await send(call)
            let body = S3ErrorBody(answer.body)
            guard answer.isGood else {
                // A wrong key or a missing bucket is no answer to what was asked.
                if ["NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch"].contains(body?.code ?? "") {
                    throw S3Judgement.refused(answer, what: call.what)
                }
                return .refused(body?.code ?? "status \(answer.status)")
            }
            let page: VersionPage
            do throws(VaultError) {
                page = try VersionPage(parsing: answer.body)
            } catch {
                // A store that does not know the word answers with an ordinary listing.
                guard marker == nil, (try? ListPage(parsing: answer.body)) != nil else { throw error }
                return .refused("it does not know versions")
            }
            guard case .ask(let next) = try machine.handle(page) else { return .found(machine.versions) }
            marker = next
        }
    }

    // MARK: Object lock

    /// Servers say "no" alike for a lock and for missing rights; what is said about the object tells them apart.
    private func refusal(
        _ answer: HTTPAnswer, _ key: String, version: String?
    ) async throws(VaultError) -> RemoteDeletion {
        var call = Call(method: "HEAD", key: key, accepted: [400, 401, 403, 404, 405])
        if let version { call.query = [("versionId", version)] }
        let head = try await send(call)
        if head.isGood {
            if head.headers["x-amz-object-lock-legal-hold"]?.uppercased() == "ON" { return .locked(until: nil) }
            let until = head.headers["x-amz-object-lock-retain-until-date"].flatMap { HTTPDate.parse(timestamp: $0) }
            if let until, until > time.wallNow() + state.withLock({ $0.offset }) { return .locked(until: until) }
        }
        // The words of AWS ("object protected by object lock"), MinIO ("Object is WORM protected") and Ceph ("forbidden by
        // object lock"); a status of its own besides.
        let words = S3Judgement.words(answer)
        let said = words.lowercased()
        let isSaid = ["object lock", "objectlock", "worm", "retention", "legal hold"].contains { said.contains($0) }
        return isSaid || answer.status == 423 ? .locked(until: nil) : .refused(words)
    }
}
