public import Core
public import Logging
public import Media
import Synchronization
public import Vault

/// From one camera's placed frames to sealed clips.
///
/// Invariants: a clip begins with a key frame; one clip has one run, one UTC day, one set of parameter sets, and one kind of sound or
/// none; fragments go to the vault as soon as they are whole, so at most a second of frames is in memory only; a clip that is being
/// closed never holds up the next one. Everything runs in this actor; `Pipeline` feeds it and nobody waits for it.
///
///     waiting ──key frame──▶ open clip ──60 s, day, parameters, sound, run: at a key frame──▶ open clip …
///                                └──stream ended──▶ closing ──committed──▶ waiting
///
/// A clip with sound that is cut is closed when the first sound behind the cut comes: sound takes longer than pictures.
public actor Recorder {
    public struct Policy: Sendable {
        /// A clip is cut at the first key frame after this many microseconds.
        public var clipLength: Int64 = 60_000_000
        public var clipBytes = 64 << 20
        /// A chunk that does not fill within four seconds is padded, so that it reaches the disk. The timer looks every
        /// 0.7 s, so it must act before that, not after.
        public var padAfter: Int64 = 3_300_000
        public init(clipLength: Int64 = 60_000_000) { self.clipLength = clipLength }
    }

    private struct OpenClip {
        var writer: ClipWriter
        var muxer: ClipMuxer
        var run: RunID
        var parameters: CodecParameters
        var start: WallTime
        var end: WallTime
        var bytes: Int
        /// When a chunk last became full, and so was written.
        var lastChunk: MonotonicTime
        var lastUnit: MonotonicTime
    }

    private let camera: CameraID
    private var cameraName: String
    private let vault: Vault
    private var policy: Policy
    private let time: any TimeSource
    private let logger: Logger
    private var open: OpenClip?
    /// A clip whose pictures are all written; the sound that belongs to them may still come.
    private var trailing: (clip: OpenClip, end: WallTime)?
    private var closing: [UInt64: Task<Void, Never>] = [:]
    private var nextClosing: UInt64 = 0
    public private(set) var counters = RecorderCounters()

    public init(
        camera: CameraID, cameraName: String, vault: Vault, policy: Policy, time: any TimeSource, logger: Logger
    ) {
        self.camera = camera
        self.cameraName = cameraName
        self.vault = vault
        self.policy = policy
        self.time = time
        self.logger = logger
    }

    /// From the next clip on: the open one carries the name that it began with.
    public func rename(_ name: String) { cameraName = name }

    /// From the next frame on.
    public func setPolicy(_ policy: Policy) { self.policy = policy }

    /// Takes the next frame in decoding order. After it returns the frame is in the open clip's buffer, not yet on disk.
    /// - Returns: false when there is no clip for it to be in, and it is no key frame to begin one with.
    @discardableResult
    public func record(_ unit: TimedUnit) async throws(IngestError) -> Bool {
        var early: [TimedSound] = []
        if let clip = open, mustCut(clip, before: unit) {
            early = await finish(at: unit.run == clip.run ? unit.decodeTime : nil)
        }
        if open == nil {
            guard unit.unit.isKey else {
                counters.skippedFrames += 1
                counters.lostSounds += UInt64(early.count)
                return false
            }
            do throws(IngestError) { try await begin(with: unit) } catch {
                counters.lostSounds += UInt64(early.count)
                throw error
            }
            for sound in early { await record(sound) }
        }
        guard var clip = open else { return false }
        let fragment: [UInt8]?
        do {
            fragment = try clip.muxer.add(
                unit.unit, dts: Ticks.ticks(microseconds: unit.decodeTime - clip.start),
                pts: Ticks.ticks(microseconds: unit.time - clip.start))
        } catch {
            throw IngestError(
                .streamUnusable, "A frame of \(cameraName) does not fit into its clip.", underlying: error)
        }
        clip.end = max(clip.end, unit.time)
        clip.lastUnit = time.monotonicNow()
        counters.frames += 1
        counters.bytes += UInt64(unit.unit.data.count)
        open = clip
        if let fragment { try await append(fragment) }
        return true
    }

    /// Takes sound between frames; what the open clip cannot take is left out and counted. It is written with the next pictures.
    public func record(_ sound: TimedSound) async {
        if var last = trailing {
            if sound.run == last.clip.run, sound.time < last.end, sound.parameters == last.clip.muxer.sound {
                add(sound, to: &last.clip)
                trailing = last
                return
            }
            closeTrailing()
        }
        guard var clip = open, clip.run == sound.run, clip.muxer.sound == sound.parameters else {
            counters.lostSounds += 1
            return
        }
        add(sound, to: &clip)
        open = clip
    }

    private func add(_ sound: TimedSound, to clip: inout OpenClip) {
        var frame = sound.frame
        frame.pts = Ticks.ticks(microseconds: sound.time - clip.start)
        if clip.muxer.add(frame) { counters.sounds += 1 } else { counters.lostSounds += 1 }
    }

    /// The run is over: what is open becomes a clip.
    public func endRun() async {
        _ = await finish(at: nil)
        closeTrailing()
    }

    /// Waits until every clip is committed.
    public func stop() async {
        await endRun()
        for task in closing.values { await task.value }
    }

    /// Called about once a second: lets no frame and no chunk stay in memory for long when the stream is slow.
    public func tick() async {
        let now = time.monotonicNow()
        if let last = trailing {
            // Its end is not padded: closing it brings what waits in memory to the disk as well.
            let isDue = last.clip.writer.hasUnsealedBytes && now - last.clip.lastChunk >= policy.padAfter
            if isDue || now - last.clip.lastUnit >= Self.soundPatience { closeTrailing() }
        }
        guard let clip = open else { return }
        if now - clip.lastUnit >= 1_000_000, let fragment = open?.muxer.flush() {
            try? await append(fragment)
        }
        guard let clip = open, clip.writer.hasUnsealedBytes, now - clip.lastChunk >= policy.padAfter else { return }
        // A `free` box cannot be shorter than its own header; the next chunk's worth is the way out.
        let room = clip.writer.bytesUntilChunkEnd
        let padding = ClipMuxer.freeBox(byteCount: room >= 8 ? room : room + 65_536)
        open?.muxer.padded(padding.count)
        try? await append(padding)
    }

    /// Sound that changes again and again must not make a clip of each key frame, µs.
    private static let leastForSound: Int64 = 2_000_000
    /// How long a clip waits for its last sound, µs.
    private static let soundPatience: Int64 = 2_000_000

    private func mustCut(_ clip: OpenClip, before unit: TimedUnit) -> Bool {
        if unit.run != clip.run { return true }
        if unit.parameters != clip.parameters { return true }
        guard unit.unit.isKey else { return false }
        if unit.sound != clip.muxer.sound, unit.decodeTime - clip.start >= Self.leastForSound { return true }
        return unit.decodeTime - clip.start >= policy.clipLength || clip.bytes >= policy.clipBytes
            || unit.decodeTime.utcDay != clip.start.utcDay
    }

    private func begin(with unit: TimedUnit) async throws(IngestError) {
        let start = min(unit.decodeTime, unit.time)
        do {
            let writer = try await vault.beginClip(camera: camera, run: unit.run, start: start)
            var muxer = ClipMuxer(
                parameters: unit.parameters, sound: unit.sound, identity: writer.identity, cameraName: cameraName)
            let head = try muxer.start()
            let now = time.monotonicNow()
            open = OpenClip(
                writer: writer, muxer: muxer, run: unit.run, parameters: unit.parameters, start: start, end: start,
                bytes: 0, lastChunk: now, lastUnit: now)
            try await append(head)
        } catch let error as IngestError {
            throw error
        } catch {
            throw IngestError(
                .vaultFailed, "No new clip could be begun for \(cameraName).", hint: (error as? VaultError)?.hint,
                underlying: error)
        }
    }

    private func append(_ bytes: [UInt8]) async throws(IngestError) {
        guard let clip = open else { return }
        let fillsChunk = bytes.count >= clip.writer.bytesUntilChunkEnd
        do {
            try await clip.writer.append(bytes)
            vault.reached(clip.end, in: clip.writer)
            open?.bytes += bytes.count
            if fillsChunk { open?.lastChunk = time.monotonicNow() }
        } catch {
            // The part on disk stays for recovery; the next key frame begins a new clip.
            open = nil
            counters.failedClips += 1
            throw IngestError(
                .vaultFailed, "The open clip of \(cameraName) could not be written.", hint: error.hint,
                underlying: error)
        }
    }

    /// - Parameter next: when the following frame of the same run is decoded, which is where the last frame ends.
    /// - Returns: sound that came before its pictures, for the next clip.
    private func finish(at next: WallTime?) async -> [TimedSound] {
        closeTrailing()
        guard var clip = open else { return [] }
        open = nil
        let tail = clip.muxer.flush(nextDTS: next.map { Ticks.ticks(microseconds: $0 - clip.start) })
        let end = max(next ?? clip.start + clip.muxer.durationMicroseconds, clip.end)
        let left = clip.muxer.leftSound()
        counters.sounds -= UInt64(left.count)
        guard let sound = clip.muxer.sound, let next else {
            counters.lostSounds += UInt64(left.count)
            close(clip, tail, end: end)
            return []
        }
        let early = left.map { frame in
            TimedSound(
                frame: frame, time: clip.start + Ticks.microseconds(frame.pts), run: clip.run, parameters: sound)
        }
        guard early.isEmpty else {
            close(clip, tail, end: end)
            return early
        }
        do {
            // The pictures do not wait.
            if let tail { try await clip.writer.append(tail) }
            trailing = (clip, next)
        } catch {
            failed(error)
        }
        return []
    }

    private func closeTrailing() {
        guard var last = trailing else { return }
        trailing = nil
        close(last.clip, last.clip.muxer.flushSound(), end: max(last.end, last.clip.end))
    }

    /// - Parameter tail: what is still to be written before its index.
    private func close(_ clip: OpenClip, _ tail: [UInt8]?, end: WallTime) {
        let index = clip.muxer.finish()
        let writer = clip.writer
        let key = nextClosing
        nextClosing += 1
        closing[key] = Task { [weak self] in
            do {
                if let tail { try await writer.append(tail) }
                try await writer.append(index)
                _ = try await writer.finish(end: end)
                await self?.closed(key)
            } catch {
                await self?.closed(key, error)
            }
        }
    }

    private func failed(_ error: any Error) {
        counters.failedClips += 1
        logger.error("a clip could not be committed", metadata: ["camera": "\(cameraName)", "error": "\(error)"])
    }

    private func closed(_ key: UInt64, _ error: (any Error)? = nil) {
        closing[key] = nil
        if let error { failed(error) } else { counters.clips += 1 }
    }
}

/// What a recorder did since it started.
public struct RecorderCounters: Sendable {
    public var frames: UInt64 = 0
    public var bytes: UInt64 = 0
    public var clips: UInt64 = 0
    /// Frames before the first key frame of a run.
    public var skippedFrames: UInt64 = 0
    public var failedClips: UInt64 = 0
    /// Frames whose time could not be believed (I1).
    public var droppedFrames: UInt64 = 0
    /// Frames of sound.
    public var sounds: UInt64 = 0
    /// Of which no clip could take: between clips, of another kind than the clip's, far from its pictures.
    public var lostSounds: UInt64 = 0
    /// Frames lost because the disk did not keep up (S9).
    public var overflowedFrames: UInt64 = 0
    public init() {}
}
