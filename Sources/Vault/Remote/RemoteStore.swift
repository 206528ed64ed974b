import Core

/// What SudoCam asks of an object store, and no more. The store is trusted with nothing: every answer is checked by what it
/// proves.
///
/// Keys are relative to the remote's prefix. Errors of all: `.unreachable`, `.refused`, `.remoteFault`, `.notFound`, `.closed`
/// when the task was cancelled, `.noSpace` and `.io` of local files.
protocol RemoteStore: Sendable {
    /// One PUT of the whole body.
    func put(
        _ key: String, _ body: HTTPBody, _ options: PutOptions,
        progress: (@Sendable (_ sent: Int64, _ received: Int64) -> Void)?
    ) async throws(VaultError) -> PutOutcome
    /// One GET of one part, exactly that, or an error.
    func part(_ key: String, _ part: RemotePart.Request) async throws(VaultError) -> RemotePart
    /// The same into a file, at `offset`; no bytes in the answer. A part that was given up has no meaning.
    func part(
        _ key: String, _ range: Range<Int>, into file: any OpenFile, at offset: Int,
        progress: (@Sendable (_ sent: Int64, _ received: Int64) -> Void)?
    ) async throws(VaultError)
    /// A small object as a whole; refused above `limit` bytes with `.remoteFault`.
    func contents(_ key: String, limit: Int) async throws(VaultError) -> [UInt8]
    /// Its size; nil when there is no such object.
    func head(_ key: String) async throws(VaultError) -> Int?
    /// Every version that the server keeps of it, when `isForAllVersions`: else the newest name only.
    func delete(_ key: String, isForAllVersions: Bool) async throws(VaultError) -> RemoteDeletion
    /// Every object whose key begins with `prefix`, page by page.
    ///
    /// - Parameter after: only keys behind this one, in the server's order; nil: all.
    func list(
        _ prefix: String, after: String?, pageSize: Int, page take: ([ListPage.Object]) throws(VaultError) -> Void
    ) async throws(VaultError)
}

struct PutOptions: Sendable {
    /// Of the body, where it is known already.
    var sha256: [UInt8]?
    /// False: only where nothing stands (`If-None-Match: *`). True for the few files that change: the end of the ledger, its
    /// checkpoint, `vault.json`, epoch files.
    var replaces = false
    /// User metadata (`x-amz-meta-…`): names without that beginning, lower case; 2 KiB in all.
    var metadata: [(name: String, value: String)] = []
}

enum PutOutcome: Hashable, Sendable {
    /// `isConfirmed`: the server sent back the checksum that it computed, and it was ours.
    case stored(isConfirmed: Bool)
    /// Something stood under the key already, which was not touched; whether it is the same, a listing tells.
    case present
}

/// A part of an object, as one answer brought it.
struct RemotePart: Sendable {
    enum Request: Sendable, Hashable {
        case range(Range<Int>)
        /// The last so many bytes; all of a shorter object.
        case suffix(Int)
    }
    var bytes: [UInt8]
    /// Where the bytes lie in the object.
    var range: Range<Int>
    /// Bytes of the whole object.
    var count: Int
    /// User metadata, names as in `PutOptions`; whoever has the store can write what he likes here.
    var metadata: [String: String]
}

enum RemoteDeletion: Hashable, Sendable {
    /// Gone, or was not there. `versions` that were removed for good; 0 where the store keeps none.
    case deleted(versions: Int)
    /// Object lock keeps it; nil: nobody says until when.
    case locked(until: WallTime?)
    /// The credentials do not allow it; in words.
    case refused(String)
}
