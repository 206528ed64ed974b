import Core
import TestKit
import Testing
import Vault

@testable import Server

@Suite struct RetentionConfigurationTests {
    private func problems(_ text: String) -> [ConfigurationProblem] {
        guard case .failure(let failure) = ConfigurationReader.parse("vault: v\n" + text, folder: "/") else {
            return []
        }
        return failure.problems
    }

    @Test func `sizes are decimal digits with a unit`() {
        for (text, size) in [
            ("500GB", 500_000_000_000), ("64MiB", 64 << 20), ("1.5 TB", 1_500_000_000_000), ("2000000", 2_000_000),
        ] { #expect(Quantity.size(text) == size) }
        for text in [
            "0x10GB", "1e3GB", "inf", "nanGB", "-1GB", "+1GB", "GB", "1.GB", ".5GB", "1.2.3GB", "1,5GB", "٣GB",
        ] {
            #expect(Quantity.size(text) == nil, "\(text)")
        }
    }

    @Test func `a budget that no footage fits in is an error with its line`() {
        for wrong in ["0", "500", "999999", "0.1MB"] {
            for key in ["total", "each-camera", "keep-free"] {
                #expect(problems("retention:\n  \(key): \(wrong)").map(\.line) == [3], "\(key): \(wrong)")
            }
            #expect(problems("cameras:\n  a:\n    source: \"test:\"\n    bytes: \(wrong)").map(\.line) == [5])
        }
        #expect(problems("retention: { total: 1MB, each-camera: 1MB, keep-free: 1MB }").isEmpty)
    }

    @Test func `a rule that can never apply is an error with its line`() {
        let cameras = "cameras: { a: { source: \"test:\" }, b: { source: \"test:\" } }"
        func lines(_ rules: String...) -> [Int] {
            problems("retention:\n  rules:\n" + rules.map { "    - \($0)\n" }.joined() + cameras).map(\.line)
        }
        #expect(lines("{ classes: [], keep: 1d }") == [4])
        #expect(lines("{ cameras: [], keep: 1d }") == [4])
        #expect(lines("{}", "{ keep: 1d }") == [4])
        #expect(lines("{ keep: 1d }", "{ cameras: [a], keep: 2d }") == [5])
        #expect(
            lines("{ cameras: [a], keep: 1d }", "{ cameras: [a, b], keep: 2d }", "{ cameras: [b], keep: 3d }") == [6])
        #expect(
            lines(
                "{ classes: [continuous, motion], keep: 1d }", "{ classes: [event, labelled], keep: 2d }",
                "{ keep: 3d }") == [6])
        // What these say happens.
        #expect(lines("{ cameras: [a] }", "{ keep: 1d }") == [])
        #expect(lines("{ cameras: [a], keep: 1d }", "{ cameras: [b], keep: 1d }", "{ keep: 1d }") == [])
        #expect(lines("{ classes: [event], keep: 9d }", "{ classes: [event], keep: 2d, pre-roll: 30s }") == [])
    }

    @Test func `a keep-free beyond half of the disk decides about nothing`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let writer = try await vault.beginClip(
            camera: .random(), run: .random(), start: temporary.time.wallNow())
        try await writer.append(patternBytes(5000))
        _ = try await writer.finish(end: temporary.time.wallNow() + 1_000_000)
        await vault.close()
        var configuration = Configuration(vault: temporary.path)
        configuration.retention.keepFree = 900_000_000_000_000
        await #expect(throws: VaultError(.invalid, "")) { try await RetentionCommands.plan(configuration) }
        for isDryRun in [true, false] {
            await #expect(throws: VaultError(.invalid, "")) {
                try await RetentionCommands.apply(configuration, isDryRun: isDryRun)
            }
        }
        configuration.retention.keepFree = 1_000_000
        #expect(try await RetentionCommands.apply(configuration, isDryRun: false).deletions.isEmpty)
    }
}

@Suite struct RetentionCommandsTests {
    @Test func `apply with another policy than the recorder's deletes nothing and says what to do`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let writer = try await vault.beginClip(camera: .random(), run: .random(), start: temporary.time.wallNow())
        try await writer.append(patternBytes(5000))
        _ = try await writer.finish(end: temporary.time.wallNow() + 1_000_000)
        temporary.time.advance(microseconds: 3_600_000_000)
        var configuration = Configuration(vault: temporary.path)
        configuration.retention.rules = [.init(keep: 60_000_000)]
        let old = configuration.retentionPolicy(vault: vault.id)
        vault.setRetention(old)
        configuration.retention.rules = [.init(keep: 86_400_000_000)]
        let new = configuration.retentionPolicy(vault: vault.id)
        let error = await #expect(throws: VaultError.self) {
            try await RetentionCommands.perform(.init(action: .apply, policy: new.digest), vault, [:])
        }
        #expect(error?.code == .invalid && error?.hint == "`sudocam reload` first.")
        let applied = try await RetentionCommands.perform(.init(action: .apply, policy: old.digest), vault, [:]).applied
        #expect(applied?.deletions.count == 1)
        await vault.close()
    }

    @Test
    func `explain finds a camera that the configuration does not name, and says that the clock counts for nothing`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let camera = CameraID.random()
        let start = temporary.time.wallNow()
        let writer = try await vault.beginClip(camera: camera, run: .random(), start: start)
        try await writer.append(patternBytes(5000))
        _ = try await writer.finish(end: start + 10_000_000)
        await vault.close()
        var configuration = Configuration(vault: temporary.path)
        configuration.retention.rules = [.init(keep: 60_000_000)]
        let explained = try await RetentionCommands.explain(configuration, FileTime.iso(start + 1_000_000), camera: nil)
        #expect(explained.map(\.camera) == [camera.description])
        // The vault's time is years ago, by the clock of this machine, unless a time service vouches for that.
        if !RetentionCommands.time.isWallSynchronised() {
            #expect(explained.first?.timeTrusted == false)
            #expect(explained.first?.verdict.contains("nobody vouches for the clock now") == true)
        }
    }

    @Test func `a hold says what it keeps, and one on a camera that nobody knows is refused`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let camera = CameraID.random()
        let start = temporary.time.wallNow()
        var sizes: [Int] = []
        for index in 0..<3 {
            let writer = try await vault.beginClip(
                camera: camera, run: .random(), start: start + Int64(index) * 10_000_000)
            try await writer.append(patternBytes(5000))
            sizes.append(try await writer.finish(end: start + Int64(index + 1) * 10_000_000).byteCount)
        }
        func hold(_ camera: CameraID?, _ from: Int64, _ to: Int64) async throws(VaultError) -> RetentionCommands.Held? {
            try await RetentionCommands.perform(
                .init(action: .hold, camera: camera, from: start + from, to: start + to), vault, [:]
            ).hold
        }
        await #expect(throws: VaultError(.notFound, "")) { try await hold(.random(), 0, 10_000_000) }
        let one = try await hold(camera, 0, 10_000_000)
        #expect(one?.clips == 1 && one?.bytes == sizes[0])
        let two = try await hold(nil, 10_000_000, 40_000_000)
        #expect(two?.clips == 2 && two?.bytes == sizes[1] + sizes[2])
        await vault.close()
        let holds = try await RetentionCommands.holds(Configuration(vault: temporary.path), passphrase: nil)
        #expect(holds.map(\.clips).sorted() == [1, 2])
    }

    @Test func `text from elsewhere moves no cursor and begins no line`() {
        #expect("a\u{1B}[2Jb\n\tc\r\u{9B}1m\u{202E}d".printable == #"a\u{1b}[2Jb\n\tc\u{d}\u{9b}1m\u{202e}d"#)
        #expect("Einbruch, Fall 4711: Übergabe 👨‍👩‍👧".printable == "Einbruch, Fall 4711: Übergabe 👨‍👩‍👧")
    }
}
