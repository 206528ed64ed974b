public import Core

/// What a remote's server does and what the credentials may do there, as `probe` found it by trying. Kept with the remote.
public struct RemoteCapabilities: Codable, Sendable, Hashable {
    public enum Answer: String, Codable, Sendable, Hashable {
        case yes
        case no
        /// Not to be found out, for want of rights or since the server said something else.
        case unknown
    }
    public enum Capability: String, Codable, CodingKeyRepresentable, Sendable, Hashable, CaseIterable {
        /// `If-None-Match: *`
        case conditionalPut
        /// A wrong `x-amz-checksum-sha256` is refused.
        case checksum
        /// A right one comes back.
        case checksumEcho
        /// A wrong `x-amz-content-sha256` is refused.
        case bodyHash
        /// A wrong `Content-MD5` is refused.
        case md5
        /// Parts from the beginning and from the end, exactly, with their place.
        case range
        /// User metadata as long as an age header comes back with a part.
        case metadata
        case versioning
        /// On the bucket: what is put there can be locked, or is by itself.
        case objectLock
        case mayRead
        case mayList
        case mayDelete
    }

    public var probed: WallTime
    public var answers: [Capability: Answer] = [:]
    /// Of the bucket, when it locks by itself, as `COMPLIANCE, 30 days`.
    public var defaultRetention: String?
    /// `1.1`, `2`
    public var httpVersion: String?
    /// Seconds from this machine's clock to the server's, where that had to be put right.
    public var clockOffset: Int64?
    /// Keys that the probe could not remove; below `probe/`.
    public var leftBehind: [String] = []

    public init(probed: WallTime) { self.probed = probed }

    public subscript(_ capability: Capability) -> Answer { answers[capability] ?? .unknown }

    /// Whether a body that was damaged on its way cannot be kept there unnoticed.
    public var checksBodies: Bool { [.checksum, .bodyHash, .md5].contains { self[$0] == .yes } }

    /// A sentence for each, and for what else is worth knowing.
    public var lines: [String] {
        var lines = Capability.allCases.map { sentence($0) }
        if let httpVersion { lines.append("It speaks HTTP/\(httpVersion).") }
        if let clockOffset {
            let side = clockOffset < 0 ? "ahead of" : "behind"
            lines.append(
                "This machine's clock is \(clockOffset.magnitude) s \(side) the remote's; requests carry the remote's time. "
                    + "Set one of both.")
        }
        if !leftBehind.isEmpty {
            lines.append("The probe may not remove what it wrote: \(leftBehind.joined(separator: ", ")).")
        }
        return lines
    }

    public func sentence(_ capability: Capability) -> String {
        switch (capability, self[capability]) {
        case (.conditionalPut, .yes): "An upload never overwrites what is there."
        case (.conditionalPut, .no): "An upload may overwrite what is there: the server does not heed If-None-Match."
        case (.conditionalPut, .unknown): "Whether an upload can overwrite what is there is not known."
        case (.checksum, .yes): "A body that does not fit its x-amz-checksum-sha256 is refused."
        case (.checksum, .no): "A body that does not fit its x-amz-checksum-sha256 is kept."
        case (.checksum, .unknown): "Whether x-amz-checksum-sha256 is checked is not known."
        case (.checksumEcho, .yes): "The server says which checksum it has stored."
        case (.checksumEcho, .no): "The server does not say which checksum it has stored."
        case (.checksumEcho, .unknown): "Whether the server says which checksum it has stored is not known."
        case (.bodyHash, .yes): "A body that does not fit its x-amz-content-sha256 is refused."
        case (.bodyHash, .no): "A body that does not fit its x-amz-content-sha256 is kept."
        case (.bodyHash, .unknown): "Whether x-amz-content-sha256 is checked is not known."
        case (.md5, .yes): "A body that does not fit its Content-MD5 is refused."
        case (.md5, .no): "A body that does not fit its Content-MD5 is kept."
        case (.md5, .unknown): "Whether Content-MD5 is checked is not known."
        case (.range, .yes): "Parts of objects are served exactly."
        case (.range, .no): "Parts of objects are not served: nothing can be played from there before it was restored."
        case (.range, .unknown): "Whether parts of objects are served is not known."
        case (.metadata, .yes): "Metadata comes with a part."
        case (.metadata, .no):
            "Metadata is not kept, or does not come with a part: the first seek in a clip costs one request more."
        case (.metadata, .unknown): "Whether metadata comes with a part is not known."
        case (.versioning, .yes): "The bucket keeps versions: what is deleted stands until each version is removed."
        case (.versioning, .no): "The bucket keeps no versions."
        case (.versioning, .unknown): "Whether the bucket keeps versions is not known."
        case (.objectLock, .yes):
            defaultRetention.map {
                "The bucket locks every object by itself (\($0)): retention cannot delete it before."
            }
                ?? "The bucket can lock objects, and locks none by itself."
        case (.objectLock, .no): "The bucket cannot lock objects."
        case (.objectLock, .unknown): "Whether the bucket locks objects is not known."
        case (.mayRead, .yes): "These credentials may read: they can restore and verify."
        case (.mayRead, .no): "These credentials may not read: good for recording; restore and verify need others."
        case (.mayRead, .unknown): "Whether these credentials may read is not known."
        case (.mayList, .yes): "These credentials may list."
        case (.mayList, .no):
            "These credentials may not list: what was sent cannot be proven present. Allow ListBucket."
        case (.mayList, .unknown): "Whether these credentials may list is not known."
        case (.mayDelete, .yes): "These credentials may delete: retention works there, and so would a thief's deletion."
        case (.mayDelete, .no): "These credentials may not delete: nothing there is lost with this machine."
        case (.mayDelete, .unknown): "Whether these credentials may delete is not known."
        }
    }
}
