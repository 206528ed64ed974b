import Core

/// What a start does about what a crash left, without a key:
///
/// | found | done |
/// |---|---|
/// | `open/<sha256>.part` with that digest | published whole |
/// | another part | cut at its last whole chunk, published with flag `salvaged` |
/// | a part without a whole chunk | removed when its header is whole or it is empty, else left and ignored |
/// | an object without an entry | adopted from its header once its digest is right |
/// | an epoch file without an entry | moved to quarantine: no clip can refer to it |
struct Recovery {
    let layout: Layout
    let files: any FileSystem
    let vault: VaultID
    let index: Index
    let now: WallTime

    /// A salvaged clip's end is guessed from its file's time, within this much of its start.
    private static let longestClip: Int64 = 300_000_000
    /// Folders changed this long before the ledger's last write, or later, may hold an object without an entry.
    private static let slack: Int64 = 60_000_000

    /// - Parameter isWhole: look through every folder, because nothing is known.
    /// - Returns: entries to commit.
    func run(isWhole: Bool, _ alarms: inout [String]) throws(VaultError) -> [LedgerEntry] {
        var entries: [LedgerEntry] = []
        for name in try files.list(layout.open).sorted() where name.hasSuffix(".part") {
            do throws(VaultError) {
                if let clip = try part(layout.open + "/" + name, String(name.dropLast(5))) {
                    entries.append(LedgerEntry(at: now, .clip(clip)))
                }
            } catch {
                guard error.code != .noSpace, error.code != .readOnly else { throw error }
                alarms.append("open/\(name) could not be salvaged and is left as it is: \(error.reason)")
            }
        }
        let known = Set(
            entries.compactMap { entry in if case .clip(let clip) = entry.body { clip.object } else { nil } })
        let since = isWhole ? Int64.min : try lastWrite() - Self.slack
        for shard in Layout.shards {
            guard let attributes = try files.attributes(layout.shard(shard)) else {
                try files.makeDirectory(layout.shard(shard))
                try files.syncDirectory(layout.objects)
                continue
            }
            guard attributes.modified >= since else { continue }
            for name in try files.list(layout.shard(shard)) {
                guard let object = ObjectID(name), !known.contains(object), try !index.knowsObject(object) else {
                    continue
                }
                if try wasDeleted(object) { continue }
                do throws(VaultError) {
                    let clip = try adopt(layout.object(object), object)
                    entries.append(LedgerEntry(at: now, .clip(clip)))
                    if isWhole { alarms.append("Object \(object) was not in the ledger and is adopted.") }
                } catch {
                    alarms.append(
                        "objects/\(shard)/\(name) is not in the ledger and cannot be adopted: \(error.reason)")
                }
            }
        }
        try quarantineEpochs(&alarms)
        return entries.sorted { a, b in
            guard case .clip(let a) = a.body, case .clip(let b) = b.body else { return false }
            return (a.camera, a.identity.sequence) < (b.camera, b.identity.sequence)
        }
    }

    private func part(_ path: String, _ name: String) throws(VaultError) -> ClipRecord? {
        let file = try files.open(path, .readWrite)
        let count = try file.count()
        guard count > 0 else {
            try files.remove(path)
            return nil
        }
        if let object = ObjectID(name), try sha256(file) == object {
            let clip = try clip(file, object, byteCount: count, modified: modified(path), isSalvaged: false)
            try file.sync()
            try Publishing.move(path, object, layout, files)
            return clip
        }
        let header = try ObjectReader.header(file)
        let payload = header.count + AgePayload.nonceSize
        let chunks = max(0, count - payload) / AgePayload.sealedChunkSize
        guard chunks > 0 else {
            try files.remove(path)
            return nil
        }
        let modified = try modified(path)
        try file.truncate(to: payload + chunks * AgePayload.sealedChunkSize)
        try file.sync()
        let object = try sha256(file)
        let clip = try clip(
            file, object, byteCount: payload + chunks * AgePayload.sealedChunkSize, modified: modified, isSalvaged: true
        )
        try Publishing.move(path, object, layout, files)
        return clip
    }

    /// An object under its final name that the ledger does not list.
    func adopt(_ path: String, _ object: ObjectID) throws(VaultError) -> ClipRecord {
        let file = try files.open(path, .read)
        guard try sha256(file) == object else {
            throw VaultError(.damaged, "its bytes do not have the digest that is its name.")
        }
        let count = try file.count()
        let header = try ObjectReader.header(file).count
        // What a crash cut ends with a whole chunk; so does one clip in 65536 that none did, and opens all the same.
        let isSalvaged = (count - header - AgePayload.nonceSize) % AgePayload.sealedChunkSize == 0
        return try clip(file, object, byteCount: count, modified: try modified(path), isSalvaged: isSalvaged)
    }

    private func clip(
        _ file: any OpenFile, _ object: ObjectID, byteCount: Int, modified: Int64, isSalvaged: Bool
    ) throws(VaultError) -> ClipRecord {
        guard let identity = ClipStanza.decode(try ObjectReader.header(file)) else {
            throw VaultError(.damaged, "its header names no clip.")
        }
        guard identity.vault == vault else { throw VaultError(.damaged, "it belongs to vault \(identity.vault).") }
        guard try index.knowsEpoch(identity.epoch) else {
            throw VaultError(.damaged, "the ledger does not know its epoch \(identity.epoch).")
        }
        let latest = identity.start + Self.longestClip
        let end = max(identity.start, min(WallTime(microseconds: modified), latest))
        return ClipRecord(object: object, identity: identity, end: end, byteCount: byteCount, isSalvaged: isSalvaged)
    }

    private func modified(_ path: String) throws(VaultError) -> Int64 { try files.attributes(path)?.modified ?? 0 }

    private func sha256(_ file: any OpenFile) throws(VaultError) -> ObjectID {
        let digest = try Digest.sha256()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var offset = 0
        while true {
            let count = try file.read(at: offset, into: &buffer)
            digest.update(buffer, 0..<count)
            offset += count
            if count < buffer.count { break }
        }
        guard let object = ObjectID(digest: digest.finish()) else {
            throw VaultError(.invalid, "The digest has a wrong size.")
        }
        return object
    }

    /// When the ledger was last written.
    private func lastWrite() throws(VaultError) -> Int64 {
        try files.attributes(layout.ledger + "/checkpoint")?.modified ?? .min + Self.slack
    }

    /// Whether the ledger says that this object is gone: then its unlink is finished here.
    private func wasDeleted(_ object: ObjectID) throws(VaultError) -> Bool {
        guard try index.isDeleted(object) else { return false }
        let path = layout.object(object)
        try files.remove(path)
        try files.syncDirectory(parent(of: path))
        return true
    }

    private func quarantineEpochs(_ alarms: inout [String]) throws(VaultError) {
        for name in try files.list(layout.epochs) {
            if name.hasSuffix(".tmp") {
                try files.remove(layout.epochs + "/" + name)
            } else if let epoch = EpochID(String(name.dropLast(4))), try !index.knowsEpoch(epoch) {
                try files.rename(layout.epochs + "/" + name, to: layout.quarantine + "/" + name)
                alarms.append("epochs/\(name) is not in the ledger and was moved to quarantine.")
            }
        }
    }
}
