import Core
import Dispatch
import Synchronization
import TestKit
import Testing

@testable import Vault

/// A random vault on paper: clips, holds and a policy.
private struct History {
    static let day: Int64 = 86_400_000_000
    var now = WallTime(seconds: 1_764_000_000)
    var clips: [ClipRecord] = []
    var holds: [HoldRecord] = []
    var policy = RetentionPolicy()
    var needed = 0

    init(_ random: inout SeededGenerator) {
        let cameras = (0..<Int.random(in: 1...4, using: &random)).map { _ in CameraID.random() }
        for camera in cameras {
            var time = now - Int64.random(in: 1...30, using: &random) * Self.day
            for sequence in 0..<Int.random(in: 0...60, using: &random) {
                let length = Int64.random(in: 1_000_000...60_000_000, using: &random)
                clips.append(
                    Self.clip(
                        camera, UInt64(sequence), time, length, Int.random(in: 100...10_000, using: &random),
                        RetentionClass.allCases.randomElement(using: &random) ?? .continuous))
                time = time + length + Int64.random(in: 0...Self.day / 2, using: &random)
                if time > now { break }
            }
        }
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let start = now - Int64.random(in: 0...30 * Self.day, using: &random)
            holds.append(
                HoldRecord(
                    hold: .random(), camera: Bool.random(using: &random) ? nil : cameras.randomElement(using: &random),
                    range: TimeRange(start, start + Int64.random(in: 1...5 * Self.day, using: &random)), note: nil))
        }
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            policy.rules.append(
                RetentionPolicy.Rule(
                    cameras: Bool.random(using: &random) ? nil : Set(cameras.prefix(1)),
                    classes: Bool.random(using: &random) ? nil : [.continuous, .motion],
                    keep: Bool.random(using: &random) ? nil : Int64.random(in: 0...20, using: &random) * Self.day,
                    minimum: Int64.random(in: 0...3, using: &random) * Self.day))
        }
        if Bool.random(using: &random) {
            policy.rules.insert(
                RetentionPolicy.Rule(
                    classes: [.event, .labelled], keep: Int64.random(in: 5...25, using: &random) * Self.day,
                    preRoll: Int64.random(in: 0...3_600_000_000, using: &random),
                    postRoll: Int64.random(in: 0...3_600_000_000, using: &random)), at: 0)
        }
        let total = clips.reduce(0) { $0 + $1.byteCount }
        if Bool.random(using: &random) { policy.vaultBytes = Int.random(in: 0...max(1, total), using: &random) }
        if Bool.random(using: &random) { policy.eachCameraBytes = Int.random(in: 0...max(1, total), using: &random) }
        if Bool.random(using: &random) { needed = Int.random(in: 0...max(1, total), using: &random) }
    }

    static func clip(
        _ camera: CameraID, _ sequence: UInt64, _ start: WallTime, _ length: Int64, _ bytes: Int,
        _ kind: RetentionClass
    ) -> ClipRecord {
        ClipRecord(
            object: ObjectID(digest: Digest.sha256(Array("\(camera)\(sequence)".utf8))) ?? .zero,
            identity: ClipIdentity(
                vault: .random(), camera: camera, epoch: .random(), run: .random(), sequence: sequence, start: start),
            end: start + length, byteCount: bytes, kind: kind)
    }

    var hasRoll: Bool { policy.rules.contains { $0.preRoll > 0 || $0.postRoll > 0 } }

    /// The rule that decides about a clip while `gone` is not there any more, by a slow look at everything.
    func rule(for clip: ClipRecord, without gone: Set<ObjectID>) -> RetentionPolicy.Rule? {
        policy.rules.first { rule in
            guard rule.cameras?.contains(clip.camera) ?? true else { return false }
            guard let classes = rule.classes else { return true }
            if classes.contains(clip.kind) { return true }
            guard rule.preRoll > 0 || rule.postRoll > 0 else { return false }
            return clips.contains { other in
                other.camera == clip.camera && other.kind != .continuous && classes.contains(other.kind)
                    && !gone.contains(other.object) && other.start < clip.end + rule.preRoll
                    && other.end > clip.start - rule.postRoll
            }
        }
    }

    func pass(isTrusted: Bool = true) -> RetentionPass {
        RetentionPass(
            policy: policy, holds: holds, leases: [], now: now, isTimeTrusted: isTrusted, needed: needed)
    }
}

@Suite struct RetentionPassTests {
    @Test func `R2: nothing held goes, budgets are kept to within a clip, the oldest go first`() throws {
        var random = SeededGenerator(seed: 11)
        var deleted = 0
        for _ in 0..<400 {
            let history = History(&random)
            let pass = history.pass()
            let outcome = try pass.run(MemoryCatalog(trusted: history.clips))
            let gone = outcome.deletions.map(\.clip)
            deleted += gone.count
            #expect(Set(gone.map(\.object)).count == gone.count)
            var already: Set<ObjectID> = []
            for deletion in outcome.deletions {
                defer { already.insert(deletion.clip.object) }
                #expect(!history.holds.contains { $0.covers(deletion.clip) })
                let governing = history.rule(for: deletion.clip, without: already)
                switch deletion.cause {
                case .age(let number):
                    let (rule, keep) = (history.policy.rules[number - 1], history.policy.rules[number - 1].keep)
                    #expect(governing == rule)
                    #expect(history.policy.mayDecide(number, deletion.clip) == rule)
                    #expect(deletion.clip.end <= history.now - (keep ?? .max))
                case .cameraBudget, .vaultBudget:
                    if let rule = governing {
                        #expect(deletion.clip.end <= history.now - rule.minimum)
                    }
                case .diskFull, .shredded: break
                }
            }
            for cause in [RetentionCause.cameraBudget, .vaultBudget, .diskFull] {
                for (_, clips) in Dictionary(
                    grouping: outcome.deletions.filter { $0.cause == cause }.map(\.clip),
                    by: { cause == .cameraBudget ? $0.camera : nil })
                {
                    #expect(clips.map(\.start) == clips.map(\.start).sorted(), "\(cause) out of order")
                }
            }
            let left = history.clips.filter { clip in !gone.contains { $0.object == clip.object } }
            if let budget = history.policy.vaultBytes, !outcome.unmet.contains(where: { $0.cause == .vaultBudget }) {
                #expect(left.reduce(0) { $0 + $1.byteCount } <= budget)
            }
            for (camera, clips) in Dictionary(grouping: left, by: \.camera) {
                guard let budget = history.policy.budget(camera) else { continue }
                let isMet = !outcome.unmet.contains { $0.cause == .cameraBudget && $0.camera == camera }
                if isMet { #expect(clips.reduce(0) { $0 + $1.byteCount } <= budget) }
            }
            // No more than asked: without the last one of a budget's victims it would not be met.
            if let last = outcome.deletions.last(where: { $0.cause == .vaultBudget }),
                outcome.unmet.isEmpty, !outcome.deletions.contains(where: { $0.cause == .diskFull }),
                let budget = history.policy.vaultBytes
            {
                #expect(left.reduce(0) { $0 + $1.byteCount } + last.clip.byteCount > budget)
            }
            // A second look finds nothing more, but what a full disk still asks for.
            var after = MemoryCatalog(trusted: history.clips)
            after.remove(gone)
            var calm = history
            calm.needed = 0
            // (An event that a budget took leaves its surroundings to other rules, in the next pass.)
            if !history.hasRoll { #expect(try calm.pass().run(after).deletions == []) }
            // Nothing that a rule still keeps has gone by age, and nothing that is over is left.
            for clip in left where history.holds.allSatisfy({ !$0.covers(clip) }) {
                guard let keep = history.rule(for: clip, without: already)?.keep, !history.hasRoll else { continue }
                #expect(clip.end > history.now - keep)
            }
            // The policy's text says all of it.
            #expect(RetentionPolicy(text: history.policy.text) == history.policy)
        }
        #expect(deleted > 1000)
    }

    @Test func `V19: without a trusted time nothing goes but what a full disk asks for`() throws {
        var random = SeededGenerator(seed: 12)
        for _ in 0..<100 {
            var history = History(&random)
            history.needed = 0
            #expect(try history.pass(isTrusted: false).run(MemoryCatalog(trusted: history.clips)).deletions == [])
        }
    }

    @Test func `V20: clips of doubtful time displace nothing and go first when space is needed`() throws {
        let camera = CameraID.random()
        let now = WallTime(seconds: 1_764_000_000)
        let good = (0..<10).map {
            History.clip(camera, UInt64($0), now - Int64(10 - $0) * History.day, 1_000_000, 100, .continuous)
        }
        let odd = [-3650, 3650].enumerated().map {
            History.clip(camera, UInt64(100 + $0), now + Int64($1) * History.day, 1_000_000, 100, .continuous)
        }
        let catalog = MemoryCatalog(trusted: good, doubtful: odd)
        var policy = RetentionPolicy()
        policy.rules = [.init(keep: 30 * History.day)]
        func gone(_ budget: Int) throws -> [ObjectID] {
            policy.vaultBytes = budget
            return try RetentionPass(
                policy: policy, holds: [], leases: [], now: now, isTimeTrusted: true, needed: 0
            ).run(catalog).deletions.map(\.clip.object)
        }
        #expect(try gone(1200) == [])
        #expect(try gone(1000) == odd.map(\.object))
        #expect(try gone(900) == odd.map(\.object) + [good[0].object])
    }

    @Test
    func `clips in memory are what is left of them after any removals, and what lies elsewhere frees nothing here`()
        throws
    {
        var random = SeededGenerator(seed: 13)
        for _ in 0..<100 {
            let history = History(&random)
            var left = Set(history.clips)
            let doubtful = history.clips.filter { $0.byteCount % 5 == 0 }
            let elsewhere = Set(history.clips.filter { $0.byteCount % 3 == 0 }.map(\.object))
            var catalog = MemoryCatalog(
                trusted: history.clips.filter { $0.byteCount % 5 != 0 }, doubtful: doubtful, elsewhere: elsewhere)
            while !left.isEmpty {
                for camera in Set(history.clips.map(\.camera)) {
                    let own = left.filter { $0.camera == camera }.sorted { RetentionCursor($0) < RetentionCursor($1) }
                    for isDoubtful in [false, true] {
                        let wanted = own.filter { doubtful.contains($0) == isDoubtful }
                        var bytes = 0
                        for clip in wanted { bytes += clip.byteCount }
                        let known = catalog.bytes(camera)
                        #expect(bytes == (isDoubtful ? known.doubtful : known.trusted))
                        for here in [false, true] {
                            let listed = wanted.filter { !here || !elsewhere.contains($0.object) }
                            let after = listed.indices.randomElement(using: &random)
                            let rest = listed.dropFirst(after.map { $0 + 1 } ?? 0).prefix(7)
                            let cursor = after.map { RetentionCursor(listed[$0]) }
                            let page = catalog.clips(camera, doubtful: isDoubtful, here: here, after: cursor, limit: 7)
                            #expect(page == Array(rest))
                        }
                    }
                    let start = history.now - Int64.random(in: 0...30 * History.day, using: &random)
                    let range = TimeRange(start, start + History.day)
                    let events = own.filter { $0.kind == .event && range.overlaps($0.range) }.map(\.object)
                    #expect(Set(catalog.events(camera, [.event], overlapping: range)) == Set(events))
                }
                let gone = left.shuffled(using: &random).prefix(1 + left.count / 3)
                catalog.remove(Array(gone))
                left.subtract(gone)
            }
            #expect(catalog.cameras().isEmpty && catalog.totalBytes == 0)
        }
    }

    /// Without order it takes minutes: each hour cost all that there is.
    @Test(.timeLimit(.minutes(20))) func `a simulation's hour costs what happens in it`() throws {
        let now = WallTime(seconds: 1_764_000_000)
        let camera = CameraID.random()
        var clips: [ClipRecord] = []
        for index in 0..<40_000 {
            let start = now - Int64(40_000 - index) * 60_000_000
            let kind: RetentionClass = index % 20 == 0 ? .event : .continuous
            clips.append(History.clip(camera, UInt64(index), start, 60_000_000, 1000, kind))
        }
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.rules = [
            .init(classes: [.event], keep: 30 * History.day, preRoll: 60_000_000), .init(keep: 27 * History.day),
        ]
        let simulated = try RetentionSimulation(
            MemoryCatalog(trusted: clips), policy: policy, holds: [], now: now, free: 1 << 40, days: 7)
        #expect(simulated.days.count == 7)
    }

    @Test func `a simulation ends where the budgets say`() throws {
        let camera = CameraID.random()
        let now = WallTime(seconds: 1_764_000_000)
        // A clip an hour for ten days.
        let clips = (0..<240).map {
            History.clip(camera, UInt64($0), now - Int64(240 - $0) * 3_600_000_000, 60_000_000, 1000, .continuous)
        }
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.rules = [.init(keep: 20 * History.day)]
        let simulated = try RetentionSimulation(
            MemoryCatalog(trusted: clips), policy: policy, holds: [], now: now, free: 1 << 40, days: 40)
        #expect(simulated.days.count == 40)
        #expect(simulated.basis == 7 * History.day)
        #expect(simulated.days.allSatisfy { (23_000...25_000).contains($0.recordedBytes) })
        #expect((479_000...481_000).contains(simulated.days[39].bytes))
        #expect(simulated.days[5].deletions.isEmpty)
        #expect(simulated.days[39].deletions[.age(rule: 1)] == 24)
        policy.vaultBytes = 100_000
        let tight = try RetentionSimulation(
            MemoryCatalog(trusted: clips), policy: policy, holds: [], now: now, free: 1 << 40, days: 2)
        #expect(tight.days[0].bytes <= 100_000)
    }
}

@Suite struct RetentionTests {
    static let camera = CameraID.random()

    /// Clips of a kilobyte, an hour apart, the last one now.
    private static func fill(_ vault: Vault, _ temporary: TemporaryVault, count: Int) async throws -> [ClipRecord] {
        var clips: [ClipRecord] = []
        for index in 0..<count {
            clips.append(
                try await RecordingTests.record(
                    vault, patternBytes(1000, seed: UInt64(index)), at: temporary.time.wallNow(), camera: camera))
            temporary.time.advance(microseconds: 3_600_000_000)
        }
        return clips
    }
    private static func policy(keepHours: Int64) -> RetentionPolicy {
        var policy = RetentionPolicy()
        policy.rules = [.init(keep: keepHours * 3_600_000_000)]
        policy.freeBytes = 0
        return policy
    }

    @Test func `R1: without any rule everything stays until the disk is full, and explain says so`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 4)
        temporary.time.advance(microseconds: 10 * 365 * 86_400_000_000)
        try await vault.confirmTime()
        #expect(try await vault.applyRetention().deletions == [])
        #expect(try await vault.planRetention(RetentionPolicy()).deletions == [])
        let explained = try await vault.explainRetention(clips[0].object, RetentionPolicy())
        #expect(explained.verdict == .noRule)
        #expect(explained.budgets.map(\.cause) == [.diskFull])
        #expect(try await vault.verify().objects == 4)
        await vault.close()
    }

    @Test func `plan, execution and ledger say the same, and verify knows why`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 12)
        vault.setRetention(Self.policy(keepHours: 6))
        let plan = try await vault.planRetention(Self.policy(keepHours: 6))
        let memory = try RetentionPass(
            policy: Self.policy(keepHours: 6), holds: [], leases: [], now: temporary.time.wallNow(),
            isTimeTrusted: true,
            needed: 0
        ).run(try vault.memoryCatalog())
        #expect(plan.deletions.map(\.clip) == memory.deletions.map(\.clip))
        #expect(plan.deletions.map(\.clip) == Array(clips.prefix(6)))
        let dry = try await vault.applyRetention(isDryRun: true)
        #expect(dry.deletions == plan.deletions)
        #expect(try await vault.verify().objects == 12)
        let done = try await vault.applyRetention()
        #expect(done.deletions == plan.deletions)
        let log = try await vault.retentionLog(since: WallTime(microseconds: 0), limit: 100)
        let receipts = log.compactMap { receipt in
            if case .deleted(let deletion) = receipt.kind { deletion.object } else { nil }
        }
        #expect(receipts == clips.prefix(6).map(\.object))
        for limit in [Int.max, 3, 1, 0, -1] {
            let last = try await vault.retentionLog(since: WallTime(microseconds: 0), limit: limit)
            #expect(last.map(\.position) == log.suffix(max(0, limit)).map(\.position))
        }
        #expect(log.contains { if case .policy = $0.kind { true } else { false } })
        let report = try await vault.verify()
        #expect(report.isClean, "\(report.findings)")
        #expect(report.objects == 6)
        #expect(try await vault.clip(at: clips[0].start, camera: Self.camera) == nil)
        // A cheat with the ledger's key is told apart.
        try vault.delete([(clips[11], .age(rule: 1))], Self.policy(keepHours: 6))
        #expect(try await vault.verify().findings.map(\.kind) == [.deletedEarly])
        await vault.close()
    }

    @Test func `what lies around an event stays as long as the event, and goes with it`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        var clips: [ClipRecord] = []
        for index in 0..<12 {
            let writer = try await vault.beginClip(
                camera: Self.camera, run: .random(), start: temporary.time.wallNow())
            try await writer.append(patternBytes(1000, seed: UInt64(index)))
            clips.append(
                try await writer.finish(
                    end: temporary.time.wallNow() + 60_000_000, kind: index == 5 ? .event : .continuous))
            temporary.time.advance(microseconds: 60_000_000)
        }
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.rules = [
            .init(classes: [.event], keep: 3_600_000_000, preRoll: 90_000_000, postRoll: 30_000_000),
            .init(keep: 0),
        ]
        vault.setRetention(policy)
        let plan = try await vault.planRetention(policy)
        let done = try await vault.applyRetention(limit: 5)
        #expect(done.deletions == Array(plan.deletions.prefix(5)) && done.isUnfinished)
        #expect(try await vault.applyRetention().deletions == Array(plan.deletions.dropFirst(5)))
        let kept = try await vault.clips(
            camera: Self.camera, overlapping: TimeRange(clips[0].start, temporary.time.wallNow()))
        #expect(kept == Array(clips[3...6]))
        let explained = try await vault.explainRetention(clips[3].object, policy)
        #expect(explained.verdict == .age(rule: 1, until: clips[3].end + 3_600_000_000))
        temporary.time.advance(microseconds: 3_600_000_000)
        #expect(try await vault.applyRetention().deletions.map(\.clip) == Array(clips[3...6]))
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test func `V16: over simulated weeks a real vault does what the simulation said, and keeps its budgets`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let cameras = [CameraID.random(), CameraID.random()].sorted()
        var next = 0
        /// A clip of each camera every six hours; sizes that repeat by the week, and the pass that follows.
        func sixHours() async throws -> [RetentionReport.Deletion] {
            for (place, camera) in cameras.enumerated() {
                let size = 1000 * (1 + (next % 28 + place) % 3)
                let writer = try await vault.beginClip(camera: camera, run: .random(), start: temporary.time.wallNow())
                try await writer.append(patternBytes(size, seed: UInt64(next)))
                _ = try await writer.finish(end: temporary.time.wallNow() + 300_000_000)
            }
            next += 1
            temporary.time.advance(microseconds: 6 * 3_600_000_000)
            let plan = try await vault.planRetention(vault.retention.withLock { $0.policy })
            let paper = try RetentionPass(
                policy: vault.retention.withLock { $0.policy }, holds: try vault.index.holds(), leases: [],
                now: temporary.time.wallNow(), isTimeTrusted: true, needed: 0
            ).run(try vault.memoryCatalog())
            let done = try await vault.applyRetention()
            #expect(done.deletions == plan.deletions)
            #expect(done.deletions.map(\.clip) == paper.deletions.map(\.clip))
            return done.deletions
        }
        for _ in 0..<28 { _ = try await sixHours() }
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.rules = [.init(cameras: [cameras[0]], keep: 4 * 86_400_000_000), .init(minimum: 86_400_000_000)]
        policy.cameraBytes[cameras[1]] = 25_500
        let simulated = try await vault.simulateRetention(policy, days: 21)
        vault.setRetention(policy)
        for day in simulated.days {
            var causes: [RetentionCause: Int] = [:]
            for _ in 0..<4 { for deletion in try await sixHours() { causes[deletion.cause, default: 0] += 1 } }
            #expect(causes == day.deletions, "\(day.time)")
            let usage = try vault.index.usage()
            #expect(usage.reduce(0) { $0 + $1.bytes } <= day.bytes + 200 && day.bytes > 0)
            #expect(usage.first { $0.camera == cameras[1] }?.bytes ?? 0 <= 25_500)
            for one in usage { #expect(one.span?.start == day.oldest[one.camera]) }
        }
        #expect(simulated.days.flatMap(\.deletions.keys).contains(.cameraBudget))
        let report = try await vault.verify()
        #expect(report.isClean, "\(report.findings)")
        await vault.close()
    }

    @Test func `V17: what a full disk takes inside the promised window is entered with its reason and told`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 4)
        var policy = RetentionPolicy()
        policy.rules = [.init(keep: 30 * 86_400_000_000, minimum: 86_400_000_000)]
        // No disk has so much: it counts as full.
        policy.freeBytes = .max
        vault.setRetention(policy)
        var events = vault.events.makeAsyncIterator()
        let hold = try await vault.hold(
            camera: Self.camera, range: TimeRange(clips[2].start, clips[2].end), note: "keep")
        let report = try await vault.applyRetention()
        #expect(report.deletions.map(\.cause) == [.diskFull, .diskFull, .diskFull])
        #expect(report.unmet.map(\.cause) == [.diskFull])
        var told: [ObjectID] = []
        while told.count < 3, case .deleted(let clip, .diskFull)? = await events.next() { told.append(clip.object) }
        #expect(told == [clips[0], clips[1], clips[3]].map(\.object))
        let log = try await vault.retentionLog(since: WallTime(microseconds: 0), limit: 100)
        #expect(log.count { if case .deleted(let one) = $0.kind { one.cause == .diskFull } else { false } } == 3)
        #expect(vault.deleted["disk-full"]?.clips == 3)
        #expect(try await vault.verify().findings == [])
        try await vault.release(hold)
        #expect(try await vault.applyRetention().deletions.map(\.clip) == [clips[2]])
        await vault.close()
    }

    @Test func `S10: what a camera recorded that is in no configuration any more is kept and taken by the same rules`()
        async throws
    {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 12)
        await vault.close()
        // From now on only another one records, and rules and budgets name that one too.
        vault = try await temporary.open()
        let other = CameraID.random()
        let last = temporary.time.wallNow()
        #expect(try await vault.clips(camera: Self.camera, overlapping: TimeRange(clips[0].start, last)).count == 12)
        var policy = RetentionPolicy()
        policy.rules = [.init(cameras: [other], keep: 1), .init(keep: last - clips[5].start)]
        policy.cameraBytes = [other: 1]
        vault.setRetention(policy)
        // Those that ended before the sixth began.
        #expect(try await vault.applyRetention().deletions.map(\.clip) == Array(clips[..<5]))
        policy.rules = []
        policy.eachCameraBytes = clips[9...].reduce(0) { $0 + $1.byteCount }
        vault.setRetention(policy)
        #expect(try await vault.applyRetention().deletions.map(\.clip) == Array(clips[5..<9]))
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test func `V23: passes that overlap take nothing twice, and a second process takes nothing`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 24)
        vault.setRetention(Self.policy(keepHours: 4))
        await #expect(throws: VaultError(.inUse, "")) { _ = try await temporary.open() }
        let taken = try await withThrowingTaskGroup(of: [ObjectID].self) { group in
            for _ in 0..<6 {
                group.addTask { try await vault.applyRetention(limit: 5).deletions.map(\.clip.object) }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(taken.count == 20)
        #expect(Set(taken) == Set(clips.prefix(20).map(\.object)))
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test func `V23: what a hold or a lease keeps while a pass runs is not deleted by it`() async throws {
        let temporary = try await TemporaryVault()
        let opened = Mutex<Vault?>(nil)
        let kept = Mutex<[ClipRecord]>([])
        let tokens = Mutex<[RetentionLeaseToken]>([])
        // While the pass is about to remove its first clip, the owner holds one that it has not come to, and another is read.
        let files = GatedFileSystem { path in
            guard path.contains("/objects/"), let vault = opened.withLock({ $0.take() }) else { return }
            let (held, leased) = kept.withLock { ($0[0], $0[1]) }
            let isDone = DispatchSemaphore(value: 0)
            Task { @Sendable in
                _ = try await vault.hold(camera: Self.camera, range: held.range, note: "")
                let token = vault.lease(camera: Self.camera, range: leased.range)
                tokens.withLock { $0.append(token) }
                isDone.signal()
            }
            isDone.wait()
        }
        let vault = try await temporary.open(files: files)
        // More than two batches.
        let clips = try await Self.fill(vault, temporary, count: 80)
        kept.withLock { $0 = [clips[50], clips[70]] }
        vault.setRetention(Self.policy(keepHours: 0))
        opened.withLock { $0 = vault }
        let report = try await vault.applyRetention()
        #expect(
            Set(report.deletions.map(\.clip.object))
                == Set(clips.map(\.object)).subtracting([clips[50].object, clips[70].object]))
        #expect(report.isUnfinished)
        _ = try await vault.clip(named: clips[50].object.description)
        _ = try await vault.clip(named: clips[70].object.description)
        #expect(try await vault.verify().findings == [])
        withExtendedLifetime(tokens) {}
        await vault.close()
    }

    @Test func `V22: cut anywhere in a pass, the next start finishes it and nothing else is missing`() async throws {
        let original = try await TemporaryVault()
        var vault = try await original.open()
        let clips = try await Self.fill(vault, original, count: 8)
        await vault.close()
        var cut = 0
        while true {
            let temporary = try original.copy()
            let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: cut, with: .io)
            let isWhole: Bool
            do {
                vault = try await temporary.open(files: files)
                vault.setRetention(Self.policy(keepHours: 4))
                _ = try await vault.applyRetention()
                isWhole = true
            } catch {
                isWhole = false
            }
            await vault.close()
            vault = try await temporary.open()
            let listed = try await vault.clips(
                camera: Self.camera, overlapping: TimeRange(clips[0].start, temporary.time.wallNow()))
            #expect(Set(clips.suffix(4)).isSubset(of: listed), "cut at \(cut)")
            var report = try await vault.verify()
            #expect(report.isClean, "cut at \(cut): \(report.findings)")
            vault.setRetention(Self.policy(keepHours: 4))
            _ = try await vault.applyRetention()
            report = try await vault.verify()
            #expect(report.isClean && report.objects == 4, "cut at \(cut): \(report.findings)")
            await vault.close()
            if isWhole { break }
            cut += 1
        }
        #expect(cut > 5)
    }

    @Test func `numbers go on after everything is gone, and an empty day loses its key`() async throws {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let first = try await Self.fill(vault, temporary, count: 2)
        // Another camera keeps the recorder's clock going.
        for _ in 0..<3 {
            temporary.time.advance(microseconds: 86_400_000_000)
            _ = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow(), camera: .random())
        }
        vault.setRetention(Self.policy(keepHours: 48))
        let report = try await vault.applyRetention()
        #expect(report.deletions.count == 2)
        #expect(report.shreddedEpochs == 1)
        #expect(try vault.files.attributes(vault.layout.epoch(first[0].identity.epoch)) == nil)
        await vault.close()
        vault = try await temporary.open()
        let next = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow(), camera: Self.camera)
        #expect(next.identity.sequence == 3)
        #expect(try await vault.verify().isClean)
        await vault.close()
    }

    @Test(arguments: [Int64(3650), -3650])
    func `V19: a clock ten years off deletes nothing until somebody vouches for it`(days: Int64) async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 6)
        vault.setRetention(Self.policy(keepHours: 24))
        temporary.time.stepWall(microseconds: days * 86_400_000_000)
        let odd = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow(), camera: Self.camera)
        for _ in 0..<5 {
            temporary.time.advance(microseconds: 60_000_000)
            let report = try await vault.applyRetention()
            #expect(report.deletions.isEmpty && !report.isTimeTrusted)
        }
        temporary.time.stepWall(microseconds: -days * 86_400_000_000)
        temporary.time.advance(microseconds: 30 * 3_600_000_000)
        #expect(try await vault.applyRetention().deletions.map(\.clip) == clips)
        // What was recorded meanwhile is doubtful and stays.
        let explained = try await vault.explainRetention(odd.object, Self.policy(keepHours: 24))
        #expect(explained.verdict == .doubtful)
        await vault.close()
    }

    @Test func `a recorder that was off for months asks once, by its owner or a time service`() async throws {
        for isAsked in [true, false] {
            let temporary = try await TemporaryVault()
            let vault = try await temporary.open()
            let clips = try await Self.fill(vault, temporary, count: 3)
            vault.setRetention(Self.policy(keepHours: 24))
            temporary.time.advance(microseconds: 90 * 86_400_000_000)
            let new = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow(), camera: Self.camera)
            #expect(try await vault.applyRetention().deletions.isEmpty)
            if isAsked { try await vault.confirmTime() } else { temporary.time.setSynchronised(true) }
            #expect(try await vault.applyRetention().deletions.map(\.clip) == clips)
            #expect(
                try await vault.explainRetention(new.object, Self.policy(keepHours: 24)).verdict
                    == .age(rule: 1, until: new.end + 24 * 3_600_000_000))
            // A new index learns the same from the ledger.
            let before = try vault.index.dump().filter { !$0.hasPrefix("deleted") }
            let again = try Index.temporary()
            try again.catchUp(vault.ledger)
            #expect(try again.dump().filter { !$0.hasPrefix("deleted") } == before)
            await vault.close()
        }
    }

    @Test func `a hold keeps its range, its note is sealed, and a release lets it go`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 6)
        vault.setRetention(Self.policy(keepHours: 0))
        let hold = try await vault.hold(
            camera: Self.camera, range: TimeRange(clips[1].start, clips[2].end), note: "the burglary, case 4711")
        let deleted = try await vault.applyRetention().deletions.map(\.clip)
        #expect(deleted == [clips[0]] + clips[3...])
        #expect(
            try await vault.explainRetention(clips[1].object, Self.policy(keepHours: 0)).verdict == .held(hold))
        await #expect(throws: VaultError(.locked, "")) { try await vault.note(of: vault.holds()[0]) }
        for name in try temporary.folder.everyFile() {
            let text = String(decoding: try temporary.folder.contents(name), as: UTF8.self)
            #expect(!text.contains("burglary") && !text.contains("4711"), "\(name)")
        }
        try await TemporaryVault.unlock(vault)
        #expect(try await vault.note(of: vault.holds()[0]) == "the burglary, case 4711")
        await #expect(throws: VaultError(.notFound, "")) { try await vault.release(.random()) }
        try await vault.release(hold)
        #expect(try await vault.applyRetention().deletions.count == 2)
        #expect(try await vault.verify().isClean)
        await vault.close()
    }

    @Test func `R5: what is being exported stays until the lease ends`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 4)
        vault.setRetention(Self.policy(keepHours: 0))
        var lease: RetentionLeaseToken? = vault.lease(
            camera: Self.camera, range: TimeRange(clips[0].start, clips[1].end))
        #expect(try await vault.applyRetention().deletions.map(\.clip) == Array(clips[2...]))
        withExtendedLifetime(lease) {}
        lease = nil
        #expect(try await vault.applyRetention().deletions.map(\.clip) == Array(clips[..<2]))
        // A lease that nobody ends does not last for ever.
        let more = try await Self.fill(vault, temporary, count: 1)
        lease = vault.lease(camera: Self.camera, range: more[0].range)
        temporary.time.advance(microseconds: 3_600_000_001)
        #expect(try await vault.applyRetention().deletions.count == 1)
        withExtendedLifetime(lease) {}
        await vault.close()
    }

    @Test func `a shredded day opens nowhere, not from a copy either`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 2)
        await #expect(throws: VaultError(.invalid, "")) {
            _ = try await vault.shred(camera: Self.camera, day: temporary.time.wallNow().utcDay)
        }
        temporary.time.advance(microseconds: 86_400_000_000)
        let copy = try vault.files.contents(vault.layout.object(clips[0].object))
        let hold = try await vault.hold(camera: nil, range: clips[0].range, note: "")
        await #expect(throws: VaultError(.held, "")) {
            _ = try await vault.shred(camera: Self.camera, day: clips[0].start.utcDay)
        }
        try await vault.release(hold)
        // Locked, nothing could prove it, and nothing is destroyed.
        await #expect(throws: VaultError(.locked, "")) {
            _ = try await vault.shred(camera: Self.camera, day: clips[0].start.utcDay, wantsProof: true)
        }
        try await TemporaryVault.unlock(vault)
        _ = try await vault.openObject(clips[0])
        let report = try await vault.shred(camera: Self.camera, day: clips[0].start.utcDay, wantsProof: true)
        #expect(
            report.isProved && report.objects == 2 && report.triedInVain == 2
                && report.epochs == [clips[0].identity.epoch])
        #expect(try vault.files.attributes(vault.layout.object(clips[0].object)) == nil)
        try vault.files.replace(vault.layout.object(clips[0].object), with: copy)
        await #expect(throws: VaultError(.notFound, "")) { _ = try await vault.openObject(clips[0]) }
        #expect(try await vault.verify().findings.map(\.kind) == [.notDeleted])
        await #expect(throws: VaultError(.notFound, "")) {
            _ = try await vault.shred(camera: Self.camera, day: clips[0].start.utcDay)
        }
        await vault.close()
    }

    @Test func `R7: an event goes with its footage, by a rule as by shredding, and neither stays alone`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        func event() async throws -> ClipRecord {
            let writer = try await vault.beginClip(
                camera: Self.camera, run: .random(), start: temporary.time.wallNow())
            try await writer.append(patternBytes(1000, seed: 9))
            let clip = try await writer.finish(end: temporary.time.wallNow() + 60_000_000, kind: .event)
            temporary.time.advance(microseconds: 3_600_000_000)
            return clip
        }
        let all = TimeRange(WallTime(seconds: 0), WallTime(seconds: 1 << 40))
        let first = try await event()
        vault.setRetention(Self.policy(keepHours: 1))
        temporary.time.advance(microseconds: 3_600_000_000)
        #expect(try await vault.applyRetention().deletions.map(\.clip.object) == [first.object])
        #expect(try await vault.clips(camera: Self.camera, overlapping: all, limit: 10).isEmpty)
        vault.setRetention(RetentionPolicy())
        _ = try await event()
        let footage = try await Self.fill(vault, temporary, count: 1)
        temporary.time.advance(microseconds: 86_400_000_000)
        let report = try await vault.shred(camera: Self.camera, day: footage[0].start.utcDay)
        #expect(report.objects == 2 && report.events == 1)
        #expect(try await vault.clips(camera: Self.camera, overlapping: all, limit: 10).isEmpty)
        await vault.close()
    }

    @Test func `V14: a start with an empty index adopts everything and deletes nothing`() async throws {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let clips = try await Self.fill(vault, temporary, count: 5)
        await vault.close()
        for suffix in ["", "-wal", "-shm"] { try PosixFileSystem().remove(temporary.path + "/index.sqlite" + suffix) }
        vault = try await temporary.open()
        vault.setRetention(Self.policy(keepHours: 100))
        #expect(try await vault.applyRetention().deletions.isEmpty)
        #expect(
            try await vault.clips(
                camera: Self.camera, overlapping: TimeRange(clips[0].start, temporary.time.wallNow())) == clips)
        await vault.close()
    }
}
