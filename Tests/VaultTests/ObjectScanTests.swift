import Core
import Synchronization
import TestKit
import Testing

@testable import Vault

@Suite struct ObjectScanTests {
    @Test(arguments: [0, 1, 63, 64, 65, 1000, 4097])
    func `sorting in parts gives what sorting at once gives`(count: Int) throws {
        var random = SeededGenerator(seed: UInt64(count))
        let values = (0..<count).map { UInt64.random(in: 0..<500, using: &random) << 32 | UInt64($0) }
        for capacity in [1, 7, 64, 5000] {
            var sort = ExternalSort<UInt64>(capacity: capacity) { $0 < $1 }
            for value in values { try sort.append(value) }
            var sorted: [UInt64] = []
            try sort.finish { sorted.append($0) }
            #expect(sorted == values.sorted(), "\(capacity) at once")
        }
    }

    private static func header(
        _ name: Int, camera: CameraID, epoch: EpochID, run: RunID, sequence: Int64, start: Int64, modified: Int64,
        isOpen: Bool = false
    ) throws -> ObjectScan.Header {
        let digits = String(name, radix: 16)
        let object = try #require(ObjectID(fileName: String(repeating: "0", count: 64 - digits.count) + digits))
        return ObjectScan.Header(
            object: object, camera: camera, epoch: epoch, run: run, sequence: sequence, start: start,
            modified: modified, bytes: 1000 + name, isSalvaged: name % 3 == 0, isOpen: isOpen)
    }

    /// Against the rule said plainly, over all clips at once.
    @Test func `clips come oldest first, each with the end that can be known`() throws {
        var random = SeededGenerator(seed: 4)
        let cameras = (0..<3).map { _ in CameraID.random() }
        let epochs = cameras.map { _ in EpochID.random() }
        let runs = (0..<4).map { _ in RunID.random() }
        var headers: [ObjectScan.Header] = []
        for name in 0..<800 {
            let camera = Int.random(in: 0..<3, using: &random)
            let number = Int64.random(in: 0..<300, using: &random)
            let start = number * 60_000_000 + Int64.random(in: 0..<3, using: &random) * 30_000_000
            let length = [1, 60, 75, 299, 400].randomElement(using: &random) ?? 1
            headers.append(
                try Self.header(
                    name, camera: cameras[camera], epoch: epochs[camera],
                    run: try #require(runs.randomElement(using: &random)), sequence: number, start: start,
                    modified: start + Int64(length) * 1_000_000, isOpen: name % 50 == 0))
        }
        var scan = ObjectScan(vault: .random())
        for first in stride(from: 0, to: headers.count, by: 96) {
            try scan.add(Array(headers[first..<min(first + 96, headers.count)]))
        }
        let clips = headers.filter { !$0.isOpen }
        var expected: [ObjectID: Int64] = [:]
        for clip in clips {
            let next = clips.filter { $0.camera == clip.camera }
                .filter { ($0.sequence, $0.start, $0.object) > (clip.sequence, clip.start, clip.object) }
                .min { ($0.sequence, $0.start, $0.object) < ($1.sequence, $1.start, $1.object) }
            var end = max(clip.start, min(clip.modified, clip.start + 300_000_000))
            if let next, next.run == clip.run, next.start >= clip.start, next.start - clip.modified <= 10_000_000,
                next.start - clip.start <= 300_000_000
            {
                end = next.start
            }
            expected[clip.object] = end
        }
        // The third camera's epoch is not known here.
        let known = Dictionary(uniqueKeysWithValues: zip(epochs, cameras).prefix(2))
        var found: [ClipRecord] = []
        try scan.ordered(to: WallTime(seconds: 1)).each(epochs: known) { found.append($0) }
        #expect(found.count == clips.filter { known[$0.epoch] != nil }.count && found.count == scan.clips(known))
        for clip in found { #expect(clip.end.microseconds == expected[clip.object]) }
        #expect(found.map(\.start) == found.map(\.start).sorted())
        #expect(Set(expected.values).count > 100)
        let strangers = clips.filter { known[$0.epoch] == nil }.map(\.object)
        #expect(try scan.strangers(known) == strangers)
        #expect(try scan.strangers(Dictionary(uniqueKeysWithValues: zip(epochs, cameras))) == [])
    }

    @Test func `an epoch is the camera's that has most of its clips, from the day of its first`() throws {
        let (a, b) = (CameraID.random(), CameraID.random())
        let epoch = EpochID.random()
        let run = RunID.random()
        let day: Int64 = 86_400_000_000
        var scan = ObjectScan(vault: .random())
        try scan.add([
            try Self.header(1, camera: a, epoch: epoch, run: run, sequence: 1, start: 9 * day, modified: 0),
            try Self.header(2, camera: b, epoch: epoch, run: run, sequence: 1, start: 2 * day, modified: 0),
            try Self.header(
                3, camera: a, epoch: epoch, run: run, sequence: 2, start: 7 * day, modified: 0, isOpen: true),
        ])
        let found = try #require(scan.epochs()[epoch])
        #expect(found.camera == a && found.day == 7)
        #expect(scan.clips([epoch: a]) == 1)
        #expect(try scan.strangers([epoch: a]).count == 1)
    }

    @Test func `the chain up to now ends where a wrong clock could hide`() throws {
        let reach = ClockTrust.reach
        let now = WallTime(microseconds: 100 * reach)
        // Reaches before now at which clips start; the number tells from which of them on they follow one another.
        let cases: [(starts: [Int64], since: Int64?)] = [
            ([], nil), ([2], nil), ([1], 1), ([0, 1, 2, 3], 3), ([0, 1, 3], 1), ([-1, 0], 0), ([-1], nil),
            ([5, 4, 0], 0),
        ]
        for (starts, since) in cases {
            var scan = ObjectScan(vault: .random())
            try scan.add(
                starts.enumerated().map { name, reaches in
                    try Self.header(
                        name, camera: .random(), epoch: .random(), run: .random(), sequence: 1,
                        start: (now - reaches * reach).microseconds, modified: 0, isOpen: name % 2 == 0)
                })
            #expect(try scan.ordered(to: now).since == now - (since ?? 0) * reach, "\(starts)")
        }
    }

    @Test func `only 64 lower-case digits name an object`() throws {
        let name = String(repeating: "0f", count: 32)
        #expect(ObjectID(fileName: name) == ObjectID(name))
        for other in ["", "0f", name + "0", String(name.dropLast()), name.uppercased(), String(name.dropLast()) + "g"] {
            #expect(ObjectID(fileName: other) == nil)
        }
    }

    @Test func `the head of a file is what opening, reading and asking gives`() throws {
        let folder = try TemporaryFolder()
        let files = PosixFileSystem()
        for count in [0, 1, 4095, 4096, 4097, 9000] {
            try folder.write(patternBytes(count), to: "file")
            let path = folder.path + "/file"
            var buffer = [UInt8](repeating: 0, count: 4096)
            let head = try files.head(path, into: &buffer)
            #expect(head.count == min(count, 4096))
            #expect(Array(buffer[..<head.count]) == Array(patternBytes(count).prefix(4096)))
            #expect(head.attributes == (try files.attributes(path)))
            // The general way.
            var other = [UInt8](repeating: 0, count: 4096)
            let general = try FailingFileSystem(files, failures: .one, after: 0, with: .io).head(path, into: &other)
            #expect(general == head && other == buffer)
        }
        var buffer = [UInt8](repeating: 0, count: 10)
        #expect(throws: VaultError(.notFound, "")) { _ = try files.head(folder.path + "/none", into: &buffer) }
        #expect(throws: VaultError(.io, "")) { _ = try files.head(folder.path, into: &buffer) }
    }

    @Test func `a shard that cannot be listed ends the reading of all`() async throws {
        let (temporary, _) = try await RepairTests.recorded()
        for shard in ["00", "80", "ff"] {
            let files = UnlistableFileSystem(name: "objects/" + shard)
            #expect(throws: VaultError(.io, "")) {
                _ = try HeaderReading.run(Layout(temporary.path), files, vault: .random()) { _ in }
            }
        }
    }

    @Test func `progress only grows, and ends with all there is`() async throws {
        let (temporary, clips) = try await RepairTests.recorded()
        let layout = Layout(temporary.path)
        let vault = try #require(clips.first).identity.vault
        let seen = Mutex<[Int]>([])
        let (scan, strangers, _) = try HeaderReading.run(layout, PosixFileSystem(), vault: vault) { count in
            seen.withLock { $0.append(count) }
        }
        let counts = seen.withLock { $0 }
        #expect(counts == counts.sorted() && counts.last == clips.count)
        #expect(strangers == [])
        #expect(scan.clips(Dictionary(clips.map { ($0.identity.epoch, $0.camera) }) { a, _ in a }) == clips.count)
        // Of another vault.
        let others = try HeaderReading.run(layout, PosixFileSystem(), vault: .random()) { _ in }.strangers
        #expect(others == clips.map { layout.object($0.object) }.sorted())
    }
}

/// The machine's files, one folder of which cannot be listed.
private struct UnlistableFileSystem: FileSystem {
    private let base = PosixFileSystem()
    let name: String
    func open(_ path: String, _ mode: FileMode) throws(VaultError) -> any OpenFile { try base.open(path, mode) }
    func attributes(_ path: String) throws(VaultError) -> FileAttributes? { try base.attributes(path) }
    func list(_ path: String) throws(VaultError) -> [String] {
        if path.hasSuffix(name) { throw VaultError(.io, "failed as the test asked.") }
        return try base.list(path)
    }
    func makeDirectory(_ path: String) throws(VaultError) { try base.makeDirectory(path) }
    func rename(_ from: String, to: String) throws(VaultError) { try base.rename(from, to: to) }
    func link(_ from: String, to: String) throws(VaultError) { try base.link(from, to: to) }
    func remove(_ path: String) throws(VaultError) { try base.remove(path) }
    func syncDirectory(_ path: String) throws(VaultError) { try base.syncDirectory(path) }
    func isNetwork(_ path: String) throws(VaultError) -> Bool { try base.isNetwork(path) }
    func space(_ path: String) throws(VaultError) -> (free: Int, total: Int) { try base.space(path) }
    func lock(_ path: String) throws(VaultError) -> (any OpenFile)? { try base.lock(path) }
}
