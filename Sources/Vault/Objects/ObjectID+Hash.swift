public import Core

extension ObjectID {
    /// The SHA-256 of these bytes: the name they would have as an object.
    public static func hash(of bytes: [UInt8]) -> ObjectID {
        // 32 bytes by construction; the fallback is a name no object has.
        ObjectID(digest: Digest.sha256(bytes)) ?? .zero
    }
}
