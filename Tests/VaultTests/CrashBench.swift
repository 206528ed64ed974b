import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// What a crash scenario works with: a disk that remembers, a clock, and what may be deleted.
///
/// A scenario in three lines:
///
///     try await forEveryCut(of: "what it does") { bench in /* durable before it begins */ } body: { bench in
///         /* what is cut; `bench.files.promise(…)` after each thing that was said to be done */ }
struct CrashBench: Sendable {
    let files: CrashFileSystem
    let time: ManualTime
    let allowed: Allowed
    /// Checks what only this scenario knows of a vault that was opened after a cut.
    let extra: Extra

    final class Allowed: Sendable {
        private let objects = Mutex<Set<ObjectID>>([])
        var all: Set<ObjectID> { objects.withLock { $0 } }
        /// A rule lets these go, so after a cut they may be there or not.
        func delete(_ clips: some Sequence<ClipRecord>) { objects.withLock { $0.formUnion(clips.map(\.object)) } }
    }
    typealias Extra = @Sendable (Vault) async throws -> Void
    /// What its user does again after a cut before the recorder is started; nil: nothing.
    typealias Again = @Sendable (CrashBench) async throws -> Void

    /// At night everything is tried, else a share of it.
    static var isWide: Bool { statesPerCut != nil }
    static let cameras = [CameraID.random(), CameraID.random()]

    func create() async throws {
        _ = try await Vault.create(
            at: files.root, passphrase: SecretBytes(text: TemporaryVault.passphrase), files: files, time: time,
            scryptWorkFactor: 4, ballast: 0)
    }
    func open() async throws -> Vault {
        try await Vault.open(at: files.root, mode: .write(softwareVersion: "test"), files: files, time: time)
    }

    /// A clip of `count` bytes from now on, with a sync in its middle; promises what each call promises.
    @discardableResult
    func record(_ vault: Vault, _ count: Int, camera: CameraID = cameras[0]) async throws -> ClipRecord {
        let writer = try await begin(vault, count, camera: camera)
        let clip = try await writer.finish(end: time.wallNow() + 60_000_000)
        files.promise(.clip(clip))
        time.advance(microseconds: 60_000_000)
        return clip
    }
    func begin(_ vault: Vault, _ count: Int, camera: CameraID = cameras[0]) async throws -> ClipWriter {
        let writer = try await vault.beginClip(camera: camera, run: .random(), start: time.wallNow())
        let bytes = patternBytes(count)
        for part in [bytes.prefix(count / 2), bytes.suffix(count - count / 2)] {
            try await writer.append(Array(part))
            guard count > 100_000 else { continue }
            await vault.syncOpenClips()
            files.promise(.part(writer.identity, chunks: writer.count / AgePayload.chunkSize))
        }
        return writer
    }
}

/// How many states of each cut are looked at, and with which seed: `SUDOCAM_CRASH_STATES`, `SUDOCAM_SEED`; more at night.
private let statesPerCut = ProcessInfo.processInfo.environment["SUDOCAM_CRASH_STATES"].flatMap { Int($0) }
private let crashSeed = ProcessInfo.processInfo.environment["SUDOCAM_SEED"].flatMap { UInt64($0) } ?? 1

/// Cuts the power at every operation of `body`. After each: the vault opens with no manual step, `verify` with the key finds
/// nothing, every promise holds, nothing is gone that no rule lets go, and recording goes on.
///
/// - Parameter states: of each cut, with a choice of indexes spread over them.
/// - Returns: how many states were looked at.
@discardableResult
func forEveryCut(
    of name: String, states: Int = 4, extra: @escaping CrashBench.Extra = { _ in }, again: CrashBench.Again? = nil,
    prepare: (CrashBench) async throws -> Void, body: (CrashBench) async throws -> Void
) async throws -> Int {
    let bench = CrashBench(
        files: try CrashFileSystem(), time: ManualTime(), allowed: CrashBench.Allowed(), extra: extra)
    bench.time.setSynchronised(true)
    try await prepare(bench)
    bench.files.startLog()
    try await body(bench)
    let log = bench.files.endLog()
    let enumeration = CrashStates(limit: statesPerCut ?? states, seed: crashSeed)
    var count = 0
    var failures: [String] = []
    let now = bench.time.wallNow()
    try await withThrowingTaskGroup(of: String?.self) { group in
        var running = 0
        try await enumeration.forEach(of: log) { state in
            let indexes = log.indexes(at: state.cut)
            // Each state with one index, all of them in turn; at night each with each.
            for index in statesPerCut == nil ? [indexes[count % indexes.count]] : indexes {
                count += 1
                guard failures.count < 5 else { return }
                if running == 2 {
                    if let failure = try await group.next() ?? nil { failures.append(failure) }
                    running -= 1
                }
                let promises = log.promises(before: state.cut)
                let allowed = bench.allowed.all
                group.addTask {
                    let story = "\(name): \(state.story); \(index.name)"
                    do {
                        let problem = try await check(
                            state.image, index.files, promises, allowed, now, bench.extra, again)
                        return problem.map { "\(story): \($0)" }
                    } catch {
                        return "\(story): \(error)"
                    }
                }
                running += 1
            }
        }
        for try await failure in group { if let failure { failures.append(failure) } }
    }
    for failure in failures { Issue.record(Comment(rawValue: failure)) }
    #expect(log.operations > 2)
    return count
}

private func check(
    _ image: DiskImage, _ index: [String: [UInt8]], _ promises: [CrashPromise], _ allowed: Set<ObjectID>,
    _ now: WallTime, _ extra: @escaping CrashBench.Extra, _ again: CrashBench.Again?
) async throws -> String? {
    let bench = CrashBench(
        files: try CrashFileSystem(image, index: index), time: ManualTime(wall: now), allowed: CrashBench.Allowed(),
        extra: extra)
    try await again?(bench)
    let vault: Vault
    do { vault = try await bench.open() } catch {
        // Only what was never finished may be made again.
        let isMade = promises.contains { if case .created = $0 { true } else { false } }
        guard let error = error as? VaultError, [.halfMade, .notFound].contains(error.code), !isMade else {
            throw error
        }
        try await bench.create()
        let vault = try await bench.open()
        try await bench.record(vault, 1000)
        let findings = try await vault.verify().findings
        await vault.close()
        return findings.isEmpty ? nil : "made again: \(findings)"
    }
    let problem = try await problem(vault, bench, promises, allowed)
    await vault.close()
    return problem
}

private func problem(
    _ vault: Vault, _ bench: CrashBench, _ promises: [CrashPromise], _ allowed: Set<ObjectID>
) async throws -> String? {
    try await TemporaryVault.unlock(vault)
    let findings = try await vault.verify(VerificationOptions(opensObjects: true)).findings
    guard findings.isEmpty else { return "\(findings)" }
    var entered: [ClipIdentity: ClipRecord] = [:]
    var gaps: Set<GapRecord> = []
    var deleted: Set<ObjectID> = []
    try vault.ledger.replay(from: 0) { (_, entry) throws(VaultError) in
        switch entry?.body {
        case .clip(let clip): entered[clip.identity] = clip
        case .gap(let gap): gaps.insert(gap)
        case .delete(let deletion): deleted.insert(deletion.object)
        default: break
        }
    }
    guard deleted.isSubset(of: allowed) else { return "deleted against every rule: \(deleted.subtracting(allowed))" }
    for promise in promises {
        switch promise {
        case .created: break
        case .clip(let clip):
            if deleted.contains(clip.object) { continue }
            guard try vault.index.knowsObject(clip.object) else { return "clip \(clip.identity.sequence) is gone" }
        case .part(let identity, let chunks):
            guard let clip = entered[identity] else { return "an open clip is gone" }
            guard clip.byteCount >= chunks * AgePayload.sealedChunkSize else { return "\(chunks) chunks were synced" }
        case .gap(let gap):
            guard gaps.contains(gap) else { return "a gap is gone" }
        case .deleted(let objects):
            for object in objects {
                guard try vault.files.attributes(vault.layout.object(object)) == nil,
                    try !vault.index.knowsObject(object)
                else { return "a deleted clip is back" }
            }
        case .shredded(let epochs):
            for epoch in epochs where try vault.files.attributes(vault.layout.epoch(epoch)) != nil {
                return "a shredded key is back"
            }
        }
    }
    let left = try vault.files.list(vault.layout.open).filter { ObjectID(String($0.dropLast(5))) != nil }
    guard left.isEmpty else { return "\(left) is still open" }
    try await bench.extra(vault)
    let clip = try await bench.record(vault, 70_000)
    let again = try await vault.verify().findings
    guard again.isEmpty else { return "after going on: \(again)" }
    guard try vault.index.knowsObject(clip.object) else { return "what was recorded after it is not listed" }
    return nil
}
