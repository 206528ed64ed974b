import Core

/// What a recorded disk may look like after a power cut.
///
/// The model is POSIX's, which promises less than the journals of ext4, xfs and btrfs keep:
/// - A file's bytes and size are durable once `fdatasync` returned; before that each write is there, is not, is there up to a
///   sector of 512 bytes, or only its size is: zeros (Zheng et al., "Torturing Databases", OSDI 2014; Pillai et al., "All
///   File Systems Are Not Created Equal", OSDI 2014, sections 2 and 4).
/// - A name is durable once `fsync` of its folder returned, and not by syncing the file; before that each change of a folder
///   is there or is not, in any order (the second paper: btrfs reorders operations on folders).
/// - `rename` never leaves the file without a name or the target with half of one. Between two folders the new name is
///   durable with its folder; that the old one is gone is durable with its own, so that both may stand.
/// - Nothing is invented: bytes that were never written to this file do not turn up in it (`data=ordered`).
public struct CrashStates: Sendable {
    /// A change of the disk that no sync covers yet. Parts that stand or fall together are one.
    struct Pending: Sendable {
        var changes: [DiskImage.Change]
        var what: String
    }
    enum Fate: Sendable { case lost, kept, torn(Int), zeros }

    /// How many of the possible states of one cut are looked at; all that are named in `fates` if fewer.
    public var limit: Int
    public var seed: UInt64

    public init(limit: Int, seed: UInt64) {
        self.limit = limit
        self.seed = seed
    }

    public struct State: Sendable {
        public var image: DiskImage
        /// The cut and what became of what was pending, for whoever reads a failure.
        public var story: String
        /// Operations of the log that had been done.
        public var cut: Int
    }

    /// Every state once, cut by cut.
    public func forEach(of log: CrashLog, _ body: (State) async throws -> Void) async rethrows {
        var random = SeededGenerator(seed: seed)
        var durable = log.start
        var pending: [Pending] = []
        var seen: Set<Int> = []
        for cut in 0...log.entries.count {
            if cut > 0 { Self.take(log.entries[cut - 1], &durable, &pending) }
            // A file's time decides nothing that is looked at.
            if cut > 0, case .modified = log.entries[cut - 1].kind { continue }
            for (fates, name) in choices(pending, &random) {
                var image = durable
                for (item, fate) in zip(pending, fates) { Self.apply(item, fate, &image) }
                image = image.reachable()
                var hasher = Hasher()
                hasher.combine(image.fingerprint)
                hasher.combine(log.promises(before: cut).count)
                guard seen.insert(hasher.finalize()).inserted else { continue }
                let last = cut > 0 ? log.entries[cut - 1].what : "nothing"
                try await body(State(image: image, story: "cut \(cut), after \(last): \(name)", cut: cut))
            }
        }
    }

    private static func take(_ entry: CrashLog.Entry, _ durable: inout DiskImage, _ pending: inout [Pending]) {
        switch entry.kind {
        case .change(let changes):
            pending.append(Pending(changes: changes, what: entry.what))
        case .modified(let file, let time): durable.modified[file] = time
        case .syncFile(let file):
            settle(&pending, &durable) { change in
                switch change {
                case .write(let other, _, _), .resize(let other, _): other == file
                case .add, .remove: false
                }
            }
        case .syncFolder(let folder):
            settle(&pending, &durable) { change in
                switch change {
                case .add(let other, _, _), .remove(let other, _, _): other == folder
                case .write, .resize: false
                }
            }
        case .promise: break
        }
    }

    private static func settle(
        _ pending: inout [Pending], _ durable: inout DiskImage, _ isSettled: (DiskImage.Change) -> Bool
    ) {
        var left: [Pending] = []
        for item in pending {
            var rest = item
            rest.changes = []
            // The old name cannot go for good before the new one has come for good.
            let isRemoved = item.changes.contains { if case .remove = $0 { isSettled($0) } else { false } }
            for change in item.changes {
                let isAdded = if case .add = change { isRemoved } else { false }
                if isSettled(change) || isAdded { durable.apply(change) } else { rest.changes.append(change) }
            }
            if !rest.changes.isEmpty { left.append(rest) }
        }
        pending = left
    }

    private static func apply(_ item: Pending, _ fate: Fate, _ image: inout DiskImage) {
        for change in item.changes {
            switch (change, fate) {
            case (_, .lost): break
            case (.write(let file, let offset, let bytes), .torn(let count)):
                image.apply(.write(file, offset: offset, Array(bytes.prefix(count))))
            case (.write(let file, let offset, let bytes), .zeros):
                let count = max(image.files[file]?.count ?? 0, offset + bytes.count)
                image.apply(.resize(file, count))
            default: image.apply(change)
            }
        }
    }

    /// All of them where that is few, else the telling ones and some at random.
    private func choices(_ pending: [Pending], _ random: inout SeededGenerator) -> [([Fate], String)] {
        let count = pending.count
        var choices: [([Fate], String)] = [(Array(repeating: .lost, count: count), "all lost")]
        guard count > 0 else { return choices }
        choices.append((Array(repeating: .kept, count: count), "all kept"))
        var others: [([Fate], String)] = []
        for index in 0..<count {
            var fates = Array(repeating: Fate.kept, count: count)
            fates[index] = .lost
            others.append((fates, "only '\(pending[index].what)' lost"))
            fates = Array(repeating: Fate.lost, count: count)
            fates[index] = .kept
            others.append((fates, "only '\(pending[index].what)' kept"))
            if index > 0 {
                fates = (0..<count).map { $0 < index ? .kept : .lost }
                others.append((fates, "kept up to '\(pending[index - 1].what)'"))
            }
            guard case .write(_, let offset, let bytes) = pending[index].changes.first else { continue }
            for fate in Self.tears(offset, bytes.count, &random) {
                fates = Array(repeating: Fate.kept, count: count)
                fates[index] = fate
                others.append((fates, "'\(pending[index].what)' \(fate)"))
            }
        }
        for _ in 0..<min(limit, count < 5 ? 1 << count : limit) {
            let fates = pending.map { item -> Fate in
                guard case .write(_, let offset, let bytes) = item.changes.first else {
                    return Bool.random(using: &random) ? .kept : .lost
                }
                let tears = Self.tears(offset, bytes.count, &random)
                return ([.lost, .kept, .kept] + tears).randomElement(using: &random) ?? .kept
            }
            others.append((fates, "at random: \(fates)"))
        }
        others.shuffle(using: &random)
        return choices + others.prefix(max(0, limit - choices.count))
    }

    /// Up to a sector or a page within the write, and its size alone.
    private static func tears(_ offset: Int, _ count: Int, _ random: inout SeededGenerator) -> [Fate] {
        var tears: [Fate] = [.zeros]
        for unit in [512, 4096] {
            let first = unit - offset % unit
            guard first < count else { continue }
            tears.append(.torn(first + Int.random(in: 0...(count - first - 1) / unit, using: &random) * unit))
        }
        return tears
    }
}
