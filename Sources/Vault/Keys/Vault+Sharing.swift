public import Core
import Synchronization

/// What makes of a sealed object one that somebody else opens with stock `age`: another header before the same bytes.
public struct SharedHeader: Sendable, Hashable {
    public var object: ObjectID
    public var header: [UInt8]
    /// The object's bytes from here on follow the header unchanged: nonce and chunks.
    public var payloadOffset: Int
    /// Instead of the object's last bytes: a clip cut short by a crash has no last chunk, and gets one.
    public var ending: [UInt8]
    /// Bytes of the object that are copied behind the header.
    public var copied: Int
}

/// The key of a camera's day, for a third party.
public struct EpochExport: Sendable {
    public var epochs: [EpochID]
    /// An age file with the identities of the epochs in it.
    public var sealedIdentity: [UInt8]
    public var clips: [ClipRecord]
}

extension Vault {
    /// Reads an object from its first byte to its last, here or in a remote, and hands out those of `range`, a piece at a time and in
    /// order. Needs no key.
    ///
    /// Errors: `.notFound`; `.damaged` when the whole is not what its name says, after everything was handed out; `take`'s.
    public func readObject(
        _ clip: ClipRecord, handingOut range: Range<Int>,
        _ take: @escaping @Sendable (_ bytes: [UInt8]) throws(VaultError) -> Void
    ) async throws(VaultError) {
        try await reads.run { [self] () throws(VaultError) in
            let file = try openFile(clip)
            let digest = try Digest.sha256()
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            var offset = 0
            while true {
                let count = try file.read(at: offset, into: &buffer)
                guard count > 0 else { break }
                digest.update(buffer, 0..<count)
                let wanted = range.clamped(to: offset..<offset + count)
                if !wanted.isEmpty { try take(Array(buffer[wanted.lowerBound - offset..<wanted.upperBound - offset])) }
                offset += count
            }
            guard digest.finish() == clip.object.digest else {
                throw VaultError(
                    .damaged, "Object \(clip.object) is damaged.",
                    hint: "`sudocam repair` fetches it from a copy, if there is one.")
            }
        }
    }

    /// Seals a clip's key to somebody, enters that into the ledger, and gives out the header; the object stays as it is.
    ///
    /// Errors: `.notFound`, `.noMatch`, `.damaged`, age's classes, the ledger's.
    public func share(
        _ object: ObjectID, to recipient: AgeRecipient, _ authority: KeyAuthority
    ) async throws(VaultError) -> SharedHeader {
        try await retentionLane.run { [self] () throws(VaultError) in
            guard let clip = try index.clip(object, id) else {
                throw VaultError(.notFound, "The vault has no clip \(object).")
            }
            let epoch = try epochIdentity(clip.identity.epoch, authority)
            defer { epoch.secret.wipe() }
            let file = try openFile(clip)
            let header = try ObjectReader.header(file)
            guard ClipStanza.decode(header) == clip.identity else {
                throw VaultError(.damaged, "The header of object \(object) names another clip than the ledger.")
            }
            let fileKey = try AgeWrapping.unwrap(header, identities: [epoch])
            defer { fileKey.wipe() }
            try header.check(fileKey: fileKey)
            let others = header.stanzas.filter { $0.arguments.first != "X25519" }
            let shared = try AgeHeader(
                stanzas: [try AgeWrapping.wrap(fileKey, to: recipient)] + others, fileKey: fileKey)
            let count = try file.count()
            let ending = clip.isSalvaged ? try ending(file, header, fileKey) : []
            try committer().commit([LedgerEntry(at: time.wallNow(), .share(object, to: recipient))])
            return SharedHeader(
                object: object, header: shared.bytes, payloadOffset: header.count, ending: ending,
                copied: count - header.count - ending.count)
        }
    }

    /// The last whole chunk of a salvaged clip, sealed again as the last: the same plaintext, another nonce. Empty if a crash came
    /// after it was marked already.
    private func ending(
        _ file: any OpenFile, _ header: AgeHeader, _ fileKey: SecretBytes
    ) throws(VaultError) -> [UInt8] {
        let payload = try AgePayload(headerCount: header.count, fileCount: try file.count())
        var nonce = [UInt8](repeating: 0, count: AgePayload.nonceSize)
        guard payload.chunkCount > 0, try file.read(at: header.count, into: &nonce) == nonce.count else {
            throw VaultError(.payloadFailure, "\(file.path) has no chunk.")
        }
        let key = try AgePayload.key(fileKey: fileKey, nonce: nonce)
        defer { key.wipe() }
        let range = payload.sealedRange(payload.chunkCount - 1)
        var buffer = [UInt8](repeating: 0, count: range.count)
        defer { wipeBytes(&buffer) }
        guard try file.read(at: range.lowerBound, into: &buffer) == range.count else {
            throw VaultError(.damaged, "\(file.path) became shorter.")
        }
        func place(_ isLast: Bool) -> [UInt8] { AgePayload.nonce(payload.chunkCount - 1, isLast: isLast) }
        if try AgeCrypto.opens(buffer, count: buffer.count, key: key, nonce: place(true)) { return [] }
        guard try ChunkCipher.open(&buffer, count: buffer.count, key: key, nonce: place(false)) else {
            throw VaultError(.payloadFailure, "The last chunk of \(file.path) does not open.")
        }
        var last = Array(buffer.dropLast(AgeCrypto.tagSize)) + [UInt8](repeating: 0, count: AgeCrypto.tagSize)
        try ChunkCipher.seal(&last, count: last.count - AgeCrypto.tagSize, key: key, nonce: place(true))
        return last
    }

    /// Seals the key of a camera's UTC day to somebody, and enters that into the ledger first. Whoever has it opens every object
    /// of that day, of this camera alone.
    ///
    /// - Parameter isPlain: `recipient` is only the way to who asks: the key will lie unsealed, and the ledger says so.
    /// Errors: `.notFound`, `.noMatch`, `.damaged`, the ledger's.
    public func exportEpochs(
        camera: CameraID, day: Int64, to recipient: AgeRecipient, isPlain: Bool, _ authority: KeyAuthority
    ) async throws(VaultError) -> EpochExport {
        try await retentionLane.run { [self] () throws(VaultError) in
            let epochs = try index.epochs(camera, day: day).filter { !$0.isShredded }.map(\.epoch)
            guard !epochs.isEmpty else {
                throw VaultError(.notFound, "The camera has no key for that day, or it was destroyed.")
            }
            var clips: [ClipRecord] = []
            var text = Array("# SudoCam: opens what camera \(camera) recorded on one day (UTC)\n".utf8)
            defer { wipeBytes(&text) }
            text.reserveCapacity(text.count + 80 * epochs.count)
            for epoch in epochs {
                let identity = try epochIdentity(epoch, authority)
                defer { identity.secret.wipe() }
                let line = try identity.text()
                defer { line.wipe() }
                try unsafe line.withBytes { (bytes) throws(VaultError) in unsafe text.append(contentsOf: bytes) }
                clips += try index.clips(ofEpoch: epoch, camera, id)
            }
            let secret = SecretBytes(&text)
            defer { secret.wipe() }
            let sealed = try AgeFile.seal(secret, to: [recipient])
            let now = time.wallNow()
            try committer().commit(
                epochs.map { LedgerEntry(at: now, .export($0, to: isPlain ? nil : recipient)) })
            return EpochExport(epochs: epochs, sealedIdentity: sealed, clips: clips.sorted { $0.start < $1.start })
        }
    }
}
