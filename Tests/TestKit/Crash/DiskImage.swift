import Core

/// What stands on a disk: folders, the names in them, and the bytes behind the names.
///
/// Folders are known by their path, files by a number, so that a file may have several names or none.
public struct DiskImage: Sendable {
    public enum Node: Sendable, Hashable {
        case folder
        case file(Int)
    }
    /// By path, relative to the vault's parent; "" is that one.
    public internal(set) var folders: [String: [String: Node]] = ["": [:]]
    public internal(set) var files: [Int: [UInt8]] = [:]
    /// Microseconds since the Unix epoch.
    public internal(set) var modified: [Int: Int64] = [:]

    public init() {}

    /// One change; those that rest on a lost one do what is left for them to do.
    enum Change: Sendable {
        case add(folder: String, name: String, Node)
        case remove(folder: String, name: String, Node)
        case write(Int, offset: Int, [UInt8])
        case resize(Int, Int)
    }

    mutating func apply(_ change: Change) {
        switch change {
        case .add(let folder, let name, let node):
            folders[folder, default: [:]][name] = node
            switch node {
            case .folder: folders[join(folder, name), default: [:]] = folders[join(folder, name)] ?? [:]
            case .file(let file): files[file] = files[file] ?? []
            }
        case .remove(let folder, let name, let node):
            if folders[folder]?[name] == node { folders[folder]?[name] = nil }
        case .write(let file, let offset, let bytes):
            Self.write(bytes, at: offset, into: &files[file, default: []])
        case .resize(let file, let count):
            Self.resize(&files[file, default: []], to: count)
        }
    }

    static func write(_ bytes: [UInt8], at offset: Int, into content: inout [UInt8]) {
        if content.count < offset + bytes.count { resize(&content, to: offset + bytes.count) }
        content.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
    static func resize(_ content: inout [UInt8], to count: Int) {
        if count < content.count {
            content.removeLast(content.count - count)
        } else {
            content += [UInt8](repeating: 0, count: count - content.count)
        }
    }

    /// Without what no name leads to.
    func reachable() -> DiskImage {
        var image = DiskImage()
        var waiting = [""]
        while let folder = waiting.popLast() {
            let names = folders[folder] ?? [:]
            image.folders[folder] = names
            for (name, node) in names {
                switch node {
                case .folder: waiting.append(join(folder, name))
                case .file(let file):
                    image.files[file] = files[file] ?? []
                    image.modified[file] = modified[file] ?? 0
                }
            }
        }
        return image
    }

    /// Equal for images that no program could tell apart.
    var fingerprint: Int {
        var hasher = Hasher()
        for folder in folders.keys.sorted() {
            hasher.combine(folder)
            for (name, node) in (folders[folder] ?? [:]).sorted(by: { $0.key < $1.key }) {
                hasher.combine(name)
                if case .file(let file) = node {
                    let bytes = files[file] ?? []
                    hasher.combine(file)
                    hasher.combine(bytes.count)
                    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
                }
            }
        }
        return hasher.finalize()
    }
}

func join(_ folder: String, _ name: String) -> String { folder.isEmpty ? name : folder + "/" + name }
