import Core
import Synchronization

/// A clip being written: `open/<uuid>.part`. All state of a `ClipWriter`, shared with the sources that read it.
///
/// ```
/// writing ──append──▶ writing ──seal──▶ sealed ──publish──▶ published
///    └──────discard──────▶ gone
/// ```
/// A full chunk is sealed in place and written at once. Its sealed bytes stay in memory until the next good sync, so
/// that a failed `fdatasync` is answered by writing the same bytes to a new file, never by asking again.
final class SealedPart: Wipeable {
    struct State: ~Copyable {
        var file: any OpenFile
        var path: String
        var key: SecretBytes?
        /// Plaintext of the chunk being filled: the first `filled` bytes.
        var buffer: [UInt8]
        var filled = 0
        var sealedChunks = 0
        var digest: Digest
        /// The digest before the last sealed chunk, in case that one has to become the last of all.
        var digestBefore: Digest
        /// Sealed bytes that no sync has covered yet, in order; the first `written` of them are in the file.
        var unsynced: [(offset: Int, bytes: [UInt8], count: Int)] = []
        var written = 0
        var spare: [[UInt8]] = []
        /// The last chunk is sealed: nothing can be appended; publishing may be tried again.
        var isSealed = false
        var object: ObjectID?
        /// A sync failed: only a new file can make these bytes durable.
        var mustRewrite = false
        /// The name in `open/` is durable too.
        var isNameSynced = false
        /// Published or discarded.
        var isFinished = false
    }

    let files: any FileSystem
    let payloadStart: Int
    private let state: Mutex<State>
    private let sources = Atomic<Int>(0)
    /// Plain bytes appended; read without the lock that a slow disk may hold.
    private let plainCount = Atomic<Int>(0)
    private let dirty = Atomic<Bool>(true)
    /// What became of the ledger's entry for it: one thread at a time tries.
    let entry = Mutex(Entry.none)
    enum Entry { case none, attempted, committed }
    /// Called when the disk is full, before one more attempt; true when something was freed.
    private let makeRoom: @Sendable () -> Bool

    /// Another program may take what was freed before it is used; so often a write asks again.
    static let rescues = 8

    /// Writes the header. Errors: as `FileSystem`; then nothing stays.
    init(
        _ identity: ClipIdentity, to recipient: AgeRecipient, path: String, files: any FileSystem,
        makeRoom: @escaping @Sendable () -> Bool
    ) throws(VaultError) {
        self.files = files
        self.makeRoom = makeRoom
        let fileKey = SecretBytes.random(count: AgeWrapping.fileKeySize)
        let header = try AgeHeader(
            stanzas: [try AgeWrapping.wrap(fileKey, to: recipient), ClipStanza.encode(identity)], fileKey: fileKey)
        let nonce = randomBytes(AgePayload.nonceSize)
        let key = try AgePayload.key(fileKey: fileKey, nonce: nonce)
        fileKey.wipe()
        let head = header.bytes + nonce
        payloadStart = head.count
        let digest = try Digest.sha256()
        digest.update(head)
        let file = try files.open(path, .create)
        state = Mutex(
            State(
                file: file, path: path, key: key, buffer: [UInt8](repeating: 0, count: AgePayload.sealedChunkSize),
                digest: digest, digestBefore: digest, unsynced: [(0, head, head.count)]))
        do throws(VaultError) {
            try state.withLock { (state) throws(VaultError) in try flush(&state) }
        } catch {
            try? files.remove(path)
            throw error
        }
    }

    deinit { wipe() }

    var count: Int { plainCount.load(ordering: .acquiring) }
    var isDirty: Bool { dirty.load(ordering: .relaxed) }

    /// Errors: `.closed`; `.noSpace` and `.io`: the bytes are kept in memory and the next call writes them first.
    func append(_ bytes: [UInt8]) throws(VaultError) {
        try state.withLock { (state) throws(VaultError) in
            guard !state.isFinished, !state.isSealed else { throw VaultError(.closed, "The clip is finished.") }
            var taken = 0
            while taken < bytes.count {
                let count = min(bytes.count - taken, AgePayload.chunkSize - state.filled)
                copyBytes(bytes, taken..<taken + count, into: &state.buffer, at: state.filled)
                state.filled += count
                taken += count
                if state.filled == AgePayload.chunkSize { try seal(&state, isLast: false) }
            }
            plainCount.add(bytes.count, ordering: .releasing)
            dirty.store(true, ordering: .relaxed)
            try flush(&state)
        }
    }

    /// Seals the chunk in place, checks that it opens, and queues it for writing. The buffer is never plaintext after.
    private func seal(_ state: inout State, isLast: Bool) throws(VaultError) {
        guard let key = state.key else { throw Keyring.locked }
        let nonce = AgePayload.nonce(state.sealedChunks, isLast: isLast)
        let count = state.filled + AgeCrypto.tagSize
        try ChunkCipher.seal(&state.buffer, count: state.filled, key: key, nonce: nonce)
        guard try AgeCrypto.opens(state.buffer, count: count, key: key, nonce: nonce) else {
            throw VaultError(
                .damaged, "A chunk did not open right after it was sealed.", hint: "Test this machine's memory.")
        }
        state.digestBefore = try state.digest.copy()
        state.digest.update(state.buffer, 0..<count)
        let offset = payloadStart + state.sealedChunks * AgePayload.sealedChunkSize
        var next = state.spare.popLast() ?? [UInt8](repeating: 0, count: AgePayload.sealedChunkSize)
        swap(&state.buffer, &next)
        state.unsynced.append((offset, next, count))
        state.sealedChunks += 1
        state.filled = 0
    }

    private func flush(_ state: inout State) throws(VaultError) {
        while state.written < state.unsynced.count {
            let piece = state.unsynced[state.written]
            var attempts = 0
            while true {
                do throws(VaultError) {
                    try state.file.write(piece.bytes, 0..<piece.count, at: piece.offset)
                    break
                } catch {
                    attempts += 1
                    guard error.code == .noSpace, attempts <= Self.rescues, makeRoom() else { throw error }
                }
            }
            state.written += 1
        }
    }

    /// One `fdatasync`, outside the lock so that appending goes on. On failure the same bytes go to a new file.
    /// - Returns: what went wrong with the disk, if the clip was saved all the same.
    func sync() throws(VaultError) -> VaultError? {
        guard dirty.exchange(false, ordering: .relaxed) else { return nil }
        let (file, pieces, unnamed): ((any OpenFile)?, Int, String?) = state.withLock { state in
            if state.isFinished { return (nil, 0, nil) }
            return (state.file, state.written, state.isNameSynced ? nil : state.path)
        }
        guard let file else { return nil }
        do throws(VaultError) {
            if state.withLock({ $0.mustRewrite }) {
                throw VaultError(.io, "An earlier fdatasync of \(file.path) failed.")
            }
            try file.sync()
        } catch {
            try state.withLock { (state) throws(VaultError) in
                guard state.file === file, !state.isFinished else { return }
                state.mustRewrite = true
                do throws(VaultError) { try rewrite(&state) } catch {
                    dirty.store(true, ordering: .relaxed)
                    throw error
                }
            }
            return error
        }
        // Bytes without a name are lost all the same: POSIX lets fdatasync leave the folder's entry behind.
        if let unnamed { try files.syncDirectory(parent(of: unnamed)) }
        state.withLock { state in
            guard state.file === file else { return }
            state.isNameSynced = true
            Self.settle(&state, pieces)
        }
        return nil
    }

    private static func settle(_ state: inout State, _ pieces: Int) {
        let pieces = min(pieces, state.written)
        for piece in state.unsynced.prefix(pieces) where state.spare.count < 4 {
            if piece.bytes.count == AgePayload.sealedChunkSize { state.spare.append(piece.bytes) }
        }
        state.unsynced.removeFirst(pieces)
        state.written -= pieces
    }

    /// After a failed sync: what earlier syncs covered is read back, the rest comes from memory.
    private func rewrite(_ state: inout State) throws(VaultError) {
        let path = parent(of: state.path) + "/\(UUID.random()).part"
        let file = try files.open(path, .create)
        let synced = state.unsynced.first?.offset ?? payloadStart + state.sealedChunks * AgePayload.sealedChunkSize
        var buffer = [UInt8](repeating: 0, count: AgePayload.sealedChunkSize)
        var offset = 0
        do throws(VaultError) {
            while offset < synced {
                let count = min(try state.file.read(at: offset, into: &buffer), synced - offset)
                guard count > 0 else { throw VaultError(.io, "\(state.path) is shorter than what was synced.") }
                try file.write(buffer, 0..<count, at: offset)
                offset += count
            }
            for piece in state.unsynced { try file.write(piece.bytes, 0..<piece.count, at: piece.offset) }
            try file.sync()
            try files.syncDirectory(parent(of: path))
        } catch {
            // Or the next start would take it for a second clip.
            try? files.remove(path)
            throw error
        }
        try? files.remove(state.path)
        (state.file, state.path) = (file, path)
        state.mustRewrite = false
        state.isNameSynced = true
        state.written = state.unsynced.count
        Self.settle(&state, state.written)
    }

    /// Seals the last chunk and makes the file durable under `objects/`; after an error it may be called again.
    /// - Returns: the object's name and size, and what went wrong with the disk if it was saved all the same.
    func publish(_ layout: Layout) throws(VaultError) -> (object: ObjectID, byteCount: Int, trouble: VaultError?) {
        try state.withLock { (state) throws(VaultError) in
            if state.isFinished, let object = state.object { return (object, try state.file.count(), nil) }
            guard !state.isFinished else { throw VaultError(.closed, "The clip is discarded.") }
            try flush(&state)
            if !state.isSealed {
                if state.filled > 0 || state.sealedChunks == 0 {
                    try seal(&state, isLast: true)
                } else {
                    try resealLast(&state)
                }
                state.isSealed = true
            }
            try flush(&state)
            let byteCount = try state.file.count()
            guard let object = state.object ?? ObjectID(digest: state.digest.finish()) else {
                throw VaultError(.invalid, "The digest has a wrong size.")
            }
            state.object = object
            // Under this name recovery knows that the part is whole, and need not cut it at a chunk.
            let named = layout.part(object)
            try rename(&state, to: named)
            var trouble: VaultError?
            do throws(VaultError) {
                if state.mustRewrite { throw VaultError(.io, "An earlier fdatasync of \(named) failed.") }
                try state.file.sync()
            } catch {
                trouble = error
                state.mustRewrite = true
                try rewrite(&state)
                try rename(&state, to: named)
            }
            // Until the entry is committed this name is what a start finds the object by.
            if !state.isNameSynced {
                try files.syncDirectory(layout.open)
                state.isNameSynced = true
            }
            try Publishing.link(named, object, layout, files)
            state.isFinished = true
            state.unsynced = []
            state.written = 0
            state.spare = []
            if sources.load(ordering: .acquiring) == 0 { Self.wipe(&state) }
            return (object, byteCount, trouble)
        }
    }

    private func rename(_ state: inout State, to named: String) throws(VaultError) {
        guard state.path != named else { return }
        try files.rename(state.path, to: named)
        state.path = named
    }

    /// The entry is committed: the object's own name is enough. Should this fail, the next start sees to it.
    func leaveOpenFolder() { state.withLock { state in if state.isFinished { try? files.remove(state.path) } } }

    /// The clip ends exactly at a chunk's end: age wants that chunk marked as the last, so it is sealed once more, with
    /// the same plaintext under another nonce.
    private func resealLast(_ state: inout State) throws(VaultError) {
        guard let key = state.key else { throw Keyring.locked }
        let index = state.sealedChunks - 1
        let offset = payloadStart + index * AgePayload.sealedChunkSize
        let read = try state.file.read(at: offset, into: &state.buffer)
        guard read == AgePayload.sealedChunkSize,
            try ChunkCipher.open(&state.buffer, count: read, key: key, nonce: AgePayload.nonce(index, isLast: false))
        else { throw VaultError(.damaged, "The last chunk of \(state.path) does not open.") }
        state.digest = state.digestBefore
        state.sealedChunks = index
        state.filled = AgePayload.chunkSize
        // The queue may hold its first form: never write that one over the second.
        try flush(&state)
        try seal(&state, isLast: true)
    }

    func discard() throws(VaultError) {
        try state.withLock { (state) throws(VaultError) in
            guard !state.isFinished else { return }
            state.isFinished = true
            Self.wipe(&state)
            try files.remove(state.path)
        }
    }

    // MARK: Reading

    func retainSource() { sources.add(1, ordering: .acquiringAndReleasing) }
    func releaseSource() {
        guard sources.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        state.withLock { state in if state.isFinished { Self.wipe(&state) } }
    }

    /// Errors: `.locked` once the key is gone, `.damaged`.
    func read(at offset: Int, count: Int) throws(VaultError) -> [UInt8] {
        try state.withLock { (state) throws(VaultError) in
            guard let key = state.key else { throw Keyring.locked }
            let end = min(offset.addingSaturating(max(0, count)), self.count)
            guard offset >= 0, offset < end else { return [] }
            var output = [UInt8](repeating: 0, count: end - offset)
            var position = offset
            var scratch: [UInt8] = []
            defer { wipeBytes(&scratch) }
            while position < end {
                let index = position / AgePayload.chunkSize
                let within = position % AgePayload.chunkSize
                let take = min(AgePayload.chunkSize - within, end - position)
                if index < state.sealedChunks {
                    let sealed = AgePayload.sealedChunkSize
                    if scratch.isEmpty { scratch = [UInt8](repeating: 0, count: sealed) }
                    let plain = try open(index, &scratch, key, state)
                    guard within + take <= plain else { throw VaultError(.damaged, "\(state.path) is too short.") }
                    copyBytes(scratch, within..<within + take, into: &output, at: position - offset)
                } else {
                    copyBytes(state.buffer, within..<within + take, into: &output, at: position - offset)
                }
                position += take
            }
            return output
        }
    }

    /// Opens a sealed chunk into `scratch`; bytes of plaintext.
    private func open(
        _ index: Int, _ scratch: inout [UInt8], _ key: SecretBytes, _ state: borrowing State
    ) throws(VaultError) -> Int {
        let offset = payloadStart + index * AgePayload.sealedChunkSize
        var read = 0
        if let piece = state.unsynced.dropFirst(state.written).first(where: { $0.offset == offset }) {
            read = piece.count
            copyBytes(piece.bytes, 0..<read, into: &scratch, at: 0)
        } else {
            read = try state.file.read(at: offset, into: &scratch)
        }
        let isLast = state.isSealed && index == state.sealedChunks - 1
        guard try ChunkCipher.open(&scratch, count: read, key: key, nonce: AgePayload.nonce(index, isLast: isLast))
        else {
            throw VaultError(.damaged, "Chunk \(index) of \(state.path) does not open.")
        }
        return read - AgeCrypto.tagSize
    }

    /// At `lock`: what is still being recorded goes on, a finished clip's key goes.
    func wipe() { state.withLock { state in if state.isFinished { Self.wipe(&state) } } }

    private static func wipe(_ state: inout State) {
        state.key?.wipe()
        state.key = nil
        wipeBytes(&state.buffer)
    }
}

/// `memcpy` between arrays; ranges were checked by the caller and are checked again.
func copyBytes(_ from: [UInt8], _ range: Range<Int>, into target: inout [UInt8], at offset: Int) {
    guard range.lowerBound >= 0, range.upperBound <= from.count, offset >= 0, offset <= target.count - range.count
    else {
        return
    }
    unsafe target.withUnsafeMutableBytes { target in
        unsafe from.withUnsafeBytes { from in
            guard let to = target.baseAddress, let base = from.baseAddress else { return }
            unsafe (to + offset).copyMemory(from: base + range.lowerBound, byteCount: range.count)
        }
    }
}

extension Int {
    func addingSaturating(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
