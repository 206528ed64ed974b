public import Core

/// What retention looks at; the index, or an array in a simulation.
protocol RetentionCatalog {
    /// Every camera that has a clip, sorted.
    func cameras() throws(VaultError) -> [CameraID]
    /// Bytes of a camera's clips whose times somebody vouches for, and of the others.
    func bytes(_ camera: CameraID) throws(VaultError) -> (trusted: Int, doubtful: Int)
    /// Clips behind `cursor`, oldest first: by start, then by object.
    /// - Parameter here: only those whose bytes lie on this disk.
    func clips(
        _ camera: CameraID, doubtful: Bool, here: Bool, after cursor: RetentionCursor?, limit: Int
    ) throws(VaultError) -> [ClipRecord]
    /// A camera's clips of these classes that share time with `range`; `continuous` is never one.
    func events(
        _ camera: CameraID, _ classes: Set<RetentionClass>, overlapping range: TimeRange
    ) throws(VaultError) -> [ObjectID]
}

/// A place in a camera's clips.
struct RetentionCursor: Sendable, Hashable, Comparable {
    var start: WallTime
    var object: ObjectID
    init(_ clip: ClipRecord) {
        start = clip.start
        object = clip.object
    }
    static func < (a: Self, b: Self) -> Bool { (a.start, a.object) < (b.start, b.object) }
}

/// One look at a vault: what has to go now, oldest first. Pure: the same for plan, simulation and execution.
struct RetentionPass {
    let policy: RetentionPolicy
    /// Nothing of these is touched.
    let holds: [HoldRecord]
    let leases: [RetentionLease]
    let now: WallTime
    /// Without it nothing goes but what a full disk asks for.
    let isTimeTrusted: Bool
    /// Bytes that a full disk lacks.
    let needed: Int
    /// Removed already, though the catalog still lists them.
    var gone: Set<ObjectID> = []

    struct Outcome: Sendable, Equatable {
        var deletions: [Deletion] = []
        /// There would be more than the limit allowed.
        var isUnfinished = false
        /// Bytes that budgets or the disk ask for and nothing may give.
        var unmet: [RetentionShortfall] = []
    }
    struct Deletion: Sendable, Equatable {
        var clip: ClipRecord
        var cause: RetentionCause
    }

    func run(_ catalog: some RetentionCatalog, limit: Int = .max) throws(VaultError) -> Outcome {
        var outcome = Outcome()
        var gone = gone
        var freed: [CameraID: Int] = [:]
        let cameras = try catalog.cameras()

        /// False once the limit is reached.
        func remove(_ clip: ClipRecord, _ cause: RetentionCause) -> Bool {
            guard outcome.deletions.count < limit else {
                outcome.isUnfinished = true
                return false
            }
            outcome.deletions.append(Deletion(clip: clip, cause: cause))
            gone.insert(clip.object)
            freed[clip.camera, default: 0] += clip.byteCount
            return true
        }

        /// What went in this pass reaches nobody any more: so one pass does what several small ones do.
        func rule(_ clip: ClipRecord) throws(VaultError) -> (number: Int, rule: RetentionPolicy.Rule)? {
            try policy.rule(for: clip) { (classes, range) throws(VaultError) in
                try catalog.events(clip.camera, classes, overlapping: range).contains { !gone.contains($0) }
            }
        }

        if isTimeTrusted {
            try removeAged(catalog, cameras, rule, remove)
            guard !outcome.isUnfinished else { return outcome }
            for camera in cameras {
                guard let budget = policy.budget(camera) else { continue }
                let bytes = try catalog.bytes(camera)
                // What lies in time nobody vouches for goes first, so it counts only as far as it is still there.
                let excess = bytes.trusted + bytes.doubtful - (freed[camera] ?? 0) - budget
                let left = try removeOldest(
                    catalog, [camera], excess: excess, cause: .cameraBudget, respectsMinimum: true, gone, rule, remove)
                if left > 0 {
                    outcome.unmet.append(RetentionShortfall(cause: .cameraBudget, camera: camera, bytes: left))
                }
                guard !outcome.isUnfinished else { return outcome }
            }
            if let budget = policy.vaultBytes {
                var excess = -budget
                for camera in cameras {
                    let bytes = try catalog.bytes(camera)
                    excess += bytes.trusted + bytes.doubtful - (freed[camera] ?? 0)
                }
                let left = try removeOldest(
                    catalog, cameras, excess: excess, cause: .vaultBudget, respectsMinimum: true, gone, rule, remove)
                if left > 0 { outcome.unmet.append(RetentionShortfall(cause: .vaultBudget, camera: nil, bytes: left)) }
                guard !outcome.isUnfinished else { return outcome }
            }
        }
        let lacking = needed - freed.values.reduce(0, +)
        let left = try removeOldest(
            catalog, cameras, excess: lacking, cause: .diskFull, respectsMinimum: false, gone, rule, remove)
        if left > 0, !outcome.isUnfinished {
            outcome.unmet.append(RetentionShortfall(cause: .diskFull, camera: nil, bytes: left))
        }
        return outcome
    }

    /// Whether something that is stronger than every rule keeps it.
    func isProtected(_ clip: ClipRecord) -> Bool {
        holds.contains { $0.covers(clip) } || leases.contains { $0.covers(clip, at: now) }
    }

    private typealias Governing = (ClipRecord) throws(VaultError) -> (number: Int, rule: RetentionPolicy.Rule)?

    private func removeAged(
        _ catalog: some RetentionCatalog, _ cameras: [CameraID], _ governing: Governing,
        _ remove: (ClipRecord, RetentionCause) -> Bool
    ) throws(VaultError) {
        guard let shortest = policy.rules.compactMap(\.keep).min() else { return }
        let youngest = now - shortest
        for clip in try Merged(catalog, cameras, doubtful: false, here: false) {
            let clip = try clip.get()
            guard clip.start < youngest else { return }
            guard let (number, rule) = try governing(clip), let keep = rule.keep, clip.end <= now - keep,
                !isProtected(clip)
            else { continue }
            guard remove(clip, .age(rule: number)) else { return }
        }
    }

    /// Bytes that nothing could give.
    private func removeOldest(
        _ catalog: some RetentionCatalog, _ cameras: [CameraID], excess: Int, cause: RetentionCause,
        respectsMinimum: Bool, _ gone: Set<ObjectID>, _ governing: Governing,
        _ remove: (ClipRecord, RetentionCause) -> Bool
    ) throws(VaultError) -> Int {
        var excess = excess
        for doubtful in [true, false] where excess > 0 {
            for clip in try Merged(catalog, cameras, doubtful: doubtful, here: cause == .diskFull) {
                guard excess > 0 else { break }
                let clip = try clip.get()
                if gone.contains(clip.object) || isProtected(clip) { continue }
                if respectsMinimum, !doubtful, let (_, rule) = try governing(clip), clip.end > now - rule.minimum {
                    continue
                }
                guard remove(clip, cause) else { return 0 }
                excess -= clip.byteCount
            }
        }
        return max(0, excess)
    }
}

/// What budgets or the disk ask for and nothing may give.
public struct RetentionShortfall: Sendable, Hashable {
    public var cause: RetentionCause
    /// Nil: of the vault as a whole.
    public var camera: CameraID?
    public var bytes: Int
}

/// Someone reads this range: it stays until he is done, at most until `expires`.
public struct RetentionLease: Sendable, Hashable {
    public var camera: CameraID
    public var range: TimeRange
    /// On the wall clock that the pass is told.
    public var expires: WallTime

    public init(camera: CameraID, range: TimeRange, expires: WallTime) {
        self.camera = camera
        self.range = range
        self.expires = expires
    }

    func covers(_ clip: ClipRecord, at now: WallTime) -> Bool {
        camera == clip.camera && now < expires && range.overlaps(clip.range)
    }
}

/// The clips of several cameras in one order, oldest first, fetched in pages.
private struct Merged<Catalog: RetentionCatalog>: Sequence, IteratorProtocol {
    private struct Stream {
        var camera: CameraID
        var page: ArraySlice<ClipRecord>
        var isOver: Bool
    }
    static var pageSize: Int { 256 }

    private let catalog: Catalog
    private let doubtful: Bool
    private let here: Bool
    private var streams: [Stream]

    init(_ catalog: Catalog, _ cameras: [CameraID], doubtful: Bool, here: Bool) throws(VaultError) {
        self.catalog = catalog
        self.doubtful = doubtful
        self.here = here
        streams = []
        for camera in cameras {
            let page = try catalog.clips(camera, doubtful: doubtful, here: here, after: nil, limit: Self.pageSize)
            streams.append(Stream(camera: camera, page: page[...], isOver: page.count < Self.pageSize))
        }
    }

    mutating func next() -> Result<ClipRecord, VaultError>? {
        var oldest: (index: Int, cursor: RetentionCursor)?
        for index in streams.indices {
            guard let clip = streams[index].page.first else { continue }
            let cursor = RetentionCursor(clip)
            if oldest.map({ cursor < $0.cursor }) ?? true { oldest = (index, cursor) }
        }
        guard let index = oldest?.index, let clip = streams[index].page.popFirst() else { return nil }
        if streams[index].page.isEmpty, !streams[index].isOver {
            do throws(VaultError) {
                let page = try catalog.clips(
                    streams[index].camera, doubtful: doubtful, here: here, after: RetentionCursor(clip),
                    limit: Self.pageSize)
                streams[index].page = page[...]
                streams[index].isOver = page.count < Self.pageSize
            } catch {
                return .failure(error)
            }
        }
        return .success(clip)
    }
}
