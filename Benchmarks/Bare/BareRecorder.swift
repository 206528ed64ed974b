import Core
import Glibc
import Synchronization

/// What a recorder of sealed clips cannot do without: ChaCha20-Poly1305 over 64 KiB chunks, SHA-256 over what comes out,
/// writes, and SudoCam's syncs, links and renames in SudoCam's order. No keys, no checks, no index.
final class BareRecorder: Sendable {
    /// As long as a clip's header; its random bytes give every clip a name of its own.
    private static let headerSize = 400

    /// Of a sealed chunk in a clip's file.
    static func offset(_ chunk: Int) -> Int { headerSize + chunk * Bare.sealedChunkSize }

    private let scratch: ScratchFolder
    private let ledger: BareLedger
    private let cipher: any BareCipher.Type

    private var folder: String { scratch.path }

    init(_ scratch: ScratchFolder, cipher: any BareCipher.Type) throws {
        self.scratch = scratch
        self.cipher = cipher
        let folder = scratch.path
        ledger = try BareLedger(folder)
        try BareFile.makeFolder(folder + "/open")
        try BareFile.makeFolder(folder + "/objects")
        for shard in 0...255 { try BareFile.makeFolder(folder + "/objects/" + Hex.encode([UInt8(shard)])) }
    }

    /// Seals and stores `pieces` as one clip; durable on return.
    /// - Returns: the clip's path.
    @discardableResult
    func store(_ pieces: [[UInt8]]) throws -> String {
        var cipher = try cipher.init()
        let digest = try BareDigest()
        let part = folder + "/open/\(UUID.random()).part"
        let file = try BareFile.create(part)
        let header = UUID.random().bytes + [UInt8](repeating: 0, count: Self.headerSize - 16)
        digest.update(header, count: header.count)
        try file.write(header, count: header.count, at: 0)
        var sealed = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        var chunk = 0
        for piece in pieces {
            for start in stride(from: 0, to: piece.count, by: Bare.chunkSize) {
                let range = start..<min(piece.count, start + Bare.chunkSize)
                try cipher.seal(piece, range, into: &sealed, counter: chunk)
                digest.update(sealed, count: range.count + Bare.tagSize)
                try file.write(
                    sealed, count: range.count + Bare.tagSize,
                    at: Self.offset(chunk))
                chunk += 1
            }
        }
        let name = Hex.encode(digest.finish())
        let named = folder + "/open/\(name).part"
        try BareFile.rename(part, named)
        try file.sync()
        let shard = folder + "/objects/" + name.prefix(2)
        let path = shard + "/" + name
        try BareFile.syncFolder(folder + "/open")
        try BareFile.link(named, path)
        try BareFile.syncFolder(shard)
        try ledger.commit()
        try BareFile.remove(named)
        return path
    }

    /// Opens every chunk of a file that `store` wrote, in order.
    static func open(_ path: String, cipher: any BareCipher.Type) throws -> Int {
        var cipher = try cipher.init()
        let file = try BareFile.read(path)
        var sealed = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        var plain = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        var chunk = 0
        var done = 0
        while true {
            let count = try file.read(into: &sealed, at: offset(chunk))
            guard count > Bare.tagSize else { return done }
            try cipher.open(sealed, count: count, into: &plain, counter: chunk)
            done += count - Bare.tagSize
            chunk += 1
        }
    }
}
