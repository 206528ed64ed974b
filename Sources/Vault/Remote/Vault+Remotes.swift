import Core
import Synchronization

extension Vault {
    /// As set up, by name. Errors: `.damaged`, `.newerFormat` of a description.
    public static func remotes(
        at path: String, files: any FileSystem = PosixFileSystem()
    ) throws(VaultError) -> [RemoteDescription] {
        try described(Layout(path), files).map { (remote) throws(VaultError) in try remote.description.get() }
    }
    /// Each by its file's name: a damaged one costs the others nothing.
    static func described(
        _ layout: Layout, _ files: any FileSystem
    ) throws(VaultError) -> [(name: String, description: Result<RemoteDescription, VaultError>)] {
        guard try files.attributes(layout.remotes) != nil else { return [] }
        return try files.list(layout.remotes).sorted().filter { $0.hasSuffix(".json") }.map { file in
            let name = String(file.dropLast(5))
            do throws(VaultError) {
                let path = layout.remote(name)
                let description = try RemoteDescription(
                    parsing: try files.contents(path, limit: 1 << 20), path: path)
                guard description.name == name else {
                    throw VaultError(
                        .damaged, "\(path) describes remote \(description.name).",
                        hint: "Give the file its old name, or remove it and add the remote again.")
                }
                return (name, .success(description))
            } catch {
                return (name, .failure(error))
            }
        }
    }
    public func remoteDescriptions() throws(VaultError) -> [RemoteDescription] {
        try Self.remotes(at: layout.root, files: files)
    }

    /// Sets a remote up, or changes it: asks the server what it can, writes the description, and uses it from now on.
    ///
    /// Errors: `.invalid`, `.exists`, `.readOnly`, those of the credentials and of the probe; `.otherVault` where another vault lies.
    /// - Parameter isProbed: false: nothing is asked, for a server that cannot be reached now.
    @discardableResult
    public func add(
        _ description: RemoteDescription, replaces: Bool = false, isProbed: Bool = true
    ) async throws(VaultError) -> RemoteDescription {
        guard mode != .read else { throw VaultError(.readOnly, "The vault was opened for reading.") }
        guard RemoteDescription.isName(description.name) else {
            throw VaultError(
                .invalid, "\(description.name) is no name for a remote.",
                hint: "1 to 40 of a-z, 0-9 and -, not beginning with -.")
        }
        let known = try remoteDescriptions()
        if !replaces, known.contains(where: { $0.name == description.name }) {
            throw VaultError(
                .exists, "There is a remote \(description.name) already.", hint: "Choose another name, or change it.")
        }
        let address = try description.address()
        for other in known where other.name != description.name {
            let theirs = try other.address()
            guard
                theirs.host != address.host || theirs.port != address.port || theirs.bucket != address.bucket
                    || theirs.prefix != address.prefix
            else { throw VaultError(.exists, "Remote \(other.name) is the same place.") }
        }
        var description = description
        if isProbed {
            let client = try S3Client(address, try description.readCredentials(), time: time)
            description.capabilities = try await client.probe(now: time.wallNow())
            try await checkIsOurs(client, description.name)
        }
        try write(description)
        if let opened = openedRemotes.withLock({ $0.first { $0.name == description.name } }) {
            // Its store may be another one now.
            try await close(opened)
        }
        try openRemote(description)
        return description
    }

    private func checkIsOurs(_ store: any RemoteStore, _ name: String) async throws(VaultError) {
        do throws(VaultError) {
            let bytes = try await store.contents(RemoteLayout.vaultFile, limit: 1 << 20)
            let theirs = try VaultFile(parsing: bytes, path: "\(name)/\(RemoteLayout.vaultFile)")
            guard theirs.id == id else {
                throw VaultError(
                    .otherVault, "Another vault (\(theirs.id)) lies there.",
                    hint: "Give this vault a bucket, or a prefix within the bucket, of its own.")
            }
        } catch {
            guard [.notFound, .refused, .damaged].contains(error.code) else { throw error }
        }
    }

    /// Changes what the owner may change without asking the server. Errors: `.notFound`.
    public func change(_ name: String, _ body: (inout RemoteDescription) throws(VaultError) -> Void)
        throws(VaultError) -> RemoteDescription
    {
        guard var description = try remoteDescriptions().first(where: { $0.name == name }) else {
            throw Self.unknownRemote(name)
        }
        try body(&description)
        try write(description)
        openedRemotes.withLock { $0.first { $0.name == name } }?.set(description)
        return description
    }

    fileprivate func write(_ description: RemoteDescription) throws(VaultError) {
        if try files.attributes(layout.remotes) == nil {
            try files.makeDirectory(layout.remotes)
            try files.syncDirectory(layout.root)
        }
        try files.replace(layout.remote(description.name), with: try description.encoded)
    }

    /// Forgets a remote; what lies there stays. Errors: `.notFound`; `.held` when clips lie nowhere else.
    public func removeRemote(_ name: String, isForced: Bool = false) async throws(VaultError) {
        guard let description = try remoteDescriptions().first(where: { $0.name == name }) else {
            throw Self.unknownRemote(name)
        }
        let opened = openedRemotes.withLock { $0.first { $0.name == name } }
        let remote = if let opened { opened } else { try openRemote(description) }
        let evicted = try await remote.on { (state) throws(VaultError) in
            try state.follow(remote.vault.ledger, description.contents)
            return try state.counts().evicted
        }
        guard evicted == 0 || isForced else {
            throw VaultError(
                .held, "\(evicted) clip(s) lie in remote \(name) only.",
                hint: "`sudocam remote restore --here \(name)` brings them back first; --force forgets them.")
        }
        try await close(remote)
        try files.remove(layout.remote(name))
        try RemoteState.remove(layout.remoteState(name), files)
        try files.syncDirectory(layout.remotes)
    }
    static func unknownRemote(_ name: String) -> VaultError {
        VaultError(.notFound, "There is no remote \(name).", hint: "`sudocam remote list` shows them.")
    }

    // MARK: In use

    /// Uses all that are set up from now on: for reading what lies there only, and for whoever keeps them level. One that cannot be
    /// used (credentials, certificate, its file is damaged) is told as an alarm, and costs the others nothing.
    @discardableResult
    public func openRemotes() throws(VaultError) -> [Remote] {
        func topic(_ name: String) -> String { "Remote \(name) cannot be used" }
        var refused: [String: String] = [:]
        for (name, description) in try Self.described(layout, files) {
            guard !openedRemotes.withLock({ $0.contains { $0.name == name } }) else { continue }
            do throws(VaultError) { try openRemote(try description.get()) } catch {
                let alarm = "\(topic(name)): \(error)"
                refused[name] = alarm
                hub.send(.alarm(alarm))
            }
        }
        // Put right, or removed.
        let calm = refusedRemotes.withLock { before in
            defer { before = refused }
            return before.keys.filter { refused[$0] == nil }
        }
        for name in calm { hub.send(.calm(topic(name))) }
        return openedRemotes.withLock { $0 }
    }
    @discardableResult
    private func openRemote(_ description: RemoteDescription) throws(VaultError) -> Remote {
        let remote = try Remote(description, self, store: try description.store(time: time))
        openedRemotes.withLock { $0.append(remote) }
        return remote
    }
    /// When bytes of what is known of a remote were found to be damaged: that is forgotten, and the remote used anew as another
    /// `Remote`; the ledger and its listing tell the rest.
    /// - Returns: whether it was so.
    public func renewDamaged(_ remote: Remote) async throws(VaultError) -> Bool {
        guard try await remote.on({ (state) throws(VaultError) in try state.isNotedDamaged }) else { return false }
        try await close(remote)
        try openRemotes()
        return true
    }
    private func close(_ remote: Remote) async throws(VaultError) {
        openedRemotes.withLock { remotes in remotes.removeAll { $0 === remote } }
        // Whatever pass is under way ends at its next step.
        await remote.turn.take()
        remote.close()
        await remote.turn.give()
    }
    public var remotes: [Remote] { openedRemotes.withLock { $0 } }
    /// A sentence for each that could not be used when `openRemotes` last looked, by name.
    public var remotesOutOfUse: [String] {
        refusedRemotes.withLock { $0 }.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Errors: `.notFound`; those of opening it.
    public func remote(named name: String) throws(VaultError) -> Remote {
        try openRemotes()
        if let remote = openedRemotes.withLock({ $0.first { $0.name == name } }) { return remote }
        guard let description = try remoteDescriptions().first(where: { $0.name == name }) else {
            throw Self.unknownRemote(name)
        }
        return try openRemote(description)
    }

    /// One that is known to have an object; of several the first whose server can be reached as far as anybody knows.
    func remote(having object: ObjectID) throws(VaultError) -> Remote? {
        var doubtful: Remote?
        var unknown: Remote?
        let remotes = openedRemotes.withLock { $0 }.filter { $0.description.contents != .onlyEpochKeys }
        for remote in remotes {
            do throws(VaultError) { guard try remote.state.has(object) else { continue } } catch {
                // A damaged cache costs no footage: the ledger says below that it lies elsewhere.
                guard error.code == .index else { throw error }
                unknown = unknown ?? remote
                continue
            }
            guard remote.progress.withLock({ $0.failure }) != nil else { return remote }
            doubtful = remote
        }
        // What remotes have may not be known yet, because their state was lost; the ledger says that it lies elsewhere.
        guard doubtful == nil, let first = unknown ?? remotes.first else { return doubtful }
        if mode == .mirror { return first }
        return try index.isEvicted(object) ? first : nil
    }
}

extension Vault {
    /// A remote whose store somebody else made. For tests.
    func use(_ description: RemoteDescription, store: any RemoteStore) throws(VaultError) -> Remote {
        try write(description)
        let remote = try Remote(description, self, store: store)
        openedRemotes.withLock { $0.append(remote) }
        return remote
    }
}
