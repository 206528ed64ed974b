import Core
import Foundation
import Glibc
import Synchronization
import Vault

/// A file that others shall not read before their owner decides so (mode 0600), and that stands under its name only when it is whole,
/// never in the place of something else.
///
/// Made before anything is asked for that cannot be taken back; gone with this value unless it was published.
final class OutputFile: Sendable {
    let path: String
    private let part: String
    private let files = PosixFileSystem()
    private let file: any OpenFile
    private let state = Mutex(State())
    private struct State {
        var count = 0
        var isOver = false
    }

    /// Errors: `.refused` when something stands there, or nothing can.
    init(_ path: String) throws(ServerError) {
        self.path = path
        part = "\(path).\(Core.UUID.random().description.prefix(8)).part"
        let isTaken: Bool
        do throws(VaultError) {
            isTaken = try files.attributes(path) != nil
            file = try files.open(part, .create)
        } catch {
            throw ServerError(
                .refused, "\(path) cannot be written.", hint: "Choose another place with --output.", underlying: error)
        }
        guard !isTaken else {
            discard()
            throw ServerError(.refused, "\(path) is there already.", hint: "Choose another place with --output.")
        }
    }
    deinit { discard() }

    func append(_ bytes: [UInt8]) throws(VaultError) {
        try state.withLock { (state) throws(VaultError) in
            try file.write(bytes, 0..<bytes.count, at: state.count)
            state.count += bytes.count
        }
    }

    /// Durable under its name on return.
    func publish() throws {
        try file.sync()
        do throws(VaultError) {
            try files.link(part, to: path)
            try files.remove(part)
        } catch {
            // A file system that gives a file one name only: there something could come in between.
            guard error.code == .unsupported, try files.attributes(path) == nil else { throw error }
            try files.rename(part, to: path)
        }
        try files.syncDirectory(URL(fileURLWithPath: path).deletingLastPathComponent().path)
        state.withLock { $0.isOver = true }
    }

    private func discard() {
        if state.withLock({ !$0.isOver }) { try? files.remove(part) }
    }

    /// A small file at once.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try OutputFile(path)
        try file.append(bytes)
        try file.publish()
    }
}
