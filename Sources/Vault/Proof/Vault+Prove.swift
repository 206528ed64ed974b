import Core

extension Vault {
    /// Writes an evidence bundle of some clips of one camera into a new or an empty folder; `Evidence` says what lies in it. After
    /// an error the folder may hold some of them in clear: it is the caller's to remove.
    ///
    /// Errors: `.locked`; `.exists` when something else stands at `folder`; `.notFound` when a clip is not in the signed ledger;
    /// `.damaged` when an object is not what its name says; the disk's.
    /// - Parameters:
    ///   - name: of a clip's playable file, without a slash; several may not have the same.
    ///   - progress: sealed bytes done and to do.
    public func prove(
        _ clips: [ClipRecord], to folder: String, cameraName: String? = nil, page: EvidencePageForm,
        name: @escaping @Sendable (ClipRecord) -> String,
        progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws(VaultError) -> Evidence {
        try await reads.run { [self] () throws(VaultError) in
            try EvidenceWriter(vault: self, folder: folder, cameraName: cameraName, page: page, name: name)
                .write(clips, progress)
        }
    }

    /// The signed head of the ledger, its key as text, and the hashes that prove that it continues the tree of `size` entries
    /// (RFC 6962, 2.1.2); none when `size` is 0 or not smaller. Needs no key.
    public func ledgerHead(
        continuing size: Int = 0
    ) async throws(VaultError) -> (checkpoint: [UInt8], key: String, proof: [[UInt8]]) {
        try await reads.run { [self] () throws(VaultError) in
            let note = try files.contents(ledger.checkpointPath, limit: 1 << 16)
            let head = try Checkpoint(verifying: note, vault: id, key: file.ledger)
            let proof =
                size > 0 && size < head.count ? try MerkleProof.consistency(from: size, to: head.count, ledger) : []
            return (note, file.ledger.text(of: id), proof)
        }
    }
}

/// One bundle being written.
private struct EvidenceWriter {
    let vault: Vault
    let folder: String
    let cameraName: String?
    let page: EvidencePageForm
    let name: (ClipRecord) -> String
    private var files: any FileSystem { vault.files }

    func write(_ clips: [ClipRecord], _ progress: (Int, Int) -> Void) throws(VaultError) -> Evidence {
        if let attributes = try files.attributes(folder) {
            guard attributes.isDirectory, try files.list(folder).isEmpty else {
                throw VaultError(.exists, "\(folder) is there already.", hint: "Name a new folder.")
            }
        }
        guard let camera = clips.first?.camera, clips.allSatisfy({ $0.camera == camera }) else {
            throw VaultError(.notFound, "There is no clip to prove in this range.")
        }
        _ = try vault.keyring.owner()
        let note = try files.contents(vault.ledger.checkpointPath, limit: 1 << 16)
        let head = try Checkpoint(verifying: note, vault: vault.id, key: vault.file.ledger)
        for path in [folder, folder + "/clips", folder + "/sealed", folder + "/entries"] {
            try files.makeDirectory(path)
        }
        var evidence = Evidence(
            vault: vault.id, key: vault.file.ledger.text(of: vault.id), made: vault.time.wallNow(), camera: camera,
            cameraName: cameraName, clips: [], context: [], page: page.version)
        let total = clips.reduce(0) { $0 + $1.byteCount }
        var done = 0
        for clip in clips {
            guard let entry = try vault.index.entry(of: clip.object), entry < head.count else {
                throw VaultError(
                    .notFound, "The signed ledger does not have object \(clip.object) yet.", hint: "Try again.")
            }
            let name = name(clip)
            let sealed = try copySealed(clip)
            let key = try writePlain(clip, from: sealed, to: "\(folder)/clips/\(name)")
            evidence.clips.append(Evidence.Clip(record: clip, entry: entry, file: "clips/\(name)", fileKey: key))
            done += clip.byteCount
            progress(done, total)
        }
        evidence.context = try context(of: evidence.clips, within: head.count)
        for position in evidence.positions {
            guard let bytes = try vault.ledger.entry(position) else {
                throw VaultError(.damaged, "Ledger entry \(position) is missing.", hint: "Run verify.")
            }
            let proof = TlogProof(
                index: position, path: try MerkleProof.inclusion(of: position, in: head.count, vault.ledger),
                checkpoint: note)
            try put(bytes, Evidence.entryFile(position))
            try put(proof.encoded, Evidence.proofFile(position))
        }
        try put(note, "checkpoint")
        try put(evidence.encoded, "bundle.json")
        try put(Array(page.html(evidence).utf8), "README.html")
        return evidence
    }

    private func put(_ bytes: [UInt8], _ name: String) throws(VaultError) {
        let file = try files.open("\(folder)/\(name)", .create)
        try file.write(bytes, 0..<bytes.count, at: 0)
        try file.sync()
    }

    /// The object as it lies in the vault or in a remote, checked against its name on the way.
    private func copySealed(_ clip: ClipRecord) throws(VaultError) -> any OpenFile {
        let source = try vault.openFile(clip)
        let copy = try files.open("\(folder)/sealed/\(clip.object)", .create)
        var isWhole = try copyAll(source, to: copy) == clip.object.digest
        // What was kept of a far object may be torn; what the store has decides.
        if !isWhole, let far = source as? RemoteFile, far.distrust() {
            try copy.truncate(to: 0)
            isWhole = try copyAll(source, to: copy) == clip.object.digest
        }
        guard isWhole else {
            throw VaultError(.damaged, "Object \(clip.object) is damaged: nothing can be proved by it.")
        }
        try copy.sync()
        return copy
    }

    /// SHA-256 of what was copied.
    private func copyAll(_ source: any OpenFile, to copy: any OpenFile) throws(VaultError) -> [UInt8] {
        let digest = try Digest.sha256()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var offset = 0
        while true {
            let count = try source.read(at: offset, into: &buffer)
            guard count > 0 else { return digest.finish() }
            digest.update(buffer, 0..<count)
            try copy.write(buffer, 0..<count, at: offset)
            offset += count
        }
    }

    /// From the copy, so that what lies far away comes once. The file key.
    private func writePlain(_ clip: ClipRecord, from sealed: any OpenFile, to path: String) throws(VaultError)
        -> [UInt8]
    {
        let identity = try vault.epochIdentity(clip.identity.epoch)
        let key = try AgeWrapping.unwrap(try ObjectReader.header(sealed), identities: [identity])
        defer { key.wipe() }
        let reader = try ObjectReader(sealed, isSalvaged: clip.isSalvaged, lane: .serial("vault.object")) {
            (header) throws(VaultError) in try AgeWrapping.unwrap(header, identities: [identity])
        }
        defer { reader.wipe() }
        guard reader.identity == clip.identity else {
            throw VaultError(.damaged, "The header of object \(clip.object) names another clip than the ledger.")
        }
        try vault.keyring.hold(reader)
        let file = try files.open(path, .create)
        for chunk in 0..<reader.chunkCount {
            let offset = chunk * AgePayload.chunkSize
            let plain = try reader.readBlocking(at: offset, count: AgePayload.chunkSize)
            try file.write(plain, 0..<plain.count, at: offset)
        }
        try file.sync()
        // It leaves guarded memory on purpose: it goes into the bundle, and opens this one clip.
        return try unsafe key.withBytes { (bytes) throws(VaultError) in unsafe Array(bytes) }
    }

    /// Positions of the entries that tell of these clips: their epochs, the start of the recorder before the first, and what
    /// was entered about the camera or the clock from there to the last.
    private func context(of clips: [Evidence.Clip], within count: Int) throws(VaultError) -> [Int] {
        guard let camera = clips.first?.record.camera, let last = clips.map(\.entry).max() else { return [] }
        var missing = Set(clips.map(\.record.identity.epoch))
        var context: [Int] = []
        var isStartFound = false
        let first = clips.map(\.entry).min() ?? last
        var position = last
        while position >= 0, !isStartFound || !missing.isEmpty || position >= first {
            defer { position -= 1 }
            guard let bytes = try vault.ledger.entry(position), let entry = try? LedgerEntry(parsing: bytes) else {
                continue
            }
            switch entry.body {
            case .epoch(let epoch) where missing.contains(epoch.epoch):
                missing.remove(epoch.epoch)
                context.append(position)
            case .open where !isStartFound:
                context.append(position)
                if position < first { isStartFound = true }
            case .clock where !isStartFound: context.append(position)
            case .gap(let gap) where gap.camera == camera && position >= first: context.append(position)
            default: break
            }
        }
        return context.sorted()
    }
}
