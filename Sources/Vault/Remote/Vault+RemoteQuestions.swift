public import Core
import Synchronization

extension Vault {
    /// Every camera that has footage, whether it is recorded now or not. Errors: of the index.
    public func recordedCameras() async throws(VaultError) -> [CameraID] {
        try await usage().filter { $0.clips > 0 }.map(\.camera)
    }
    /// With where its footage begins and ends.
    public func recordedSpans() async throws(VaultError) -> [(camera: CameraID, clips: Int, span: TimeRange)] {
        try await usage().compactMap { usage in usage.span.map { (usage.camera, usage.clips, $0) } }
    }
    private func usage() async throws(VaultError) -> [CameraUsage] {
        try await reads.run { [index] () throws(VaultError) in try index.usage() }
    }
    /// Whether an object's file lies in this vault's own folder. Errors: the file system's.
    public func isHere(_ object: ObjectID) throws(VaultError) -> Bool {
        try files.attributes(layout.object(object)) != nil
    }
    /// `keys/owner.age` as it stands; nil when there is none. Errors: the file system's.
    public static func ownerFile(
        at path: String, files: any FileSystem = PosixFileSystem()
    ) throws(VaultError) -> [UInt8]? {
        let owner = Layout(path).owner
        return try files.attributes(owner) == nil ? nil : try files.contents(owner, limit: 1 << 20)
    }
    /// How far a restore into a folder has come.
    public enum RestoreStage: Sendable, Hashable {
        /// Nothing, or only a part of the ledger: begin.
        case nothing
        /// Everything can be listed; what opens it may be missing.
        case mirrored
        /// With its signing key: it may have gone on by itself, and must not be mirrored over.
        case recorder
    }
    public static func restoreStage(
        at path: String, files: any FileSystem = PosixFileSystem()
    ) throws(VaultError) -> RestoreStage {
        let layout = Layout(path)
        guard try files.attributes(layout.vaultFile) != nil else { return .nothing }
        return try files.attributes(layout.ledgerKey) == nil ? .mirrored : .recorder
    }
}

extension Remote {
    /// Whether all that does not lie here is to be brought back; nil when nobody ever said. Errors: of the state's database.
    public func isBackfillWanted() async throws(VaultError) -> Bool? {
        try await on { (state) throws(VaultError) in try state.number(.backfill).map { $0 != 0 } }
    }
    public func setBackfillWanted(_ isWanted: Bool) async throws(VaultError) {
        try await on { (state) throws(VaultError) in try state.set(.backfill, isWanted ? 1 : 0) }
    }
    /// What lies there only.
    public func absentTotal() async throws(VaultError) -> (objects: Int, bytes: Int) {
        try await on { (state) throws(VaultError) in try state.absentTotal() }
    }
    /// What waits to be sent; cheap, however much lies there.
    public func waiting() async throws(VaultError) -> (objects: Int, bytes: Int) {
        let lag = try await on { (state) throws(VaultError) in try state.lag() }
        return (lag.objects, lag.bytes)
    }
    /// Bytes ever sent there.
    public func sentBytes() async throws(VaultError) -> Int64 {
        try await on { (state) throws(VaultError) in try state.number(.sentBytes) ?? 0 }
    }
    public var currentProgress: RemoteProgress { progress.withLock { $0 } }

    /// What `evict` would give up now, holds aside. Errors: of the state's database.
    public func evictable() async throws(VaultError) -> (objects: Int, bytes: Int) {
        guard let policy = description.eviction, description.contents != .onlyEpochKeys else { return (0, 0) }
        let rows = try await evictable(endedBy: vault.time.wallNow() - policy.after, limit: .max)
        return (rows.count, rows.reduce(0) { $0 + $1.bytes })
    }
}
