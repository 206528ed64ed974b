import Core

/// What a start does about what a crash left, without a key:
///
/// | found | done |
/// |---|---|
/// | `open/<sha256>.part` with that digest | published whole |
/// | another part | cut before its first chunk that is not whole, published with flag `salvaged` |
/// | a part whose object the ledger lists, or lists as removed | its name in `open/` is taken away |
/// | a part without a whole chunk | removed when its header is whole or it is empty, else left and ignored |
/// | an object without an entry, when the index is new | adopted from its header once its digest is right |
/// | an epoch file without an entry | moved to quarantine: no clip can refer to it |
///
/// A part keeps its name in `open/` until its entry is committed, so all that a crash can leave unfinished is found there,
/// however many objects there are. Only a new index is a reason to look through them all: then nothing is known, and the
/// ledger may have come from an older copy.
struct Recovery {
    let layout: Layout
    let files: any FileSystem
    let vault: VaultID
    let index: Index
    let now: WallTime

    struct Outcome {
        /// To commit.
        var entries: [LedgerEntry] = []
        /// Names in `open/` to take away after that.
        var finished: [String] = []
        var alarms: [String] = []
    }

    /// A salvaged clip's end is guessed from its file's time, within this much of its start.
    private static let longestClip: Int64 = 300_000_000

    /// - Parameter isWhole: look through every folder, because nothing is known.
    func run(isWhole: Bool) throws(VaultError) -> Outcome {
        var outcome = Outcome()
        var known: Set<ObjectID> = []
        let parts = try files.list(layout.open).filter { $0.hasSuffix(".part") }.sorted()
        // After a mere kill their names may never have reached the disk; until they are entered they must stay.
        if !parts.isEmpty { try files.syncDirectory(layout.open) }
        for name in parts {
            let path = layout.open + "/" + name
            do throws(VaultError) {
                guard let clip = try part(path, String(name.dropLast(5))) else { continue }
                outcome.finished.append(path)
                // A part that was written anew may have left its first form under another name.
                guard known.insert(clip.object).inserted else { continue }
                outcome.entries.append(LedgerEntry(at: now, .clip(clip)))
            } catch {
                guard error.code != .noSpace, error.code != .readOnly else { throw error }
                outcome.alarms.append("open/\(name) could not be salvaged and is left as it is: \(error.reason)")
            }
        }
        try makeShards()
        if isWhole { try adoptAll(known, &outcome) }
        try quarantineEpochs(&outcome.alarms)
        outcome.entries.sort { a, b in
            guard case .clip(let a) = a.body, case .clip(let b) = b.body else { return false }
            return (a.camera, a.identity.sequence) < (b.camera, b.identity.sequence)
        }
        return outcome
    }

    /// Nil when there is nothing to enter.
    private func part(_ path: String, _ name: String) throws(VaultError) -> ClipRecord? {
        let file = try files.open(path, .readWrite)
        let count = try file.count()
        guard count > 0 else {
            try files.remove(path)
            return nil
        }
        if let object = ObjectID(name) {
            if try isSettled(object, path) { return nil }
            if try sha256(file, count) == object {
                let clip = try clip(file, object, byteCount: count, modified: modified(path), isSalvaged: false)
                try file.sync()
                try Publishing.link(path, object, layout, files)
                return clip
            }
            // Under its object's name a file is never changed: it was whole once, and the disk has damaged it since.
            guard try files.attributes(layout.object(object)) == nil else {
                throw VaultError(.damaged, "its bytes do not have the digest that is its name.")
            }
        }
        let header = try ObjectReader.header(file)
        let payload = header.count + AgePayload.nonceSize
        // Its new name may not have reached the disk while its object's did. Then it is whole, and must not be changed; if a
        // former start had cut it, its last chunk says so.
        let whole = try sha256(file, count)
        if try files.attributes(layout.object(whole)) != nil {
            if try isSettled(whole, path) { return nil }
            let clip = try clip(
                file, whole, byteCount: count, modified: modified(path),
                isSalvaged: (count - payload) % AgePayload.sealedChunkSize == 0)
            try file.sync()
            try Publishing.link(path, whole, layout, files)
            return clip
        }
        let chunks = try wholeChunks(file, payload, count)
        guard chunks > 0 else {
            try files.remove(path)
            return nil
        }
        let modified = try modified(path)
        let kept = payload + chunks * AgePayload.sealedChunkSize
        let object = kept < count ? try sha256(file, kept) : whole
        if try isSettled(object, path) { return nil }
        let clip = try clip(file, object, byteCount: kept, modified: modified, isSalvaged: true)
        if kept < count { try file.truncate(to: kept) }
        try file.sync()
        try Publishing.link(path, object, layout, files)
        return clip
    }

    /// Whether the ledger has done with this object; then its name in `open/` goes. Not when the object is gone from its place
    /// without the ledger's knowing: then this is the last copy, and takes its place again.
    private func isSettled(_ object: ObjectID, _ path: String) throws(VaultError) -> Bool {
        if try index.knowsObject(object) {
            if try files.attributes(layout.object(object)) == nil {
                try Publishing.link(path, object, layout, files)
            }
        } else {
            guard try index.isDeleted(object) else { return false }
        }
        try files.remove(path)
        return true
    }

    /// Chunks up to the first that never reached the disk as a whole. A power cut leaves zeros where the file's size was
    /// written and its bytes were not; sealed bytes hold no whole sector of zeros.
    private func wholeChunks(_ file: any OpenFile, _ payload: Int, _ count: Int) throws(VaultError) -> Int {
        let chunks = max(0, count - payload) / AgePayload.sealedChunkSize
        var buffer = [UInt8](repeating: 0, count: AgePayload.sealedChunkSize)
        for chunk in 0..<chunks {
            let offset = payload + chunk * AgePayload.sealedChunkSize
            guard try file.read(at: offset, into: &buffer) == buffer.count else { return chunk }
            var start = (512 - offset % 512) % 512
            while start + 512 <= buffer.count {
                if buffer[start] == 0, buffer[start..<start + 512].allSatisfy({ $0 == 0 }) { return chunk }
                start += 512
            }
        }
        return chunks
    }

    private func makeShards() throws(VaultError) {
        var isChanged = false
        for shard in Layout.shards where try files.attributes(layout.shard(shard)) == nil {
            try files.makeDirectory(layout.shard(shard))
            isChanged = true
        }
        if isChanged { try files.syncDirectory(layout.objects) }
    }

    /// Objects under their final names that the ledger does not list.
    private func adoptAll(_ known: Set<ObjectID>, _ outcome: inout Outcome) throws(VaultError) {
        for shard in Layout.shards {
            for name in try files.list(layout.shard(shard)) {
                guard let object = ObjectID(name), !known.contains(object), try !index.knowsObject(object) else {
                    continue
                }
                if try wasDeleted(object) { continue }
                do throws(VaultError) {
                    let clip = try adopt(layout.object(object), object)
                    outcome.entries.append(LedgerEntry(at: now, .clip(clip)))
                    outcome.alarms.append("Object \(object) was not in the ledger and is adopted.")
                } catch {
                    outcome.alarms.append(
                        "objects/\(shard)/\(name) is not in the ledger and cannot be adopted: \(error.reason)")
                }
            }
        }
    }

    /// An object under its final name that the ledger does not list.
    func adopt(_ path: String, _ object: ObjectID) throws(VaultError) -> ClipRecord {
        let file = try files.open(path, .read)
        let count = try file.count()
        guard try sha256(file, count) == object else {
            throw VaultError(.damaged, "its bytes do not have the digest that is its name.")
        }
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

    /// Of the first `count` bytes.
    private func sha256(_ file: any OpenFile, _ count: Int) throws(VaultError) -> ObjectID {
        let digest = try Digest.sha256()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var offset = 0
        while offset < count {
            let read = min(try file.read(at: offset, into: &buffer), count - offset)
            guard read > 0 else { break }
            digest.update(buffer, 0..<read)
            offset += read
        }
        guard let object = ObjectID(digest: digest.finish()) else {
            throw VaultError(.invalid, "The digest has a wrong size.")
        }
        return object
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
