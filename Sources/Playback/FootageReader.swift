import Core
import Media
public import Vault

/// From sealed clips, closed or still open, to groups of frames. One per viewer; keeps a few opened clips.
///
/// Runs on the vault's readers; every answer is complete, so that a newer seek simply ignores an older answer.
public actor FootageReader {
    private struct OpenedClip {
        var record: Stretch
        var reader: ClipReader
        /// Nil: still open, so retention has nothing to take.
        var lease: RetentionLeaseToken?
    }

    /// A clip as the reader sees it: committed, or open under the recorder's hands.
    private enum Stretch {
        case closed(ClipRecord)
        case open(OpenClip)

        var start: WallTime {
            switch self {
            case .closed(let record): record.start
            case .open(let clip): clip.identity.start
            }
        }
        var key: String {
            switch self {
            case .closed(let record): record.object.description
            case .open(let clip): "open \(clip.identity.sequence)"
            }
        }
        var isOpen: Bool { if case .open = self { true } else { false } }
    }

    private let vault: Vault
    /// Opened clips, least recently used first.
    private var opened: [(key: String, clip: OpenedClip)] = []
    static let openedLimit = 6
    /// Clips closer than this follow one another without a gap, µs.
    static let contiguous: Int64 = 2_000_000

    public init(vault: Vault) { self.vault = vault }

    public func answer(_ request: FootageRequest) async -> FootageAnswer {
        do {
            return switch request {
            case .at(let camera, let time): try await group(at: time, camera)
            case .after(let camera, let time): try await group(after: time, camera)
            case .before(let camera, let time): try await group(before: time, camera)
            }
        } catch let error as PlaybackError {
            return .failure(error)
        } catch  where PlaybackError.isLock(error) {
            forget()
            return .failure(PlaybackError(.locked, "The vault was locked.", hint: "Unlock it to go on."))
        } catch {
            return .failure(
                PlaybackError(
                    .damaged, "This stretch of footage cannot be read.", hint: "Run `sudocam verify`.",
                    underlying: error))
        }
    }

    /// Lets go of every opened clip and what was read of it.
    public func forget() { opened = [] }

    // MARK: Which clip

    private func group(at time: WallTime, _ camera: CameraID) async throws -> FootageAnswer {
        if let stretch = try await stretch(at: time, camera) {
            guard let clip = try await undamaged({ try await open(stretch) }) else {
                return try await damaged(stretch, camera)
            }
            if let index = clip.reader.groupIndex(showing: Ticks.ticks(microseconds: time - stretch.start)) {
                guard let group = try await undamaged({ try await read(clip, index, camera) }) else {
                    return try await damaged(clip, index, camera)
                }
                if time < group.range.end || group.isGrowing == false && time - group.range.end < Self.contiguous {
                    return .group(group)
                }
            }
        }
        return try await between(time, camera)
    }

    private func group(after time: WallTime, _ camera: CameraID) async throws -> FootageAnswer {
        // 1 ms of grace: a group's end and the next one's start are rounded apart.
        let from = time - 1000
        if let stretch = try await stretch(at: from, camera) {
            guard let clip = try await undamaged({ try await open(stretch) }) else {
                return try await damaged(stretch, camera)
            }
            let wanted = Ticks.ticks(microseconds: from - stretch.start)
            if let index = clip.reader.groups.firstIndex(where: { $0.startTicks >= wanted }) {
                return try await group(clip, index, camera)
            }
        }
        if let next = try await stretch(after: from, camera) {
            guard next.start - time < Self.contiguous else { return try await between(time, camera) }
            guard let clip = try await undamaged({ try await open(next) }) else {
                return try await damaged(next, camera)
            }
            if !clip.reader.groups.isEmpty { return try await group(clip, 0, camera) }
        }
        return try await between(time, camera)
    }

    private func group(before time: WallTime, _ camera: CameraID) async throws -> FootageAnswer {
        let upTo = time - 1
        if let stretch = try await stretch(at: upTo, camera) {
            guard let clip = try await undamaged({ try await open(stretch) }) else {
                return try await damaged(stretch, camera)
            }
            let wanted = Ticks.ticks(microseconds: time - stretch.start)
            if let index = clip.reader.groups.lastIndex(where: { $0.startTicks < wanted - 90 }) {
                return try await group(clip, index, camera)
            }
        }
        guard let earlier = try await stretch(before: upTo, camera) else { return try await between(upTo, camera) }
        guard let clip = try await undamaged({ try await open(earlier) }) else {
            return try await damaged(earlier, camera)
        }
        guard let last = clip.reader.groups.indices.last else { return try await between(upTo, camera) }
        guard let group = try await undamaged({ try await read(clip, last, camera) }) else {
            return try await damaged(clip, last, camera)
        }
        guard time - group.range.end < Self.contiguous else { return try await between(upTo, camera) }
        return .group(group)
    }

    private func group(_ clip: OpenedClip, _ index: Int, _ camera: CameraID) async throws -> FootageAnswer {
        guard let group = try await undamaged({ try await read(clip, index, camera) }) else {
            return try await damaged(clip, index, camera)
        }
        return .group(group)
    }

    // MARK: What is damaged

    /// Nil when the bytes on disk are not what they were: one bad block costs what lies in it, and no more (V32).
    private func undamaged<Value>(_ body: () async throws -> Value) async throws -> Value? {
        do { return try await body() } catch let error as PlaybackError {
            guard error.code == .damaged else { throw error }
            return nil
        } catch  where PlaybackError.isLock(error) {
            throw error
        } catch {
            return nil
        }
    }

    /// Nothing of this clip can be read: it is damaged, or retention took it while it was being looked up.
    private func damaged(_ stretch: Stretch, _ camera: CameraID) async throws -> FootageAnswer {
        var reason = Self.damage
        if case .closed(let record) = stretch,
            try await vault.clip(at: record.start, camera: camera)?.object != record.object
        {
            reason = Self.expired
        }
        return .gap(
            from: stretch.start, to: try await self.stretch(after: stretch.start + 1, camera)?.start,
            reason: reason, isLiveEdge: false)
    }
    /// One group of it cannot.
    private func damaged(_ clip: OpenedClip, _ index: Int, _ camera: CameraID) async throws -> FootageAnswer {
        let (groups, start) = (clip.reader.groups, clip.record.start)
        let from = start + Ticks.microseconds(groups[index].startTicks)
        guard index + 1 < groups.count else {
            let next = try await stretch(after: start + 1, camera)
            return .gap(from: from, to: next?.start, reason: Self.damage, isLiveEdge: false)
        }
        let to = start + Ticks.microseconds(groups[index + 1].startTicks)
        return .gap(from: from, to: to, reason: Self.damage, isLiveEdge: false)
    }
    private static let damage = GapReason.damaged.rawValue
    private static let expired = "expired"

    /// What lies around a time at which nothing is recorded.
    private func between(_ time: WallTime, _ camera: CameraID) async throws -> FootageAnswer {
        let before = try await stretch(before: time + 1, camera)
        var from: WallTime?
        switch before {
        case .closed(let record): from = record.end
        case .open(let clip): from = clip.end
        case nil: from = nil
        }
        if let end = from, end > time { from = time }
        let next = try await stretch(after: time, camera)
        let reason = try await vault.gaps(camera: camera, overlapping: TimeRange(time, time + 1)).first?.reason.rawValue
        let isEdge = next == nil && !vault.openClips(camera: camera).isEmpty
        // Inside of a clip that ends earlier than it should: its last bytes cannot be read.
        if reason == nil, case .closed(let record)? = before, record.end - time > Self.contiguous, !record.isSalvaged {
            return .gap(from: time, to: next?.start, reason: Self.damage, isLiveEdge: isEdge)
        }
        let otherwise = from == nil ? "before-first" : next == nil ? "after-last" : "not-recorded"
        return .gap(from: from, to: next?.start, reason: reason ?? otherwise, isLiveEdge: isEdge)
    }

    private func stretch(at time: WallTime, _ camera: CameraID) async throws -> Stretch? {
        if let open = vault.openClips(camera: camera).last(where: { $0.identity.start <= time }) { return .open(open) }
        return try await vault.clip(at: time, camera: camera).map(Stretch.closed)
    }
    /// The first clip that begins at or after `time`.
    private func stretch(after time: WallTime, _ camera: CameraID) async throws -> Stretch? {
        if let record = try await vault.clip(after: time - 1, camera: camera) { return .closed(record) }
        return vault.openClips(camera: camera).first { $0.identity.start >= time }.map(Stretch.open)
    }
    /// The last clip that begins before `time`.
    private func stretch(before time: WallTime, _ camera: CameraID) async throws -> Stretch? {
        if let open = vault.openClips(camera: camera).last(where: { $0.identity.start < time }) { return .open(open) }
        return try await vault.clip(before: time, camera: camera).map(Stretch.closed)
    }

    // MARK: Inside a clip

    private func open(_ stretch: Stretch) async throws -> OpenedClip {
        if let index = opened.firstIndex(where: { $0.key == stretch.key }) {
            var entry = opened.remove(at: index)
            if stretch.isOpen { try await entry.clip.reader.refresh() }
            opened.append(entry)
            return entry.clip
        }
        let reader: ClipReader
        var lease: RetentionLeaseToken?
        switch stretch {
        case .closed(let record):
            // Before it is opened: from here on retention leaves it alone, while it is among the last that were looked at.
            lease = vault.lease(camera: record.camera, range: record.range)
            reader = try await ClipReader(try await vault.openObject(record, toleratesDamage: true))
            guard reader.identity == nil || reader.identity?.camera == record.camera else {
                throw PlaybackError(.damaged, "Clip \(record.object) belongs to another camera than the ledger says.")
            }
        case .open(let clip):
            guard vault.isUnlocked else { throw PlaybackError(.locked, "The vault was locked.") }
            reader = try await ClipReader(clip.source)
        }
        guard reader.parameters.codec == .h264 else {
            throw PlaybackError(
                .unsupportedCodec,
                "This was recorded as \(reader.parameters.codecString), which a browser's WebRTC does not decode.",
                hint: "Export it to watch it.")
        }
        let clip = OpenedClip(record: stretch, reader: reader, lease: lease)
        opened.append((stretch.key, clip))
        if opened.count > Self.openedLimit { opened.removeFirst() }
        return clip
    }

    private func read(_ clip: OpenedClip, _ index: Int, _ camera: CameraID) async throws -> FrameGroup {
        let reader = clip.reader
        let samples = try await reader.samples(ofGroup: index)
        let start = clip.record.start
        let reorders = reader.parameters.reorderFrames > 0
        var frames: [PlaybackFrame] = []
        frames.reserveCapacity(samples.count)
        for sample in samples {
            if reorders, !H264NAL.isReference(lengthPrefixed: sample.data) { continue }
            let time = start + Ticks.microseconds(sample.pts)
            if let last = frames.last, time <= last.time {
                throw PlaybackError(
                    .unsupportedCodec, "This stream's B-frames refer to one another, which WebRTC cannot show.",
                    hint: "Export it to watch it, or switch B-frames off in the camera.")
            }
            frames.append(PlaybackFrame(time: time, isKey: sample.isKey, data: sample.data))
        }
        guard let first = frames.first, let last = samples.last else {
            throw PlaybackError(.damaged, "A group of frames in this clip is empty.")
        }
        let end = start + Ticks.microseconds(last.dts.addingSaturating(last.duration))
        return FrameGroup(
            camera: camera, range: TimeRange(first.time, max(end, first.time + 1)), frames: frames,
            parameters: reader.parameters, isGrowing: clip.record.isOpen && index == reader.groups.count - 1)
    }
}
