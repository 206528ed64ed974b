import Core
import Synchronization

/// Random access into a sealed object: opens only the chunks a read touches.
final class ObjectReader: ByteSource, Wipeable {
    private struct State {
        var key: SecretBytes?
        /// Plain chunks, the last used at the end.
        var cache: [(index: Int, bytes: [UInt8])] = []
    }
    private static let cacheLimit = 4

    let identity: ClipIdentity?
    let count: Int
    private let file: any OpenFile
    private let payload: AgePayload
    private let lane: Lane
    private let isSalvaged: Bool
    private let state: Mutex<State>

    /// Checks the header's MAC and the last chunk, without which a cut file would look whole (age.md, "Payload").
    ///
    /// - Parameters:
    ///   - isSalvaged: cut by a crash: there is no last chunk, and only whole ones count.
    ///   - leavesOutLast: the last chunk is known to be damaged: what lies before it is read all the same (V32).
    init(
        _ file: any OpenFile, isSalvaged: Bool, leavesOutLast: Bool = false, lane: Lane,
        fileKey unwrap: (AgeHeader) throws(VaultError) -> SecretBytes
    ) throws(VaultError) {
        let (header, fileKey) = try Self.opened(file, unwrap)
        let payload = try AgePayload(headerCount: header.count, fileCount: try file.count())
        var nonce = [UInt8](repeating: 0, count: AgePayload.nonceSize)
        guard try file.read(at: header.count, into: &nonce) == nonce.count else {
            throw VaultError(.headerFailure, "The payload's nonce of \(file.path) is cut off.")
        }
        let key = try AgePayload.key(fileKey: fileKey, nonce: nonce)
        fileKey.wipe()
        identity = ClipStanza.decode(header)
        self.file = file
        self.payload = payload
        self.lane = lane
        self.isSalvaged = isSalvaged
        count = leavesOutLast ? max(0, payload.chunkCount - 1) * AgePayload.chunkSize : payload.plainCount
        state = Mutex(State(key: key))
        guard payload.chunkCount > (leavesOutLast ? 1 : 0) else {
            throw VaultError(.payloadFailure, "\(file.path) has no chunk that opens.")
        }
        guard !leavesOutLast else { return }
        try state.withLock { (state) throws(VaultError) in _ = try chunk(payload.chunkCount - 1, &state) }
    }
    deinit { wipe() }

    /// The header and the file key in it, checked against each other. From afar, what a store says beside the object is tried first.
    private static func opened(
        _ file: any OpenFile, _ unwrap: (AgeHeader) throws(VaultError) -> SecretBytes
    ) throws(VaultError) -> (AgeHeader, SecretBytes) {
        func open(_ header: AgeHeader) throws(VaultError) -> (AgeHeader, SecretBytes) {
            let fileKey = try unwrap(header)
            try header.check(fileKey: fileKey)
            return (header, fileKey)
        }
        guard let file = file as? RemoteFile else { return try open(header(file)) }
        do throws(VaultError) {
            return try open(try AgeHeader(parsing: try file.head()))
        } catch {
            let isOfHead = [.headerFailure, .macFailure, .noMatch].contains(error.code)
            guard isOfHead, !file.isHeadOwn else { throw error }
            return try open(try AgeHeader(parsing: try file.ownHead()))
        }
    }

    /// The header at the beginning of an object; needs no key.
    static func header(_ file: any OpenFile) throws(VaultError) -> AgeHeader {
        var head = [UInt8](repeating: 0, count: 4096)
        let count = try file.read(at: 0, into: &head)
        do throws(VaultError) {
            return try AgeHeader(parsing: Array(head.prefix(count)))
        } catch {
            guard count == head.count else { throw error }
            head = [UInt8](repeating: 0, count: AgeHeader.sizeLimit)
            let count = try file.read(at: 0, into: &head)
            return try AgeHeader(parsing: Array(head.prefix(count)))
        }
    }

    var chunkCount: Int { payload.chunkCount }

    func read(at offset: Int, count: Int) async throws -> [UInt8] {
        try await lane.run { [self] () throws(VaultError) in try readBlocking(at: offset, count: count) }
    }

    /// Errors: `.locked` after `wipe`, `.payloadFailure` with the chunk that does not open.
    func readBlocking(at offset: Int, count wanted: Int) throws(VaultError) -> [UInt8] {
        try state.withLock { (state) throws(VaultError) in
            guard state.key != nil else { throw Keyring.locked }
            let end = min(offset.addingSaturating(max(0, wanted)), count)
            guard offset >= 0, offset < end else { return [] }
            var output: [UInt8] = []
            output.reserveCapacity(end - offset)
            if let file = file as? RemoteFile {
                let last = (end - 1) / AgePayload.chunkSize
                try file.expect(
                    payload.sealedRange(offset / AgePayload.chunkSize).lowerBound..<payload.sealedRange(last).upperBound
                )
            }
            var position = offset
            while position < end {
                let within = position % AgePayload.chunkSize
                let take = min(AgePayload.chunkSize - within, end - position)
                let plain = try chunk(position / AgePayload.chunkSize, &state)
                guard within + take <= plain.count else {
                    throw VaultError(.damaged, "\(file.path) is shorter than its header says.")
                }
                output += plain[within..<within + take]
                position += take
            }
            return output
        }
    }

    private func chunk(_ index: Int, _ state: inout State) throws(VaultError) -> [UInt8] {
        if let place = state.cache.firstIndex(where: { $0.index == index }) {
            let hit = state.cache.remove(at: place)
            state.cache.append(hit)
            return hit.bytes
        }
        guard let key = state.key else { throw Keyring.locked }
        let range = payload.sealedRange(index)
        // The oldest chunk's memory is read over; what is left of it when that fails is wiped.
        var buffer = state.cache.count >= Self.cacheLimit ? state.cache.removeFirst().bytes : []
        if buffer.count != range.count {
            wipeBytes(&buffer)
            buffer = [UInt8](repeating: 0, count: range.count)
        }
        let isLast = index == payload.chunkCount - 1
        // A crash may have come while the very last chunk was being marked as such.
        var isOpen = false
        defer { if !isOpen { wipeBytes(&buffer) } }
        func tryToOpen() throws(VaultError) {
            for mark in isSalvaged && isLast ? [false, true] : [isLast] where !isOpen {
                guard try file.read(at: range.lowerBound, into: &buffer) == range.count else { break }
                isOpen = try ChunkCipher.open(
                    &buffer, count: range.count, key: key, nonce: AgePayload.nonce(index, isLast: mark))
            }
        }
        try tryToOpen()
        // What was kept of a far object may be torn; what the store has decides.
        if !isOpen, let file = file as? RemoteFile, file.distrust() { try tryToOpen() }
        guard isOpen else {
            throw VaultError(
                .payloadFailure,
                "Chunk \(index) (bytes \(range.lowerBound)..<\(range.upperBound)) of \(file.path) does not open.")
        }
        state.cache.append((index, buffer))
        return buffer
    }

    func wipe() {
        state.withLock { state in
            state.key?.wipe()
            state.key = nil
            for place in state.cache.indices { wipeBytes(&state.cache[place].bytes) }
            state.cache = []
        }
    }
}
