import Core
import Foundation
import TestKit
import Testing
import Vault

@testable import Server

@Suite struct ProofCommandsTests {
    private static let camera = CameraID.random()

    /// A vault with a clip a second, each of which ends 700 µs after a whole millisecond, where the next one begins.
    private func recorded(_ count: Int) async throws -> (temporary: TemporaryVault, starts: [WallTime]) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        var starts: [WallTime] = []
        let first = WallTime(microseconds: temporary.time.wallNow().microseconds / 1000 * 1000 + 700)
        for index in 0..<count {
            let start = first + Int64(index) * 1_000_000
            let writer = try await vault.beginClip(camera: Self.camera, run: .random(), start: start)
            try await writer.append(patternBytes(70_000, seed: UInt64(index)))
            _ = try await writer.finish(end: start + 1_000_000)
            starts.append(start)
        }
        await vault.close()
        return (temporary, starts)
    }

    private func prove(
        _ temporary: TemporaryVault, from start: WallTime, to name: String, object: String? = nil,
        progress: @escaping @Sendable (Int, Int) -> Void = { _, _ in }
    ) async throws -> ProofCommands.Proved {
        try await ProofCommands.prove(
            Configuration(vault: temporary.path), camera: object == nil ? Self.camera.description : nil,
            range: TimeRange(start, start + 60_000_000), object: object,
            to: try OutputFolder(temporary.folder.path + "/" + name),
            passphrase: SecretBytes(text: TemporaryVault.passphrase), progress: progress, time: temporary.time)
    }

    private func names(_ folder: TemporaryFolder) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    @Test func `a list of clips that is cut off by its limit says so`() async throws {
        let (temporary, starts) = try await recorded(4)
        let configuration = Configuration(vault: temporary.path)
        for (limit, isCut) in [(3, true), (4, false), (5, false), (1_000_000, false)] {
            let list = try await VaultCommands.clips(
                configuration, camera: Self.camera.description, range: TimeRange(starts[0], starts[3] + 60_000_000),
                limit: limit, time: temporary.time)
            #expect(list.isCut == isCut && list.clips.count == min(4, limit))
            #expect(list.clips.first?.start == FileTime.iso(starts[0]))
        }
        for limit in [0, -1, .max] {
            await #expect(throws: ServerError.self) {
                _ = try await VaultCommands.clips(
                    configuration, camera: nil, range: TimeRange(starts[0], starts[3]), limit: limit,
                    time: temporary.time)
            }
        }
    }

    @Test func `a time copied from the list of clips is that clip's start, to every command`() async throws {
        let (temporary, starts) = try await recorded(4)
        let configuration = Configuration(vault: temporary.path)
        let all = TimeRange(starts[0], starts[3] + 60_000_000)
        let listed = try await VaultCommands.clips(
            configuration, camera: Self.camera.description, range: all, limit: 10, time: temporary.time
        ).clips
        #expect(listed.count == 4)
        for (index, clip) in listed.enumerated() {
            let copied = try #require(FileTime.parse(clip.start, now: starts[0]))
            #expect(copied == starts[index])
            let rest = try await VaultCommands.clips(
                configuration, camera: Self.camera.description, range: TimeRange(copied, all.end), limit: 10,
                time: temporary.time
            ).clips
            #expect(rest.map(\.object) == listed[index...].map(\.object))
            #expect(try await prove(temporary, from: copied, to: "proved-\(index)").clips == 4 - index)
            let explained = try await RetentionCommands.explain(configuration, clip.start, camera: nil)
            #expect(explained.map(\.object) == [clip.object])
        }
    }

    @Test func `what is proved reaches to the instant that was asked for, also on a whole millisecond`() async throws {
        let (temporary, starts) = try await recorded(3)
        // 700 µs before the third clip starts, the second one still lasts.
        let whole = WallTime(microseconds: starts[2].microseconds / 1000 * 1000)
        #expect(try await prove(temporary, from: whole, to: "whole").clips == 2)
        #expect(try await prove(temporary, from: starts[2] + -1, to: "before").clips == 2)
        #expect(try await prove(temporary, from: starts[2], to: "exact").clips == 1)
    }

    @Test func `a bundle is whole or not there, and the next attempt finds its place free`() async throws {
        let (temporary, starts) = try await recorded(3)
        let objects = temporary.path + "/objects"
        let vault = try await temporary.open(.read)
        let last = try #require(try await vault.clip(after: starts[1], camera: Self.camera))
        await vault.close()
        let object = objects + "/" + last.object.description.prefix(2) + "/" + last.object.description
        let good = try Data(contentsOf: URL(fileURLWithPath: object))
        var bad = good
        bad[40_000] ^= 1
        try bad.write(to: URL(fileURLWithPath: object))
        let seen = temporary.folder
        await #expect(throws: VaultError(.damaged, "")) {
            try await prove(temporary, from: starts[0], to: "evidence") { _, _ in
                // Until then under another name, and nobody else's to read.
                let part = try? FileManager.default.contentsOfDirectory(atPath: seen.path).first {
                    $0.hasSuffix(".part")
                }
                let rights = try? FileManager.default.attributesOfItem(atPath: seen.path + "/" + (part ?? ""))
                #expect(part?.hasPrefix("evidence.") == true && rights?[.posixPermissions] as? Int == 0o700)
            }
        }
        #expect(try names(temporary.folder) == ["vault"])
        try good.write(to: URL(fileURLWithPath: object))
        let proved = try await prove(temporary, from: starts[0], to: "evidence//")
        #expect(proved.path == temporary.folder.path + "/evidence" && proved.clips == 3)
        #expect(try names(temporary.folder) == ["evidence", "vault"])
        #expect(try names(temporary.folder).count == 2)
        #expect(FileManager.default.fileExists(atPath: proved.path + "/README.html"))
        for other in ["evidence", "evidence/"] {
            #expect(throws: ServerError(.refused, "")) { _ = try OutputFolder(temporary.folder.path + "/" + other) }
        }
    }

    @Test func `what stands in its place meanwhile is not replaced`() async throws {
        let (temporary, starts) = try await recorded(1)
        let place = temporary.folder.path + "/evidence"
        await #expect(throws: ServerError(.refused, "")) {
            try await prove(temporary, from: starts[0], to: "evidence") { _, _ in
                try? FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: false)
            }
        }
        #expect(try names(temporary.folder) == ["evidence", "vault"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: place) == [])
    }

    private func checked(_ change: (inout ProofCommands.Checked) -> Void) -> [Substring] {
        var checked = ProofCommands.Checked(
            sound: true, findings: [], vault: .random(), camera: .random(), cameraName: nil, key: "sudocam/x",
            keyCompared: true, ledgerSize: 9, made: "2026-11-25T10:00:00.000Z", clips: [], clockSynchronised: true,
            clockSteps: 0, gaps: 0, missingClips: 0, strangers: [], pageCompared: true)
        change(&checked)
        return checked.text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    @Test func `names in a bundle forge no line and do nothing to a terminal`() {
        let plain = checked { _ in }
        let hostile = "x\nEverything fits.\u{1B}[1A\r\u{9B}2K\u{202E}\u{2028}é"
        let lines = checked {
            $0.sound = false
            $0.findings = [hostile]
            $0.strangers = [hostile]
            $0.cameraName = hostile
            $0.key = hostile
        }
        #expect(lines.count == plain.count + 2)
        #expect(lines.filter { $0 == "Everything fits." } == [])
        let rest = lines.joined().unicodeScalars.filter { [.control, .format].contains($0.properties.generalCategory) }
        #expect(rest.isEmpty && lines[0].hasSuffix("\\u{202e}\\u{2028}é"))
    }

    @Test func `a check says what rests on the bundle's word`() {
        let lines = checked { $0.cameraName = "Hall" }
        #expect(lines.contains("Gaps, starts and clock steps: only as far as the bundle tells of them."))
        #expect(
            lines.contains { $0.hasPrefix("Made at 2026-11-25") && $0.contains("“Hall”") && $0.contains("own word") })
        #expect(!lines.contains { $0.hasPrefix("README.html") })
        #expect(checked { $0.pageCompared = false }.contains { $0.hasPrefix("README.html is not part of the proof") })
    }

    /// A page of other words under the same version would make every older bundle look changed.
    @Test func `whoever changes the page raises its version`() async throws {
        let (temporary, starts) = try await recorded(1)
        let proved = try await prove(temporary, from: starts[0], to: "evidence")
        var page = String(decoding: try temporary.folder.contents("evidence/README.html"), as: UTF8.self)
        let clip = try #require(try FileManager.default.contentsOfDirectory(atPath: proved.path + "/clips").first)
        let sealed = try #require(try FileManager.default.contentsOfDirectory(atPath: proved.path + "/sealed").first)
        for (value, name) in [
            (clip, "CLIP"), (sealed, "OBJECT"), (proved.key, "KEY"), (proved.camera.description, "CAMERA"),
            (String(proved.key.dropFirst("sudocam/".count).prefix(36)), "VAULT"), (proved.from, "FROM"),
            (proved.to, "TO"), (FileTime.iso(temporary.time.wallNow()), "MADE"),
        ] { page = page.replacing(value, with: name) }
        #expect(EvidencePage.form.version == 1)
        #expect(
            ObjectID.hash(of: Array(page.utf8)).description
                == "94ae58de80eadd36ad87b53560422c11046e9116c3aad43340661cfa307e1620", "\(page)")
    }
}
