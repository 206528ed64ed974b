import Core
import Dispatch
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// A verification beside a recorder that goes on: what changes meanwhile is no finding, and what is wrong still is one.
@Suite struct VerificationBesideWriterTests {
    /// So many clips of ten bytes, a minute each; the vault stays open.
    private static func filled(
        _ count: Int, files: any FileSystem = PosixFileSystem()
    ) async throws -> (TemporaryVault, Vault, [ClipRecord]) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open(files: files)
        var clips: [ClipRecord] = []
        for number in 0..<count {
            clips.append(
                try await RecordingTests.record(
                    vault, patternBytes(10, seed: UInt64(number)), at: temporary.time.wallNow()))
            temporary.time.advance(microseconds: 60_000_000)
        }
        return (temporary, vault, clips)
    }
    /// Retention takes the oldest until half of the bytes are left.
    private static func halve(_ vault: Vault, _ clips: [ClipRecord]) {
        var policy = RetentionPolicy()
        policy.freeBytes = 0
        policy.vaultBytes = clips.map(\.byteCount).reduce(0, +) / 2
        vault.setRetention(policy)
    }

    /// Verifies again and again while `body` changes the vault, each time with nothing found; how often.
    static func verifying(
        _ temporary: TemporaryVault, opensObjects: Bool = false, during body: () async throws -> Void
    ) async throws -> Int {
        let isDone = Atomic(false)
        async let verified: Int = {
            var count = 0
            while !isDone.load(ordering: .relaxed) {
                do {
                    // By the machine's clock, as another process has it: what is young gets a moment.
                    let reader = try await Vault.open(at: temporary.path, mode: .read, time: SystemTime())
                    if opensObjects { try await TemporaryVault.unlock(reader) }
                    let found = try await reader.verify(VerificationOptions(opensObjects: opensObjects)).findings
                    #expect(found == [])
                    await reader.close()
                } catch {
                    Issue.record("verify: \(error)")
                }
                count += 1
            }
            return count
        }()
        do { try await body() } catch {
            isDone.store(true, ordering: .relaxed)
            throw error
        }
        isDone.store(true, ordering: .relaxed)
        return await verified
    }

    @Test(arguments: [false, true])
    func `what is removed and recorded while a verification reads is no finding; what is missing or extra is`(
        opensObjects: Bool
    ) async throws {
        let (temporary, vault, clips) = try await Self.filled(400)
        Self.halve(vault, clips)
        let reader = try await temporary.open(.read)
        if opensObjects { try await TemporaryVault.unlock(reader) }
        let listed = try await reader.verifyLedger()

        let taken = try await vault.applyRetention().deletions.count
        #expect(taken > 150)
        for number in 0..<100 {
            _ = try await RecordingTests.record(
                vault, patternBytes(20, seed: UInt64(number)), at: temporary.time.wallNow())
            temporary.time.advance(microseconds: 60_000_000)
        }
        let removed = try await vault.applyRetention().deletions.count
        #expect(removed > 50)
        let lost = try #require(clips.last?.object)
        try FileManager.default.removeItem(atPath: vault.layout.object(lost))
        let stranger = try #require(ObjectID(digest: [UInt8](repeating: 0xff, count: 32)))
        try PosixFileSystem().replace(vault.layout.object(stranger), with: [1])

        var options = VerificationOptions()
        options.opensObjects = opensObjects
        let found = try await reader.verifyObjects(listed, options).findings
        #expect(
            Set(found.map { "\($0.kind) \($0.subject)" }) == ["missing object \(lost)", "extra object \(stranger)"],
            "\(found)")
        await reader.close()
        await vault.close()
    }

    @Test func `what retention takes between the listing of a folder and its turn there is no finding`() async throws {
        let (temporary, vault, clips) = try await Self.filled(1)
        let path = vault.layout.object(clips[0].object)
        let wasOpened = Atomic(false)
        let reader = try await temporary.open(
            .read,
            files: GatedFileSystem(beforeReading: { name in
                guard name == path else { return }
                try? FileManager.default.removeItem(atPath: path)
                wasOpened.store(true, ordering: .relaxed)
            }))
        let listed = try await reader.verifyLedger()
        let bytes = try PosixFileSystem().contents(path)
        var policy = RetentionPolicy()
        policy.rules = [.init(keep: 0)]
        vault.setRetention(policy)
        #expect(try await vault.applyRetention().deletions.count == 1)
        // It lies there until somebody wants to read it.
        try PosixFileSystem().replace(path, with: bytes)
        #expect(try await reader.verifyObjects(listed, VerificationOptions()).findings == [])
        let isGone = wasOpened.load(ordering: .relaxed)
        #expect(isGone)
        await reader.close()
        await vault.close()
    }

    @Test func `a removal that comes meanwhile and that no rule allowed is found`() async throws {
        let (temporary, vault, clips) = try await Self.filled(3)
        let reader = try await temporary.open(.read)
        let listed = try await reader.verifyLedger()
        let doomed = clips[1]
        _ = try await vault.hold(camera: nil, range: doomed.range, note: "")
        let nobodys = try #require(ObjectID(digest: [UInt8](repeating: 7, count: 32)))
        let deletion = DeletionRecord(
            object: doomed.object, camera: doomed.camera, range: doomed.range, byteCount: doomed.byteCount,
            cause: .vaultBudget, policy: nobodys)
        try vault.committer().commit([LedgerEntry(at: temporary.time.wallNow(), .delete(deletion))])
        try PosixFileSystem().remove(vault.layout.object(doomed.object))
        let found = try await reader.verifyObjects(listed, VerificationOptions()).findings
        #expect(found.map(\.kind) == [.deletedEarly, .deletedEarly], "\(found)")
        await reader.close()
        await vault.close()
    }

    @Test func `a key that is gone is missing, also while its file sealed anew waits for its rename`() async throws {
        let (temporary, vault, clips) = try await Self.filled(1)
        let path = vault.layout.epoch(clips[0].identity.epoch)
        await vault.close()
        try PosixFileSystem().rename(path, to: path + ".new")
        let reader = try await temporary.open(.read)
        #expect(try await reader.verify().findings.map(\.kind) == [.missing])
        await reader.close()
    }

    @Test func `a removal that is entered and not carried out yet is waited for`() async throws {
        let hasBegun = Atomic(false)
        let gate = DispatchGroup()
        gate.enter()
        let files = GatedFileSystem(beforeRemoving: { path in
            guard path.contains("/objects/") else { return }
            hasBegun.store(true, ordering: .relaxed)
            gate.wait()
        })
        let (temporary, vault, clips) = try await Self.filled(60, files: files)
        Self.halve(vault, clips)
        let reader = try await temporary.open(.read)
        async let removed = vault.applyRetention().deletions.count
        while !hasBegun.load(ordering: .relaxed) { try await Task.sleep(for: .milliseconds(5)) }
        let isOpen = Atomic(false)
        let found = try await reader.verify { progress in
            // All folders but the last were looked at.
            guard progress.objectsDone == progress.objectsTotal, !isOpen.exchange(true, ordering: .relaxed) else {
                return
            }
            gate.leave()
        }.findings
        let wasOpened = isOpen.load(ordering: .relaxed)
        #expect(wasOpened)
        #expect(found == [])
        #expect(try await removed > 20)
        await reader.close()
        await vault.close()
    }

    @Test func `a tile and a signature that are still to come are no finding, and nothing to repair`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let path = vault.ledger.checkpointPath
        var earlier: [UInt8] = []
        while case let count = try vault.ledger.countEntries(), count <= MerkleTree.tileWidth {
            if count < MerkleTree.tileWidth { earlier = try PosixFileSystem().contents(path) }
            _ = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow())
            temporary.time.advance(microseconds: 60_000_000)
        }
        await vault.close()
        // As a writer leaves it for a moment: the entries stand, the full bundle's tile does not, and the signature is the last one.
        try PosixFileSystem().replace(path, with: earlier)
        try PosixFileSystem().remove(vault.ledger.tilePath(0, 0))
        let reader = try await temporary.open(.read)
        let report = try await reader.verify()
        #expect(report.findings == [])
        #expect(report.unsignedEntries > 0)
        await reader.close()
        let dry = try await Vault.repair(at: temporary.path, software: "test", time: temporary.time)
        #expect(dry.steps.isEmpty, "\(dry.steps)")
    }

    @Test func `a verification whose ledger goes on as another one than was signed says so`() async throws {
        let (temporary, vault, _) = try await Self.filled(20)
        let reader = try await temporary.open(.read)
        let ledger = FollowedLedger(try await reader.verifyLedger())
        #expect(ledger.findings == [])
        let before = try vault.ledger.countEntries()
        _ = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow())
        try ledger.catchUp()
        #expect(ledger.findings == [])
        _ = try await RecordingTests.record(vault, [2], at: temporary.time.wallNow() + 60_000_000)
        await vault.close()
        // One digit of the last entry.
        let path = vault.ledger.bundlePath(0)
        var bytes = try PosixFileSystem().contents(path)
        bytes[bytes.count - 20] ^= 1
        try PosixFileSystem().replace(path, with: bytes)
        try ledger.catchUp()
        let after = try vault.ledger.countEntries()
        #expect(after > before + 1)
        #expect(ledger.findings.map { "\($0.kind) \($0.subject)" }.contains("damaged ledger entries 0..<\(after)"))
        await reader.close()
    }

    @Test func `verify beside a recorder that records, deletes and shreds all the time finds nothing`() async throws {
        let (temporary, vault, clips) = try await Self.filled(60)
        Self.halve(vault, clips)
        var shredded = 0
        let verified = try await Self.verifying(temporary, opensObjects: true) {
            for number in 0..<400 {
                _ = try await RecordingTests.record(
                    vault, patternBytes(10, seed: UInt64(number)), at: temporary.time.wallNow())
                temporary.time.advance(microseconds: 1_800_000_000)
                if number % 3 == 0 { _ = try await vault.applyRetention() }
                if number % 50 == 49 {
                    let day = (temporary.time.wallNow() - 86_400_000_000).utcDay
                    shredded += (try? await vault.shred(camera: RecordingTests.camera, day: day).objects) ?? 0
                }
            }
        }
        #expect(verified >= 2)
        #expect(shredded > 0)
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }
}
