public import Core

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
    ///   - progress: told the days that are done, after each.
    init(
        _ catalog: MemoryCatalog, policy: RetentionPolicy, holds: [HoldRecord], now: WallTime, free: Int, days: Int,
        progress: (Int) -> Void = { _ in }
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
                    if catalog.isHere(deletion.clip) { free += deletion.clip.byteCount }
                }
                summary.unmet = outcome.unmet
            }
            summary.bytes = catalog.totalBytes
            summary.free = free
            for camera in catalog.cameras() { summary.oldest[camera] = catalog.oldest(camera) }
            self.days.append(summary)
            progress(day)
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
