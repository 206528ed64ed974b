public import Core
import Media
public import Vault

/// Any time range of one camera as one MP4, exact to the frame by an edit list and without encoding anew.
///
/// Sizes and times of all samples are read first (fragment headers only), so that the index can stand in front and the
/// length is known; then the frames stream through, one group in memory. A gap inside the range holds the frame before it,
/// so that the movie's time stays the wall's. Sound, where there is any, is a second track on the same time: it follows the pictures of
/// its group, and may be heard a little before or after them.
public struct MovieExport: Sendable {
    private struct Piece: Sendable {
        var clip: ClipRecord
        var group: Int
        /// Of sound, behind the pictures.
        var sounds: Int
    }

    public let byteCount: Int
    /// What is covered: from the first frame shown to the end asked for, or of the footage.
    public let range: TimeRange
    public let frameCount: Int
    private let header: [UInt8]
    private let pieces: [Piece]
    /// Sound of the range that lies beside later pictures.
    private let tail: [UInt8]
    private let vault: Vault

    public init(vault: Vault, camera: CameraID, range: TimeRange) async throws(PlaybackError) {
        do {
            self = try await Self.plan(vault, camera, range)
        } catch let error as PlaybackError {
            throw error
        } catch  where PlaybackError.isLock(error) {
            throw PlaybackError(.locked, "The vault is locked.", hint: "Unlock it first.")
        } catch {
            throw PlaybackError(
                .damaged, "The footage of this range cannot be read whole.", hint: "Run `sudocam verify`.",
                underlying: error)
        }
    }

    private init(
        byteCount: Int, range: TimeRange, frameCount: Int, header: [UInt8], pieces: [Piece], tail: [UInt8], vault: Vault
    ) {
        self.byteCount = byteCount
        self.range = range
        self.frameCount = frameCount
        self.header = header
        self.pieces = pieces
        self.tail = tail
        self.vault = vault
    }

    private static func plan(_ vault: Vault, _ camera: CameraID, _ range: TimeRange) async throws -> MovieExport {
        // Nothing of the range may be left out silently; a million clips are two years.
        let clips = try await vault.clips(camera: camera, overlapping: range, limit: 1_000_000)
        var descriptions: [CodecParameters] = []
        var samples: [(wall: Int64, sample: MovieWriter.Sample)] = []
        var pieces: [Piece] = []
        var sound = SoundPlan()
        var tail: [UInt8] = []
        var shown: (first: Int64, last: Int64)?
        var end = range.start
        for clip in clips {
            let reader = try await ClipReader(try await vault.openObject(clip))
            let description: Int
            if let known = descriptions.firstIndex(of: reader.parameters) {
                description = known
            } else {
                guard descriptions.first.map({ $0.codec == reader.parameters.codec }) ?? true else {
                    throw PlaybackError(
                        .unsupportedCodec, "The camera's codec changes inside this range; export each part.")
                }
                description = descriptions.count
                descriptions.append(reader.parameters)
            }
            let from = Ticks.ticks(microseconds: range.start - clip.start)
            let to = Ticks.ticks(microseconds: range.end - clip.start)
            let base = Ticks.ticks(microseconds: clip.start.microseconds - range.start.microseconds)
            for index in reader.groups.indices {
                let next = index + 1 < reader.groups.count ? reader.groups[index + 1].startTicks : Int64.max
                guard reader.groups[index].startTicks < to, next > from else { continue }
                let infos = try await reader.infos(ofGroup: index)
                pieces.append(Piece(clip: clip, group: index, sounds: infos.sound.count))
                sound.add(infos.sound, reader.sound, base: base, besidePicture: samples.count, infos.video.count)
                for info in infos.video {
                    samples.append(
                        (
                            base + info.dts,
                            MovieWriter.Sample(
                                byteCount: info.bytes.count, duration: info.duration,
                                compositionOffset: info.pts - info.dts, isKey: info.isKey, description: description)
                        ))
                    let begins = base + info.pts
                    let ends = begins + info.duration
                    // A frame is part of the range when any of its time is.
                    if ends > 0, begins < Ticks.ticks(microseconds: range.duration) {
                        shown = (min(shown?.first ?? begins, begins), max(shown?.last ?? ends, ends))
                        end = max(end, range.start + Ticks.microseconds(ends))
                    }
                }
            }
            if clip.object == clips.last?.object, let last = pieces.last, last.clip.object == clip.object,
                reader.sound != nil
            {
                tail = await sound.addTail(
                    reader, from: last.group + 1, base: base, end: Ticks.ticks(microseconds: range.duration))
            }
        }
        guard let shown, !samples.isEmpty else {
            throw PlaybackError(.nothingRecorded, "Nothing is recorded in this range.")
        }
        // Wall time decides each duration, so that gaps keep their length.
        for index in samples.indices.dropLast() {
            samples[index].sample.duration = max(1, samples[index + 1].wall - samples[index].wall)
        }
        let first = samples[0].wall
        let heard = sound.track(beside: samples)
        let longest = max(samples.map(\.sample.duration).max() ?? 0, heard?.longest ?? 0)
        guard longest <= MovieWriter.longestSample else {
            throw PlaybackError(
                .gapTooLong,
                "The recording pauses in this range, or its sound does, for longer than an MP4 can tell (13 hours).",
                hint: "Export what lies before and behind it.")
        }
        let start = max(0, shown.first)
        let writer = MovieWriter(
            descriptions: descriptions, samples: samples.map(\.sample), editStart: start - first,
            editDuration: min(Ticks.ticks(microseconds: range.duration), shown.last) - start,
            sound: heard)
        let header = writer.header()
        return MovieExport(
            byteCount: header.count + writer.dataByteCount,
            range: TimeRange(range.start + Ticks.microseconds(start), min(end, range.end)), frameCount: samples.count,
            header: header, pieces: pieces, tail: tail, vault: vault)
    }

    /// The file from beginning to end. Throws when the vault is locked meanwhile.
    public func chunks() -> AsyncThrowingStream<[UInt8], any Error> {
        let cursor = Cursor(header: header, pieces: pieces, tail: tail, vault: vault)
        return AsyncThrowingStream { try await cursor.next() }
    }

    /// Reads on only when asked: whoever downloads slowly holds one group in memory.
    private actor Cursor {
        private var header: [UInt8]?
        private var pieces: ArraySlice<Piece>
        private var tail: [UInt8]
        private let vault: Vault
        private var reader: (clip: ObjectID, reader: ClipReader)?

        init(header: [UInt8], pieces: [Piece], tail: [UInt8], vault: Vault) {
            self.header = header
            self.pieces = pieces[...]
            self.tail = tail
            self.vault = vault
        }

        func next() async throws -> [UInt8]? {
            if let header {
                self.header = nil
                return header
            }
            guard let piece = pieces.popFirst() else {
                defer { tail = [] }
                return tail.isEmpty ? nil : tail
            }
            if reader?.clip != piece.clip.object {
                reader = (piece.clip.object, try await ClipReader(try await vault.openObject(piece.clip)))
            }
            guard let contents = try await reader?.reader.contents(ofGroup: piece.group),
                contents.sound.count == piece.sounds
            else { throw PlaybackError(.damaged, "The footage changed while it was exported.") }
            return (contents.video + contents.sound).reduce(into: []) { $0 += $1.data }
        }
    }
}
