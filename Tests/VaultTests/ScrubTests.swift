import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

@Suite struct ObjectHistoryTests {
    @Test func `V46: a history on disk says what one in memory says, shard by shard`() throws {
        var random = SeededGenerator(seed: 46)
        let vault = VaultID.random()
        var history = ObjectHistory(vault: vault)
        var model: [UInt8: [(Int, ObjectID, ClipRecord?)]] = [:]
        let cameras = (0..<5).map { _ in CameraID.random() }
        let epochs = (0..<9).map { _ in EpochID.random() }
        var living: [ClipRecord] = []
        // More than a block of every shard.
        for position in 0..<40_000 {
            if Int.random(in: 0..<4, using: &random) == 0, !living.isEmpty {
                let clip = living.remove(at: Int.random(in: 0..<living.count, using: &random))
                let deletion = DeletionRecord(
                    object: clip.object, camera: clip.camera, range: clip.range, byteCount: clip.byteCount,
                    cause: Bool.random(using: &random) ? .age(rule: 3) : .diskFull, policy: clip.object)
                try history.append(deletion, at: clip.end, position: position)
                model[clip.object.digest[0], default: []].append((position, clip.object, nil))
            } else {
                let digest = (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }
                let start = WallTime(microseconds: Int64.random(in: -1...Int64.max / 4, using: &random))
                let clip = ClipRecord(
                    object: try #require(ObjectID(digest: digest)),
                    identity: ClipIdentity(
                        vault: vault, camera: cameras.randomElement(using: &random) ?? cameras[0],
                        epoch: epochs.randomElement(using: &random) ?? epochs[0], run: .random(),
                        sequence: UInt64.random(in: 0...UInt64.max, using: &random), start: start),
                    end: start + Int64.random(in: -5...5, using: &random),
                    byteCount: Int.random(in: 0...Int.max, using: &random),
                    kind: RetentionClass.allCases.randomElement(using: &random) ?? .event,
                    isSalvaged: Bool.random(using: &random))
                try history.append(clip, at: position)
                model[digest[0], default: []].append((position, clip.object, clip))
                living.append(clip)
            }
        }
        for shard in 0..<256 {
            var expected = (model[UInt8(shard)] ?? [])[...]
            try history.events(shard: shard) { position, event in
                let next = expected.popFirst()
                #expect(position == next?.0)
                switch event {
                case .withdrawal, .eviction, .fetched: Issue.record("nothing of the kind was entered")
                case .clip(let clip): #expect(clip == next?.2)
                case .deletion(let deletion, let at):
                    #expect(deletion.object == next?.1 && next?.2 == nil)
                    #expect(at == deletion.range.end && deletion.policy == deletion.object)
                }
            }
            #expect(expected.isEmpty)
        }
    }
}

@Suite struct ScrubTests {
    private func recorded() async throws -> (TemporaryVault, Vault, [ClipRecord]) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        var clips: [ClipRecord] = []
        for index in 0..<6 {
            clips.append(
                try await RecordingTests.record(
                    vault, patternBytes(1000 + index, seed: UInt64(index)), at: temporary.time.wallNow()))
            temporary.time.advance(microseconds: 60_000_000)
        }
        return (temporary, vault, clips)
    }

    private func path(_ temporary: TemporaryVault, _ clip: ClipRecord) -> String {
        let name = clip.object.description
        return "vault/objects/\(name.prefix(2))/\(name)"
    }

    @Test func `V34: everything is read in turn, its age is known, and what is damaged or gone is found`() async throws
    {
        let (temporary, vault, clips) = try await recorded()
        let begun = temporary.time.wallNow()
        for _ in 0..<256 {
            let state = try await vault.scrubState()
            #expect(state.verifiedSince == nil)
            temporary.time.advance(microseconds: 1_000_000)
            let bytes = Counter()
            #expect(try await vault.scrub(shard: state.next) { bytes.add($0) } == [])
            let expected = clips.filter { Int($0.object.digest[0]) == state.next }.reduce(0) { $0 + $1.byteCount }
            #expect(bytes.value == expected)
        }
        var state = try await vault.scrubState()
        #expect(try #require(state.verifiedSince) > begun)
        #expect(state.next == 0)
        #expect(try await vault.scrubLedger() == [])

        var bytes = try temporary.folder.contents(path(temporary, clips[1]))
        bytes[bytes.count / 2] ^= 1
        try temporary.folder.write(bytes, to: path(temporary, clips[1]))
        try FileManager.default.removeItem(atPath: temporary.folder.path + "/" + path(temporary, clips[2]))
        for clip in clips {
            let found = try await vault.scrub(shard: Int(clip.object.digest[0])) { _ in }
            if clip == clips[1] { #expect(found.map(\.kind) == [.damaged]) }
            if clip == clips[2] { #expect(found.map(\.kind) == [.missing]) }
        }
        await vault.close()
        // A restart knows what was found and when.
        let again = try await temporary.open()
        state = try await again.scrubState()
        #expect(state.findings.values.reduce(0) { $0 + $1.count } == 2)
        #expect(state.ledger != nil)
        #expect(try await again.verify().findings.count == 2)
        await again.close()
    }

    @Test func `what retention takes meanwhile is no finding, and a stop leaves the folder unread`() async throws {
        let (temporary, vault, clips) = try await recorded()
        let shard = Int(clips[0].object.digest[0])
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.rules = [.init(keep: 1)]
        vault.setRetention(policy)
        _ = try await vault.applyRetention()
        #expect(try await vault.scrub(shard: shard) { _ in } == [])
        await vault.close()

        let (other, second, kept) = try await recorded()
        let place = Int(kept[0].object.digest[0])
        await #expect(throws: CancellationError.self) {
            _ = try await second.scrub(shard: place) { _ in throw CancellationError() }
        }
        #expect(try await second.scrubState().shards[place] == nil)
        await second.close()
        withExtendedLifetime((temporary, other)) {}
    }

    @Test func `a damaged or foreign note of the scrub counts as none, and a reader writes none`() async throws {
        let (temporary, vault, _) = try await recorded()
        _ = try await vault.scrub(shard: 7) { _ in }
        let good = try temporary.folder.contents("vault/scrub.json")
        for count in stride(from: 0, to: good.count, by: 97) {
            try temporary.folder.write(Array(good.prefix(count)), to: "vault/scrub.json")
            #expect(try await vault.scrubState().latest == nil)
        }
        try temporary.folder.write(good, to: "vault/scrub.json")
        #expect(try await vault.scrubState().latest != nil)
        temporary.time.stepWall(microseconds: -3_600_000_000)
        #expect(try await vault.scrubState().latest == temporary.time.wallNow())
        await vault.close()
        let reader = try await temporary.open(.read)
        await #expect(throws: VaultError(.readOnly, "")) { _ = try await reader.scrub(shard: 0) { _ in } }
        await reader.close()
    }

    @Test func `V7: a verification goes on where it was broken off, and reads what came since`() async throws {
        let (temporary, vault, clips) = try await recorded()
        let done = VerifiedList()
        var report = try await vault.verify(checked: { done.add($0) })
        #expect(report.isClean && done.shards.count == 256)
        let total = report.bytes
        #expect(total == clips.reduce(0) { $0 + $1.byteCount })
        let added = try await RecordingTests.record(vault, patternBytes(5000), at: temporary.time.wallNow())
        var options = VerificationOptions()
        options.done = done.shards
        report = try await vault.verify(options)
        #expect(report.isClean && report.objects == 7)
        #expect(report.bytes == added.byteCount)
        // Whatever is missing or extra is still found; damage only where it reads.
        try FileManager.default.removeItem(atPath: temporary.folder.path + "/" + path(temporary, clips[3]))
        #expect(try await vault.verify(options).findings.map(\.kind) == [.missing])
        await vault.close()
    }

    @Test
    func
        `V7: a disk that does not give an object's bytes: named with its path, and neither checking nor recording stops`()
        async throws
    {
        let (temporary, healthy, clips) = try await recorded()
        await healthy.close()
        let bad = clips[2]
        let place = healthy.layout.object(bad.object)
        let files = FailingFileSystem(PosixFileSystem(), unreadable: [place])
        let vault = try await temporary.open(files: files)
        try await TemporaryVault.unlock(vault)
        let error = await #expect(throws: VaultError.self) { _ = try await vault.openObject(bad) }
        #expect(error?.code == .io && error?.reason.contains(place) == true)

        // Broken off half-way, with a clip recorded meanwhile.
        let work = Mutex<Task<VerificationReport, any Error>?>(nil)
        let done = VerifiedList()
        let task = Task {
            try await vault.verify(
                progress: { progress in
                    if progress.objectsDone == 3 { work.withLock { $0?.cancel() } }
                }, checked: { done.add($0) })
        }
        work.withLock { $0 = task }
        var added = [try await RecordingTests.record(vault, patternBytes(5000), at: temporary.time.wallNow())]
        await #expect(throws: VaultError(.closed, "")) { _ = try await task.value }
        try #require((1..<256).contains(done.shards.count))
        // Goes on from there. What cannot be read is asked for once, and not again and again.
        var options = VerificationOptions()
        options.done = done.shards
        let before = files.refusedReads
        async let verified = vault.verify(options)
        temporary.time.advance(microseconds: 60_000_000)
        added.append(try await RecordingTests.record(vault, patternBytes(6000), at: temporary.time.wallNow()))
        let report = try await verified
        #expect(report.findings.map(\.kind) == [.damaged])
        #expect(report.findings[0].subject == .object(bad.object) && report.findings[0].detail.contains(place))
        #expect(files.refusedReads == before + 1)
        #expect(report.bytes <= (clips + added).reduce(0) { $0 + $1.byteCount } - bad.byteCount)

        // The background's reading the same: broken off it begins that folder again, and it comes round.
        let shard = Int(bad.object.digest[0])
        let reading = Task { try await vault.scrub(shard: shard) { _ in try await Task.sleep(for: .seconds(600)) } }
        for _ in 0..<2000 where files.refusedReads < before + 2 { try await Task.sleep(for: .milliseconds(5)) }
        reading.cancel()
        await #expect(throws: CancellationError.self) { _ = try await reading.value }
        #expect(try await vault.scrubState().shards[shard] == nil)
        for _ in 0..<256 { _ = try await vault.scrub(shard: try await vault.scrubState().next) { _ in } }
        let state = try await vault.scrubState()
        #expect(state.verifiedSince != nil && files.refusedReads == before + 3)
        #expect(state.findings.keys.sorted() == [shard] && state.findings[shard]?.first?.contains(place) == true)
        for clip in added { #expect(try await vault.openObject(clip).count > 0) }
        await vault.close()
    }

    private final class Counter: Sendable {
        private let total = Atomic(0)
        func add(_ bytes: Int) { total.add(bytes, ordering: .relaxed) }
        var value: Int { total.load(ordering: .relaxed) }
    }
    private final class VerifiedList: Sendable {
        private let list = Mutex<[VerifiedShard]>([])
        func add(_ shard: VerifiedShard) { list.withLock { $0.append(shard) } }
        var shards: [VerifiedShard] { list.withLock { $0 } }
    }
}
