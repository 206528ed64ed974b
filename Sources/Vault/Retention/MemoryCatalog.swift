import Core

/// Clips in one order, oldest first, of which most go at the front: what goes leaves a hole, and holes are closed once they are
/// half of it. Each step of a simulation costs what it changes, not what there is.
private struct ClipQueue {
    private var clips: [ClipRecord] = []
    /// Beside `clips`.
    private var isGone: [Bool] = []
    /// Before it everything is gone.
    private var head = 0
    private var holes = 0
    private(set) var bytes = 0
    private var longest: Int64 = 0

    init() {}
    init(_ clips: [ClipRecord]) {
        self.clips = clips.sorted { RetentionCursor($0) < RetentionCursor($1) }
        isGone = [Bool](repeating: false, count: clips.count)
        for clip in clips {
            bytes += clip.byteCount
            longest = max(longest, clip.range.duration)
        }
    }

    var isEmpty: Bool { head == clips.count }
    var first: ClipRecord? { isEmpty ? nil : clips[head] }

    /// The first place whose clip is not `isBefore`.
    private func place(_ isBefore: (ClipRecord) -> Bool) -> Int {
        var (low, high) = (head, clips.count)
        while low < high {
            let middle = (low + high) / 2
            if isBefore(clips[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Clips behind `cursor`, at most `limit` of those wanted.
    func page(after cursor: RetentionCursor?, limit: Int, _ isWanted: (ClipRecord) -> Bool) -> [ClipRecord] {
        var page: [ClipRecord] = []
        for index in (cursor.map { cursor in self.place { RetentionCursor($0) <= cursor } } ?? head)..<clips.count {
            guard page.count < limit else { break }
            if !isGone[index], isWanted(clips[index]) { page.append(clips[index]) }
        }
        return page
    }

    func overlapping(_ range: TimeRange, _ isWanted: (ClipRecord) -> Bool) -> [ObjectID] {
        let earliest = WallTime(microseconds: range.start.microseconds.subtractingSaturating(longest))
        var found: [ObjectID] = []
        for index in self.place({ $0.start < earliest })..<clips.count {
            guard clips[index].start < range.end else { break }
            if !isGone[index], range.overlaps(clips[index].range), isWanted(clips[index]) {
                found.append(clips[index].object)
            }
        }
        return found
    }

    mutating func insert(_ clip: ClipRecord) {
        let cursor = RetentionCursor(clip)
        // Behind everything, mostly.
        let place =
            clips.last.map { RetentionCursor($0) < cursor } ?? true
            ? clips.count
            : self.place {
                RetentionCursor($0) < cursor
            }
        clips.insert(clip, at: place)
        isGone.insert(false, at: place)
        bytes += clip.byteCount
        longest = max(longest, clip.range.duration)
    }

    /// False when it is not there.
    mutating func remove(_ clip: ClipRecord) -> Bool {
        let cursor = RetentionCursor(clip)
        let place = self.place { RetentionCursor($0) < cursor }
        guard place < clips.count, clips[place].object == clip.object, !isGone[place] else { return false }
        isGone[place] = true
        holes += 1
        bytes -= clip.byteCount
        while head < clips.count, isGone[head] { head += 1 }
        if holes > clips.count / 2 {
            clips = zip(clips, isGone).compactMap { $1 ? nil : $0 }
            isGone = [Bool](repeating: false, count: clips.count)
            (head, holes) = (0, 0)
        }
        return true
    }
}

/// Clips in memory, for simulations; answers as the index does.
struct MemoryCatalog: RetentionCatalog {
    private struct Camera {
        var trusted = ClipQueue()
        var doubtful = ClipQueue()
        /// Clips that are not merely continuous.
        var trustedEvents = ClipQueue()
        var doubtfulEvents = ClipQueue()

        mutating func remove(_ clip: ClipRecord) {
            if trusted.remove(clip) {
                if clip.kind != .continuous { _ = trustedEvents.remove(clip) }
            } else if doubtful.remove(clip) {
                if clip.kind != .continuous { _ = doubtfulEvents.remove(clip) }
            }
        }
    }
    private var byCamera: [CameraID: Camera] = [:]
    /// Whose bytes lie in a remote only.
    private let elsewhere: Set<ObjectID>

    init(trusted: [ClipRecord], doubtful: [ClipRecord] = [], elsewhere: Set<ObjectID> = []) {
        self.elsewhere = elsewhere
        for (camera, clips) in Dictionary(grouping: trusted, by: \.camera) {
            byCamera[camera, default: Camera()].trusted = ClipQueue(clips)
            byCamera[camera]?.trustedEvents = ClipQueue(clips.filter { $0.kind != .continuous })
        }
        for (camera, clips) in Dictionary(grouping: doubtful, by: \.camera) {
            byCamera[camera, default: Camera()].doubtful = ClipQueue(clips)
            byCamera[camera]?.doubtfulEvents = ClipQueue(clips.filter { $0.kind != .continuous })
        }
    }

    func cameras() -> [CameraID] {
        byCamera.filter { !$0.value.trusted.isEmpty || !$0.value.doubtful.isEmpty }.keys.sorted()
    }
    func bytes(_ camera: CameraID) -> (trusted: Int, doubtful: Int) {
        byCamera[camera].map { ($0.trusted.bytes, $0.doubtful.bytes) } ?? (0, 0)
    }
    var totalBytes: Int { byCamera.values.reduce(0) { $0 + $1.trusted.bytes + $1.doubtful.bytes } }
    func oldest(_ camera: CameraID) -> WallTime? { byCamera[camera]?.trusted.first?.start }
    func isHere(_ clip: ClipRecord) -> Bool { !elsewhere.contains(clip.object) }

    func clips(_ camera: CameraID, doubtful: Bool, here: Bool, after cursor: RetentionCursor?, limit: Int)
        -> [ClipRecord]
    {
        guard let camera = byCamera[camera] else { return [] }
        return (doubtful ? camera.doubtful : camera.trusted).page(after: cursor, limit: limit) { clip in
            !here || elsewhere.isEmpty || isHere(clip)
        }
    }

    func events(_ camera: CameraID, _ classes: Set<RetentionClass>, overlapping range: TimeRange) -> [ObjectID] {
        guard let camera = byCamera[camera] else { return [] }
        return camera.trustedEvents.overlapping(range) { classes.contains($0.kind) }
            + camera.doubtfulEvents.overlapping(range) { classes.contains($0.kind) }
    }

    mutating func append(_ clip: ClipRecord) {
        byCamera[clip.camera, default: Camera()].trusted.insert(clip)
        if clip.kind != .continuous { byCamera[clip.camera]?.trustedEvents.insert(clip) }
    }

    mutating func remove(_ clips: [ClipRecord]) {
        for clip in clips { byCamera[clip.camera]?.remove(clip) }
    }
}
