public import Core
import FoundationEssentials

/// Reads a clip's plaintext from any place, trusting no byte of it: groups by `mfra` where the clip was closed, else by
/// walking from fragment to fragment (open and salvaged clips).
public struct ClipReader: Sendable {
    /// A key frame and what follows up to the next one.
    public struct Group: Sendable, Equatable {
        /// Decoding time of the key frame, 90 kHz ticks from the clip's start.
        public var startTicks: Int64
        /// Bytes from its first `moof` to the next group's (or to the end of the last fragment, or of the last whole
        /// sample where the clip ends inside one).
        public var bytes: Range<Int>
        /// The clip ends, so far, inside this group's last fragment: only the samples before the cut count.
        public internal(set) var isCut = false
    }

    public struct Sample: Sendable {
        /// 90 kHz ticks from the clip's start.
        public var dts: Int64
        public var pts: Int64
        public var duration: Int64
        public var isKey: Bool
        public var data: [UInt8]
    }

    /// A sample without its data.
    public struct SampleInfo: Sendable, Equatable {
        public var dts: Int64
        public var pts: Int64
        public var duration: Int64
        public var isKey: Bool
        /// Where the data lies in the clip.
        public var bytes: Range<Int>
    }

    static let groupLimit = 100_000
    static let sampleLimit = 100_000
    static let headLimit = 1 << 20
    /// Larger than any fragment we write: a second of video.
    static let groupBytesLimit = 256 << 20

    private let source: any ByteSource
    public let parameters: CodecParameters
    /// Nil: the clip has none, or none that can be read.
    public let sound: SoundParameters?
    /// Nil in a clip that does not say.
    public let identity: ClipIdentity?
    public let cameraName: String?
    public private(set) var groups: [Group] = []
    /// Where the next unread fragment begins; only for clips without `mfra`.
    private var scanned: Int
    private var isIndexed = false
    /// How to take back what a cut fragment added, before it is looked at again.
    private enum CutUndo: Sendable {
        case removeLast
        case restoreLast(Group)
    }
    private var cutUndo: CutUndo?

    public init(_ source: any ByteSource) async throws(MediaError) {
        self.source = source
        // A closed clip's end tells all that its beginning does: one place to read, and from far away one request less.
        let trailer = try await Self.trailer(source)
        var head = try trailer.flatMap { (trailer) throws(MediaError) in try Self.headCopy(trailer) }
        if head == nil { head = try await Self.head(source) }
        guard let head else { throw Self.malformed("no moov at its beginning") }
        parameters = head.parameters
        sound = head.sound
        identity = head.inside?.identity
        cameraName = head.inside?.name
        scanned = head.end
        if let trailer, let index = try Self.index(trailer, from: head.end) {
            groups = index
            isIndexed = true
        } else {
            try await refresh()
        }
    }

    /// The identity in the first bytes of a clip; for verification, which sees plaintext but knows no video.
    public static func identity(inHead bytes: [UInt8]) -> ClipIdentity? { try? parseHead(bytes)?.inside?.identity }

    /// The last group that begins by then, else the first; nil when there is none.
    public func groupIndex(showing ticks: Int64) -> Int? {
        guard !groups.isEmpty else { return nil }
        var low = 0
        var high = groups.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if groups[middle].startTicks <= ticks { low = middle } else { high = middle }
        }
        return low
    }

    /// Looks for fragments that were added since. Of a fragment that is not all there yet (the clip is being written, or was
    /// cut by a crash) the whole samples count: a second of video must not be lost for its last few bytes.
    public mutating func refresh() async throws(MediaError) {
        guard !isIndexed else { return }
        takeBackCut()
        while let box = try await Self.boxHeader(source, at: scanned) {
            guard box.range.upperBound <= source.count else { return }
            guard box.type == "moof" else {
                scanned = box.range.upperBound
                continue
            }
            guard let data = try await Self.boxHeader(source, at: box.range.upperBound), data.type == "mdat"
            else { return }
            let moof = try await Self.read(source, box.range)
            let samples = try Self.samples(moof, at: box.range.lowerBound)
            guard let first = samples.first else {
                guard try Self.isSoundAlone(moof) else { throw Self.malformed("a fragment without a sample") }
                guard data.range.upperBound <= source.count else { return }
                extendLast(to: data.range.upperBound)
                scanned = data.range.upperBound
                continue
            }
            guard data.range.upperBound <= source.count else {
                let end = samples.prefix { $0.bytes.upperBound <= source.count }.last?.bytes.upperBound
                if let end { try add(first, box.range.lowerBound..<end, isCut: true) }
                return
            }
            try add(first, box.range.lowerBound..<data.range.upperBound, isCut: false)
            scanned = data.range.upperBound
        }
    }

    private mutating func add(_ first: SampleInfo, _ bytes: Range<Int>, isCut: Bool) throws(MediaError) {
        if isCut { cutUndo = first.isKey ? .removeLast : groups.last.map(CutUndo.restoreLast) }
        if first.isKey {
            guard groups.count < Self.groupLimit else { throw Self.malformed("too many fragments") }
            groups.append(Group(startTicks: first.dts, bytes: bytes, isCut: isCut))
        } else if let last = groups.indices.last {
            extendLast(to: bytes.upperBound)
            groups[last].isCut = isCut
        }
    }

    private mutating func extendLast(to end: Int) {
        guard let last = groups.indices.last else { return }
        groups[last].bytes = groups[last].bytes.lowerBound..<end
    }

    private mutating func takeBackCut() {
        switch cutUndo {
        case .removeLast: groups.removeLast()
        case .restoreLast(let group): groups[groups.count - 1] = group
        case nil: break
        }
        cutUndo = nil
    }

    /// One group's samples with their data, in decoding order.
    public func samples(ofGroup index: Int) async throws(MediaError) -> [Sample] {
        guard groups.indices.contains(index) else { throw MediaError(.invalid, "The clip has no group \(index).") }
        let (range, isCut) = (groups[index].bytes, groups[index].isCut)
        let bytes = try await Self.read(source, range)
        return Self.filled(try Self.fragments(bytes, at: range.lowerBound, isCut: isCut), bytes, at: range.lowerBound)
    }

    /// - Parameter base: where `bytes` lie in the clip; all of `infos` lie in them.
    static func filled(_ infos: [SampleInfo], _ bytes: [UInt8], at base: Int) -> [Sample] {
        infos.map { info in
            let local = info.bytes.lowerBound - base..<info.bytes.upperBound - base
            return Sample(
                dts: info.dts, pts: info.pts, duration: info.duration, isKey: info.isKey, data: Array(bytes[local]))
        }
    }

    /// The same without reading the frames themselves.
    public func sampleInfos(ofGroup index: Int) async throws(MediaError) -> [SampleInfo] {
        var infos: [SampleInfo] = []
        for (moof, base) in try await moofs(ofGroup: index) { infos += try Self.samples(moof, at: base) }
        return try Self.inside(groups[index].bytes, infos, isCut: groups[index].isCut)
    }

    /// The heads of a group's fragments, and where they lie in the clip.
    func moofs(ofGroup index: Int) async throws(MediaError) -> [(bytes: [UInt8], base: Int)] {
        guard groups.indices.contains(index) else { throw MediaError(.invalid, "The clip has no group \(index).") }
        let range = groups[index].bytes
        var moofs: [(bytes: [UInt8], base: Int)] = []
        var position = range.lowerBound
        while position < range.upperBound, let box = try await Self.boxHeader(source, at: position) {
            guard box.range.upperBound <= range.upperBound else { break }
            if box.type == "moof" { moofs.append((try await Self.read(source, box.range), box.range.lowerBound)) }
            position = box.range.upperBound
        }
        return moofs
    }

    /// A group whole.
    func bytes(ofGroup index: Int) async throws(MediaError) -> [UInt8] {
        guard groups.indices.contains(index) else { throw MediaError(.invalid, "The clip has no group \(index).") }
        return try await Self.read(source, groups[index].bytes)
    }

    /// One sample's data.
    public func data(of info: SampleInfo) async throws(MediaError) -> [UInt8] {
        try await Self.read(source, info.bytes)
    }
}

// MARK: Parsing

extension ClipReader {
    struct Box {
        var type: String
        var range: Range<Int>
        var content: Range<Int>
    }

    static func malformed(_ what: String) -> MediaError {
        MediaError(.malformed, "The clip's MP4 is damaged: \(what).", hint: "`sudocam verify` tells more.")
    }

    static func read(_ source: any ByteSource, _ range: Range<Int>) async throws(MediaError) -> [UInt8] {
        guard range.count <= groupBytesLimit else { throw malformed("a box of \(range.count) bytes") }
        let bytes: [UInt8]
        do {
            bytes = try await source.read(at: range.lowerBound, count: range.count)
        } catch {
            throw MediaError(.readFailed, "The clip could not be read.", underlying: error)
        }
        guard bytes.count == range.count else { throw MediaError(.truncated, "The clip ends early.") }
        return bytes
    }

    /// Nil at the end, or where less than a header is left.
    static func boxHeader(_ source: any ByteSource, at offset: Int) async throws(MediaError) -> Box? {
        guard offset >= 0, offset <= source.count - 8 else { return nil }
        let bytes = try await read(source, offset..<min(source.count, offset + 16))
        return try box(bytes[...], at: offset)
    }

    static func box(_ bytes: ArraySlice<UInt8>, at offset: Int) throws(MediaError) -> Box? {
        do {
            var reader = ByteReader(bytes)
            guard reader.remaining >= 8 else { return nil }
            var size = UInt64(try reader.u32())
            let type = String(decoding: try reader.take(4), as: UTF8.self)
            var header = 8
            if size == 1 {
                size = try reader.u64()
                header = 16
            }
            guard size >= header, size < 1 << 48 else { throw malformed("a box of size \(size)") }
            return Box(type: type, range: offset..<offset + Int(size), content: offset + header..<offset + Int(size))
        } catch let error as MediaError {
            throw error
        } catch {
            throw malformed("a box header cut short")
        }
    }

    /// The boxes in `bytes[range]`.
    /// - Parameter isCut: the last one may be longer than what is there, and is left out; else that is an error.
    static func boxes(
        _ bytes: [UInt8], in range: Range<Int>, isCut: Bool = false
    ) throws(MediaError) -> [Box] {
        var boxes: [Box] = []
        var position = range.lowerBound
        while let box = try box(bytes[position..<range.upperBound], at: position) {
            guard box.range.upperBound <= range.upperBound else {
                if isCut { break }
                throw malformed("a box longer than its parent")
            }
            boxes.append(box)
            position = box.range.upperBound
            if boxes.count > 10_000 { throw malformed("too many boxes") }
        }
        return boxes
    }

    private typealias Head = (
        parameters: CodecParameters, sound: SoundParameters?, inside: ClipMuxer.Inside?, end: Int
    )

    private static func head(_ source: any ByteSource) async throws(MediaError) -> Head {
        // One chunk holds it; read the rest only when it does not.
        var bytes = try await read(source, 0..<min(source.count, 16 << 10))
        if let head = try parseHead(bytes) { return head }
        bytes = try await read(source, 0..<min(source.count, headLimit))
        guard let head = try parseHead(bytes) else { throw malformed("no moov at its beginning") }
        return head
    }

    /// Nil when `moov` is not all there.
    private static func parseHead(_ bytes: [UInt8]) throws(MediaError) -> Head? {
        var position = 0
        while let box = try box(bytes[position...], at: position) {
            guard box.range.upperBound <= bytes.count else { return nil }
            if box.type == "moov" {
                let children = try boxes(bytes, in: box.content)
                var inside: ClipMuxer.Inside?
                for child in children where child.type == "uuid" && child.content.count > 16 {
                    let content = bytes[child.content]
                    guard content.prefix(16).elementsEqual(ClipMuxer.identityBox) else { continue }
                    inside = try? JSONDecoder().decode(ClipMuxer.Inside.self, from: Data(content.dropFirst(16)))
                }
                let parameters = try parameters(bytes, in: box.content)
                return (parameters, sound(bytes, among: children), inside, box.range.upperBound)
            }
            position = box.range.upperBound
        }
        return nil
    }

    private static func parameters(_ bytes: [UInt8], in moov: Range<Int>) throws(MediaError) -> CodecParameters {
        var range = moov
        for type in ["trak", "mdia", "minf", "stbl", "stsd"] {
            guard let box = try boxes(bytes, in: range).first(where: { $0.type == type }) else {
                throw malformed("no \(type)")
            }
            range = box.content
        }
        // stsd: version, flags and count come before its children; a visual sample entry has 78 bytes before its own.
        guard range.count >= 8 else { throw malformed("stsd cut short") }
        guard let entry = try boxes(bytes, in: range.lowerBound + 8..<range.upperBound).first,
            let codec: Codec = ["avc1": .h264, "avc3": .h264, "hvc1": .h265, "hev1": .h265][entry.type],
            entry.content.count >= 78
        else { throw malformed("no video sample entry") }
        let children = try boxes(bytes, in: entry.content.lowerBound + 78..<entry.content.upperBound)
        guard let record = children.first(where: { $0.type == (codec == .h264 ? "avcC" : "hvcC") }) else {
            throw malformed("no decoder configuration")
        }
        return try CodecParameters(codec: codec, extradata: Array(bytes[record.content]))
    }

    /// `mfra` and where it begins; nil when the clip does not end with one.
    private static func trailer(
        _ source: any ByteSource
    ) async throws(MediaError) -> (bytes: [UInt8], begin: Int)? {
        let count = source.count
        guard count >= 32 else { return nil }
        // Mostly all of it; nothing is lost where it is not.
        let guess = try await read(source, max(0, count - 4096)..<count)
        let tail = Array(guess.suffix(16))
        guard tail[4..<8].elementsEqual("mfro".utf8) else { return nil }
        let size = tail[12..<16].reduce(0) { $0 << 8 | Int($1) }
        guard size >= 16, size <= count, size < 16 << 20 else { return nil }
        let begin = count - size
        let bytes = size <= guess.count ? Array(guess.suffix(size)) : try await read(source, begin..<count)
        guard let outer = try box(bytes[...], at: 0), outer.type == "mfra", outer.range.upperBound == size else {
            return nil
        }
        return (bytes, begin)
    }

    /// The clip's first bytes as `mfra` repeats them; nil in clips of before.
    private static func headCopy(_ trailer: (bytes: [UInt8], begin: Int)) throws(MediaError) -> Head? {
        let bytes = trailer.bytes
        guard let outer = try box(bytes[...], at: 0) else { return nil }
        for child in try boxes(bytes, in: outer.content) where child.type == "uuid" && child.content.count > 16 {
            let content = bytes[child.content]
            guard content.prefix(16).elementsEqual(ClipMuxer.headBox) else { continue }
            guard let head = try parseHead(Array(content.dropFirst(16))), head.end <= trailer.begin else {
                throw malformed("a copy of its beginning that cannot be")
            }
            return head
        }
        return nil
    }

    /// Groups from `mfra`.
    private static func index(
        _ trailer: (bytes: [UInt8], begin: Int), from start: Int
    ) throws(MediaError) -> [Group]? {
        let (bytes, begin) = trailer
        guard begin >= start, let outer = try box(bytes[...], at: 0),
            let table = try boxes(bytes, in: outer.content).first(where: { $0.type == "tfra" })
        else { return nil }
        var entries: [(ticks: Int64, offset: Int)] = []
        do {
            var reader = ByteReader(bytes[table.content])
            let version = try reader.u8()
            try reader.skip(3)
            try reader.skip(4)
            let lengths = try reader.u32()
            let extra = Int(lengths & 3) + Int(lengths >> 2 & 3) + Int(lengths >> 4 & 3) + 3
            let number = Int(try reader.u32())
            guard number <= groupLimit else { throw malformed("too many fragments") }
            for _ in 0..<number {
                let ticks = version == 1 ? try reader.u64() : UInt64(try reader.u32())
                let offset = version == 1 ? try reader.u64() : UInt64(try reader.u32())
                try reader.skip(extra)
                guard ticks < 1 << 48, offset < UInt64(begin), Int(offset) >= start,
                    entries.last.map({ $0.offset < Int(offset) && $0.ticks <= Int64(ticks) }) ?? true
                else { throw malformed("an index that does not rise") }
                entries.append((Int64(ticks), Int(offset)))
            }
        } catch let error as MediaError {
            throw error
        } catch {
            throw malformed("an index cut short")
        }
        return entries.indices.map { index in
            let end = index + 1 < entries.count ? entries[index + 1].offset : begin
            return Group(startTicks: entries[index].ticks, bytes: entries[index].offset..<end)
        }
    }

    /// Every sample of the fragments in `bytes`, which lie at `base` in the clip.
    static func fragments(_ bytes: [UInt8], at base: Int, isCut: Bool) throws(MediaError) -> [SampleInfo] {
        var infos: [SampleInfo] = []
        for box in try boxes(bytes, in: 0..<bytes.count, isCut: isCut) where box.type == "moof" {
            infos += try samples(Array(bytes[box.range]), at: base + box.range.lowerBound)
        }
        return try inside(base..<base + bytes.count, infos, isCut: isCut)
    }

    /// Samples must lie inside their group; only where the clip was cut, the last ones are left out.
    static func inside(
        _ range: Range<Int>, _ infos: [SampleInfo], isCut: Bool
    ) throws(MediaError) -> [SampleInfo] {
        let whole = infos.prefix { range.lowerBound <= $0.bytes.lowerBound && $0.bytes.upperBound <= range.upperBound }
        guard isCut || whole.count == infos.count else { throw malformed("a sample outside its fragment") }
        return Array(whole)
    }

    /// The samples a `moof` at `base` describes (ISO/IEC 14496-12 section 8.8).
    static func samples(_ moof: [UInt8], at base: Int) throws(MediaError) -> [SampleInfo] {
        guard let outer = try box(moof[...], at: 0), outer.range.upperBound == moof.count,
            let traf = try track(TrackBoxes.trackID, moof, in: outer.content)
        else { throw malformed("a fragment without a track") }
        return try samples(of: traf, in: moof, at: base, isSound: false)
    }

    /// What one track has in a fragment. Sound is all keys, and heard as it is decoded: only length and size stand there of each.
    static func samples(
        of traf: Box, in moof: [UInt8], at base: Int, isSound: Bool
    ) throws(MediaError) -> [SampleInfo] {
        let children = try boxes(moof, in: traf.content)
        do {
            var ticks: Int64 = 0
            if let box = children.first(where: { $0.type == "tfdt" }) {
                var reader = ByteReader(moof[box.content])
                let version = try reader.u8()
                try reader.skip(3)
                let value = version == 1 ? try reader.u64() : UInt64(try reader.u32())
                guard value < 1 << 48 else { throw malformed("a fragment's time is out of bounds") }
                ticks = Int64(value)
            }
            var infos: [SampleInfo] = []
            for box in children where box.type == "trun" {
                var reader = ByteReader(moof[box.content])
                let flags = try reader.u32() & 0xFF_FFFF
                let count = Int(try reader.u32())
                guard count <= sampleLimit, infos.count + count <= sampleLimit,
                    isSound ? flags == 0x000301 : flags & 0x000F05 == 0x000F01
                else {
                    throw malformed("a run of samples that SudoCam does not write")
                }
                var position = base + Int(Int32(bitPattern: try reader.u32()))
                for _ in 0..<count {
                    let duration = Int64(try reader.u32())
                    let size = Int(try reader.u32())
                    let isKey = isSound ? true : try reader.u32() & 0x0001_0000 == 0
                    let composition = isSound ? 0 : Int64(Int32(bitPattern: try reader.u32()))
                    guard size <= (isSound ? SoundFrame.byteLimit : (1 << 28) - 1), position >= 0 else {
                        throw malformed("a sample of \(size) bytes")
                    }
                    infos.append(
                        SampleInfo(
                            dts: ticks, pts: ticks + composition, duration: duration, isKey: isKey,
                            bytes: position..<position + size))
                    ticks += duration
                    position += size
                }
            }
            return infos
        } catch let error as MediaError {
            throw error
        } catch {
            throw malformed("a fragment cut short")
        }
    }
}
