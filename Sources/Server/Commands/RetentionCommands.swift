import CProcess
public import Core
import Foundation
import Playback
public import Vault

/// What `sudocam retention` does. Questions open the vault for reading, beside the recorder or without it; what changes something
/// is done by the running recorder, over its socket, or here when none runs.
public enum RetentionCommands {
    public struct Clip: Codable, Sendable {
        public var object: ObjectID
        public var camera: String
        public var start: String
        public var end: String
        public var bytes: Int
        public var cause: String
    }
    public struct Unmet: Codable, Sendable {
        public var cause: String
        public var camera: String?
        public var bytes: Int
    }
    public struct Applied: Codable, Sendable {
        public var dryRun: Bool
        public var timeTrusted: Bool
        /// There was more to do than one pass may.
        public var unfinished: Bool
        public var deletions: [Clip]
        public var freedBytes: Int
        public var shreddedEpochs: Int
        public var unmet: [Unmet]
    }
    public struct Hold: Codable, Sendable {
        public var hold: HoldID
        /// Nil: every camera.
        public var camera: String?
        public var start: String
        public var end: String
        /// Nil without a note, or while it is sealed.
        public var note: String?
        public var hasNote: Bool
        /// What it keeps of what is recorded so far.
        public var clips: Int
        public var bytes: Int
    }
    public struct Held: Codable, Sendable {
        public var hold: HoldID
        /// What it keeps of what is recorded so far.
        public var clips: Int
        public var bytes: Int
    }
    public struct Shredded: Codable, Sendable {
        public var epochs: [EpochID]
        public var objects: Int
        /// Of these: clips with an event in them.
        public var events: Int
        public var triedInVain: Int
        /// False: the vault was locked, so there was no key to try them with.
        public var proved: Bool
        public var freedBytes: Int
        /// What became of each remote's copies of the keys.
        public var copies: [KeyCopy]
    }

    static var time: any TimeSource { SystemTime { sudocam_wall_clock_is_synchronised() } }

    // MARK: What changes something

    /// One action, as it goes over the socket.
    struct Request: Codable, Sendable {
        enum Action: String, Codable { case apply, hold, release, shred, confirmTime }
        var action: Action
        var hold: HoldID?
        var camera: CameraID?
        var from: WallTime?
        var to: WallTime?
        var note: String?
        /// Days since 1970-01-01 UTC.
        var day: Int64?
        /// Shredding: also while nothing can prove that it worked.
        var unproved: Bool?
        /// The digest of the policy that was shown; to apply another one would not be what was agreed to.
        var policy: ObjectID?
    }
    struct Answer: Codable, Sendable {
        var applied: Applied?
        var hold: Held?
        var shredded: Shredded?
    }

    static func perform(
        _ request: Request, _ vault: Vault, _ names: [CameraID: String]
    ) async throws(VaultError) -> Answer {
        var answer = Answer()
        switch request.action {
        case .apply:
            if case .write = vault.mode, let policy = request.policy, policy != vault.retentionPolicy.digest {
                throw VaultError(
                    .invalid, "The recorder still uses the old configuration: nothing was deleted.",
                    hint: "`sudocam reload` first.")
            }
            answer.applied = applied(try await vault.applyRetention(), false, names)
        case .hold:
            guard let from = request.from, let to = request.to else {
                throw VaultError(.invalid, "A hold wants a range.")
            }
            let range = TimeRange(from, to)
            if let camera = request.camera, names[camera] == nil, try await !vault.recordedCameras().contains(camera) {
                throw VaultError(
                    .notFound,
                    "There is no camera \(camera): the vault has nothing of it, and sudocam.yaml does not name it.")
            }
            let hold = try await vault.hold(camera: request.camera, range: range, note: request.note ?? "")
            let kept = try await vault.coverage(camera: request.camera, range: range)
            answer.hold = Held(hold: hold, clips: kept.clips, bytes: kept.bytes)
        case .release:
            guard let hold = request.hold else { throw VaultError(.invalid, "Which hold?") }
            try await vault.release(hold)
        case .shred:
            guard let camera = request.camera, let day = request.day else {
                throw VaultError(.invalid, "Shredding wants a camera and a day.")
            }
            let report = try await vault.shred(camera: camera, day: day, wantsProof: request.unproved != true)
            answer.shredded = Shredded(
                epochs: report.epochs, objects: report.objects, events: report.events,
                triedInVain: report.triedInVain, proved: report.isProved, freedBytes: report.freedBytes,
                copies: await vault.destroyCopies(of: report.epochs))
        case .confirmTime: try await vault.confirmTime()
        }
        return answer
    }

    /// - Parameter passphrase: asked for when no recorder runs; unlocks the vault before the action.
    private static func ask(
        _ configuration: Configuration, _ request: Request, passphrase: (@Sendable () throws -> SecretBytes)? = nil
    ) async throws -> Answer {
        do throws(ServerError) {
            return try ControlClient.retention(vault: configuration.vault, request)
        } catch {
            guard error.code == .noService else { throw error }
        }
        // Before the vault is taken: a recorder that starts meanwhile shall find it free.
        let secret = try passphrase?()
        defer { secret?.wipe() }
        let store = PinStore(configuration)
        let (vault, pin) = try await store.openWriting(configuration, time: time)
        do {
            let policy = configuration.retentionPolicy(vault: vault.id)
            try vault.check(policy)
            vault.setRetention(policy)
            if let secret { try await vault.unlock(passphrase: secret) }
            var request = request
            request.policy = nil
            let answer = try await perform(request, vault, names(configuration, vault.id))
            try? store.save(try await vault.pin(after: pin))
            await vault.close()
            return answer
        } catch {
            await vault.close()
            throw error
        }
    }

    /// - Parameter isDryRun: only looks, and so only reads.
    public static func apply(_ configuration: Configuration, isDryRun: Bool) async throws -> Applied {
        if isDryRun {
            return try await deciding(configuration) { vault, policy, names in
                applied(try await vault.planRetention(policy), true, names)
            }
        }
        // Where the vault cannot be read no policy was shown, and none is agreed to; what is wrong is told below.
        let policy = (try? await reading(configuration) { _, policy, _ in policy.digest }) ?? .zero
        guard let applied = try await ask(configuration, Request(action: .apply, policy: policy)).applied else {
            throw ServerError(.refused, "The recorder did not say what it did.")
        }
        return applied
    }

    public static func hold(
        _ configuration: Configuration, camera: String?, range: TimeRange, note: String
    ) async throws -> Held {
        var named: CameraID?
        if let camera { named = try await id(camera, configuration) }
        let request = Request(action: .hold, camera: named, from: range.start, to: range.end, note: note)
        guard let hold = try await ask(configuration, request).hold else {
            throw ServerError(.refused, "The recorder did not say what it did.")
        }
        return hold
    }

    public static func release(_ configuration: Configuration, _ hold: HoldID) async throws {
        _ = try await ask(configuration, Request(action: .release, hold: hold))
    }

    /// - Parameters:
    ///   - day: as `2026-11-25`, UTC.
    ///   - isUnproved: also while the vault is locked, when nothing can prove that no object opens any more.
    ///   - passphrase: asked for when no recorder runs and a proof is wanted.
    public static func shred(
        _ configuration: Configuration, camera: String, day: String, isUnproved: Bool,
        passphrase: @escaping @Sendable () throws -> SecretBytes
    ) async throws -> Shredded {
        guard let utcDay = FileTime.day(day) else {
            throw ServerError(.configuration, "\(day) is no day.", hint: "Write it as 2026-11-25; days are UTC.")
        }
        let request = Request(
            action: .shred, camera: try await id(camera, configuration), day: utcDay, unproved: isUnproved)
        let answer = try await ask(configuration, request, passphrase: isUnproved ? nil : passphrase)
        guard let shredded = answer.shredded else {
            throw ServerError(.refused, "The recorder did not say what it did.")
        }
        return shredded
    }

    public static func confirmTime(_ configuration: Configuration) async throws {
        _ = try await ask(configuration, Request(action: .confirmTime))
    }

    // MARK: Questions

    public struct Plan: Codable, Sendable {
        public struct Camera: Codable, Sendable {
            public var camera: String
            public var clips: Int
            public var bytes: Int
            public var doubtfulBytes: Int
            public var oldest: String?
            public var bytesPerDay: Int
            /// Its own budget, or that of each camera; nil: none.
            public var budgetBytes: Int?
            /// How many days back it will reach; nil: nothing is recorded, or no rule and no budget says.
            public var reachDays: Double?
            public var limitedBy: String?
        }
        public var rules: [String]
        /// Budgets: of all cameras, and of each that has none of its own; nil: none.
        public var budgetBytes: Int?
        public var eachCameraBytes: Int?
        /// With less free the disk counts as full.
        public var keepFreeBytes: Int
        public var cameras: [Camera]
        public var freeBytes: Int
        public var totalBytes: Int
        /// If nothing went.
        public var diskFull: String?
        public var holds: Int
        public var next: Applied
    }

    public static func plan(_ configuration: Configuration) async throws -> Plan {
        try await deciding(configuration) { vault, policy, names in
            let plan = try await vault.retentionPlan(policy)
            return Plan(
                rules: policy.rules.map { text($0, names) }, budgetBytes: policy.vaultBytes,
                eachCameraBytes: policy.eachCameraBytes, keepFreeBytes: policy.freeBytes,
                cameras: plan.cameras.map { camera in
                    Plan.Camera(
                        camera: name(camera.usage.camera, names), clips: camera.usage.clips, bytes: camera.usage.bytes,
                        doubtfulBytes: camera.usage.doubtfulBytes,
                        oldest: camera.usage.span.map { FileTime.iso($0.start) }, bytesPerDay: camera.bytesPerDay,
                        budgetBytes: policy.budget(camera.usage.camera),
                        reachDays: camera.reach.map { Double($0) / 86_400e6 },
                        limitedBy: camera.reachCause?.description)
                }, freeBytes: plan.free, totalBytes: plan.total, diskFull: plan.diskFull.map(FileTime.iso),
                holds: plan.holds, next: applied(plan.next, true, names))
        }
    }

    public struct Explained: Codable, Sendable {
        public struct Budget: Codable, Sendable {
            public var cause: String
            public var limit: Int
            public var bytesUntilItsTurn: Int
            public var expected: String?
        }
        public var object: ObjectID
        public var camera: String
        public var start: String
        public var end: String
        public var kind: String
        /// What decides, in a sentence.
        public var verdict: String
        /// False: nobody vouches for the clock, and until somebody does nothing goes by age or budget.
        public var timeTrusted: Bool
        /// When the rule lets it go.
        public var until: String?
        /// Somebody watches or exports it: until he is done, and no longer than this.
        public var leasedUntil: String?
        public var minimumUntil: String?
        public var budgets: [Budget]
        /// What would change it.
        public var changes: [String]
    }

    /// - Parameter what: an object, or a time (then of each camera, or of `camera`).
    public static func explain(_ configuration: Configuration, _ what: String, camera: String?) async throws
        -> [Explained]
    {
        try await deciding(configuration) { vault, policy, names in
            var objects: [ObjectID] = []
            if let object = ObjectID(what) {
                objects = [object]
            } else if let time = FileTime.parse(what, now: time.wallNow()) {
                // Of the index, not of the file: what is archived is found too.
                let ids =
                    if let camera { [try VaultCommands.camera(camera, configuration, vault)] } else {
                        try await vault.recordedCameras()
                    }
                for id in ids {
                    if let clip = try await vault.clip(at: time, camera: id) { objects.append(clip.object) }
                }
                guard !objects.isEmpty else {
                    throw VaultError(
                        .notFound, "Nothing is recorded at \(FileTime.iso(time)), or its clip is still open.",
                        hint: "`sudocam clips` lists what there is; `sudocam retention log` what went.")
                }
            } else {
                throw ServerError(
                    .configuration, "\(what) is neither an object's name nor a time.",
                    hint: "`sudocam clips` lists objects; a time is \(TimeForms.text).")
            }
            var explained: [Explained] = []
            for object in objects {
                explained.append(text(try await vault.explainRetention(object, policy), policy, names))
            }
            return explained
        }
    }

    public struct Simulated: Codable, Sendable {
        public struct Day: Codable, Sendable {
            public var time: String
            public var bytes: Int
            public var freeBytes: Int
            public var recordedBytes: Int
            public var deletedBytes: Int
            public var deletions: [String: Int]
            public var oldest: [String: String]
            public var unmet: [Unmet]
        }
        /// Days of history that were repeated; 0: there is none.
        public var basisDays: Double
        public var days: [Day]
    }

    /// - Parameter progress: told the days that are done, after each.
    public static func simulate(
        _ configuration: Configuration, days: Int, progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws -> Simulated {
        try await deciding(configuration) { vault, policy, names in
            let simulation = try await vault.simulateRetention(policy, days: days, progress: progress)
            return Simulated(
                basisDays: Double(simulation.basis) / 86_400e6,
                days: simulation.days.map { day in
                    Simulated.Day(
                        time: FileTime.iso(day.time), bytes: day.bytes, freeBytes: day.free,
                        recordedBytes: day.recordedBytes, deletedBytes: day.deletedBytes,
                        deletions: Dictionary(
                            uniqueKeysWithValues: day.deletions.map { ($0.key.description, $0.value) }),
                        oldest: Dictionary(
                            day.oldest.map { (name($0.key, names), FileTime.iso($0.value)) }, uniquingKeysWith: min),
                        unmet: day.unmet.map { unmet($0, names) })
                })
        }
    }

    /// - Parameter passphrase: opens the notes.
    public static func holds(_ configuration: Configuration, passphrase: SecretBytes?) async throws -> [Hold] {
        try await reading(configuration) { vault, _, names in
            if let passphrase { try await vault.unlock(passphrase: passphrase) }
            var holds: [Hold] = []
            for hold in try await vault.holds() {
                let kept = try await vault.coverage(camera: hold.camera, range: hold.range)
                holds.append(
                    Hold(
                        hold: hold.hold, camera: hold.camera.map { name($0, names) },
                        start: FileTime.iso(hold.range.start), end: FileTime.iso(hold.range.end),
                        note: vault.isUnlocked ? try vault.note(of: hold) : nil, hasNote: hold.hasNote,
                        clips: kept.clips, bytes: kept.bytes))
            }
            return holds
        }
    }

    public struct Receipt: Codable, Sendable {
        public var entry: Int
        public var at: String
        public var what: String
        public var object: ObjectID?
        public var camera: String?
        public var start: String?
        public var end: String?
        public var bytes: Int?
        public var cause: String?
    }

    public static func log(_ configuration: Configuration, since: WallTime, limit: Int) async throws -> [Receipt] {
        try await reading(configuration) { vault, _, names in
            try await vault.retentionLog(since: since, limit: limit).map { receipt in
                var line = Receipt(entry: receipt.position, at: FileTime.iso(receipt.at), what: "")
                switch receipt.kind {
                case .deleted(let deletion):
                    line.what = "deleted"
                    line.object = deletion.object
                    line.camera = name(deletion.camera, names)
                    line.start = FileTime.iso(deletion.range.start)
                    line.end = FileTime.iso(deletion.range.end)
                    line.bytes = deletion.byteCount
                    line.cause = deletion.cause.description
                case .shredded(let epoch, let rule):
                    line.what = "shredded epoch \(epoch)"
                    line.cause = rule
                case .held(let hold):
                    line.what = "hold \(hold.hold)"
                    line.camera = hold.camera.map { name($0, names) }
                    line.start = FileTime.iso(hold.range.start)
                    line.end = FileTime.iso(hold.range.end)
                case .released(let hold): line.what = "released hold \(hold)"
                case .policy(let policy, let text): line.what = "policy \(policy): \(text)"
                }
                return line
            }
        }
    }

    // MARK: Inside

    private static func reading<Value>(
        _ configuration: Configuration,
        _ body: (Vault, RetentionPolicy, [CameraID: String]) async throws -> Value
    ) async throws -> Value {
        try await configuration.reading(time: time) { vault in
            try await body(vault, configuration.retentionPolicy(vault: vault.id), names(configuration, vault.id))
        }
    }

    /// The same, where the policy is what is asked about, and so what the running recorder keeps for readers.
    private static func deciding<Value>(
        _ configuration: Configuration,
        _ body: (Vault, RetentionPolicy, [CameraID: String]) async throws -> Value
    ) async throws -> Value {
        try await reading(configuration) { vault, policy, names in
            try vault.check(policy)
            vault.learn(ControlClient.leases(vault: configuration.vault))
            return try await body(vault, policy, names)
        }
    }

    private static func id(_ name: String, _ configuration: Configuration) async throws -> CameraID {
        try await reading(configuration) { vault, _, _ in try VaultCommands.camera(name, configuration, vault) }
    }

    static func names(_ configuration: Configuration, _ vault: VaultID) -> [CameraID: String] {
        Dictionary(
            configuration.cameras.map { (RecordingService.identity(of: $0.key, in: vault), $0.key) },
            uniquingKeysWith: { first, _ in first })
    }
    private static func name(_ camera: CameraID, _ names: [CameraID: String]) -> String {
        names[camera] ?? camera.description
    }

    private static func applied(_ report: RetentionReport, _ isDryRun: Bool, _ names: [CameraID: String]) -> Applied {
        Applied(
            dryRun: isDryRun, timeTrusted: report.isTimeTrusted, unfinished: report.isUnfinished,
            deletions: report.deletions.map { deletion in
                Clip(
                    object: deletion.clip.object, camera: name(deletion.clip.camera, names),
                    start: FileTime.iso(deletion.clip.start), end: FileTime.iso(deletion.clip.end),
                    bytes: deletion.clip.byteCount, cause: deletion.cause.description)
            }, freedBytes: report.freedBytes, shreddedEpochs: report.shreddedEpochs,
            unmet: report.unmet.map { unmet($0, names) })
    }
    private static func unmet(_ shortfall: RetentionShortfall, _ names: [CameraID: String]) -> Unmet {
        Unmet(
            cause: shortfall.cause.description, camera: shortfall.camera.map { name($0, names) },
            bytes: shortfall.bytes)
    }

    private static func text(_ rule: RetentionPolicy.Rule, _ names: [CameraID: String]) -> String {
        let cameras = rule.cameras.map { $0.map { name($0, names) }.sorted().joined(separator: ", ") } ?? "every camera"
        let classes = rule.classes.map { $0.map(\.rawValue).sorted().joined(separator: ", ") } ?? "everything"
        let keep = rule.keep.map { "kept \(days($0))" } ?? "kept as far as budgets allow"
        let rolls = [(rule.preRoll, "before"), (rule.postRoll, "after")].filter { $0.0 > 0 }
            .map { "\(days($0.0)) \($0.1)" }
        return "\(cameras), \(classes)\(rolls.isEmpty ? "" : " with \(rolls.joined(separator: " and ")) it"): \(keep)"
            + (rule.minimum > 0 ? ", at least \(days(rule.minimum))" : "")
    }

    private static func text(
        _ explanation: RetentionExplanation, _ policy: RetentionPolicy, _ names: [CameraID: String]
    ) -> Explained {
        var until: WallTime?
        var leasedUntil: WallTime?
        var changes: [String] = []
        var verdict: String
        switch explanation.verdict {
        case .held(let hold):
            verdict = "Hold \(hold) keeps it, whatever rules and budgets say."
            changes.append("`sudocam retention release \(hold)` ends that.")
        case .leased(let end):
            leasedUntil = end
            verdict = "Somebody watches or exports it: it stays until that ends, or until \(FileTime.iso(end))."
        case .doubtful:
            verdict =
                "Nobody vouches for the time it was recorded at, so no rule applies; it goes first when space is needed."
            changes.append("`sudocam retention confirm-time` vouches for the clock as it is now.")
        case .age(let rule, let time):
            until = time
            verdict = "Rule \(rule) (\(text(policy.rules[rule - 1], names))) keeps it until \(FileTime.iso(time))."
            changes.append("Another `keep` in rule \(rule), or a rule before it that fits, moves that day.")
        case .ruleWithoutAge(let rule):
            verdict =
                "Rule \(rule) (\(text(policy.rules[rule - 1], names))) names no age: only a budget or a full disk takes it."
            changes.append("`keep` in rule \(rule) would give it an age.")
        case .noRule:
            verdict = "No rule fits it: only a budget or a full disk takes it."
            changes.append("A rule under `retention` in sudocam.yaml would give it an age.")
        }
        if case .held = explanation.verdict {
        } else {
            if !explanation.isTimeTrusted {
                verdict +=
                    " But nobody vouches for the clock now: until then nothing goes by age or budget, only by a full disk."
                let change = "`sudocam retention confirm-time` vouches for the clock as it is now."
                if !changes.contains(change) { changes.append(change) }
            }
            changes.append("`sudocam retention hold` keeps it until it is released.")
        }
        return Explained(
            object: explanation.clip.object, camera: name(explanation.clip.camera, names),
            start: FileTime.iso(explanation.clip.start), end: FileTime.iso(explanation.clip.end),
            kind: explanation.clip.kind.rawValue, verdict: verdict, timeTrusted: explanation.isTimeTrusted,
            until: until.map(FileTime.iso), leasedUntil: leasedUntil.map(FileTime.iso),
            minimumUntil: explanation.minimumUntil.map(FileTime.iso),
            budgets: explanation.budgets.map {
                Explained.Budget(
                    cause: $0.cause.description, limit: $0.limit, bytesUntilItsTurn: $0.distance,
                    expected: $0.expected.map(FileTime.iso))
            }, changes: changes)
    }

    /// `30 days`, `12 hours`, `90 seconds`.
    private static func days(_ microseconds: Int64) -> String {
        let seconds = Double(microseconds) / 1e6
        let (unit, name) =
            seconds >= 2 * 86_400
            ? (86_400.0, "days") : seconds >= 7200 ? (3600, "hours") : seconds >= 120 ? (60, "minutes") : (1, "seconds")
        return "\((seconds / unit).formatted(.number.precision(.fractionLength(0...1)))) \(name)"
    }
}
