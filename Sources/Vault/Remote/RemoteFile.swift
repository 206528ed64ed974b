import Core
import Dispatch
import Synchronization

/// An object that lies in a remote, read as if it were a file here: a seek costs two requests, its end (which brings the age header
/// along, see `RemoteLayout.head`) and one fragment. What came is kept in the remote's cache.
///
/// Blocks while it waits for the network; called from lanes only.
final class RemoteFile: OpenFile {
    private struct State {
        /// Header and nonce; nil until they are known.
        var head: [UInt8]?
        /// Whether the head is what the object itself says, or only its metadata.
        var isHeadOwn = false
        /// The last answers, for a disk that can keep nothing.
        var recent: [(offset: Int, bytes: [UInt8])] = []
        /// Where the last read of a stretch ended: who goes on there gets more at once.
        var lastEnd = 0
        var ahead = 0
    }
    let path: String
    private let remote: Remote
    private let clip: ClipRecord
    private let state = Mutex(State())

    /// Sealed bytes at the end that hold `mfra` and the last chunk of any clip.
    private static let tail = 2 * AgePayload.sealedChunkSize
    private static let mostAhead = 4 << 20

    init(_ clip: ClipRecord, in remote: Remote) {
        self.clip = clip
        self.remote = remote
        path = "\(remote.name):\(RemoteLayout.object(clip.object))"
    }

    func count() throws(VaultError) -> Int { clip.byteCount }

    /// Header and nonce, from the cache or with the object's end. Errors: the store's.
    func head() throws(VaultError) -> [UInt8] {
        if let head = state.withLock({ $0.head }) { return head }
        if let kept = remote.cache.read(clip.object, 0..<RemoteLayout.headLimit), (try? AgeHeader(parsing: kept)) != nil
        {
            state.withLock { $0.head = kept }
            return kept
        }
        let part = try fetch(.suffix(min(Self.tail, clip.byteCount)))
        if let encoded = part.metadata[RemoteLayout.head], encoded.utf8.count <= RemoteLayout.headLimit,
            let head = Base64.decode(Array(encoded.utf8), padded: true), let header = try? AgeHeader(parsing: head),
            head.count == header.count + AgePayload.nonceSize
        {
            state.withLock { $0.head = head }
            remote.cache.keep(clip.object, 0, head)
            return head
        }
        return try ownHead()
    }

    /// From the object itself. Errors: the store's.
    func ownHead() throws(VaultError) -> [UInt8] {
        remote.cache.forget(clip.object)
        let part = try fetch(.range(0..<min(clip.byteCount, AgePayload.sealedChunkSize + 4096)))
        state.withLock { ($0.head, $0.isHeadOwn) = (part.bytes, true) }
        return part.bytes
    }
    var isHeadOwn: Bool { state.withLock { $0.isHeadOwn } }

    /// What was kept did not open. True when there was something that may have been to blame, so that another try makes sense.
    func distrust() -> Bool {
        let wasKept = remote.cache.has(clip.object)
        remote.cache.forget(clip.object)
        state.withLock { $0.recent = [] }
        return wasKept
    }

    func read(at offset: Int, into buffer: inout [UInt8]) throws(VaultError) -> Int {
        let end = min(clip.byteCount, offset.addingSaturating(buffer.count))
        guard offset >= 0, offset < end else { return 0 }
        var position = offset
        while position < end {
            var bytes = kept(position..<end)
            if bytes == nil {
                try expect(position..<end)
                bytes = kept(position..<end)
            }
            guard let bytes, !bytes.isEmpty else {
                throw VaultError(.remoteFault, "\(path) brings no byte \(position).")
            }
            buffer.replaceSubrange(position - offset..<position - offset + bytes.count, with: bytes)
            position += bytes.count
        }
        return end - offset
    }

    /// As much of `range`, from its beginning, as is at hand.
    private func kept(_ range: Range<Int>) -> [UInt8]? {
        let near: [UInt8]? = state.withLock { state in
            if let head = state.head, range.lowerBound < head.count {
                return Array(head[range.lowerBound..<min(head.count, range.upperBound)])
            }
            guard
                let part = state.recent.last(where: {
                    ($0.offset..<$0.offset + $0.bytes.count).contains(range.lowerBound)
                })
            else { return nil }
            let low = range.lowerBound - part.offset
            return Array(part.bytes[low..<min(part.bytes.count, low + range.count)])
        }
        return near ?? remote.cache.read(clip.object, range)
    }

    /// Brings a stretch that will be read, in one request.
    func expect(_ range: Range<Int>) throws(VaultError) {
        let wanted = max(0, range.lowerBound)..<min(clip.byteCount, max(0, range.upperBound))
        guard !wanted.isEmpty else { return }
        let ahead = state.withLock { state in
            let goesOn = abs(wanted.lowerBound - state.lastEnd) <= AgePayload.sealedChunkSize
            state.ahead = goesOn ? min(Self.mostAhead, max(wanted.count, state.ahead * 2)) : 0
            state.lastEnd = wanted.upperBound
            return state.ahead
        }
        guard let missing = remote.cache.missing(clip.object, wanted), !isNear(missing) else { return }
        let end = min(clip.byteCount, missing.upperBound + ahead)
        _ = try fetch(.range(missing.lowerBound..<max(missing.upperBound, end)))
    }
    private func isNear(_ range: Range<Int>) -> Bool {
        state.withLock { state in
            state.recent.contains { $0.offset <= range.lowerBound && range.upperBound <= $0.offset + $0.bytes.count }
        }
    }

    private func fetch(_ request: RemotePart.Request) throws(VaultError) -> RemotePart {
        let key = RemoteLayout.object(clip.object)
        let remote = remote
        let part: RemotePart = try waiting { () async throws(VaultError) in try await remote.store.part(key, request) }
        guard part.count == clip.byteCount else {
            throw VaultError(
                .damaged, "\(path) has \(part.count) bytes instead of \(clip.byteCount).",
                hint: "Run `sudocam remote verify \(remote.name)`.")
        }
        remote.cache.keep(clip.object, part.range.lowerBound, part.bytes)
        state.withLock { state in
            state.recent.append((part.range.lowerBound, part.bytes))
            if state.recent.count > 2 { state.recent.removeFirst() }
        }
        return part
    }

    func write(_ bytes: [UInt8], _ range: Range<Int>, at offset: Int) throws(VaultError) { throw isForReading }
    func truncate(to count: Int) throws(VaultError) { throw isForReading }
    func allocate(_ count: Int) throws(VaultError) { throw isForReading }
    func sync() throws(VaultError) { throw isForReading }
    private var isForReading: VaultError { VaultError(.readOnly, "\(path) is only read.") }
}

/// Waits on the calling thread, which must be a lane's: never one of the cooperative pool, which the work itself runs on.
func waiting<Value: Sendable>(
    _ body: @escaping @Sendable () async throws(VaultError) -> Value
) throws(VaultError) -> Value {
    let result = Mutex<Result<Value, VaultError>?>(nil)
    let done = DispatchSemaphore(value: 0)
    Task.detached {
        let value: Result<Value, VaultError>
        do throws(VaultError) { value = .success(try await body()) } catch { value = .failure(error) }
        result.withLock { $0 = value }
        done.signal()
    }
    done.wait()
    guard let value = result.withLock({ $0 }) else { throw VaultError(.closed, "The work was given up.") }
    return try value.get()
}
