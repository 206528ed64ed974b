import Core
import Logging
import Media
import TestKit
import Testing

@testable import Ingest
@testable import Vault

/// Streams as a working camera and one that hangs deliver them, by a real encoder.
@Suite struct StillnessTests {
    /// A sensor's picture: a room that stands still, with noise of two levels of brightness.
    struct Sensor {
        private let room: [UInt8]
        private var seed: UInt64 = 0x9E37_79B9_7F4A_7C15
        static let (width, height) = (320, 240)

        init() {
            room = (0..<Self.width * Self.height).map { place in
                let (x, y) = (place % Self.width, place / Self.width)
                return UInt8(60 + x / 4 + (y / 30 % 2) * 50)
            }
        }
        mutating func picture(noise: Bool = true) -> [UInt8] {
            guard noise else { return room }
            var state = seed
            let noisy = room.map { level in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(Int(level) + Int(state >> 33 & 7) - 3)
            }
            seed = state
            return noisy
        }
    }

    struct Camera {
        var rate = 5
        var keyInterval = 10
        var bitRate = 400_000
    }

    /// `seconds` of pictures, those in `frozen` (seconds) all the same; µs of the first is 0.
    static func stream(
        _ camera: Camera, seconds: Int, frozen: Range<Int>, noise: Bool = true, run: RunID = .random()
    ) throws -> [TimedUnit] {
        let (width, height) = (Sensor.width, Sensor.height)
        let encoder = try Encoder(
            Encoder.Settings(
                width: width, height: height, rate: camera.rate, keyInterval: camera.keyInterval,
                bitRate: camera.bitRate))
        var sensor = Sensor()
        let colour = [UInt8](repeating: 128, count: width * height / 4)
        var last = sensor.picture(noise: noise)
        var units: [TimedUnit] = []
        for frame in 0..<seconds * camera.rate {
            if !frozen.contains(frame / camera.rate) { last = sensor.picture(noise: noise) }
            let pts = Int64(frame) * 90_000 / Int64(camera.rate)
            for packet in try encoder.encode(luma: last, cb: colour, cr: colour, pts: pts) {
                let time = WallTime(microseconds: packet.pts * 100 / 9)
                units.append(
                    TimedUnit(
                        unit: AccessUnit(
                            codec: .h264, data: packet.data, isKey: packet.isKey, dts: packet.dts, pts: packet.pts,
                            capturedWall: time, capturedMonotonic: MonotonicTime(microseconds: time.microseconds),
                            captureTimeIsExact: true), time: time, decodeTime: time, run: run,
                        parameters: encoder.parameters))
            }
        }
        return units
    }

    /// What is found, when, and how many pictures were decoded for it.
    static func findings(
        _ units: [TimedUnit]
    ) async -> (found: [(at: WallTime, StillnessMachine.Finding)], looks: Int) {
        var machine = StillnessMachine()
        var found: [(WallTime, StillnessMachine.Finding)] = []
        var looks = 0
        for unit in units {
            switch machine.take(unit) {
            case .told(let finding): found.append((unit.time, finding))
            case .look(let look):
                looks += 1
                guard let picture = await PictureGrid.decoding(look.unit) else { continue }
                if let finding = machine.see(picture, at: look.unit.time) { found.append((unit.time, finding)) }
            case nil: break
            }
        }
        if let last = machine.end() { found.append((units.last?.time ?? WallTime(seconds: 0), last)) }
        return (found, looks)
    }

    @Test(arguments: [(1, 400_000), (10, 400_000), (20, 1_000_000), (30, 2_000_000)])
    func `I13: a frozen picture is found within 30 s of its last change, and so is its end`(
        keyInterval: Int, bitRate: Int
    ) async throws {
        let camera = Camera(keyInterval: keyInterval, bitRate: bitRate)
        let (found, looks) = await Self.findings(try Self.stream(camera, seconds: 110, frozen: 20..<80))
        try #require(found.count == 2)
        #expect(found[0].at <= WallTime(seconds: 50) && !found[0].1.isOver)
        #expect(found[0].1.range.start >= WallTime(seconds: 19))
        #expect(found[1].1.isOver && found[1].1.event == found[0].1.event)
        #expect(found[1].1.range.start == found[0].1.range.start)
        // A key frame at the beginning of what moves again still shows the old picture.
        #expect((WallTime(seconds: 70)...WallTime(seconds: 81)).contains(found[1].1.range.end))
        #expect(looks >= 3)
    }

    @Test func `a room in which nothing happens is not frozen, and costs no decoding`() async throws {
        let (found, looks) = await Self.findings(try Self.stream(Camera(), seconds: 80, frozen: 0..<0))
        #expect(found.isEmpty && looks == 0)
    }

    @Test func `a stream of key frames alone is looked at, and is frozen only where its pictures are`() async throws {
        let camera = Camera(keyInterval: 1, bitRate: 1_000_000)
        let (found, looks) = await Self.findings(try Self.stream(camera, seconds: 60, frozen: 0..<0))
        #expect(found.isEmpty && looks >= 10)
    }

    @Test func `I13: what goes on is told again now and then, so that little is lost when nobody can tell its end`()
        async throws
    {
        let camera = Camera(rate: 1, keyInterval: 5, bitRate: 400_000)
        let (found, _) = await Self.findings(try Self.stream(camera, seconds: 1900, frozen: 0..<1900))
        #expect(found.count == 5 && Set(found.map(\.1.event)).count == 1)
        #expect(found.map(\.1.isOver) == [false, false, false, false, true])
        #expect(
            zip(found, found.dropFirst()).allSatisfy {
                $0.1.range.end < $1.1.range.end && $0.1.range.start == $1.1.range.start
            })
    }

    @Test func `what cannot be decoded says nothing`() async throws {
        var units = try Self.stream(Camera(), seconds: 40, frozen: 0..<40)
        for place in units.indices where units[place].unit.isKey { units[place].unit.data = [0, 0, 0, 2, 0x65, 0x80] }
        let (found, _) = await Self.findings(units)
        #expect(found.isEmpty)
    }

    @Test func `two pictures of other sizes are never the same`() {
        func grid(_ width: Int, _ height: Int, level: UInt8 = 0) -> PictureGrid {
            PictureGrid(width: width, height: height, luma: [UInt8](repeating: level, count: width * height))
        }
        #expect(grid(640, 480).isSame(as: grid(640, 480)))
        #expect(!grid(640, 480).isSame(as: grid(480, 640)))
        #expect(!grid(640, 480).isSame(as: grid(640, 480, level: 1)))
        #expect(!grid(0, 0).isSame(as: grid(0, 0)))
        let broken = PictureGrid(width: 640, height: 480, luma: [1])
        #expect(!broken.isSame(as: broken))
    }

    @Test func `I13: a frozen picture is one event in the ledger and on the time line, and recording goes on`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let units = try Self.stream(Camera(), seconds: 70, frozen: 10..<50)
        let id = CameraID.random()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let pipeline = Pipeline(
            camera: id, name: "hall", vault: vault, policy: Recorder.Policy(), lastRecorded: nil,
            time: temporary.time, logger: logger, statusChanged: {})
        let recording = Task { await pipeline.runRecorder() }
        let watching = Task { await pipeline.watchPicture() }
        await pipeline.connected(try #require(units.first).parameters)
        var frozen: WallTime?
        for unit in units {
            var unit = unit.unit
            unit.capturedWall = start + unit.capturedWall.microseconds
            // As a camera does it: the looks are worked off meanwhile.
            if unit.isKey { try await Task.sleep(for: .milliseconds(40)) }
            await pipeline.accept(unit)
            if frozen == nil { frozen = await pipeline.status.frozenSince }
        }
        #expect(await pipeline.status.frozenSince == nil)
        await pipeline.sourceEnded()
        pipeline.stop()
        await watching.value
        await recording.value
        #expect(await pipeline.recorder.counters.frames == UInt64(units.count))

        let whole = TimeRange(start, start + 100_000_000)
        let events = try await vault.events(camera: id, overlapping: whole)
        let event = try #require(events.first)
        #expect(events.count == 1 && event.label == .frozen && event.range.start == frozen)
        #expect((start + 9_000_000...start + 20_000_000).contains(event.range.start))
        #expect((start + 40_000_000...start + 51_000_000).contains(event.range.end))
        #expect(try await vault.events(camera: id, overlapping: TimeRange(start, start + 9_000_000)).isEmpty)
        #expect(try await vault.events(camera: .random(), overlapping: whole).isEmpty)
        #expect(try await vault.gaps(camera: id, overlapping: whole).isEmpty)
        var entries = 0
        try vault.ledger.replay(from: 0) { (_, entry) throws(VaultError) in
            if case .event = entry?.body { entries += 1 }
        }
        #expect(entries == 2)
        #expect(try await vault.verify().isClean)
        let rows = try vault.index.dump()
        await vault.close()
        _ = try await Vault.rebuildIndex(at: temporary.path)
        let again = try await temporary.open(.read)
        #expect(try again.index.dump().filter { !$0.hasPrefix("meta") } == rows.filter { !$0.hasPrefix("meta") })
        await again.close()
    }
}
