public import Core
import Synchronization

/// A remote that is in use: the store, and what is known of it. Made by `Vault.openRemotes`; closed with the vault.
public final class Remote: Sendable {
    let vault: Vault
    let store: any RemoteStore
    let state: RemoteState
    let cache: RemoteCache
    private let about: Mutex<RemoteDescription>
    /// SQLite and files, never on the cooperative pool.
    let lane: Lane
    /// One pass at a time.
    let turn = Turn()
    let evictionTurn = Turn()
    let progress = Mutex(RemoteProgress())
    /// Whether the remote's own ledger was compared with ours since the start.
    let isCompared = Mutex(false)

    public var description: RemoteDescription { about.withLock { $0 } }
    public var name: String { description.name }

    init(_ description: RemoteDescription, _ vault: Vault, store: any RemoteStore) throws(VaultError) {
        self.vault = vault
        self.store = store
        about = Mutex(description)
        lane = .serial("remote.\(description.name)")
        let (state, cache) = (
            vault.layout.remoteState(description.name), vault.layout.remoteCache(description.name)
        )
        if vault.mode == .read {
            self.state = try RemoteState(reading: state)
            self.cache = RemoteCache(keepingNothingIn: cache, files: vault.files)
        } else {
            self.state = try RemoteState(state)
            self.cache = try RemoteCache(cache, limit: description.cacheBytes, files: vault.files)
        }
    }

    func set(_ description: RemoteDescription) {
        about.withLock { $0 = description }
        cache.set(limit: description.cacheBytes)
    }

    func close() { state.close() }

    /// On the remote's own thread.
    func on<Value: Sendable>(
        _ body: @escaping @Sendable (RemoteState) throws(VaultError) -> Value
    ) async throws(VaultError) -> Value {
        try await lane.run { [state] () throws(VaultError) in try body(state) }
    }

    /// How fast may be sent from now on; nil: as fast as it goes.
    public func limitUpload(bytesPerSecond: Int?) {
        (store as? S3Client)?.setUploadLimit(bytesPerSecond: bytesPerSecond)
    }
}

/// What a pass is doing, for whoever watches.
public struct RemoteProgress: Sendable, Hashable, Codable {
    /// Of this pass.
    public var sentObjects = 0
    public var sentBytes = 0
    public var deletedObjects = 0
    public var listedObjects = 0
    /// When something was last accepted there.
    public var lastSuccess: WallTime?
    /// Why nothing is sent; nil while all is well.
    public var failure: String?

    public init() {}
}
