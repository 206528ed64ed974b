public import Core

extension Vault {
    /// The clip of a camera that contains `time`.
    public func clip(at time: WallTime, camera: CameraID) async throws(VaultError) -> ClipRecord? {
        try await index.clip(at: time, camera, id)
    }
    /// The first clip that starts later than `time`.
    public func clip(after time: WallTime, camera: CameraID) async throws(VaultError) -> ClipRecord? {
        try await index.clip(after: time, camera, id)
    }
    /// The last clip that starts earlier than `time`.
    public func clip(before time: WallTime, camera: CameraID) async throws(VaultError) -> ClipRecord? {
        try await index.clip(before: time, camera, id)
    }
    /// Clips that share time with `range`, by their start.
    public func clips(
        camera: CameraID, overlapping range: TimeRange, limit: Int = 1000, descending: Bool = false
    ) async throws(VaultError) -> [ClipRecord] {
        try await index.clips(camera, overlapping: range, limit: limit, descending: descending, id)
    }
    /// The clip whose object's name begins with `prefix`, at least eight hexadecimal digits.
    ///
    /// Errors: `.invalid` when it is too short or several begin so, `.notFound`.
    public func clip(named prefix: String) async throws(VaultError) -> ClipRecord {
        let text = prefix.lowercased()
        guard (8...64).contains(text.count), text.allSatisfy(\.isHexDigit) else {
            throw VaultError(.invalid, "\(prefix) is no object's name.", hint: "`sudocam clips` lists them.")
        }
        let found = try await index.clips(named: text, id)
        guard let clip = found.first else {
            throw VaultError(.notFound, "No clip's object begins with \(prefix).", hint: "`sudocam clips` lists them.")
        }
        guard found.count == 1 else {
            throw VaultError(.invalid, "Several objects begin with \(prefix).", hint: "Give more digits.")
        }
        return clip
    }
    public func gaps(camera: CameraID, overlapping range: TimeRange) async throws(VaultError) -> [GapRecord] {
        try await index.gaps(camera, overlapping: range)
    }
    public func events(camera: CameraID, overlapping range: TimeRange) async throws(VaultError) -> [EventRecord] {
        try await index.events(camera, overlapping: range)
    }
    /// From the first clip's start to the last one's end; nil without clips.
    public func span(camera: CameraID) async throws(VaultError) -> TimeRange? { try await index.span(camera) }

    /// Runs of recorded time, for drawing: clips nearer than one bucket (`range / buckets`) are merged.
    public func timeline(
        camera: CameraID, range: TimeRange, buckets: Int
    ) async throws(VaultError) -> [TimeRange] {
        try await index.timeline(camera, range, buckets: buckets)
    }

    /// Opens a sealed clip for reading at any place; a salvaged one ends at its last whole chunk.
    ///
    /// Errors: `.locked`, `.notFound`, `.damaged` when the header names another clip than the ledger, age's classes.
    /// - Parameter toleratesDamage: where the last chunk does not open, what lies before it is given out: whoever shows it must
    ///   say that the clip ends early. Without, that is `.payloadFailure`.
    public func openObject(
        _ clip: ClipRecord, toleratesDamage: Bool = false
    ) async throws(VaultError) -> any ByteSource {
        try await opens.run { [self] () throws(VaultError) in
            do throws(VaultError) { return try openBlocking(clip) } catch {
                guard toleratesDamage, error.code == .payloadFailure else { throw error }
                return try openBlocking(clip, leavesOutLast: true)
            }
        }
    }

    /// An object's bytes: here, or in a remote that is known to have them. Errors: `.notFound`, and the file's.
    func openFile(_ clip: ClipRecord) throws(VaultError) -> any OpenFile {
        do throws(VaultError) {
            return try files.open(layout.object(clip.object), .read)
        } catch {
            guard error.code == .notFound, let remote = try remote(having: clip.object) else { throw error }
            return RemoteFile(clip, in: remote)
        }
    }

    func openBlocking(_ clip: ClipRecord, leavesOutLast: Bool = false) throws(VaultError) -> ObjectReader {
        let identity = try epochIdentity(clip.identity.epoch)
        let file = try openFile(clip)
        func open() throws(VaultError) -> ObjectReader {
            try ObjectReader(
                file, isSalvaged: clip.isSalvaged, leavesOutLast: leavesOutLast, lane: .serial("vault.object")
            ) { (header) throws(VaultError) in try AgeWrapping.unwrap(header, identities: [identity]) }
        }
        let reader: ObjectReader
        do throws(VaultError) { reader = try open() } catch {
            // The nonce that a store keeps beside the object is proven by nothing but the chunks.
            guard error.code == .payloadFailure, let far = file as? RemoteFile, !far.isHeadOwn else { throw error }
            _ = try far.ownHead()
            reader = try open()
        }
        guard reader.identity == clip.identity else {
            throw VaultError(.damaged, "The header of object \(clip.object) names another clip than the ledger.")
        }
        try keyring.hold(reader)
        return reader
    }
}
