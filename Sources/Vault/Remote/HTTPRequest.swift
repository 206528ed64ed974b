/// A body that can be sent again from its beginning: a retry must send the same bytes.
enum HTTPBody: Sendable {
    case bytes([UInt8])
    /// `count` bytes from the file's beginning.
    case file(any OpenFile, count: Int)

    var count: Int {
        switch self {
        case .bytes(let bytes): bytes.count
        case .file(_, let count): count
        }
    }

    /// Up to `limit` bytes; fewer only at the end. Errors: the file's; `.damaged` when the file has become shorter.
    func read(at offset: Int, limit: Int) throws(VaultError) -> [UInt8] {
        let wanted = min(limit, count - offset)
        guard offset >= 0, wanted > 0 else { return [] }
        switch self {
        case .bytes(let bytes): return Array(bytes[offset..<offset + wanted])
        case .file(let file, _):
            var buffer = [UInt8](repeating: 0, count: wanted)
            guard try file.read(at: offset, into: &buffer) == wanted else {
                throw VaultError(.damaged, "\(file.path) became shorter while it was being sent.")
            }
            return buffer
        }
    }

    /// Feeds all of it to `digest`. Errors: as `read`.
    func hash(into digest: Digest) throws(VaultError) -> [UInt8] {
        switch self {
        case .bytes(let bytes): digest.update(bytes)
        case .file(let file, let count):
            var buffer = [UInt8](repeating: 0, count: min(count, 1 << 18))
            var offset = 0
            while offset < count {
                let piece = min(buffer.count, count - offset)
                if piece < buffer.count { buffer = [UInt8](repeating: 0, count: piece) }
                guard try file.read(at: offset, into: &buffer) == piece else {
                    throw VaultError(.damaged, "\(file.path) became shorter while it was read.")
                }
                digest.update(buffer)
                offset += piece
            }
        }
        return digest.finish()
    }
}

/// Where the body of a good answer goes; what comes with any other status is kept in memory, to be read as an error.
enum HTTPSink: Sendable {
    case bytes(limit: Int)
    /// From `offset` on; after a failed attempt the next one writes over it.
    case file(any OpenFile, offset: Int, limit: Int)
}

/// One request, exactly as it is sent: the URL and the headers are not touched any more.
struct HTTPRequest: Sendable {
    var method = "GET"
    var url: String
    var headers: [(name: String, value: String)] = []
    var body: HTTPBody?
    var sink = HTTPSink.bytes(limit: 1 << 16)
    /// Called on the transport's thread: bytes sent and received so far.
    var progress: (@Sendable (_ sent: Int64, _ received: Int64) -> Void)?
}

struct HTTPAnswer: Sendable {
    var status: Int
    /// Names in lower case; of one repeated, the last.
    var headers: [String: String] = [:]
    /// Empty when it went to a file.
    var body: [UInt8] = []
    /// Bytes of the body, wherever they went.
    var received = 0
    /// `1.1`, `2`; nil where libcurl does not say.
    var version: String?

    var isGood: Bool { (200...299).contains(status) }
}

/// Why there is no answer.
struct HTTPFailure: Error, Sendable {
    enum Kind: Hashable {
        /// The connection or the answer broke off, or took too long: another attempt may do.
        case transient
        /// The certificate, the address or the local file: another attempt will not do.
        case final
        case cancelled
    }
    var kind: Kind
    var error: VaultError
}
