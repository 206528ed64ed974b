public import Core

/// Clips in memory, for simulations; answers as the index does.
struct MemoryCatalog: RetentionCatalog {
    private struct Camera {
        var trusted: [ClipRecord] = []
        var doubtful: [ClipRecord] = []
        var trustedBytes = 0
        var doubtfulBytes = 0
        /// Clips that are not merely continuous.
        var events: [ClipRecord] = []
    }
    private var byCamera: [CameraID: Camera] = [:]

    init(trusted: [ClipRecord], doubtful: [ClipRecord] = []) {
        for (clips, isDoubtful) in [(trusted, false), (doubtful, true)] {
            for clip in clips.sorted(by: { RetentionCursor($0) < RetentionCursor($1) }) {
                var camera = byCamera[clip.camera] ?? Camera()
                if isDoubtful { camera.doubtful.append(clip) } else { camera.trusted.append(clip) }
                if isDoubtful { camera.doubtfulBytes += clip.byteCount } else { camera.trustedBytes += clip.byteCount }
                if clip.kind != .continuous { camera.events.append(clip) }
                byCamera[clip.camera] = camera
            }
        }
    }

    func cameras() -> [CameraID] {
        byCamera.filter { !$0.value.trusted.isEmpty || !$0.value.doubtful.isEmpty }.keys.sorted()
    }
    func bytes(_ camera: CameraID) -> (trusted: Int, doubtful: Int) {
        byCamera[camera].map { ($0.trustedBytes, $0.doubtfulBytes) } ?? (0, 0)
    }
    var totalBytes: Int { byCamera.values.reduce(0) { $0 + $1.trustedBytes + $1.doubtfulBytes } }
    func oldest(_ camera: CameraID) -> WallTime? { byCamera[camera]?.trusted.first?.start }

    func clips(_ camera: CameraID, doubtful: Bool, here: Bool, after cursor: RetentionCursor?, limit: Int)
        -> [ClipRecord]
    {
        guard let camera = byCamera[camera] else { return [] }
        let clips = doubtful ? camera.doubtful : camera.trusted
        var low = 0
        if let cursor {
            var high = clips.count
            while low < high {
                let middle = (low + high) / 2
                if RetentionCursor(clips[middle]) <= cursor { low = middle + 1 } else { high = middle }
            }
        }
        return Array(clips[low...].prefix(limit))
    }

    func events(_ camera: CameraID, _ classes: Set<RetentionClass>, overlapping range: TimeRange) -> [ObjectID] {
        guard let camera = byCamera[camera] else { return [] }
        return camera.events.lazy.filter { classes.contains($0.kind) && range.overlaps($0.range) }.map(\.object)
    }

    /// Behind everything its camera has.
    mutating func append(_ clip: ClipRecord) {
        byCamera[clip.camera, default: Camera()].trusted.append(clip)
        byCamera[clip.camera]?.trustedBytes += clip.byteCount
        if clip.kind != .continuous { byCamera[clip.camera]?.events.append(clip) }
    }

    mutating func remove(_ clips: [ClipRecord]) {
        for (camera, gone) in Dictionary(grouping: clips, by: \.camera) {
            let objects = Set(gone.map(\.object))
            guard var entry = byCamera[camera] else { continue }
            entry.trusted.removeAll { objects.contains($0.object) }
            entry.doubtful.removeAll { objects.contains($0.object) }
            entry.events.removeAll { objects.contains($0.object) }
            entry.trustedBytes = entry.trusted.reduce(0) { $0 + $1.byteCount }
            entry.doubtfulBytes = entry.doubtful.reduce(0) { $0 + $1.byteCount }
            byCamera[camera] = entry
        }
    }
}

/// What a policy would do in the days to come, if they were like the last ones.
public struct RetentionSimulation: Sendable {
    public struct Day: Sendable {
        /// The end of the simulated day.
        public var time: WallTime
        /// Of sealed objects, at its end.
        public var bytes: Int
        public var free: Int
        public var recordedBytes: Int
        public var deletions: [RetentionCause: Int] = [:]
        public var deletedBytes = 0
        /// The start of each camera's oldest clip, at its end.
        public var oldest: [CameraID: WallTime] = [:]
        public var unmet: [RetentionShortfall] = []
    }
    public var days: [Day] = []
    /// How much history was repeated, µs; 0: there was none.
    public var basis: Int64 = 0

    static let step: Int64 = 3_600_000_000
    static let dayLength: Int64 = 86_400_000_000
    /// Whole weeks repeat themselves best.
    static let longestBasis = 7 * dayLength

    /// - Parameters:
    ///   - free: bytes free now; every simulated clip takes its own from there.
    ///   - days: how far, at most 3660.
    init(
        _ catalog: MemoryCatalog, policy: RetentionPolicy, holds: [HoldRecord], now: WallTime, free: Int, days: Int
    ) throws(VaultError) {
        var catalog = catalog
        var free = free
        let history = catalog.cameras().flatMap { catalog.recent($0, since: now - Self.longestBasis) }
        let span = history.map(\.start).min().map { now - $0 } ?? 0
        // Less than a day cannot show its rhythm; what there is stands for it.
        basis = span >= Self.dayLength ? span / Self.dayLength * Self.dayLength : span
        let pattern = history.filter { $0.start >= now - basis }.sorted { RetentionCursor($0) < RetentionCursor($1) }
        var shift: Int64 = 0
        var next = 0
        var counter: UInt64 = 0
        for day in 1...max(1, min(days, 3660)) {
            var summary = Day(time: now + Int64(day) * Self.dayLength, bytes: 0, free: 0, recordedBytes: 0)
            for hour in 1...24 {
                let time = now + (Int64(day - 1) * 24 + Int64(hour)) * Self.step
                while !pattern.isEmpty, basis > 0 {
                    if next == pattern.count {
                        next = 0
                        shift += basis
                    }
                    var clip = pattern[next]
                    clip.identity.start = clip.identity.start + (basis + shift)
                    clip.end = clip.end + (basis + shift)
                    guard clip.end <= time else { break }
                    counter += 1
                    clip.object = Self.object(counter)
                    catalog.append(clip)
                    free -= clip.byteCount
                    summary.recordedBytes += clip.byteCount
                    next += 1
                }
                let outcome = try RetentionPass(
                    policy: policy, holds: holds, leases: [], now: time, isTimeTrusted: true,
                    needed: max(0, policy.freeBytes - free)
                ).run(catalog)
                catalog.remove(outcome.deletions.map(\.clip))
                for deletion in outcome.deletions {
                    summary.deletions[deletion.cause, default: 0] += 1
                    summary.deletedBytes += deletion.clip.byteCount
                    free += deletion.clip.byteCount
                }
                summary.unmet = outcome.unmet
            }
            summary.bytes = catalog.totalBytes
            summary.free = free
            for camera in catalog.cameras() { summary.oldest[camera] = catalog.oldest(camera) }
            self.days.append(summary)
        }
    }

    /// Names a clip that does not exist.
    private static func object(_ number: UInt64) -> ObjectID {
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) }
        return ObjectID(digest: [UInt8](repeating: 0xFF, count: 24) + bytes) ?? .zero
    }
}

extension MemoryCatalog {
    fileprivate func recent(_ camera: CameraID, since: WallTime) -> [ClipRecord] {
        clips(camera, doubtful: false, here: false, after: nil, limit: .max).filter { $0.start >= since }
    }
}
