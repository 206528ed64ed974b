import Core
import Synchronization

/// Parts of sealed objects that were read from a remote, kept for the next time within a budget: `cache/<remote>/`, one file a part,
/// named `<object>.<offset>.<count>`. What is in them is sealed and authenticated, so nothing here is believed or synced.
final class RemoteCache: Sendable {
    private struct Part: Hashable {
        var object: ObjectID
        var range: Range<Int>
    }
    private struct State {
        var limit: Int
        var bytes = 0
        /// By object, sorted by offset, never overlapping.
        var parts: [ObjectID: [Range<Int>]] = [:]
        /// When a part was last used, counted.
        var used: [Part: UInt64] = [:]
        var clock: UInt64 = 0
    }
    private let folder: String
    private let files: any FileSystem
    private let state: Mutex<State>

    /// Keeps nothing, and reads nothing that another process may be writing: for a vault that is only read.
    init(keepingNothingIn folder: String, files: any FileSystem) {
        self.folder = folder
        self.files = files
        state = Mutex(State(limit: 0))
    }

    /// Errors: those of the files.
    init(_ folder: String, limit: Int, files: any FileSystem) throws(VaultError) {
        self.folder = folder
        self.files = files
        var state = State(limit: limit)
        try files.makeDirectory(parent(of: folder))
        try files.makeDirectory(folder)
        var found: [(part: Part, modified: Int64)] = []
        for name in try files.list(folder) {
            let path = folder + "/" + name
            guard let part = Self.part(name), let attributes = try files.attributes(path),
                attributes.count == part.range.count
            else {
                try files.remove(path)
                continue
            }
            found.append((part, attributes.modified))
        }
        for (part, _) in found.sorted(by: { $0.modified < $1.modified }) {
            guard Self.insert(part, &state) else {
                try files.remove(folder + "/" + Self.name(part))
                continue
            }
        }
        self.state = Mutex(state)
    }

    private static func name(_ part: Part) -> String { "\(part.object).\(part.range.lowerBound).\(part.range.count)" }
    private static func part(_ name: String) -> Part? {
        let words = name.split(separator: ".")
        guard words.count == 3, let object = ObjectID(String(words[0])), let offset = Int(words[1]),
            let count = Int(words[2]), offset >= 0, (1...1 << 30).contains(count), offset < 1 << 40
        else { return nil }
        return Part(object: object, range: offset..<offset + count)
    }

    /// False when it overlaps one that is there.
    private static func insert(_ part: Part, _ state: inout State) -> Bool {
        var ranges = state.parts[part.object] ?? []
        let place = ranges.firstIndex { $0.lowerBound > part.range.lowerBound } ?? ranges.count
        if place > 0, ranges[place - 1].upperBound > part.range.lowerBound { return false }
        if place < ranges.count, ranges[place].lowerBound < part.range.upperBound { return false }
        ranges.insert(part.range, at: place)
        state.parts[part.object] = ranges
        state.bytes += part.range.count
        state.clock += 1
        state.used[part] = state.clock
        return true
    }
    private static func remove(_ part: Part, _ state: inout State) {
        guard state.used.removeValue(forKey: part) != nil else { return }
        state.parts[part.object]?.removeAll { $0 == part.range }
        if state.parts[part.object]?.isEmpty == true { state.parts[part.object] = nil }
        state.bytes -= part.range.count
    }

    var bytes: Int { state.withLock { $0.bytes } }
    func set(limit: Int) {
        state.withLock { $0.limit = limit }
        shrink()
    }

    /// Bytes from `offset` on, as many as one part has of `range`; nil when none has its first one.
    func read(_ object: ObjectID, _ range: Range<Int>) -> [UInt8]? {
        let part: Part? = state.withLock { state in
            guard let found = state.parts[object]?.first(where: { $0.contains(range.lowerBound) }) else { return nil }
            let part = Part(object: object, range: found)
            state.clock += 1
            state.used[part] = state.clock
            return part
        }
        guard let part else { return nil }
        let end = min(range.upperBound, part.range.upperBound)
        var bytes = [UInt8](repeating: 0, count: end - range.lowerBound)
        if let file = try? files.open(folder + "/" + Self.name(part), .read),
            (try? file.read(at: range.lowerBound - part.range.lowerBound, into: &bytes)) == bytes.count
        {
            return bytes
        }
        forget(object)
        return nil
    }

    /// What of `range` is not there: one stretch from the first such byte to the last; nil when all is.
    func missing(_ object: ObjectID, _ range: Range<Int>) -> Range<Int>? {
        state.withLock { state in
            var low = range.lowerBound
            var high = range.upperBound
            for part in state.parts[object] ?? [] where part.contains(low) { low = min(high, part.upperBound) }
            for part in (state.parts[object] ?? []).reversed() where part.lowerBound < high && part.upperBound >= high {
                high = max(low, part.lowerBound)
            }
            return low < high ? low..<high : nil
        }
    }

    /// Keeps a part, or as much of it as is not there. A disk that is full keeps nothing, and nobody minds.
    func keep(_ object: ObjectID, _ offset: Int, _ bytes: [UInt8]) {
        guard state.withLock({ $0.limit >= bytes.count }), let new = missing(object, offset..<offset + bytes.count)
        else {
            return
        }
        // Parts in the middle of it go: a part more is cheaper than a hole.
        let inner = state.withLock { state in
            let parts = (state.parts[object] ?? []).filter { $0.overlaps(new) }.map { Part(object: object, range: $0) }
            for part in parts { Self.remove(part, &state) }
            return parts
        }
        for part in inner { try? files.remove(folder + "/" + Self.name(part)) }
        let part = Part(object: object, range: new)
        let path = folder + "/" + Self.name(part)
        do throws(VaultError) {
            try files.remove(path)
            let file = try files.open(path, .create)
            try file.write(bytes, new.lowerBound - offset..<new.upperBound - offset, at: 0)
        } catch {
            try? files.remove(path)
            return
        }
        guard state.withLock({ Self.insert(part, &$0) }) else { return }
        shrink()
    }

    /// All of an object: it did not open, or is gone for good.
    func forget(_ object: ObjectID) {
        let parts = state.withLock { state in
            let parts = (state.parts[object] ?? []).map { Part(object: object, range: $0) }
            for part in parts { Self.remove(part, &state) }
            return parts
        }
        for part in parts { try? files.remove(folder + "/" + Self.name(part)) }
    }

    /// Whether anything of it is kept.
    func has(_ object: ObjectID) -> Bool { state.withLock { $0.parts[object] != nil } }

    private func shrink() {
        let parts = state.withLock { state in
            guard state.bytes > state.limit else { return [Part]() }
            var gone: [Part] = []
            // A tenth at once, so that sorting is rare.
            let aim = state.limit - state.limit / 10
            for (part, _) in state.used.sorted(by: { $0.value < $1.value }) {
                guard state.bytes > aim else { break }
                Self.remove(part, &state)
                gone.append(part)
            }
            return gone
        }
        for part in parts { try? files.remove(folder + "/" + Self.name(part)) }
    }
}
