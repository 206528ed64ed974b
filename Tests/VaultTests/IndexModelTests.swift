import Core
import Foundation
import GRDB
import TestKit
import Testing

@testable import Vault

/// What the index has to answer, by a slow look at everything the ledger says.
private struct IndexModel {
    var clips: [ClipRecord] = []
    var gaps: [GapRecord] = []
    var epochs: [EpochRecord] = []
    var shredded: Set<EpochID> = []
    var deleted: Set<ObjectID> = []
    var holds: [HoldRecord] = []
    var sequences: [CameraID: UInt64] = [:]

    static func isPlausible(_ clip: ClipRecord) -> Bool {
        (0...Index.plausibleDuration).contains(clip.end - clip.start)
            && (0..<Index.plausibleEnd).contains(clip.start.microseconds)
    }
    func listed(_ camera: CameraID) -> [ClipRecord] {
        clips.filter { $0.camera == camera && Self.isPlausible($0) }
            .sorted { ($0.start, $0.object) < ($1.start, $1.object) }
    }

    mutating func apply(_ entry: LedgerEntry) {
        switch entry.body {
        case .clip(let clip):
            guard !clips.contains(where: { $0.object == clip.object }) else { return }
            clips.append(clip)
            sequences[clip.camera] = max(sequences[clip.camera] ?? 0, clip.identity.sequence)
        case .gap(let gap): gaps.append(gap)
        case .epoch(let epoch):
            if !epochs.contains(where: { $0.epoch == epoch.epoch }) { epochs.append(epoch) }
        case .delete(let deletion):
            clips.removeAll { $0.object == deletion.object }
            deleted.insert(deletion.object)
        case .shred(let epoch, _): shredded.insert(epoch)
        case .hold(let hold): holds.append(hold)
        case .release(let hold): holds.removeAll { $0.hold == hold }
        default: break
        }
    }
}

@Suite struct IndexModelTests {
    private let cameras = (0..<3).map { _ in CameraID.random() }
    private let vault = VaultID.random()
    private let begin = WallTime(seconds: 1_764_000_000)
    private let recipient: AgeRecipient

    init() throws { recipient = try AgeIdentity.random().recipient }

    /// Mostly sensible, now and then again, too long, backwards, or about what is not there.
    private func entry(_ model: IndexModel, _ random: inout SeededGenerator, _ number: Int) -> LedgerEntry {
        let camera = cameras.randomElement(using: &random) ?? cameras[0]
        let at = begin + Int64(number) * 1_000_000
        let start = begin + Int64.random(in: 0...2000, using: &random) * 1_000_000
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<10:
            if Int.random(in: 0..<12, using: &random) == 0, let again = model.clips.randomElement(using: &random) {
                return LedgerEntry(at: at, .clip(again))
            }
            let epoch = model.epochs.filter { $0.camera == camera }.randomElement(using: &random)?.epoch ?? .random()
            var length = Int64.random(in: 0...60_000_000, using: &random)
            if Int.random(in: 0..<15, using: &random) == 0 { length = [-5, 4_000_000_000].randomElement() ?? -5 }
            let digest = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
            return LedgerEntry(
                at: at,
                .clip(
                    ClipRecord(
                        object: ObjectID(digest: digest) ?? .zero,
                        identity: ClipIdentity(
                            vault: vault, camera: camera, epoch: epoch, run: .random(),
                            sequence: UInt64.random(in: 1...500, using: &random), start: start),
                        end: start + length, byteCount: Int.random(in: 0...9999, using: &random),
                        kind: RetentionClass.allCases.randomElement(using: &random) ?? .continuous,
                        isSalvaged: Bool.random(using: &random))))
        case 10..<13:
            let clip = model.clips.randomElement(using: &random)
            let object = clip?.object ?? .zero
            return LedgerEntry(
                at: at,
                .delete(
                    DeletionRecord(
                        object: object, camera: camera, range: clip?.range ?? TimeRange(start, start), byteCount: 1,
                        cause: .vaultBudget, policy: .zero)))
        case 13..<15:
            return LedgerEntry(
                at: at,
                .gap(GapRecord(camera: camera, range: TimeRange(start, start + 5_000_000), reason: .disconnected)))
        case 15..<17:
            let known = Bool.random(using: &random) ? model.epochs.randomElement(using: &random)?.epoch : nil
            // A clip may name an epoch before the ledger does.
            let named = model.clips.randomElement(using: &random)?.identity
            let isOwn = named.map { clip in !model.epochs.contains { $0.epoch == clip.epoch } } ?? false
            return LedgerEntry(
                at: at,
                .epoch(
                    EpochRecord(
                        epoch: known ?? (isOwn ? named?.epoch ?? .random() : .random()), camera: camera,
                        day: Int64.random(in: 20_000...20_010, using: &random),
                        recipient: recipient, file: .zero)))
        case 17:
            return LedgerEntry(
                at: at, .shred(model.epochs.randomElement(using: &random)?.epoch ?? .random(), rule: "x"))
        case 18:
            return LedgerEntry(
                at: at,
                .hold(
                    HoldRecord(
                        hold: .random(), camera: Bool.random(using: &random) ? camera : nil,
                        range: TimeRange(start, start + 1_000_000), note: nil)))
        default: return LedgerEntry(at: at, .release(model.holds.randomElement(using: &random)?.hold ?? .random()))
        }
    }

    @Test(arguments: 1...6)
    func `V31: the index answers as a slow look at the whole ledger does`(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var model = IndexModel()
        let index = try Index.temporary()
        var position = 0
        for _ in 0..<12 {
            var batch: [LedgerEntry] = []
            for _ in 0..<Int.random(in: 1...60, using: &random) {
                let next = entry(model, &random, position + batch.count)
                model.apply(next)
                batch.append(next)
            }
            try index.apply(batch, from: position)
            // Taken in a second time, nothing changes.
            try index.apply(batch, from: position)
            position += batch.count
            try await compare(index, model, &random)
        }
    }

    @Test(arguments: 1...12)
    func `filled at once or batch by batch, the index has the same rows and the same trees`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var model = IndexModel()
        var entries: [LedgerEntry] = []
        // Of the first seeds only clips and gaps: no name is looked up before the end.
        let isCalm = seed <= 4
        while entries.count < 700 {
            let next = entry(model, &random, entries.count)
            if isCalm {
                guard case .clip(let clip) = next.body, !model.clips.contains(where: { $0.object == clip.object })
                else {
                    continue
                }
            }
            model.apply(next)
            entries.append(next)
            if !isCalm, Int.random(in: 0..<40, using: &random) == 0,
                let clip = model.clips.randomElement(using: &random)
            {
                // Gone, and found again later by another draw.
                entries.append(
                    LedgerEntry(at: next.at, .lost(WithdrawalRecord(object: clip.object, why: "it is not there"))))
                if Bool.random(using: &random) { entries.append(LedgerEntry(at: next.at, .clip(clip))) }
                let far = begin + Int64.random(in: -1...1, using: &random) * 400 * 3_600_000_000
                entries.append(LedgerEntry(at: far, .clock(from: next.at, to: far, isConfirmed: true)))
                entries.append(
                    LedgerEntry(at: far, .evict(EvictionRecord(remote: .random(), objects: [clip.object]))))
            }
        }
        let stepwise = try Index.temporary()
        for first in stride(from: 0, to: entries.count, by: 64) {
            try stepwise.apply(Array(entries[first..<min(entries.count, first + 64)]), from: first)
        }
        let rows = try stepwise.dump()
        #expect(rows.contains { $0.hasPrefix("clip") })
        // As files, so that deletions are seen from afar, from near or only when they come.
        let folder = try TemporaryFolder()
        let ledger = LedgerReader(files: PosixFileSystem(), path: folder.path)
        try FileManager.default.createDirectory(
            atPath: folder.path + "/entries", withIntermediateDirectories: false)
        for first in stride(from: 0, to: entries.count, by: MerkleTree.tileWidth) {
            var bundle: [UInt8] = []
            for entry in entries[first...].prefix(MerkleTree.tileWidth) {
                let line = try #require(entry.encoded())
                bundle += [UInt8(line.count >> 8), UInt8(truncatingIfNeeded: line.count)] + line
            }
            let path = ledger.bundlePath(first / MerkleTree.tileWidth)
            try folder.write(bundle, to: String(path.dropFirst(folder.path.count + 1)))
        }
        for (isBulk, reach) in [(true, DeletionsAhead.reach), (true, 0), (false, 300), (false, -1000)] {
            let index = try Index.temporary()
            try index.database.write { db in
                var intake = try Intake(db, bulk: isBulk ? BulkFill(db) : nil)
                var settled = 0
                let replayed = try LedgerAhead.replay(ledger, checkpoint: nil, reach: reach) {
                    (batch) throws(VaultError) in
                    settled += batch.others.count { $0.isSettled }
                    try Index.wrapping { try intake.apply(batch) }
                }
                #expect(replayed.entries == entries.count && replayed.malformed == 0)
                #expect(settled > 0 || isCalm || reach < 0)
                try intake.finish(position: entries.count)
            }
            #expect(try index.dump() == rows, "in bulk: \(isBulk), looking \(reach) ahead")
            func trees(_ index: Index) throws -> [String] {
                try index.database.read { db in
                    try String.fetchAll(
                        db, sql: "SELECT name || sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY 1")
                }
            }
            #expect(try trees(index) == trees(stepwise))
            #expect(try index.database.read { db in try String.fetchOne(db, sql: "PRAGMA integrity_check") } == "ok")
        }
    }

    private func compare(_ index: Index, _ model: IndexModel, _ random: inout SeededGenerator) async throws {
        for camera in cameras {
            let listed = model.listed(camera)
            let from = begin + Int64.random(in: -100...2000, using: &random) * 1_000_000
            let range = TimeRange(from, from + Int64.random(in: 1...900, using: &random) * 1_000_000)
            let found = try await index.clips(camera, overlapping: range, limit: 1000, descending: false, vault)
            let expected = listed.filter { $0.start < range.end && $0.end > range.start }
            #expect(Set(found) == Set(expected) && found.map(\.start) == expected.map(\.start))
            let at = try await index.clip(at: from, camera, vault)
            let containing = listed.filter { $0.start <= from && $0.end > from }
            #expect(at?.start == containing.last?.start)
            #expect(try await index.clip(after: from, camera, vault)?.start == listed.first { $0.start > from }?.start)
            #expect(try await index.clip(before: from, camera, vault)?.start == listed.last { $0.start < from }?.start)
            #expect(try await index.span(camera)?.start == listed.first?.start)
            #expect(try index.highestSequence(camera) == model.sequences[camera] ?? 0)
            let gaps = model.gaps.filter { $0.camera == camera && $0.range.overlaps(range) }
            #expect(
                try await index.gaps(camera, overlapping: range).map(\.range.start) == gaps.map(\.range.start).sorted())
            let classes: Set<RetentionClass> = [.motion, .event]
            #expect(
                Set(try IndexCatalog(index: index, vault: vault).events(camera, classes, overlapping: range))
                    == Set(expected.filter { classes.contains($0.kind) }.map(\.object)))
            let bytes = try IndexCatalog(index: index, vault: vault).bytes(camera)
            #expect(
                bytes.trusted + bytes.doubtful
                    == model.clips.filter { $0.camera == camera }.reduce(0) { $0 + $1.byteCount })
        }
        for clip in model.clips.shuffled(using: &random).prefix(10) {
            #expect(try index.clip(clip.object, vault) == clip)
            #expect(try await index.clips(named: String(clip.object.description.prefix(10)), vault) == [clip])
        }
        for object in model.deleted {
            #expect(try index.isDeleted(object))
            #expect(try index.knowsObject(object) == model.clips.contains { $0.object == object })
        }
        for epoch in model.epochs {
            #expect(try index.knowsEpoch(epoch.epoch))
            #expect(try index.isShredded(epoch.epoch) == model.shredded.contains(epoch.epoch))
            #expect(
                Set(try index.clips(ofEpoch: epoch.epoch, epoch.camera, vault).map(\.object))
                    == Set(
                        model.clips.filter { $0.identity.epoch == epoch.epoch && $0.camera == epoch.camera }
                            .map(\.object)))
        }
        let empty = Set(try index.emptyEpochs(before: 30_000, limit: 10_000))
        for epoch in model.epochs where !model.shredded.contains(epoch.epoch) {
            #expect(
                empty.contains(epoch.epoch) == !model.clips.contains { $0.identity.epoch == epoch.epoch })
        }
        #expect(Set(try index.holds().map(\.hold)) == Set(model.holds.map(\.hold)))
        let sharded = try (0..<256).flatMap { try index.clips(shard: $0, vault) }
        #expect(Set(sharded.map(\.object)) == Set(model.clips.map(\.object)) && sharded.count == model.clips.count)
    }
}
