import Core
import Foundation
import Glibc
import Synchronization
import Vault

/// What is whole or not there: removed when a signal ends the program before.
public protocol Abandonable: Sendable {
    /// Removes what is there and ends the program, before whoever fills it can tell of files that are gone. Does nothing when it is
    /// over, one way or the other: the program is at its end then.
    ///
    /// - Parameter end: told what could not be removed.
    func abandon(_ end: (_ left: String?) -> Never)
}

/// A file that others shall not read before their owner decides so (mode 0600), and that stands under its name only when it is whole,
/// never in the place of something else unless that is wanted.
///
/// Made before anything is asked for that cannot be taken back; gone with this value unless it was published.
public final class OutputFile: Abandonable {
    let path: String
    private let replaces: Bool
    private let part: String
    private let files = PosixFileSystem()
    private let file: any OpenFile
    private let state = Mutex(State())
    private struct State {
        var count = 0
        var isOver = false
    }

    /// - Parameter replaces: a file that stands there is kept until the new one is whole.
    ///
    /// Errors: `.refused` when something stands there, or nothing can.
    public init(_ path: String, replaces: Bool = false) throws(ServerError) {
        self.path = path
        self.replaces = replaces
        part = "\(path).\(Core.UUID.random().description.prefix(8)).part"
        let isTaken: Bool
        do throws(VaultError) {
            isTaken = replaces ? false : try files.attributes(path) != nil
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
        try state.withLock { (state) throws(VaultError) in
            try giveName()
            state.isOver = true
        }
        try files.syncDirectory(URL(fileURLWithPath: path).deletingLastPathComponent().path)
    }
    private func giveName() throws(VaultError) {
        guard !replaces else { return try files.rename(part, to: path) }
        do throws(VaultError) {
            try files.link(part, to: path)
            try files.remove(part)
        } catch {
            // A file system that gives a file one name only: there something could come in between.
            guard error.code == .unsupported, try files.attributes(path) == nil else { throw error }
            try files.rename(part, to: path)
        }
    }

    func discard() { state.withLock { discard(&$0) } }
    private func discard(_ state: inout State) {
        if !state.isOver { try? files.remove(part) }
        state.isOver = true
    }

    public func abandon(_ end: (_ left: String?) -> Never) {
        state.withLock { state in
            guard !state.isOver else { return }
            discard(&state)
            end(FileManager.default.fileExists(atPath: part) ? part : nil)
        }
    }

    /// A small file at once.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let file = try OutputFile(path)
        try file.append(bytes)
        try file.publish()
    }
}
