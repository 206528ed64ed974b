public import Core
public import Vault

/// Something that was said to be done: it must hold after every cut that comes later.
public enum CrashPromise: Sendable {
    /// `finish` returned.
    case clip(ClipRecord)
    /// `recordGap` returned.
    case gap(GapRecord)
    /// A sync returned when the open clip had this many whole chunks.
    case part(ClipIdentity, chunks: Int)
    /// Retention or `shred` returned with these gone.
    case deleted([ObjectID])
    case shredded([EpochID])
    /// `Vault.create` returned.
    case created
}

/// Everything that was done to a disk, in order.
public struct CrashLog: Sendable {
    struct Entry: Sendable {
        enum Kind: Sendable {
            /// These stand or fall together.
            case change([DiskImage.Change])
            case modified(Int, Int64)
            case syncFile(Int)
            case syncFolder(String)
            case promise(CrashPromise)
        }
        var kind: Kind
        var what: String
    }
    var start = DiskImage()
    var entries: [Entry] = []
    /// SQLite's files as they stood from that entry on.
    var indexes: [(from: Int, files: [String: [UInt8]])] = []

    public var operations: Int { entries.count }

    public func promises(before cut: Int) -> [CrashPromise] {
        entries.prefix(cut).compactMap { if case .promise(let promise) = $0.kind { promise } else { nil } }
    }

    /// What may stand of the index after a cut: nothing, an older one, or the last one.
    public func indexes(at cut: Int) -> [(name: String, files: [String: [UInt8]])] {
        let known = indexes.filter { $0.from <= cut }
        var choices: [(String, [String: [UInt8]])] = [("no index", [:])]
        if let last = known.last { choices.append(("the last index", last.files)) }
        if known.count > 1 { choices.append(("the first index", known[0].files)) }
        if known.count > 3 { choices.append(("an older index", known[known.count / 2].files)) }
        return choices
    }
}
