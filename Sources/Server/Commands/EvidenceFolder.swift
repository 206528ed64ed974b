import Foundation
import Synchronization
public import Vault

/// The folder of an evidence bundle. It holds recordings in clear, so it is whole or not there: it is written beside its place,
/// under a name of its own, and gets its name last.
public final class EvidenceFolder: Sendable {
    /// As it was asked for.
    public let name: String
    private let path: String
    /// Where it is written.
    let part: String
    /// Kept or removed.
    private let isOver = Mutex(false)

    /// Errors: `.exists` when something stands there.
    public init(_ name: String) throws(VaultError) {
        var name = name
        while name.count > 1, name.hasSuffix("/") { name.removeLast() }
        self.name = name
        path = name.hasPrefix("/") ? name : FileManager.default.currentDirectoryPath + "/" + name
        part = "\(path).\(String(UInt64.random(in: 0...UInt64.max), radix: 36)).part"
        try refuseOther()
    }

    private func refuseOther() throws(VaultError) {
        guard try PosixFileSystem().attributes(path) == nil else {
            throw VaultError(.exists, "\(name) is there already.", hint: "Name a new folder.")
        }
    }

    /// From now on it stands under its name.
    func keep() throws(VaultError) {
        try isOver.withLock { (isOver) throws(VaultError) in
            try refuseOther()
            try PosixFileSystem().rename(part, to: path)
            isOver = true
        }
    }

    func remove() {
        isOver.withLock { isOver in
            if !isOver { removePart() }
            isOver = true
        }
    }

    /// For a signal: removes what is there and ends the program, before whoever writes can tell of files that are gone. Does
    /// nothing when it stands under its name already.
    public func abandon(_ end: () -> Never) {
        isOver.withLock { isOver in
            guard !isOver else { return }
            removePart()
            end()
        }
    }

    /// Again while there is something: one more file may be made meanwhile.
    private func removePart() {
        for _ in 0..<100 where FileManager.default.fileExists(atPath: part) {
            try? FileManager.default.removeItem(atPath: part)
        }
    }
}
