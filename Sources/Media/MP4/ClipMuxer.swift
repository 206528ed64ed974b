public import Core
import FoundationEssentials

/// Access units to the plaintext of a clip: `ftyp moov (moof mdat)+ mfra`, in memory, piece by piece.
///
/// A fragment begins at each key frame, and whenever a second has gathered, so that no more than that is at risk. Fragments
/// are independent of one another but for decoding; `mfra` lists those that begin with a key frame. All times are 90 kHz
/// ticks from the clip's start; `tfdt` counts from there.
///
/// Sound is a second track, where the clip was begun with it: each fragment has the sound that was gathered up to its end, behind
/// the pictures. It comes late (an encoder gathers a frame of it first), so that a fragment's sound may belong to the pictures before
/// it, and what comes behind the last picture has a fragment of its own, without pictures. Nothing of the pictures depends on it.
public struct ClipMuxer: Sendable {
    /// What stands beside the header's stanza, inside the seal: the same identity, and the camera's name.
    struct Inside: Codable {
        var identity: ClipIdentity
        var name: String
    }

    private struct Pending: Sendable {
        var dts: Int64
        var pts: Int64
        var isKey: Bool
        var data: [UInt8]
    }

    /// ISO/IEC 14496-12 section 11.1: a `uuid` box; this one is SudoCam's own (random, RFC 9562 version 4).
    static let identityBox: [UInt8] = [
        0x5C, 0xE9, 0x1D, 0x0A, 0x7F, 0x43, 0x4E, 0x0B, 0x9A, 0x61, 0x3B, 0x1C, 0x55, 0xD2, 0x84, 0xF7,
    ]
    /// The same kind of box for the copy of the clip's beginning in `mfra`.
    static let headBox: [UInt8] = [
        0xA2, 0x0B, 0x64, 0x9C, 0x31, 0xD7, 0x4C, 0x52, 0x8E, 0x1F, 0x77, 0x02, 0xC8, 0x4D, 0x90, 0x3B,
    ]
    static let fragmentTicks: Int64 = 90_000
    /// Sound that waits for the next picture: frames, bytes, ticks.
    static let soundLimit = (frames: 4096, bytes: 1 << 20, ticks: Int64(16 * 90_000))
    /// Sync sample, and not: ISO/IEC 14496-12 section 8.8.3.1.
    static let keyFlags: UInt32 = 0x0200_0000
    static let deltaFlags: UInt32 = 0x0101_0000

    private let parameters: CodecParameters
    public let sound: SoundParameters?
    private let identity: ClipIdentity
    private let cameraName: String
    /// In order of time, each after the one before.
    private var pendingSound: [SoundFrame] = []
    private var pendingSoundBytes = 0
    /// Where the last sound that was taken begins, ticks.
    private var lastSound: Int64?
    private var pending: [Pending] = []
    private var pendingBytes = 0
    private var sequence: UInt32 = 0
    private var offset: UInt64 = 0
    private var lastDuration: Int64 = 3600
    private var endTicks: Int64 = 0
    /// (tfdt, offset of moof) of fragments that begin with a key frame.
    private var keyFragments: [(ticks: UInt64, offset: UInt64)] = []
    private var head: [UInt8] = []

    /// - Parameter sound: nil: the clip has none.
    public init(
        parameters: CodecParameters, sound: SoundParameters? = nil, identity: ClipIdentity, cameraName: String
    ) {
        self.parameters = parameters
        self.sound = sound
        self.identity = identity
        self.cameraName = cameraName
    }

    /// Where the last frame ends, µs from the clip's start.
    public var durationMicroseconds: Int64 {
        let end = pending.last.map { $0.dts + lastDuration } ?? endTicks
        return Ticks.microseconds(end)
    }

    /// `ftyp` and `moov`; call once, first.
    public mutating func start() throws(MediaError) -> [UInt8] {
        guard offset == 0 else { throw MediaError(.invalid, "The clip was begun already.") }
        let inside: [UInt8]
        do {
            inside = Array(try JSONEncoder().encode(Inside(identity: identity, name: cameraName)))
        } catch {
            throw MediaError(.invalid, "The clip's identity cannot be written.", underlying: error)
        }
        var out = ByteWriter(reserving: 1024)
        TrackBoxes.fileType(in: &out, brand: "iso6", compatible: ["iso6", "iso5", "mp41", "avc1"])
        BoxWriter.box("moov", in: &out) { out in
            TrackBoxes.movieHeader(in: &out, duration: 0, hasSound: sound != nil)
            BoxWriter.box("trak", in: &out) { out in
                TrackBoxes.trackHeader(in: &out, duration: 0, width: parameters.width, height: parameters.height)
                BoxWriter.box("mdia", in: &out) { out in
                    TrackBoxes.mediaHeaders(in: &out, duration: 0)
                    BoxWriter.box("minf", in: &out) { out in
                        TrackBoxes.mediaInformationHeaders(in: &out)
                        BoxWriter.box("stbl", in: &out) { out in
                            TrackBoxes.sampleDescriptions([parameters], in: &out)
                            Self.emptyTables(in: &out)
                        }
                    }
                }
            }
            if let sound { Self.track(sound, in: &out) }
            BoxWriter.box("mvex", in: &out) { out in
                BoxWriter.fullBox("trex", in: &out) { out in
                    out.u32(TrackBoxes.trackID)
                    out.u32(1)
                    out.zeros(8)
                    out.u32(Self.deltaFlags)
                }
                guard sound != nil else { return }
                BoxWriter.fullBox("trex", in: &out) { out in
                    out.u32(TrackBoxes.soundTrackID)
                    out.u32(1)
                    out.zeros(8)
                    out.u32(Self.keyFlags)
                }
            }
            BoxWriter.box("uuid", in: &out) { out in
                out.append(Self.identityBox)
                out.append(inside)
            }
        }
        offset += UInt64(out.count)
        head = out.bytes
        return out.bytes
    }

    /// Takes the next frame in decoding order.
    /// - Parameters:
    ///   - dts: ticks from the clip's start, rising.
    ///   - pts: ticks from the clip's start.
    /// - Returns: the fragment before it, when this frame begins a new one.
    public mutating func add(_ unit: AccessUnit, dts: Int64, pts: Int64) throws(MediaError) -> [UInt8]? {
        guard unit.codec == parameters.codec else {
            throw MediaError(.invalid, "A frame of \(unit.codec.rawValue) in a clip of \(parameters.codec.rawValue).")
        }
        // 2^40 ticks are 141 days; a clip is minutes.
        guard (-(1 << 40)...1 << 40).contains(dts), (-(1 << 40)...1 << 40).contains(pts),
            unit.data.count < 1 << 28
        else { throw MediaError(.invalid, "A frame's time or size is out of bounds.") }
        // Two frames at one instant cannot be told apart by a player; the line goes on by one tick.
        let dts = max(0, dts, (pending.last?.dts ?? endTicks - 1) + 1)
        var fragment: [UInt8]?
        if let first = pending.first, unit.isKey || dts - first.dts >= Self.fragmentTicks {
            fragment = flush(nextDTS: dts)
        }
        pending.append(Pending(dts: dts, pts: max(0, pts), isKey: unit.isKey, data: unit.data))
        pendingBytes += unit.data.count
        return fragment
    }

    /// Takes sound, which goes with the pictures of its time, or with the next ones where those are gone.
    /// - Parameter frame: its `pts` is ticks from the clip's start.
    /// - Returns: false for what the clip cannot take: it has no sound, or it begins later, or too much waits for a picture.
    public mutating func add(_ frame: SoundFrame) -> Bool {
        let end = pending.last.map { $0.dts + lastDuration } ?? endTicks
        guard sound != nil, (1...SoundFrame.byteLimit).contains(frame.data.count), frame.pts >= 0,
            frame.pts - end < Self.soundLimit.ticks, frame.duration > 0, frame.duration < 1 << 31,
            pendingSound.count < Self.soundLimit.frames,
            pendingSoundBytes + frame.data.count <= Self.soundLimit.bytes
        else { return false }
        var frame = frame
        if let last = lastSound, frame.pts <= last {
            // Jitter of a clock is smoothed; what lies further back was heard already.
            guard last - frame.pts < frame.duration else { return false }
            frame.pts = last + 1
        }
        lastSound = frame.pts
        pendingSound.append(frame)
        pendingSoundBytes += frame.data.count
        return true
    }

    /// The sound that came before its pictures; where the clip ends, the next one takes it.
    public mutating func leftSound() -> [SoundFrame] { takeSound(before: .max) }

    /// Sound that came behind the last picture, as a fragment; nil when there is none.
    public mutating func flushSound() -> [UInt8]? {
        let heard = leftSound()
        guard !heard.isEmpty else { return nil }
        sequence += 1
        var out = ByteWriter()
        var soundOffsetAt: Int?
        BoxWriter.box("moof", in: &out) { out in
            BoxWriter.fullBox("mfhd", in: &out) { $0.u32(sequence) }
            BoxWriter.box("traf", in: &out) { out in
                BoxWriter.fullBox("tfhd", flags: 0x02_0000, in: &out) { $0.u32(TrackBoxes.trackID) }
                BoxWriter.fullBox("tfdt", version: 1, in: &out) { $0.u64(UInt64(max(0, endTicks))) }
            }
            soundOffsetAt = Self.fragment(heard, in: &out)
        }
        if let soundOffsetAt { out.patchU32(UInt32(truncatingIfNeeded: out.count + 8), at: soundOffsetAt) }
        out.u32(UInt32(truncatingIfNeeded: heard.reduce(8) { $0 + $1.data.count }))
        out.ascii("mdat")
        for frame in heard { out.append(frame.data) }
        offset += UInt64(out.count)
        return out.bytes
    }

    private mutating func takeSound(before end: Int64) -> [SoundFrame] {
        let count = pendingSound.firstIndex { $0.pts >= end } ?? pendingSound.count
        let taken = Array(pendingSound.prefix(count))
        pendingSound.removeFirst(count)
        pendingSoundBytes -= taken.reduce(0) { $0 + $1.data.count }
        return taken
    }

    /// What has gathered, as a fragment; nil when nothing has.
    /// - Parameter nextDTS: when the frame after the last one is decoded; else the last one lasts as long as the one before.
    public mutating func flush(nextDTS: Int64? = nil) -> [UInt8]? {
        guard let first = pending.first, let last = pending.last else { return nil }
        if let nextDTS, nextDTS > last.dts, nextDTS - last.dts < 1 << 31 {
            lastDuration = nextDTS - last.dts
        } else if pending.count > 1 {
            lastDuration = last.dts - pending[pending.count - 2].dts
        }
        sequence += 1
        if first.isKey { keyFragments.append((UInt64(first.dts), offset)) }
        let heard = takeSound(before: last.dts + lastDuration)
        let soundBytes = heard.reduce(0) { $0 + $1.data.count }
        var out = ByteWriter(reserving: pendingBytes + soundBytes + 240 + 16 * pending.count + 8 * heard.count)
        var dataOffsetAt = 0
        var soundOffsetAt: Int?
        BoxWriter.box("moof", in: &out) { out in
            BoxWriter.fullBox("mfhd", in: &out) { $0.u32(sequence) }
            BoxWriter.box("traf", in: &out) { out in
                // default-base-is-moof: offsets count from this moof, so that fragments can be moved.
                BoxWriter.fullBox("tfhd", flags: 0x02_0000, in: &out) { $0.u32(TrackBoxes.trackID) }
                BoxWriter.fullBox("tfdt", version: 1, in: &out) { $0.u64(UInt64(first.dts)) }
                BoxWriter.fullBox("trun", version: 1, flags: 0x000F01, in: &out) { out in
                    out.u32(UInt32(truncatingIfNeeded: pending.count))
                    dataOffsetAt = out.count
                    out.u32(0)
                    for (index, sample) in pending.enumerated() {
                        let next = index + 1 < pending.count ? pending[index + 1].dts : sample.dts + lastDuration
                        out.u32(UInt32(truncatingIfNeeded: next - sample.dts))
                        out.u32(UInt32(truncatingIfNeeded: sample.data.count))
                        out.u32(sample.isKey ? Self.keyFlags : Self.deltaFlags)
                        out.u32(UInt32(bitPattern: Int32(truncatingIfNeeded: sample.pts - sample.dts)))
                    }
                }
            }
            soundOffsetAt = Self.fragment(heard, in: &out)
        }
        out.patchU32(UInt32(truncatingIfNeeded: out.count + 8), at: dataOffsetAt)
        if let soundOffsetAt {
            out.patchU32(UInt32(truncatingIfNeeded: out.count + 8 + pendingBytes), at: soundOffsetAt)
        }
        out.u32(UInt32(truncatingIfNeeded: pendingBytes + soundBytes + 8))
        out.ascii("mdat")
        for sample in pending { out.append(sample.data) }
        for frame in heard { out.append(frame.data) }
        endTicks = last.dts + lastDuration
        pending.removeAll(keepingCapacity: true)
        pendingBytes = 0
        offset += UInt64(out.count)
        return out.bytes
    }

    /// Tells the muxer of bytes that were put between fragments (a `free` box).
    public mutating func padded(_ byteCount: Int) { offset += UInt64(max(0, byteCount)) }

    /// `mfra`; call last, after `flush`. It repeats `ftyp` and `moov`, so that a seek into a clip that lies far away reads its end
    /// and one fragment, and nothing else. Players skip a box they do not know.
    public func finish() -> [UInt8] {
        var out = ByteWriter(reserving: 64 + 19 * keyFragments.count)
        BoxWriter.box("mfra", in: &out) { out in
            BoxWriter.fullBox("tfra", version: 1, in: &out) { out in
                out.u32(TrackBoxes.trackID)
                out.u32(0)
                out.u32(UInt32(truncatingIfNeeded: keyFragments.count))
                for entry in keyFragments {
                    out.u64(entry.ticks)
                    out.u64(entry.offset)
                    out.append([1, 1, 1])
                }
            }
            BoxWriter.box("uuid", in: &out) { out in
                out.append(Self.headBox)
                out.append(head)
            }
            BoxWriter.fullBox("mfro", in: &out) { out in
                out.u32(UInt32(truncatingIfNeeded: out.count + 4))
            }
        }
        return out.bytes
    }

    private static func emptyTables(in out: inout ByteWriter) {
        for type: StaticString in ["stts", "stsc", "stco"] { BoxWriter.fullBox(type, in: &out) { $0.u32(0) } }
        BoxWriter.fullBox("stsz", in: &out) { $0.zeros(8) }
    }

    private static func track(_ sound: SoundParameters, in out: inout ByteWriter) {
        BoxWriter.box("trak", in: &out) { out in
            TrackBoxes.soundTrackHeader(in: &out, duration: 0)
            BoxWriter.box("mdia", in: &out) { out in
                TrackBoxes.mediaHeaders(in: &out, duration: 0, handler: "soun")
                BoxWriter.box("minf", in: &out) { out in
                    TrackBoxes.mediaInformationHeaders(in: &out, isSound: true)
                    BoxWriter.box("stbl", in: &out) { out in
                        TrackBoxes.sampleDescriptions([sound], in: &out)
                        emptyTables(in: &out)
                    }
                }
            }
        }
    }

    /// A `traf` of sound, unless there is none.
    /// - Returns: where its data offset stands.
    private static func fragment(_ heard: [SoundFrame], in out: inout ByteWriter) -> Int? {
        guard let first = heard.first else { return nil }
        var dataOffsetAt = 0
        BoxWriter.box("traf", in: &out) { out in
            BoxWriter.fullBox("tfhd", flags: 0x02_0000, in: &out) { $0.u32(TrackBoxes.soundTrackID) }
            BoxWriter.fullBox("tfdt", version: 1, in: &out) { $0.u64(UInt64(max(0, first.pts))) }
            BoxWriter.fullBox("trun", version: 1, flags: 0x000301, in: &out) { out in
                out.u32(UInt32(truncatingIfNeeded: heard.count))
                dataOffsetAt = out.count
                out.u32(0)
                for (index, frame) in heard.enumerated() {
                    // A hole makes the frame before it last longer, as with pictures.
                    let next = index + 1 < heard.count ? heard[index + 1].pts : frame.pts + frame.duration
                    out.u32(UInt32(truncatingIfNeeded: next - frame.pts))
                    out.u32(UInt32(truncatingIfNeeded: frame.data.count))
                }
            }
        }
        return dataOffsetAt
    }

    /// A box players skip; at least 8 bytes.
    public static func freeBox(byteCount: Int) -> [UInt8] {
        var out = ByteWriter(reserving: byteCount)
        BoxWriter.box("free", in: &out) { $0.zeros(byteCount - 8) }
        return out.bytes
    }
}
