public import Core
import Synchronization

/// Which rule decides about a clip, until when, and what would change it.
public struct RetentionExplanation: Sendable {
    public enum Verdict: Sendable, Hashable {
        case held(HoldID)
        /// Somebody watches or exports it; no longer than until then without asking again.
        case leased(until: WallTime)
        /// Nobody vouches for its time: never by age or minimum, first when space is needed.
        case doubtful
        /// Rule number n, from 1, keeps it until then.
        case age(rule: Int, until: WallTime)
        /// Rule number n names no age.
        case ruleWithoutAge(rule: Int)
        /// No rule names its camera and class.
        case noRule
    }
    public struct Budget: Sendable, Hashable {
        /// `cameraBudget`, `vaultBudget` or `diskFull`.
        public var cause: RetentionCause
        public var limit: Int
        /// Bytes that would have to be recorded before it is this clip's turn; 0: now.
        public var distance: Int
        /// By the rate of the last days; nil when nothing was recorded.
        public var expected: WallTime?
    }
    public var clip: ClipRecord
    public var verdict: Verdict
    /// False: nobody vouches for the wall clock, so nothing goes by age or budget.
    public var isTimeTrusted: Bool
    /// Until then no budget touches it.
    public var minimumUntil: WallTime?
    /// What else may take it, soonest first.
    public var budgets: [Budget] = []
}

/// What the rules keep, for how long, and where it leads.
public struct RetentionPlan: Sendable {
    public struct Camera: Sendable {
        public var usage: CameraUsage
        /// Measured over the last week, or what there is.
        public var bytesPerDay: Int
        /// How far back footage of class `continuous` will reach once everything is in balance; nil: as far as the disk allows.
        public var reach: Int64?
        public var reachCause: RetentionCause?
    }
    public var policy: RetentionPolicy
    public var cameras: [Camera]
    public var free: Int
    public var total: Int
    /// When the disk is full, if nothing went; nil when nothing is recorded.
    public var diskFull: WallTime?
    public var holds: Int
    /// What the next pass would do.
    public var next: RetentionReport
}

/// One line of the log of what went, was held or changed.
public struct RetentionReceipt: Sendable {
    public enum Kind: Sendable {
        case deleted(DeletionRecord)
        case shredded(EpochID, rule: String)
        case held(HoldRecord)
        case released(HoldID)
        case policy(ObjectID, String)
    }
    /// Position in the ledger.
    public var position: Int
    public var at: WallTime
    public var kind: Kind
}

extension Vault {
    /// Of every sealed object. Errors: the index's.
    public func storedBytes() async throws(VaultError) -> Int {
        try await reads.run { [self] () throws(VaultError) in try index.usage().reduce(0) { $0 + $1.bytes } }
    }

    /// Bytes a day, measured over the last week or what there is of it.
    private func rate(_ usage: CameraUsage, _ now: WallTime) throws(VaultError) -> Int {
        guard let span = usage.span else { return 0 }
        let since = max(now - RetentionSimulation.longestBasis, span.start)
        let length = min(now, span.end) - since
        guard length > 0 else { return 0 }
        let bytes = Double(try index.bytes(usage.camera, after: since - 1))
        return Int(bytes / Double(length) * Double(RetentionSimulation.dayLength))
    }

    public func retentionPlan(_ policy: RetentionPolicy) async throws(VaultError) -> RetentionPlan {
        let next = try await planRetention(policy)
        return try await reads.run { [self] () throws(VaultError) in
            let now = time.wallNow()
            let usages = try index.usage()
            var rates: [CameraID: Int] = [:]
            for usage in usages { rates[usage.camera] = try rate(usage, now) }
            let rateOfAll = rates.values.reduce(0, +)
            let space = try files.space(layout.root)
            // What lies in a remote only gives no space here.
            let used = try index.bytes(nil, after: WallTime(microseconds: .min), here: true)
            let day = Double(RetentionSimulation.dayLength)
            func length(_ bytes: Int, _ rate: Int) -> Int64? {
                rate > 0 ? Int64(min(Double(bytes) / Double(rate) * day, 1e17)) : nil
            }
            let cameras = usages.map { usage in
                let rate = rates[usage.camera] ?? 0
                var reaches: [(Int64, RetentionCause)] = []
                let rule = policy.rules.firstIndex { rule in
                    rule.cameras?.contains(usage.camera) ?? true && rule.classes?.contains(.continuous) ?? true
                }
                if let rule, let keep = policy.rules[rule].keep { reaches.append((keep, .age(rule: rule + 1))) }
                // No budget reaches into the minimum; a full disk does.
                let minimum = rule.map { policy.rules[$0].minimum } ?? 0
                if let budget = policy.budget(usage.camera), let reach = length(budget, rate) {
                    reaches.append((max(minimum, reach), .cameraBudget))
                }
                if let budget = policy.vaultBytes, let reach = length(budget, rateOfAll) {
                    reaches.append((max(minimum, reach), .vaultBudget))
                }
                if let reach = length(max(0, used + space.free - policy.freeBytes), rateOfAll) {
                    reaches.append((reach, .diskFull))
                }
                let shortest = reaches.min { $0.0 < $1.0 }
                return RetentionPlan.Camera(
                    usage: usage, bytesPerDay: rate, reach: shortest?.0, reachCause: shortest?.1)
            }
            return RetentionPlan(
                policy: policy, cameras: cameras, free: space.free, total: space.total,
                diskFull: length(max(0, space.free - policy.freeBytes), rateOfAll).map { now + $0 },
                holds: try index.holds().count, next: next)
        }
    }

    /// Errors: `.notFound`.
    public func explainRetention(
        _ object: ObjectID, _ policy: RetentionPolicy
    ) async throws(VaultError) -> RetentionExplanation {
        try await reads.run { [self] () throws(VaultError) in
            guard let clip = try index.clip(object, id) else {
                throw VaultError(
                    .notFound, "The vault has no clip \(object).",
                    hint: "If retention removed it, `sudocam retention log` says why.")
            }
            return try explain(clip, policy)
        }
    }

    private func explain(_ clip: ClipRecord, _ policy: RetentionPolicy) throws(VaultError) -> RetentionExplanation {
        let now = time.wallNow()
        let leases = retention.withLock { Array($0.leases.values) }
        let catalog = IndexCatalog(index: index, vault: id)
        let governing = try policy.rule(for: clip) { (classes, range) throws(VaultError) in
            try !catalog.events(clip.camera, classes, overlapping: range).isEmpty
        }
        let isDoubtful = try index.isDoubtful(clip.object)
        let verdict: RetentionExplanation.Verdict =
            if let hold = try index.holds().first(where: { $0.covers(clip) }) {
                .held(hold.hold)
            } else if let end = leases.filter({ $0.covers(clip, at: now) }).map(\.expires).max() {
                .leased(until: end)
            } else if isDoubtful {
                .doubtful
            } else if let (number, rule) = governing {
                if let keep = rule.keep {
                    .age(rule: number, until: clip.end + keep)
                } else {
                    .ruleWithoutAge(rule: number)
                }
            } else {
                .noRule
            }
        var explanation = RetentionExplanation(clip: clip, verdict: verdict, isTimeTrusted: isTimeTrusted)
        // What is on hold no budget and no full disk takes.
        if case .held = verdict { return explanation }
        // Of doubtful time, it has no age that a minimum could be compared with.
        if !isDoubtful, let minimum = governing?.rule.minimum, minimum > 0 {
            explanation.minimumUntil = clip.end + minimum
        }
        var rates: [CameraID: Int] = [:]
        for usage in try index.usage() { rates[usage.camera] = try rate(usage, now) }
        let rateOfAll = rates.values.reduce(0, +)
        let protected = try protected(leases.filter { $0.expires > now })
        /// What is still there when its turn comes: itself, what goes after it, and of what would go before it all that may not.
        func staying(_ camera: CameraID?, here: Bool) throws(VaultError) -> Int {
            let later =
                isDoubtful
                ? try index.bytes(camera, after: WallTime(microseconds: .min), doubtful: false, here: here)
                    + index.bytes(camera, after: clip.start, doubtful: true, here: here)
                : try index.bytes(camera, after: clip.start, doubtful: false, here: here)
            let kept = protected.filter { (owner, other) in
                (camera == nil || owner == camera) && (!here || other.isHere) && other.object != clip.object
                    && (other.isDoubtful == isDoubtful ? other.start <= clip.start : other.isDoubtful)
            }
            return clip.byteCount + later + kept.reduce(0) { $0 + $1.1.byteCount }
        }
        func add(_ cause: RetentionCause, _ limit: Int, _ staying: Int, _ rate: Int) {
            let distance = max(0, limit - staying)
            let expected = rate > 0 ? now + Int64(min(Double(distance) / Double(rate) * 86_400e6, 1e17)) : nil
            explanation.budgets.append(
                RetentionExplanation.Budget(cause: cause, limit: limit, distance: distance, expected: expected))
        }
        if let budget = policy.budget(clip.camera) {
            add(.cameraBudget, budget, try staying(clip.camera, here: false), rates[clip.camera] ?? 0)
        }
        if let budget = policy.vaultBytes { add(.vaultBudget, budget, try staying(nil, here: false), rateOfAll) }
        // A full disk takes only what it gets something for.
        if try !index.isEvicted(clip.object) {
            let used = try index.bytes(nil, after: WallTime(microseconds: .min), here: true)
            let room = used + (try files.space(layout.root).free) - policy.freeBytes
            add(.diskFull, room, try staying(nil, here: true), rateOfAll)
        }
        explanation.budgets.sort {
            ($0.expected ?? WallTime(microseconds: .max)) < ($1.expected ?? WallTime(microseconds: .max))
        }
        return explanation
    }

    /// What a hold keeps of what is recorded so far; of every camera when nil.
    public func coverage(
        camera: CameraID?, range: TimeRange
    ) async throws(VaultError) -> (clips: Int, bytes: Int) {
        try await reads.run { [self] () throws(VaultError) in
            var all = (clips: 0, bytes: 0)
            let cameras = if let camera { [camera] } else { try IndexCatalog(index: index, vault: id).cameras() }
            for camera in cameras {
                let one = try index.coverage(camera, range)
                all = (all.clips + one.clips, all.bytes + one.bytes)
            }
            return all
        }
    }

    /// What holds and leases keep, each clip once.
    private func protected(_ leases: [RetentionLease]) throws(VaultError) -> [(CameraID, CoveredClip)] {
        var ranges: [(CameraID?, TimeRange)] = leases.map { ($0.camera, $0.range) }
        for hold in try index.holds() { ranges.append((hold.camera, hold.range)) }
        guard !ranges.isEmpty else { return [] }
        let cameras = try IndexCatalog(index: index, vault: id).cameras()
        var kept: [ObjectID: (CameraID, CoveredClip)] = [:]
        for (owner, range) in ranges {
            for camera in cameras where owner == nil || owner == camera {
                for clip in try index.clips(camera, sharing: range) { kept[clip.object] = (camera, clip) }
            }
        }
        return Array(kept.values)
    }

    /// What the policy would do in the days to come, by the history this vault has. Reads every clip's entry of the index.
    /// - Parameter progress: told the days that are done, after each.
    public func simulateRetention(
        _ policy: RetentionPolicy, days: Int, progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws(VaultError) -> RetentionSimulation {
        try await reads.run { [self] () throws(VaultError) in
            let catalog = try memoryCatalog()
            return try RetentionSimulation(
                catalog, policy: policy, holds: try index.holds(), now: time.wallNow(),
                free: try files.space(layout.root).free, days: days, progress: progress)
        }
    }

    func memoryCatalog() throws(VaultError) -> MemoryCatalog {
        let catalog = IndexCatalog(index: index, vault: id)
        var all: [Bool: [ClipRecord]] = [:]
        for camera in try catalog.cameras() {
            for doubtful in [false, true] {
                var cursor: RetentionCursor?
                while true {
                    let page = try catalog.clips(camera, doubtful: doubtful, here: false, after: cursor, limit: 4096)
                    all[doubtful, default: []] += page
                    guard let last = page.last, page.count == 4096 else { break }
                    cursor = RetentionCursor(last)
                }
            }
        }
        return MemoryCatalog(
            trusted: all[false] ?? [], doubtful: all[true] ?? [], elsewhere: try index.evictedObjects())
    }

    /// What went, was held, released or changed since `since`, in the ledger's order, the last `limit` of it.
    public func retentionLog(since: WallTime, limit: Int) async throws(VaultError) -> [RetentionReceipt] {
        let limit = max(0, limit)
        return try await reads.run { [self] () throws(VaultError) in
            var receipts: [RetentionReceipt] = []
            try ledger.replay(from: 0) { (position, entry) throws(VaultError) in
                guard let entry, entry.at >= since else { return }
                let kind: RetentionReceipt.Kind? =
                    switch entry.body {
                    case .delete(let deletion): .deleted(deletion)
                    case .shred(let epoch, let rule): .shredded(epoch, rule: rule)
                    case .hold(let hold): .held(hold)
                    case .release(let hold): .released(hold)
                    case .policy(let policy, let text): .policy(policy, text)
                    default: nil
                    }
                guard let kind else { return }
                receipts.append(RetentionReceipt(position: position, at: entry.at, kind: kind))
                // Not one by one: each would move all the others.
                if receipts.count / 2 > limit { receipts.removeFirst(receipts.count - limit) }
            }
            return receipts.suffix(limit)
        }
    }
}
