import Core
import Foundation
import TestKit
import Testing

@testable import Vault

/// Random policies, holds and footage on a real vault whose clock is moved by hand; what may go is judged by a slow look of its own.
@Suite struct RetentionWeeksTests {
    private static let hour: Int64 = 3_600_000_000
    private static let day: Int64 = 24 * hour

    /// One clip of the week that is recorded again and again.
    private struct Shot {
        var camera: CameraID
        /// From the week's beginning, µs.
        var offset: Int64
        var length: Int64
        var payload: Int
        var kind: RetentionClass
    }

    private struct World {
        let temporary: TemporaryVault
        let vault: Vault
        let begin: WallTime
        var cameras: [CameraID]
        var shots: [Shot] = []
        var policy = RetentionPolicy()
        var holds: [HoldRecord] = []
        /// What is there.
        var clips: [ClipRecord] = []
        private var counts: [CameraID: Int] = [:]

        init(_ random: inout SeededGenerator) async throws {
            temporary = try await TemporaryVault()
            // Else the first pass writes 64 MiB.
            try temporary.folder.write([], to: "vault/ballast")
            vault = try await temporary.open()
            begin = temporary.time.wallNow()
            cameras = (0..<Int.random(in: 1...3, using: &random)).map { _ in CameraID.random() }
            var offset: Int64 = 0
            while offset < 7 * day - hour {
                shots.append(
                    Shot(
                        camera: cameras.randomElement(using: &random) ?? cameras[0], offset: offset,
                        length: Int64.random(in: 1_000_000...hour / 2, using: &random),
                        payload: Int.random(in: 100...4000, using: &random),
                        kind: RetentionClass.allCases.randomElement(using: &random) ?? .continuous))
                offset += Int64.random(in: hour / 2...10 * hour, using: &random)
            }
        }

        /// Sealed it is as large as the first week's: a sequence number of more digits stands in the header.
        mutating func record(_ shot: Shot, week: Int64) async throws {
            let start = begin + week * 7 * day + shot.offset
            let number = counts[shot.camera, default: 0] + 1
            counts[shot.camera] = number
            let writer = try await vault.beginClip(camera: shot.camera, run: .random(), start: start)
            try await writer.append(patternBytes(shot.payload - "\(number)".utf8.count, seed: UInt64(clips.count)))
            clips.append(try await writer.finish(end: start + shot.length, kind: shot.kind))
        }

        /// Of the footage of the first week.
        mutating func decide(_ random: inout SeededGenerator) async throws {
            let total = clips.reduce(0) { $0 + $1.byteCount }
            policy.freeBytes = 0
            if Bool.random(using: &random) {
                // Without a minimum: what a roll protects at one moment and no more at the next is judged elsewhere.
                policy.rules.append(
                    .init(
                        classes: [.event, .labelled], keep: Int64.random(in: 4...12, using: &random) * day,
                        preRoll: Int64.random(in: 0...hour, using: &random),
                        postRoll: Int64.random(in: 0...hour, using: &random)))
            }
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                policy.rules.append(
                    .init(
                        cameras: Bool.random(using: &random) ? nil : [cameras[0]],
                        classes: Bool.random(using: &random) ? nil : [.continuous, .motion],
                        keep: Bool.random(using: &random) ? nil : Int64.random(in: 1...10, using: &random) * day,
                        minimum: Int64.random(in: 0...60, using: &random) * hour))
            }
            if Bool.random(using: &random) {
                policy.vaultBytes = Int.random(in: total / 8...total, using: &random)
            }
            for camera in cameras where Bool.random(using: &random) {
                policy.cameraBytes[camera] = Int.random(in: total / 12...total / 2, using: &random)
            }
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let start = begin + Int64.random(in: 0...12, using: &random) * day
                let camera = Bool.random(using: &random) ? nil : cameras[0]
                let range = TimeRange(start, start + Int64.random(in: 1...60, using: &random) * hour)
                let hold = try await vault.hold(camera: camera, range: range, note: "")
                holds.append(HoldRecord(hold: hold, camera: camera, range: range, note: nil))
            }
        }

        func isHeld(_ clip: ClipRecord) -> Bool { holds.contains { $0.covers(clip) } }
        func bytes(_ camera: CameraID?) -> Int {
            clips.reduce(0) { $0 + (camera == nil || $1.camera == camera ? $1.byteCount : 0) }
        }
        /// The rule that decides now, and its number from 1.
        func rule(_ clip: ClipRecord) -> (number: Int, rule: RetentionPolicy.Rule)? {
            for (index, rule) in policy.rules.enumerated() where rule.cameras?.contains(clip.camera) ?? true {
                guard let classes = rule.classes else { return (index + 1, rule) }
                let isReached = clips.contains { other in
                    other.camera == clip.camera && other.kind != .continuous && classes.contains(other.kind)
                        && other.start < clip.end + rule.preRoll && other.end > clip.start - rule.postRoll
                }
                if classes.contains(clip.kind) || (rule.preRoll > 0 || rule.postRoll > 0) && isReached {
                    return (index + 1, rule)
                }
            }
            return nil
        }
        /// What a budget may take: neither held nor younger than its rule's minimum.
        func eligible(_ camera: CameraID?, _ now: WallTime) -> [ClipRecord] {
            clips.filter { clip in
                (camera == nil || clip.camera == camera) && !isHeld(clip)
                    && rule(clip).map { clip.end <= now - $0.rule.minimum } ?? true
            }.sorted { ($0.start, $0.object) < ($1.start, $1.object) }
        }

        /// One deletion by what the policy says, in words of this test's own; then it is gone here too.
        mutating func judge(_ deletion: RetentionReport.Deletion, _ now: WallTime, _ note: Comment) {
            let clip = deletion.clip
            #expect(clips.contains(clip), note)
            #expect(!isHeld(clip), note)
            switch deletion.cause {
            case .age(let number):
                #expect(rule(clip)?.number == number, note)
                #expect(rule(clip)?.rule.keep.map { clip.end <= now - $0 } == true, note)
            case .cameraBudget:
                // Needed, and the oldest that may go: so the budget is undercut by less than this one clip.
                #expect(policy.budget(clip.camera).map { bytes(clip.camera) > $0 } == true, note)
                #expect(eligible(clip.camera, now).first == clip, note)
            case .vaultBudget:
                #expect(policy.vaultBytes.map { bytes(nil) > $0 } == true, note)
                #expect(eligible(nil, now).first == clip, note)
            case .diskFull, .shredded: Issue.record("\(deletion.cause)")
            }
            clips.removeAll { $0 == clip }
        }

        /// That nothing is left undone but what is said to be.
        func judge(_ unmet: [RetentionShortfall], _ now: WallTime, _ note: Comment) {
            for clip in clips where !isHeld(clip) {
                guard let keep = rule(clip)?.rule.keep else { continue }
                // An event that a budget took leaves its surroundings to other rules, in the next pass.
                if !policy.rules.contains(where: { $0.preRoll > 0 || $0.postRoll > 0 }) {
                    #expect(clip.end > now - keep, note)
                }
            }
            var expected: [RetentionShortfall] = []
            for camera in cameras.sorted() {
                guard let budget = policy.budget(camera), bytes(camera) > budget else { continue }
                expected.append(RetentionShortfall(cause: .cameraBudget, camera: camera, bytes: bytes(camera) - budget))
                #expect(eligible(camera, now).isEmpty, note)
            }
            if let budget = policy.vaultBytes, bytes(nil) > budget {
                expected.append(RetentionShortfall(cause: .vaultBudget, camera: nil, bytes: bytes(nil) - budget))
                #expect(eligible(nil, now).isEmpty, note)
            }
            #expect(unmet == expected, note)
        }
    }

    @Test(arguments: 1...24)
    func `R2 V16: by any policy, plan, simulation and vault agree for weeks, budgets hold and nothing held goes`(
        seed: UInt64
    ) async throws {
        var random = SeededGenerator(seed: seed)
        var world = try await World(&random)
        let (time, vault) = (world.temporary.time, world.vault)
        func set(_ now: WallTime) { time.advance(microseconds: now - time.wallNow()) }
        for shot in world.shots {
            set(world.begin + shot.offset + shot.length)
            try await world.record(shot, week: 0)
        }
        let begin = world.begin + 7 * Self.day
        set(begin)
        try await world.decide(&random)
        vault.setRetention(world.policy)
        let simulated = try await vault.simulateRetention(world.policy, days: 10)
        try #require(simulated.basis == 7 * Self.day)
        var catalog = MemoryCatalog(trusted: world.clips)
        var next = 0
        for (number, day) in simulated.days.enumerated() {
            var causes: [RetentionCause: Int] = [:]
            var unmet: [RetentionShortfall] = []
            for hour in 1...24 {
                let now = begin + Int64(number) * Self.day + Int64(hour) * Self.hour
                set(now)
                while true {
                    let (week, shot) = (Int64(1 + next / world.shots.count), world.shots[next % world.shots.count])
                    guard world.begin + week * 7 * Self.day + shot.offset + shot.length <= now else { break }
                    try await world.record(shot, week: week)
                    world.clips.last.map { catalog.append($0) }
                    next += 1
                }
                let note = Comment(rawValue: "day \(number), hour \(hour)")
                let paper = try RetentionPass(
                    policy: world.policy, holds: world.holds, leases: [], now: now, isTimeTrusted: true, needed: 0
                ).run(catalog)
                // The vault is asked whenever something is to go, and once a day besides.
                guard !paper.deletions.isEmpty || hour == 24 else { continue }
                catalog.remove(paper.deletions.map(\.clip))
                let plan = try await vault.planRetention(world.policy)
                #expect(plan.isTimeTrusted && plan.unmet == paper.unmet, note)
                var done: [RetentionReport.Deletion] = []
                let limit = Bool.random(using: &random) ? Int.max : Int.random(in: 1...3, using: &random)
                // No pass has more to do than there are clips.
                for _ in 0...world.clips.count {
                    let report = try await vault.applyRetention(limit: limit)
                    done += report.deletions
                    unmet = report.unmet
                    guard report.isUnfinished else { break }
                }
                try #require(done == plan.deletions, note)
                #expect(done.map(\.clip) == paper.deletions.map(\.clip), note)
                for deletion in done {
                    world.judge(deletion, now, note)
                    causes[deletion.cause, default: 0] += 1
                    #expect(try vault.files.attributes(vault.layout.object(deletion.clip.object)) == nil, note)
                }
                world.judge(unmet, now, note)
            }
            #expect(causes == day.deletions, "day \(number)")
            #expect(world.bytes(nil) == day.bytes && unmet == day.unmet, "day \(number)")
            #expect(try vault.index.usage().reduce(0) { $0 + $1.bytes } == day.bytes, "day \(number)")
        }
        for clip in world.clips where world.isHeld(clip) {
            #expect(try vault.files.attributes(vault.layout.object(clip.object))?.count == clip.byteCount)
        }
        let report = try await vault.verify()
        #expect(report.isClean && report.objects == world.clips.count, "\(report.findings)")
        await vault.close()
    }

    @Test
    func `R2: on a full disk with nothing but held footage recording stops with an alarm, and goes on with space`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: .max, with: .noSpace)
        let vault = try await temporary.open(files: files)
        let events = vault.events
        let camera = CameraID.random()
        func record() async throws -> ClipRecord {
            temporary.time.advance(microseconds: 60_000_000)
            return try await RecordingTests.record(
                vault, patternBytes(2000), at: temporary.time.wallNow(), camera: camera)
        }
        var clips: [ClipRecord] = []
        for _ in 0..<4 { clips.append(try await record()) }
        _ = try await vault.hold(camera: camera, range: TimeRange(clips[0].start, clips[3].end), note: "")
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        vault.setRetention(policy)
        files.fail()
        await #expect(throws: VaultError(.noSpace, "")) { _ = try await record() }
        #expect(vault.diskPressure == .stopped)
        files.heal()
        for clip in clips { #expect(try vault.index.knowsObject(clip.object)) }
        clips.append(try await record())
        #expect(vault.diskPressure == .full)
        #expect(try await vault.applyRetention().deletions.isEmpty)
        #expect(vault.diskPressure == .none)
        let report = try await vault.verify()
        #expect(report.isClean && report.objects == 5, "\(report.findings)")
        await vault.close()
        var told: [DiskPressure] = []
        for await case .disk(let pressure) in events { told.append(pressure) }
        #expect(told == [.stopped, .full, .none])
    }
}
