import Core
import Foundation
import TestKit
import Testing

@testable import Vault

/// The most memory a command takes, by the number of objects in the vault it looks at. Vaults of 10 000 to a million are measured
/// by `sudocam-bench scale`; here is what would show there, as soon as it comes in.
@Suite struct MemoryTests {
    /// The program that was built with these tests.
    private static let program =
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().path + "/sudocam"

    /// KiB by which two runs may differ, as the allocator's threads had it (6.4 MiB were seen beside all other tests); 367 bytes of
    /// each clip more would be as much. It is a tenth of the whole, where V46 allows a fifth.
    private static let allowance = 7 << 10
    /// SQLite's page cache, 8 MiB (`Index.scratch`), is full after some 20 000 clips: smaller vaults take less.
    private static let (few, many) = (20_000, 40_000)

    /// A vault as the ledger and the disk have it, made faster than by recording: what a keyless look reads is real, headers with
    /// their clips' names included, and only the key's stanza is always the same.
    private static func fill(_ temporary: TemporaryVault, to count: Int, from first: Int) async throws {
        let vault = try await temporary.open()
        let camera = CameraID("11111111-2222-4333-8444-555555555555") ?? .random()
        let start = temporary.time.wallNow()
        if first == 0 { _ = try await RecordingTests.record(vault, [1], at: start, camera: camera) }
        let template = try #require(try await vault.clip(at: start, camera: camera))
        let sealed = try vault.files.contents(vault.layout.object(template.object))
        let text = String(decoding: sealed, as: UTF8.self)
        let old = " seq=1 start=\(start.microseconds)\n"
        let place = try #require(text.utf8.firstRange(of: old.utf8))
        let (head, tail) = (
            sealed[..<text.utf8.distance(from: text.startIndex, to: place.lowerBound)],
            sealed[text.utf8.distance(from: text.startIndex, to: place.upperBound)...]
        )
        var entries: [LedgerEntry] = []
        for number in max(2, first + 1)...count {
            var identity = template.identity
            identity.sequence = UInt64(number)
            identity.start = start + Int64(number) * 1_000_000
            let bytes = head + Array(" seq=\(number) start=\(identity.start.microseconds)\n".utf8) + tail
            let object = try ObjectID(hashing: Array(bytes))
            try vault.files.open(vault.layout.object(object), .create).write(Array(bytes), 0..<bytes.count, at: 0)
            entries.append(
                LedgerEntry(
                    at: start,
                    .clip(
                        ClipRecord(
                            object: object, identity: identity, end: identity.start + 1_000_000,
                            byteCount: bytes.count, kind: .continuous))))
            if entries.count == 512 || number == count {
                try vault.committer().commit(entries)
                entries = []
            }
        }
        await vault.close()
    }

    /// KiB: `VmHWM` of proc(5), looked at until the program ends. (`ru_maxrss` begins with what the parent had.)
    private static func most(_ arguments: [String], _ folder: TemporaryFolder) throws -> Int {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let output = folder.path + "/output"
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        func copies(_ words: [String]) -> [UnsafeMutablePointer<CChar>?] { words.map { strdup($0) } + [nil] }
        let words = copies([program] + arguments)
        let environment = copies(["XDG_STATE_HOME=\(folder.path)", "PATH=/usr/bin:/bin"])
        defer { for word in words + environment { free(word) } }
        var child = pid_t()
        try #require(posix_spawn(&child, program, &actions, nil, words, environment) == 0)
        var (status, most) = (Int32(), 0)
        while waitpid(child, &status, WNOHANG) == 0 {
            let text = (try? String(contentsOfFile: "/proc/\(child)/status", encoding: .utf8)) ?? ""
            if let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }) {
                most = max(most, line.split(separator: " ").compactMap { Int($0) }.first ?? 0)
            }
            usleep(5000)
        }
        let told = String(decoding: try folder.contents("output"), as: UTF8.self)
        try #require(status == 0 && most > 0, "\(arguments): \(told)")
        return most
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: program), "sudocam was not built"))
    func `V46: twice the objects take no more memory to verify, to list and to plan for`() async throws {
        let temporary = try await TemporaryVault()
        try temporary.folder.write(Array("vault: ./vault\n".utf8), to: "sudocam.yaml")
        let config = ["--config", temporary.folder.path + "/sudocam.yaml"]
        // What a whole verification reads besides is one object at a time.
        let commands = [["verify", "--quick"], ["clips", "--limit", "100", "--json"], ["retention", "plan"]]
        try await Self.fill(temporary, to: Self.few, from: 0)
        let least = try commands.map { command in
            // One run may have been lucky with its threads.
            max(try Self.most(command + config, temporary.folder), try Self.most(command + config, temporary.folder))
        }
        try await Self.fill(temporary, to: Self.many, from: Self.few)
        for (index, command) in commands.enumerated() {
            // What is kept of each object is there every time, what the allocator did is not.
            var taken = Int.max
            for _ in 0..<3 where taken > least[index] + Self.allowance {
                taken = min(taken, try Self.most(command + config, temporary.folder))
            }
            let told: Comment =
                "\(command[0]) takes \(least[index]) KiB for \(Self.few) clips, \(taken) KiB for \(Self.many)"
            #expect(taken <= least[index] + Self.allowance, told)
        }
    }
}
