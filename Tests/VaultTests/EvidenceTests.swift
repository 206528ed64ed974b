import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// What the tests' clips hold inside: the beginning of the plaintext tells whose it is.
private final class Inside: Sendable {
    private let known = Mutex<[[UInt8]: ClipIdentity]>([:])
    func learn(_ plain: [UInt8], _ clip: ClipRecord) { known.withLock { $0[Array(plain.prefix(32))] = clip.identity } }
    func identity(_ head: [UInt8]) -> ClipIdentity? { known.withLock { $0[Array(head.prefix(32))] } }
}

@Suite struct EvidenceTests {
    private static let page = EvidencePageForm(version: 1) { evidence in
        "\(evidence.made) \(evidence.cameraName ?? "") \(evidence.clips.map(\.file).joined(separator: " "))\n"
    }
    /// A vault with three clips, the last one salvaged, and a bundle of them.
    private func bundle() async throws -> (folder: TemporaryFolder, vault: Vault, inside: Inside, evidence: Evidence) {
        let temporary = try await TemporaryVault()
        let inside = Inside()
        let start = temporary.time.wallNow()
        let first = try await temporary.open()
        for index in 0..<2 {
            let plain = patternBytes(index == 0 ? 150_000 : 65_536, seed: UInt64(index) + 1)
            inside.learn(plain, try await RecordingTests.record(first, plain, at: start + Int64(index) * 60_000_000))
        }
        let writer = try await first.beginClip(
            camera: RecordingTests.camera, run: .random(), start: start + 120_000_000)
        let plain = patternBytes(100_000, seed: 3)
        try await writer.append(plain)
        await first.close()
        let vault = try await temporary.open()
        try await TemporaryVault.unlock(vault)
        let clips = try await vault.clips(
            camera: RecordingTests.camera, overlapping: TimeRange(start, start + 3_600_000_000))
        inside.learn(plain, try #require(clips.last))
        #expect(clips.map(\.isSalvaged) == [false, false, true])
        let evidence = try await vault.prove(
            clips, to: temporary.folder.path + "/bundle", cameraName: "Hall \"1\"\n", page: Self.page
        ) { "\($0.identity.sequence).mp4" }
        return (temporary.folder, vault, inside, evidence)
    }

    private func check(
        _ folder: String, _ inside: Inside, key: String? = nil, page: EvidencePageForm = Self.page
    ) async throws -> EvidenceReport {
        try await EvidenceCheck(folder: folder, page: page) { inside.identity($0) }.run(expected: key)
    }

    @Test func `a bundle proves itself without a vault, and against the owner's key`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        try FileManager.default.removeItem(atPath: folder.path + "/vault")
        let report = try await check(folder.path + "/bundle", inside, key: evidence.key)
        #expect(report.findings == [])
        #expect(report.clips.count == 3)
        #expect(report.starts.map(\.software) == ["test"])
        #expect(report.missingNumbers == 0)
        #expect(report.strangers == [] && report.isPageCompared && report.cameraName == "Hall \"1\"\n")
        #expect(try folder.contents("bundle/clips/1.mp4") == patternBytes(150_000, seed: 1))
        #expect(try folder.contents("bundle/clips/3.mp4") == Array(patternBytes(100_000, seed: 3).prefix(65_536)))
        let another = try await TemporaryVault()
        let other = try await another.open(.read)
        let foreign = try await other.ledgerHead().key
        await other.close()
        #expect(try await check(folder.path + "/bundle", inside, key: foreign).isSound == false)
    }

    @Test func `one bit flipped anywhere in a bundle and it proves nothing`() async throws {
        let (folder, vault, inside, _) = try await bundle()
        await vault.close()
        for name in try folder.everyFile() where name.hasPrefix("bundle/") {
            let good = try folder.contents(name)
            // Of small files every seventh byte, of clips some.
            let places =
                good.count < 4096
                ? Array(stride(from: 0, to: good.count, by: 7)) + [good.count - 1]
                : [0, 1, 80, 300, 70_000 % good.count, good.count - 1]
            for place in places {
                var bad = good
                bad[place] ^= 1
                try folder.write(bad, to: name)
                let isSound: Bool
                do {
                    let report = try await check(folder.path + "/bundle", inside)
                    isSound = report.isSound
                    // The order of the list proves nothing, and whether there is a page to compare.
                    if isSound, name.hasSuffix("bundle.json") { #expect(report.clips.count == 3, "\(place)") }
                } catch {
                    isSound = false
                }
                let isFree = name.hasSuffix("bundle.json") && isSound
                #expect(!isSound || isFree, "\(name) byte \(place)")
            }
            try folder.write(good, to: name)
        }
        #expect(try await check(folder.path + "/bundle", inside).isSound)
    }

    @Test func `missing, exchanged and added files are named`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        let manager = FileManager.default
        let path = folder.path + "/bundle/"
        try manager.moveItem(atPath: path + "clips/1.mp4", toPath: path + "clips/x.mp4")
        var report = try await check(path, inside)
        #expect(report.findings.contains { $0.contains("clips/1.mp4 is missing") })
        #expect(report.strangers == ["clips/x.mp4"])
        try manager.moveItem(atPath: path + "clips/2.mp4", toPath: path + "clips/1.mp4")
        try manager.moveItem(atPath: path + "clips/x.mp4", toPath: path + "clips/2.mp4")
        report = try await check(path, inside)
        #expect(report.findings.count == 2)
        #expect(report.clips.count == 1)
        let entry = evidence.clips[0].entry
        try manager.removeItem(atPath: path + Evidence.proofFile(entry))
        report = try await check(path, inside)
        #expect(!report.isSound)
    }

    @Test func `a clip that says another thing inside than outside proves nothing`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        inside.learn(patternBytes(150_000, seed: 1), evidence.clips[1].record)
        let report = try await check(folder.path + "/bundle", inside)
        #expect(report.findings.count == 1)
        #expect(report.clips.count == 2)
    }

    @Test func `a locked vault proves nothing, and nothing is written over`() async throws {
        let (folder, vault, _, evidence) = try await bundle()
        await #expect(throws: VaultError(.exists, "")) {
            _ = try await vault.prove(evidence.clips.map(\.record), to: folder.path + "/bundle", page: Self.page) { _ in
                "a.mp4"
            }
        }
        vault.lock()
        await #expect(throws: VaultError(.locked, "")) {
            _ = try await vault.prove(evidence.clips.map(\.record), to: folder.path + "/other", page: Self.page) { _ in
                "a.mp4"
            }
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/other"))
        await vault.close()
    }

    /// The bundle after something in its table of contents was replaced; nil when that is refused.
    private func changed(
        _ folder: TemporaryFolder, _ inside: Inside, _ changes: (String) -> String
    ) async throws -> EvidenceReport? {
        let good = try folder.contents("bundle/bundle.json")
        defer { try? folder.write(good, to: "bundle/bundle.json") }
        let text = changes(String(decoding: good, as: UTF8.self))
        #expect(Array(text.utf8) != good)
        try folder.write(Array(text.utf8), to: "bundle/bundle.json")
        do { return try await check(folder.path + "/bundle", inside) } catch {
            #expect((error as? VaultError)?.code == .damaged)
            return nil
        }
    }

    @Test func `a bundle that names no recording proves nothing`() async throws {
        let (folder, vault, inside, _) = try await bundle()
        await vault.close()
        let report = try await changed(folder, inside) { text in
            let (start, end) = (text.firstRange(of: "\"clips\": [")!, text.firstRange(of: "],")!)
            return text[..<start.upperBound] + String(text[end.lowerBound...])
        }
        #expect(report?.findings.first == "The bundle names no recording.")
        #expect(report?.strangers.contains("clips/1.mp4") == true)
    }

    @Test func `names of clips that reach elsewhere or talk to a terminal are refused`() async throws {
        let (folder, vault, inside, _) = try await bundle()
        await vault.close()
        for name in [
            "../1.mp4", "a/1.mp4", "", ".", "..", "1.mp4\\nEverything fits.", "\\u001b[2J", "\u{202E}4pm.1", "a b",
        ] {
            let report = try await changed(folder, inside) { $0.replacing("clips/1.mp4", with: "clips/" + name) }
            #expect(report == nil, "\(name)")
        }
    }

    @Test func `the page, the time it was made and the camera's name belong together`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        let made = evidence.made.microseconds
        for change in [("\(made)", "\(made - 1)"), ("Hall", "Yard"), ("  \"cameraName\"", "  \"cameraname\"")] {
            let report = try await changed(folder, inside) { $0.replacing(change.0, with: change.1) }
            #expect(report?.findings == ["README.html is not the page that belongs to this bundle."])
        }
        // What an older SudoCam wrote has no such number, and what a newer one writes another.
        for other in ["", "  \"page\": 2,\n"] {
            let report = try await changed(folder, inside) { $0.replacing("  \"page\": 1,\n", with: other) }
            #expect(report?.isSound == true && report?.isPageCompared == false)
        }
        try FileManager.default.removeItem(atPath: folder.path + "/bundle/README.html")
        #expect(try await check(folder.path + "/bundle", inside).findings == ["README.html is missing."])
    }

    @Test(.timeLimit(.minutes(20)))
    func `pipes and devices in the place of files are not waited for`() async throws {
        let (folder, vault, inside, evidence) = try await bundle()
        await vault.close()
        let entry = evidence.clips[0].entry
        for name in [
            "checkpoint", "README.html", "clips/1.mp4", "sealed/\(evidence.clips[0].record.object)",
            Evidence.entryFile(entry), Evidence.proofFile(entry),
        ] {
            let path = folder.path + "/bundle/" + name
            try FileManager.default.moveItem(atPath: path, toPath: path + ".good")
            for makes in [true, false] {
                if makes {
                    #expect(mkfifo(path, 0o600) == 0)
                } else {
                    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/zero")
                }
                let report = try await check(folder.path + "/bundle", inside)
                #expect(report.findings.contains("\(name) is no file."), "\(report.findings)")
                try FileManager.default.removeItem(atPath: path)
            }
            try FileManager.default.moveItem(atPath: path + ".good", toPath: path)
        }
        #expect(try await check(folder.path + "/bundle", inside).isSound)
        // Also where nobody asked before opening it, as of a vault's own files.
        let pipe = folder.path + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        #expect(throws: VaultError(.io, "")) {
            var buffer: [UInt8] = [0]
            _ = try PosixFileSystem().open(pipe, .read).read(at: 0, into: &buffer)
        }
        let whole = try await check(folder.path + "/bundle", inside)
        let sealed = folder.path + "/bundle/sealed/\(evidence.clips[0].record.object)"
        let longer = FileHandle(forWritingAtPath: sealed)
        try longer?.truncate(atOffset: 1 << 40)
        try longer?.close()
        let report = try await check(folder.path + "/bundle", inside)
        #expect(whole.isSound && report.findings.count == 1 && report.findings[0].contains("is not the file"))
    }

    @Test func `clips that lie in a remote only are proved from there, by a vault that is only read as well`()
        async throws
    {
        let bench = try await EvictionTests.settled(count: 3)
        try await bench.remote.listAgain(after: RemoteBench.day)
        #expect(try await bench.remote.evict().objects == 3)
        try await TemporaryVault.unlock(bench.vault)
        // What was kept of one is torn.
        _ = try await bench.vault.openObject(bench.clips[0]).read(at: 0, count: 400_000)
        let cache = bench.vault.layout.remoteCache("offsite")
        for name in try FileManager.default.contentsOfDirectory(atPath: cache) {
            let url = URL(fileURLWithPath: cache + "/" + name)
            var bytes = try Data(contentsOf: url)
            for place in stride(from: 0, to: bytes.count, by: 1000) { bytes[place] ^= 1 }
            try bytes.write(to: url)
        }
        let reading = try await bench.temporary.open(.read)
        try await TemporaryVault.unlock(reading)
        await #expect(throws: VaultError(.notFound, "")) {
            try await prove(reading, bench.clips, bench.temporary.folder.path + "/none")
        }
        let remote = try Remote(bench.remote.description, reading, store: bench.store)
        reading.openedRemotes.withLock { $0.append(remote) }
        #expect(try bench.clips.allSatisfy { try remote.state.has($0.object) })
        var files: [String] = []
        for (vault, name) in [(bench.vault, "/one"), (reading, "/two")] {
            bench.store.forgetCalls()
            files = try bench.temporary.folder.everyFile().filter { $0.hasPrefix("vault/") }
            try await prove(vault, bench.clips, bench.temporary.folder.path + name)
            for (index, clip) in bench.clips.enumerated() {
                let bytes = try bench.temporary.folder.contents(name + "/clips/\(clip.identity.sequence).mp4")
                #expect(bytes == patternBytes(400_000 + index))
            }
        }
        // Each part once, in fewer requests than chunks.
        #expect(bench.store.calls.count < 3 * 4)
        #expect(try bench.temporary.folder.everyFile().filter { $0.hasPrefix("vault/") } == files)
        await reading.close()
        await bench.vault.close()
    }
    private func prove(_ vault: Vault, _ clips: [ClipRecord], _ folder: String) async throws {
        _ = try await vault.prove(clips, to: folder, page: Self.page) { "\($0.identity.sequence).mp4" }
    }

    @Test func `a clip is found by the beginning of its object's name`() async throws {
        let (_, vault, _, evidence) = try await bundle()
        for clip in evidence.clips.map(\.record) {
            let name = clip.object.description
            #expect(try await vault.clip(named: String(name.prefix(8))) == clip)
            #expect(try await vault.clip(named: name.uppercased()) == clip)
        }
        await #expect(throws: VaultError(.invalid, "")) { _ = try await vault.clip(named: "abc") }
        await #expect(throws: VaultError(.notFound, "")) {
            _ = try await vault.clip(named: String(repeating: "0", count: 64))
        }
        await vault.close()
    }
}
