public import Core

/// Writes one clip. Calls come one after another from one recorder; reading through `source` may run beside them.
public final class ClipWriter: Sendable {
    public let identity: ClipIdentity
    let part: SealedPart
    private let lane: Lane
    private let commit: @Sendable (SealedPart, WallTime, RetentionClass) throws(VaultError) -> ClipRecord
    private let forget: @Sendable () -> Void

    init(
        _ identity: ClipIdentity, part: SealedPart, lane: Lane,
        commit: @escaping @Sendable (SealedPart, WallTime, RetentionClass) throws(VaultError) -> ClipRecord,
        forget: @escaping @Sendable () -> Void
    ) {
        self.identity = identity
        self.part = part
        self.lane = lane
        self.commit = commit
        self.forget = forget
    }

    /// Plain bytes so far.
    public var count: Int { part.count }
    /// Bytes that fill the chunk being written; a whole chunk when none is begun.
    public var bytesUntilChunkEnd: Int { AgePayload.chunkSize - count % AgePayload.chunkSize }
    /// Whether bytes wait for their chunk to fill: they are in memory only.
    public var hasUnsealedBytes: Bool { count % AgePayload.chunkSize != 0 }

    /// On return every full chunk is sealed and with the operating system; durable after the next sync.
    ///
    /// Errors: `.closed`; `.noSpace` and `.io`: the bytes are kept and the next call writes them first.
    public func append(_ bytes: [UInt8]) async throws(VaultError) {
        let part = part
        try await lane.run { () throws(VaultError) in try part.append(bytes) }
    }

    /// On return the clip is committed: durable, in the ledger, in the index.
    public func finish(end: WallTime, kind: RetentionClass = .continuous) async throws(VaultError) -> ClipRecord {
        let (part, commit) = (part, commit)
        return try await lane.run { () throws(VaultError) in try commit(part, end, kind) }
    }

    /// Takes the clip back; nothing of it stays.
    public func discard() async throws(VaultError) {
        let (part, forget) = (part, forget)
        try await lane.run { () throws(VaultError) in
            forget()
            try part.discard()
        }
    }

    /// Reads what was appended, through the key in memory. Stays good after `finish` until it is released or the vault
    /// is locked; then reading throws `.locked`.
    public var source: any ByteSource { OpenClipSource(part, lane) }
}

private final class OpenClipSource: ByteSource {
    private let part: SealedPart
    private let lane: Lane

    init(_ part: SealedPart, _ lane: Lane) {
        self.part = part
        self.lane = lane
        part.retainSource()
    }
    deinit { part.releaseSource() }

    var count: Int { part.count }
    func read(at offset: Int, count: Int) async throws -> [UInt8] {
        let part = part
        return try await lane.run { () throws(VaultError) in try part.read(at: offset, count: count) }
    }
}
