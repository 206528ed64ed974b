import Core

/// What an object's header says without a key: which clip it is, and where its payload begins.
struct ClipHeader: Sendable, Hashable {
    var identity: ClipIdentity
    /// Bytes of the age header.
    var count: Int

    /// Nil for a header that names no clip.
    init?(_ header: AgeHeader) {
        guard let identity = ClipStanza.decode(header) else { return nil }
        self.identity = identity
        count = header.count
    }

    /// The header at the beginning of `bytes[..<count]`, read in place, in the very form in which this version writes it: one X25519
    /// stanza, then the clip's. Nil for any other, which `AgeHeader` decides about. What is taken here that parser takes too,
    /// with the same result.
    init?(fixedForm bytes: [UInt8], count: Int) {
        var scan = FixedScan(bytes.prefix(count))
        guard scan.take(Self.beginning), scan.base64(ofCount: 32), scan.take(Self.newline),
            scan.base64(ofCount: AgeWrapping.fileKeySize + AgeCrypto.tagSize), scan.take(Self.stanza),
            let vault = scan.uuid(), scan.take(Self.camera), let camera = scan.uuid(), scan.take(Self.epoch),
            let epoch = scan.uuid(), scan.take(Self.run), let run = scan.uuid(), scan.take(Self.sequence),
            let sequence = scan.integer(), sequence >= 0, scan.take(Self.start), let start = scan.integer(),
            scan.take(Self.end), scan.base64(ofCount: 32), scan.take(Self.newline)
        else { return nil }
        identity = ClipIdentity(
            vault: VaultID(vault), camera: CameraID(camera), epoch: EpochID(epoch), run: RunID(run),
            sequence: UInt64(sequence), start: WallTime(microseconds: start))
        self.count = scan.offset
    }

    // What stands between the values.
    private static let beginning: StaticString = "age-encryption.org/v1\n-> X25519 "
    private static let stanza: StaticString = "\n-> sudocam/clip v=1 vault="
    private static let camera: StaticString = " camera="
    private static let epoch: StaticString = " epoch="
    private static let run: StaticString = " run="
    private static let sequence: StaticString = " seq="
    private static let start: StaticString = " start="
    private static let end: StaticString = "\n\n--- "
    private static let newline: StaticString = "\n"
}
