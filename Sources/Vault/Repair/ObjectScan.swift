import Core

/// What the objects say of themselves, without a key: their headers, in a file without a name, so that memory does not grow with
/// the vault.
struct ObjectScan {
    /// One object's.
    struct Header: BitwiseCopyable {
        var object: ObjectID
        var camera: CameraID
        var epoch: EpochID
        var run: RunID
        /// As far as 63 bits go.
        var sequence: Int64
        /// µs since 1970, as are the others.
        var start: Int64
        var modified: Int64
        var bytes: Int
        var isSalvaged: Bool
        /// Still a part: the next start enters it; here it only tells whose epoch it is.
        var isOpen: Bool
    }
    /// Clips that name the same epoch and camera: in an honest vault all of the epoch's.
    private struct Group: Hashable {
        var epoch: EpochID
        var camera: CameraID
    }
    private struct Sums {
        var headers = 0
        /// Those of whole objects.
        var clips = 0
        var firstStart = Int64.max
    }

    private let vault: VaultID
    private var headers = ScratchRecords<Header>()
    private var groups: [Group: Sums] = [:]

    init(vault: VaultID) { self.vault = vault }

    /// Errors: `.noSpace`, `.io`.
    mutating func add(_ headers: [Header]) throws(VaultError) {
        try self.headers.append(headers)
        for header in headers {
            var sums = groups[Group(epoch: header.epoch, camera: header.camera)] ?? Sums()
            sums.headers += 1
            if !header.isOpen { sums.clips += 1 }
            sums.firstStart = min(sums.firstStart, header.start)
            groups[Group(epoch: header.epoch, camera: header.camera)] = sums
        }
    }

    /// The camera of each epoch: that of most of its clips; and the UTC day of the first of them.
    func epochs() -> [EpochID: (camera: CameraID, day: Int64)] {
        var epochs: [EpochID: (camera: CameraID, day: Int64)] = [:]
        for (group, sums) in groups.sorted(by: { ($0.value.headers, $0.key.camera) < ($1.value.headers, $1.key.camera) }
        ) {
            epochs[group.epoch] = (group.camera, WallTime(microseconds: sums.firstStart).utcDay)
        }
        return epochs
    }

    /// Objects that belong to `epochs`.
    func clips(_ epochs: [EpochID: CameraID]) -> Int {
        groups.reduce(0) { $0 + (epochs[$1.key.epoch] == $1.key.camera ? $1.value.clips : 0) }
    }

    /// Objects whose epoch is none of `epochs`, or another camera's: nothing tells where they belong. Errors: `.io`.
    func strangers(_ epochs: [EpochID: CameraID]) throws(VaultError) -> [ObjectID] {
        guard clips(epochs) < groups.values.reduce(0, { $0 + $1.clips }) else { return [] }
        var strangers: [ObjectID] = []
        try headers.each { (header) throws(VaultError) in
            if !header.isOpen, epochs[header.epoch] != header.camera { strangers.append(header.object) }
        }
        return strangers
    }

    // MARK: Order

    /// Clips in the order of time, each with its end.
    struct Ordered {
        fileprivate let vault: VaultID
        fileprivate var clips = ScratchRecords<Header>()
        /// From when on the clips follow one another up to now without a break that a wrong clock could hide in.
        fileprivate(set) var since: WallTime

        /// The clips of `epochs`, oldest first. Errors: `.io`, and `body`'s.
        func each(
            epochs: [EpochID: CameraID], _ body: (ClipRecord) throws(VaultError) -> Void
        ) throws(VaultError) {
            try clips.each { (header) throws(VaultError) in
                guard epochs[header.epoch] == header.camera else { return }
                let identity = ClipIdentity(
                    vault: vault, camera: header.camera, epoch: header.epoch, run: header.run,
                    sequence: UInt64(clamping: header.sequence), start: WallTime(microseconds: header.start))
                try body(
                    ClipRecord(
                        object: header.object, identity: identity, end: WallTime(microseconds: header.modified),
                        byteCount: header.bytes, isSalvaged: header.isSalvaged))
            }
        }
    }

    /// A clip is at most five minutes long.
    private static let longestClip: Int64 = 300_000_000
    /// How far a clip's last write and the next one's start may lie apart when nothing came between them.
    private static let slack: Int64 = 10_000_000

    /// Every clip with the end that can be known from outside: where the same run goes on the next clip's start, else the time of
    /// its last write. Errors: `.noSpace`, `.io`.
    func ordered(to now: WallTime) throws(VaultError) -> Ordered {
        // By camera first: the next clip of a run is the next line.
        var byCamera = ExternalSort<Header> { a, b in
            (a.camera, a.sequence, a.start, a.object) < (b.camera, b.sequence, b.start, b.object)
        }
        try headers.each { (header) throws(VaultError) in try byCamera.append(header) }
        var byTime = ExternalSort<Header> { a, b in
            (a.start, a.camera, a.sequence, a.object) < (b.start, b.camera, b.sequence, b.object)
        }
        var last: Header?
        try byCamera.finish { (header) throws(VaultError) in
            if header.isOpen { return try byTime.append(header) }
            if let last { try byTime.append(Self.ended(last, next: header)) }
            last = header
        }
        if let last { try byTime.append(Self.ended(last, next: nil)) }

        var ordered = Ordered(vault: vault, since: now)
        var batch: [Header] = []
        var chain: (first: Int64, last: Int64)?
        try byTime.finish { (header) throws(VaultError) in
            if header.start <= now.microseconds {
                let isNext = chain.map { header.start.subtractingSaturating($0.last) <= ClockTrust.reach } ?? false
                chain = (isNext ? chain?.first ?? header.start : header.start, header.start)
            }
            guard !header.isOpen else { return }
            batch.append(header)
            guard batch.count == 4096 else { return }
            try ordered.clips.append(batch)
            batch.removeAll(keepingCapacity: true)
        }
        try ordered.clips.append(batch)
        if let chain, now.microseconds.subtractingSaturating(chain.last) <= ClockTrust.reach {
            ordered.since = WallTime(microseconds: chain.first)
        }
        return ordered
    }

    /// With its end in the place of its last write.
    private static func ended(_ clip: Header, next: Header?) -> Header {
        var clip = clip
        let written = clip.modified
        clip.modified = max(clip.start, min(written, clip.start.addingSaturating(longestClip)))
        if let next, next.camera == clip.camera, next.run == clip.run, next.start >= clip.start,
            next.start.subtractingSaturating(written) <= slack,
            next.start.subtractingSaturating(clip.start) <= longestClip
        {
            clip.modified = next.start
        }
        return clip
    }
}
