import Core
import Glibc
import Synchronization

/// What a recorder of sealed clips cannot do without: ChaCha20-Poly1305 over 64 KiB chunks, SHA-256 over what comes out,
/// writes, and SudoCam's syncs and renames in SudoCam's order. No headers, no checks, no index.
final class BareRecorder: Sendable {
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
        var sealed = [UInt8](repeating: 0, count: Bare.sealedChunkSize)
        var chunk = 0
        for piece in pieces {
            for start in stride(from: 0, to: piece.count, by: Bare.chunkSize) {
                let range = start..<min(piece.count, start + Bare.chunkSize)
                try cipher.seal(piece, range, into: &sealed, counter: chunk)
                digest.update(sealed, count: range.count + Bare.tagSize)
                try file.write(sealed, count: range.count + Bare.tagSize, at: chunk * Bare.sealedChunkSize)
                chunk += 1
            }
        }
        let name = Hex.encode(digest.finish())
        let named = folder + "/open/\(name).part"
        try BareFile.rename(part, named)
        try file.sync()
        let shard = folder + "/objects/" + name.prefix(2)
        let path = shard + "/" + name
        try BareFile.rename(named, path)
        try BareFile.syncFolder(shard)
        try ledger.commit()
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
            let count = try file.read(into: &sealed, at: chunk * Bare.sealedChunkSize)
            guard count > Bare.tagSize else { return done }
            try cipher.open(sealed, count: count, into: &plain, counter: chunk)
            done += count - Bare.tagSize
            chunk += 1
        }
    }
}
