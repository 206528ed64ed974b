public import Core

/// What a back-fill has done.
public struct BackfillReport: Sendable, Hashable, Codable {
    public var objects = 0
    public var bytes = 0
    /// Of all that is to come, this included.
    public var totalObjects = 0
    public var totalBytes = 0
    /// What lies there under an object's name and is not it.
    public var damaged: [String] = []

    public init() {}
}

extension Remote {
    /// Objects that are on their way at a time.
    private static let downloads = 4
    /// Objects that have come and are compared and synced meanwhile: where the disk is the slower side, it sets the pace.
    private static let arrivals = 4

    /// Brings back what does not lie here, newest first; each object is compared with its name before it gets it. Cut off anywhere, the
    /// next call goes on.
    ///
    /// Errors: the store's, the disk's. What is damaged there is named in the report, and costs nothing else.
    /// - Parameter range: only clips that end in it; nil: all.
    public func backfill(
        _ range: TimeRange? = nil, limit: Int = .max,
        progress: @escaping @Sendable (BackfillReport) -> Void = { _ in }
    ) async throws(VaultError) -> BackfillReport {
        var report = BackfillReport()
        let total = try await on { (state) throws(VaultError) in try state.absentTotal() }
        (report.totalObjects, report.totalBytes) = (total.objects, total.bytes)
        try await removeHalves()
        var before = Int64.max
        while report.objects < limit {
            if Task.isCancelled { throw VaultError(.closed, "The restore was interrupted.", hint: "Run it again.") }
            let from = before
            let rows = try await on { (state) throws(VaultError) in
                try state.absent(before: from, limit: EvictionRecord.limit)
            }
            guard let last = rows.last else { break }
            before = last.entry
            let wanted = rows.map(\.row).filter { row in range.map { $0.contains(row.clipEnd) } ?? true }
            if wanted.isEmpty { continue }
            let (fetched, bad) = try await fetch(Array(wanted.prefix(limit - report.objects)))
            try await enter(fetched)
            report.objects += fetched.count
            report.bytes += fetched.reduce(0) { $0 + $1.bytes }
            report.damaged += bad.map(\.description)
            progress(report)
        }
        return report
    }

    /// One object under way. What lies there may be the object, and the way here to blame: there is a second try.
    private struct Job: Sendable {
        var row: RemoteState.Row
        var isSecond = false
        var second: Job { Job(row: row, isSecond: true) }
    }
    private enum Step: Sendable {
        case arrived(Job, any OpenFile)
        /// The store does not have it, or says nonsense.
        case absent(Job)
        case compared(Job, isWhole: Bool)
        case failed(VaultError)
    }

    private func fetch(
        _ rows: [RemoteState.Row]
    ) async throws(VaultError) -> (fetched: [RemoteState.Row], damaged: [ObjectID]) {
        var rest = rows.map { Job(row: $0) }[...]
        var fetched: [RemoteState.Row] = []
        var damaged: [ObjectID] = []
        var failure: VaultError?
        await withTaskGroup(of: Step.self) { group in
            var (downloading, arrived) = (0, 0)
            while true {
                while failure == nil, downloading < Self.downloads, arrived < Self.arrivals, let job = rest.popFirst() {
                    downloading += 1
                    group.addTask { await self.download(job) }
                }
                guard let step = await group.next() else { break }
                switch step {
                case .arrived(let job, let file):
                    (downloading, arrived) = (downloading - 1, arrived + 1)
                    group.addTask { await self.keep(job, file) }
                case .absent(let job):
                    downloading -= 1
                    if job.isSecond { damaged.append(job.row.object) } else { rest.append(job.second) }
                case .compared(let job, true):
                    arrived -= 1
                    fetched.append(job.row)
                case .compared(let job, false):
                    arrived -= 1
                    if job.isSecond { damaged.append(job.row.object) } else { rest.append(job.second) }
                case .failed(let error): failure = failure ?? error
                }
            }
        }
        do throws(VaultError) {
            let (mended, bad) = (fetched.filter(\.isBad), damaged)
            try await on { (state) throws(VaultError) in
                for row in mended { try state.read(row.object, isGood: true) }
                for object in bad { try state.read(object, isGood: false) }
            }
        } catch { failure = failure ?? error }
        // What came is kept, whatever became of the rest.
        if let failure {
            try await enter(fetched)
            throw failure
        }
        return (fetched, damaged)
    }

    private func half(_ object: ObjectID) -> String { vault.layout.open + "/\(object).fetch" }

    private func download(_ job: Job) async -> Step {
        let (files, row, half) = (vault.files, job.row, half(job.row.object))
        do throws(VaultError) {
            let file = try await vault.reads.run { () throws(VaultError) in
                try files.remove(half)
                return try files.open(half, .create)
            }
            do throws(VaultError) {
                try await store.part(
                    RemoteLayout.object(row.object), 0..<row.bytes, into: file, at: 0, progress: nil)
            } catch {
                try? files.remove(half)
                guard error.code == .notFound || error.code == .remoteFault else { throw error }
                return .absent(job)
            }
            return .arrived(job, file)
        } catch { return .failed(error) }
    }

    /// It gets its name only once it is what it is named after, and on the disk.
    private func keep(_ job: Job, _ file: any OpenFile) async -> Step {
        let (files, layout, row, half) = (vault.files, vault.layout, job.row, half(job.row.object))
        do throws(VaultError) {
            let isWhole = try await vault.reads.run { () throws(VaultError) in
                do throws(VaultError) {
                    let body = HTTPBody.file(file, count: row.bytes)
                    guard try body.hash(into: Digest.sha256()) == row.object.digest else {
                        try? files.remove(half)
                        return false
                    }
                    try file.sync()
                    let path = layout.object(row.object)
                    if try files.attributes(path) == nil { try files.rename(half, to: path) }
                    try files.syncDirectory(parent(of: path))
                    return true
                } catch {
                    try? files.remove(half)
                    throw error
                }
            }
            return .compared(job, isWhole: isWhole)
        } catch { return .failed(error) }
    }

    private func removeHalves() async throws(VaultError) {
        let (files, folder) = (vault.files, vault.layout.open)
        try await lane.run { () throws(VaultError) in
            for name in try files.list(folder) where name.hasSuffix(".fetch") { try files.remove(folder + "/" + name) }
        }
    }

    /// They lie here again, says the ledger; then nothing takes them for given up.
    private func enter(_ rows: [RemoteState.Row]) async throws(VaultError) {
        guard !rows.isEmpty else { return }
        let objects = rows.map(\.object)
        let vault = vault
        if vault.mode != .mirror {
            let entry = LedgerEntry(
                at: vault.time.wallNow(), .fetch(EvictionRecord(remote: description.id, objects: objects)))
            try await vault.retentionLane.run { () throws(VaultError) in try vault.committer().commit([entry]) }
        }
        try await on { (state) throws(VaultError) in try state.evicted(objects, .here) }
        for object in objects { cache.forget(object) }
    }
}
