import Core
import Synchronization

/// Checks objects against what the ledger lists. Safe from several threads.
struct ObjectVerification: Sendable {
    let layout: Layout
    let files: any FileSystem
    /// A mirror's objects may all lie in its remote.
    var isFarAllowed = false
    let options: VerificationOptions
    /// Opens with the key; nil without. It gives nil where that says nothing of the object.
    let open: (@Sendable (ClipRecord) throws(VaultError) -> ObjectReader?)?

    /// Bytes read at a time: enough that the disk and SHA-256 set the pace, not the calls.
    private static let stride = 1 << 18

    struct Outcome: Sendable {
        var findings: [VerificationFinding] = []
        var objects = 0
        var bytes = 0
        var evicted = 0
    }

    /// One shard folder: what lies in it and what should.
    /// - Parameters:
    ///   - isRead: whether a clip's bytes are read; those that are not are looked for only.
    ///   - progress: after each clip; false ends the work.
    func shard(
        _ name: String, _ expected: LedgerVerification.Shard, isRead: (ClipRecord) -> Bool,
        progress: (ClipRecord) -> Bool
    ) throws(VaultError) -> Outcome {
        var outcome = Outcome(findings: expected.findings)
        var found: Set<ObjectID> = []
        let known = Set(expected.clips.map(\.object))
        let folder = layout.shard(name)
        let names = try files.attributes(folder) == nil ? [] : try files.list(folder)
        for file in names.sorted() {
            guard let object = ObjectID(file), file == object.description, file.hasPrefix(name) else {
                outcome.findings.append(
                    VerificationFinding(.extra, .file("objects/\(name)/\(file)"), "is no object of this vault"))
                continue
            }
            found.insert(object)
            if !known.contains(object) {
                let isDeleted = expected.deleted.contains(object)
                outcome.findings.append(
                    VerificationFinding(
                        isDeleted ? .notDeleted : .extra, .object(object),
                        isDeleted ? VerificationFinding.removedByEntry : "the ledger does not list it"))
            }
        }
        for clip in expected.clips {
            guard found.contains(clip.object) else {
                if isFarAllowed || expected.evicted.contains(clip.object) {
                    outcome.evicted += 1
                    continue
                }
                outcome.findings.append(VerificationFinding(.missing, .object(clip.object), "the ledger lists it"))
                continue
            }
            outcome.objects += 1
            if isRead(clip) {
                do throws(VaultError) {
                    outcome.bytes += try check(clip, &outcome.findings)
                } catch {
                    let kind: VerificationFinding.Kind = error.code == .notFound ? .missing : .damaged
                    outcome.findings.append(VerificationFinding(kind, .object(clip.object), error.reason))
                }
            }
            guard progress(clip) else { throw VaultError(.closed, "The verification was cancelled.") }
        }
        return outcome
    }

    /// Bytes read.
    func check(_ clip: ClipRecord, _ findings: inout [VerificationFinding]) throws(VaultError) -> Int {
        let file = try files.open(layout.object(clip.object), .read)
        let subject = VerificationFinding.Subject.object(clip.object)
        let count = try file.count()
        var isDamaged = count != clip.byteCount
        if isDamaged {
            findings.append(VerificationFinding(.damaged, subject, "has \(count) bytes instead of \(clip.byteCount)"))
        }
        var done = 0
        if options.readsObjects, !isDamaged {
            let digest = try Digest.sha256()
            var buffer = [UInt8](repeating: 0, count: Self.stride)
            while done < count {
                let read = try file.read(at: done, into: &buffer)
                guard read > 0 else { break }
                digest.update(buffer, 0..<read)
                done += read
            }
            isDamaged = digest.finish() != clip.object.digest
            if isDamaged {
                findings.append(
                    VerificationFinding(.damaged, subject, "its bytes do not have the digest that is its name"))
            }
        }
        if !isDamaged {
            if ClipStanza.decode(try ObjectReader.header(file)) != clip.identity {
                findings.append(VerificationFinding(.forged, subject, "its header names another clip than the ledger"))
            }
        }
        if let open { openChunks(clip, open, &findings) }
        return done
    }

    /// With the key: every chunk, and the identity inside.
    private func openChunks(
        _ clip: ClipRecord, _ open: (ClipRecord) throws(VaultError) -> ObjectReader?,
        _ findings: inout [VerificationFinding]
    ) {
        let subject = VerificationFinding.Subject.object(clip.object)
        do throws(VaultError) {
            guard let reader = try open(clip) else { return }
            for chunk in 0..<reader.chunkCount {
                do throws(VaultError) {
                    var plain = try reader.readBlocking(at: chunk * AgePayload.chunkSize, count: AgePayload.chunkSize)
                    defer { wipeBytes(&plain) }
                    if chunk == 0, let innerIdentity = options.innerIdentity, innerIdentity(plain) != clip.identity {
                        findings.append(
                            VerificationFinding(.forged, subject, "the identity inside is another than outside"))
                    }
                } catch {
                    guard error.code == .payloadFailure else { throw error }
                    findings.append(VerificationFinding(.damaged, subject, chunk: chunk, error.reason))
                }
            }
        } catch {
            let kind: VerificationFinding.Kind = error.code == .notFound ? .missing : .damaged
            findings.append(VerificationFinding(kind, subject, error.reason))
        }
    }
}
