import Core
import TestKit
import Testing

@testable import Media

/// Clips with a second track: what is put in comes out, pictures are where they always were, and nothing of it is believed.
@Suite struct ClipSoundTests {
    static let telephone = Result { try SoundParameters(configuration: [0x15, 0x88]) }
    private let film: SyntheticClip
    private let parameters: SoundParameters

    private static let films = Result { try SyntheticClip(frames: 60, keyInterval: 20) }
    init() throws {
        film = try Self.films.get()
        parameters = try Self.telephone.get()
    }

    /// Frame number `n` of 128 ms.
    private static func frame(_ number: Int, at pts: Int64? = nil) -> SoundFrame {
        SoundFrame(
            data: (0..<40 + number % 7).map { UInt8(truncatingIfNeeded: $0 &* number) },
            pts: pts ?? Int64(number) * 11_520, duration: 11_520)
    }

    /// - Parameter late: how much later than its pictures sound comes, ticks.
    private func clip(late: Int64, frames: Int = 18) throws -> (bytes: [UInt8], frames: [SoundFrame]) {
        var muxer = ClipMuxer(
            parameters: film.parameters, sound: parameters, identity: film.identity, cameraName: "Küche")
        var bytes = try muxer.start()
        var sounds = (0..<frames).map { Self.frame($0) }[...]
        func hear(until time: Int64) {
            while let next = sounds.first, next.pts + late <= time {
                let taken = muxer.add(next)
                #expect(taken)
                sounds.removeFirst()
            }
        }
        for unit in film.units {
            hear(until: unit.dts)
            bytes += try muxer.add(unit, dts: unit.dts, pts: unit.pts) ?? []
        }
        bytes += muxer.flush(nextDTS: 60 * 3600) ?? []
        hear(until: .max)
        bytes += muxer.flushSound() ?? []
        return (bytes + muxer.finish(), (0..<frames).map { Self.frame($0) })
    }

    /// Early, with its pictures, late, and very late.
    @Test(arguments: [-45_000, 0, 23_040, 150_000])
    func `pictures and sound come back, in groups, wherever sound lay beside the pictures`(late: Int64) async throws {
        let (bytes, frames) = try clip(late: late)
        let reader = try await ClipReader(ArraySource(bytes))
        #expect(reader.sound == parameters && reader.parameters == film.parameters && reader.groups.count == 3)
        var pictures: [ClipReader.Sample] = []
        var sounds: [ClipReader.Sample] = []
        for index in reader.groups.indices {
            let whole = try await reader.contents(ofGroup: index)
            pictures += whole.video
            sounds += whole.sound
            let infos = try await reader.infos(ofGroup: index)
            #expect(infos.video.map(\.bytes.count) == whole.video.map(\.data.count))
            #expect(infos.sound.map(\.pts) == whole.sound.map(\.pts))
            #expect(infos.sound.map(\.bytes.count) == whole.sound.map(\.data.count))
            #expect(try await reader.samples(ofGroup: index).map(\.data) == whole.video.map(\.data))
            #expect(try await reader.sampleInfos(ofGroup: index) == infos.video)
            #expect(try await reader.soundSamples(ofGroup: index).map(\.data) == whole.sound.map(\.data))
        }
        #expect(pictures.map(\.data) == film.units.map(\.data) && pictures.map(\.dts) == film.units.map(\.dts))
        #expect(sounds.map(\.data) == frames.map(\.data) && sounds.map(\.pts) == frames.map(\.pts))
        // Early sound waits for its pictures.
        if late <= 0, let last = try await reader.infos(ofGroup: 0).sound.last {
            #expect(last.pts < reader.groups[1].startTicks)
        }
        // While it is written, and without its end, it is the same.
        let open = try await ClipReader(ArraySource(Array(bytes.dropLast(20))))
        #expect(open.groups.count == 3 && open.groups.map(\.startTicks) == reader.groups.map(\.startTicks))
        var heard = 0
        for index in open.groups.indices { heard += try await open.soundSamples(ofGroup: index).count }
        #expect(heard == frames.count)
    }

    @Test func `S1: a clip with sound that is cut anywhere gives every whole picture before the cut`() async throws {
        let (bytes, _) = try clip(late: 23_040)
        let whole = try await ClipReader(ArraySource(bytes))
        var infos: [ClipReader.SampleInfo] = []
        var sounds: [ClipReader.SampleInfo] = []
        for index in whole.groups.indices {
            let group = try await whole.infos(ofGroup: index)
            infos += group.video
            sounds += group.sound
        }
        let head = try #require(whole.groups.first?.bytes.lowerBound)
        for cut in stride(from: bytes.count - 1, to: head, by: -251) + (infos + sounds).map(\.bytes.upperBound) {
            let reader = try await ClipReader(ArraySource(Array(bytes[..<cut])))
            var listed: [ClipReader.SampleInfo] = []
            var heard: [ClipReader.SampleInfo] = []
            for index in reader.groups.indices {
                let group = try await reader.infos(ofGroup: index)
                listed += group.video
                heard += group.sound
                #expect(try await reader.contents(ofGroup: index).sound.count == group.sound.count)
            }
            #expect(listed == infos.filter { $0.bytes.upperBound <= cut }, "cut at \(cut)")
            // Of the sound at least what lies in whole fragments.
            #expect(heard.elementsEqual(sounds.prefix(heard.count)))
            #expect(heard.allSatisfy { $0.bytes.upperBound <= cut })
        }
    }

    @Test func `sound that has no place in a clip is refused, and holes keep their length`() async throws {
        var silent = ClipMuxer(parameters: film.parameters, identity: film.identity, cameraName: "x")
        let isTaken = silent.add(Self.frame(0))
        #expect(!isTaken)
        var muxer = ClipMuxer(parameters: film.parameters, sound: parameters, identity: film.identity, cameraName: "x")
        var bytes = try muxer.start()
        let times: [(pts: Int64, isTaken: Bool)] = [
            (-1, false), (0, true), (11_400, true), (11_390, true), (50_000, true), (30_000, false),
            (17 * 90_000, false),
        ]
        for (pts, isTaken) in times {
            let taken = muxer.add(Self.frame(1, at: pts))
            #expect(taken == isTaken, "\(pts)")
        }
        for data in [[], [UInt8](repeating: 0, count: 9000)] {
            let taken = muxer.add(SoundFrame(data: data, pts: 70_000, duration: 11_520))
            #expect(!taken)
        }
        // Without pictures no more than a bound waits.
        var taken = 0
        for number in 0..<400 {
            let frame = SoundFrame(data: [UInt8](repeating: 1, count: 6000), pts: 70_000 + Int64(number), duration: 90)
            if muxer.add(frame) { taken += 1 }
        }
        #expect((170...175).contains(taken))
        for unit in film.units { bytes += try muxer.add(unit, dts: unit.dts, pts: unit.pts) ?? [] }
        bytes += (muxer.flush() ?? []) + muxer.finish()
        let reader = try await ClipReader(ArraySource(bytes))
        let sounds = try await reader.soundSamples(ofGroup: 0)
        #expect(sounds.prefix(4).map(\.pts) == [0, 11_400, 11_401, 50_000])
        #expect(sounds.prefix(3).map(\.duration) == [11_400, 1, 38_599])
    }

    @Test func `hostile bytes in a clip with sound give pictures and sound, or a typed error`() async throws {
        let (bytes, _) = try clip(late: 23_040)
        try await hurt(bytes, seed: 19, rounds: 1200)
    }

    @Test func `what is wrong with the sound costs no picture`() async throws {
        let (bytes, frames) = try clip(late: 0)
        func places(_ type: String) -> [Int] {
            let wanted = Array(type.utf8)
            return bytes.indices.filter { bytes[$0...].starts(with: wanted) }
        }
        func read(_ bytes: [UInt8]) async throws -> (pictures: Int, sounds: Int) {
            let reader = try await ClipReader(ArraySource(bytes))
            var counts = (pictures: 0, sounds: 0)
            for index in reader.groups.indices {
                let contents = try await reader.contents(ofGroup: index)
                counts.pictures += contents.video.count
                counts.sounds += contents.sound.count
                #expect(try await reader.infos(ofGroup: index).sound.count == contents.sound.count)
            }
            return counts
        }
        #expect(try await read(bytes) == (60, frames.count))
        for type in ["esds", "mp4a", "soun"] {
            var broken = bytes
            for place in places(type) { broken[place] = 0x58 }
            #expect(try await read(broken) == (60, 0), "\(type)")
        }
        // Its configuration: another kind of AAC, or a descriptor that is longer than all of it.
        let configuration = Array(parameters.configuration)
        for (offset, value) in [(0, UInt8(0xF8)), (-1, 0x7F)] {
            var broken = bytes
            for place in places("esds") {
                let found = try #require((place..<place + 60).first { bytes[$0...].starts(with: configuration) })
                broken[found + offset] = value
            }
            #expect(try await read(broken) == (60, 0))
        }
        // In every fragment the second run of samples: more of them than there are bytes, sizes that are absurd, other flags.
        let runs = places("trun").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        for (offset, value) in [(8, UInt8(0x7F)), (20, 0x7F), (7, 0x05), (12, 0x7F)] {
            var broken = bytes
            for run in runs { broken[run + offset] = value }
            let counts = try await read(broken)
            #expect(counts.pictures == 60 && counts.sounds < frames.count, "\(offset)")
        }
    }
}
