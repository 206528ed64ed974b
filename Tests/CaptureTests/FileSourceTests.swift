import Core
import Foundation
import Media
import TestKit
import Testing

@testable import Capture

@Suite(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg))) struct FileSourceTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func source(_ film: Film, loops: Bool = false) throws -> CameraSource {
        try CameraSource(testing: "file:\(film.path)?loop=\(loops ? 1 : 0)", time: HastyTime())
    }

    @Test func `a film that is shown once ends as over`() async throws {
        let heard = await Heard(try source(try Film("a.mp4", in: folder, bFrames: 2)))
        #expect(heard.isOver && heard.units.count == 50 && heard.connected.count == 1)
        #expect(heard.errors == [CaptureError(.ended, "")])
        #expect(heard.units.allSatisfy { !$0.isDamaged && $0.dts <= $0.pts })
    }

    @Test func `I3: a film with B-frames that loops keeps decoding times rising and every frame's place`() async throws
    {
        let heard = await Heard(try source(try Film("a.mp4", in: folder, bFrames: 2), loops: true), units: 120)
        #expect(heard.units.map(\.dts) == (0..<120).map { $0 * 3600 })
        #expect(heard.units[0..<50].map { $0.pts - $0.dts } == heard.units[50..<100].map { $0.pts - $0.dts })
        #expect(heard.connected.count == 1 && heard.errors.isEmpty)
    }

    @Test(arguments: ["a.mp4", "a.mkv", "a.ts"])
    func `a film that is cut short ends as damaged, says so, and is not begun anew`(name: String) async throws {
        let film = try Film("source.mp4", in: folder).copied(
            to: name, in: folder, options: ["-movflags", "+faststart"])
        let cut = try film.cut(to: try film.bytes().count * 3 / 4 | 1, name: "cut-" + name, in: folder)
        let heard = await Heard(try source(cut))
        #expect(heard.isOver && (10..<50).contains(heard.units.count))
        #expect(heard.errors == [CaptureError(.unusable, "")])
        #expect(heard.errors.first?.reason.contains("cut short") == true)
        #expect(heard.errors.first?.reason.contains("\(heard.units.count) frames came before") == true)
    }

    @Test func `a film that is cut short and loops is told so each time, and tried again`() async throws {
        let film = try Film("a.ts", in: folder, frames: 10)
        let cut = try film.cut(to: try film.bytes().count - 1, name: "cut.ts", in: folder)
        let heard = await Heard(try source(cut, loops: true), errors: 2)
        #expect(heard.errors == [CaptureError(.unusable, ""), CaptureError(.unusable, "")])
        #expect(heard.connected.count == 2)
    }

    @Test func `I12: a film without its index is unusable, one that is missing is unreachable; both are tried again`()
        async throws
    {
        let film = try Film("a.mp4", in: folder)
        let cut = try film.cut(to: try film.bytes().count / 2, name: "cut.mp4", in: folder)
        let unusable = await Heard(try source(cut), errors: 2)
        #expect(unusable.errors == [CaptureError(.unusable, ""), CaptureError(.unusable, "")] && !unusable.isOver)
        #expect(unusable.errors.first?.hint != nil)
        let missing = await Heard(try source(Film(path: folder.path + "/none.mp4")), errors: 2)
        #expect(missing.errors == [CaptureError(.unreachable, ""), CaptureError(.unreachable, "")])
    }

    @Test(arguments: [["-c:a", "aac", "-ar", "16000"], ["-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"]])
    func `I9: a film with sound delivers both on one clock, also when it begins anew`(sound: [String]) async throws {
        let film = try Film("a.mov", in: folder, sound: sound)
        let silent = try film.copied(to: "silent.mov", in: folder, options: ["-an"])
        let heard = await Heard(try source(film, loops: true), units: 150)
        let seen = await Heard(try source(silent, loops: true), units: 150)
        #expect(heard.units.map(\.data) == seen.units.map(\.data) && heard.units.map(\.pts) == seen.units.map(\.pts))
        #expect(Set(heard.sounds.map(\.parameters)).count == 1 && heard.soundLost.isEmpty)
        // Three rounds of two seconds, without a jump at the seams.
        let times = heard.sounds.map(\.frame.pts)
        let step = try #require(heard.sounds.first).frame.duration
        #expect(times.count >= Int(5.5 * 90_000 / Double(step)))
        let steps = zip(times, times.dropFirst()).map { $1 - $0 }
        #expect(steps.allSatisfy { $0 > -2 * step && $0 <= 2 * step }, "\(steps.min() ?? 0)…\(steps.max() ?? 0)")
        let way = try #require(times.last) - times[0]
        #expect(abs(way - (try #require(heard.units.last).pts - heard.units[0].pts)) < 45_000)
    }

    @Test func `a pipe, a device and a folder are refused before they can block`() async throws {
        _ = try outputOfProgram("mkfifo", [folder.path + "/pipe.mp4"])
        for path in [folder.path + "/pipe.mp4", "/dev/zero", folder.path] {
            let heard = await Heard(try source(Film(path: path)), errors: 1)
            #expect(heard.errors == [CaptureError(.unusable, "")], "\(path)")
        }
    }

    @Test func `a playlist by another name is refused`() async throws {
        let film = try Film("a.ts", in: folder)
        try folder.write(
            Array("#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\n\(film.path)\n#EXT-X-ENDLIST\n".utf8), to: "list.mp4")
        let heard = await Heard(try source(Film(path: folder.path + "/list.mp4")), errors: 1)
        #expect(heard.errors == [CaptureError(.unusable, "")] && heard.units.isEmpty)
    }

    @Test func `I6: damaged frames are marked, and the film goes on`() async throws {
        let film = try Film("a.ts", in: folder)
        var bytes = try film.bytes()
        bytes.removeSubrange(188 * 100..<188 * 103)
        try folder.write(bytes, to: "gap.ts")
        let heard = await Heard(try source(Film(path: folder.path + "/gap.ts")))
        #expect(heard.units.contains { $0.isDamaged } && heard.units.count >= 48)
        #expect(heard.errors == [CaptureError(.ended, "")])
    }

    @Test func `a new size in mid-film is told right before its key frame`() async throws {
        let small = try Film("small.ts", in: folder, frames: 25)
        let large = try Film("large.ts", in: folder, frames: 25, size: "640x360", options: ["-output_ts_offset", "1"])
        try folder.write(try small.bytes() + large.bytes(), to: "both.ts")
        let heard = await Heard(try source(Film(path: folder.path + "/both.ts")))
        #expect(heard.connected.map(\.width) == [320] && heard.units.count == 50)
        #expect(heard.changed.map(\.parameters.width) == [640])
        #expect(heard.changed.first.map { heard.units[$0.before].isKey && $0.before == 25 } == true)
    }

    /// From a file of somebody else's through source, clip, reader and export, and to somebody else's reader.
    @Test(arguments: ["libx264", "libx265"], [0, 2])
    func `P7: H.264 and H.265 films are recorded, read back and exported frame by frame`(
        codec: String, bFrames: Int
    ) async throws {
        let film = try Film("a.mp4", in: folder, codec: codec, bFrames: bFrames)
        let heard = await Heard(try source(film))
        let parameters = try #require(heard.connected.first)
        #expect(heard.units.count == 50 && parameters.codec == (codec == "libx265" ? .h265 : .h264))
        let identity = ClipIdentity(
            vault: .random(), camera: .random(), epoch: .random(), run: .random(), sequence: 1,
            start: WallTime(seconds: 1_764_000_000))
        var muxer = ClipMuxer(parameters: parameters, identity: identity, cameraName: "Flur")
        var clip = try muxer.start()
        for unit in heard.units { clip += try muxer.add(unit, dts: unit.dts, pts: unit.pts) ?? [] }
        clip += muxer.flush() ?? []
        clip += muxer.finish()
        let reader = try await ClipReader(ArraySource(clip))
        #expect(reader.parameters == parameters && reader.groups.count == 2)
        var samples: [ClipReader.Sample] = []
        for index in reader.groups.indices { samples += try await reader.samples(ofGroup: index) }
        #expect(samples.map(\.data) == heard.units.map(\.data))
        let movie = MovieWriter(
            descriptions: [parameters],
            samples: samples.map {
                MovieWriter.Sample(
                    byteCount: $0.data.count, duration: 3600, compositionOffset: $0.pts - $0.dts, isKey: $0.isKey,
                    description: 0)
            },
            editStart: samples.map(\.pts).min() ?? 0, editDuration: 50 * 3600)
        try folder.write(movie.header() + samples.flatMap(\.data), to: "export.mp4")
        let export = Film(path: folder.path + "/export.mp4")
        #expect(try export.codecName() == (codec == "libx265" ? "hevc" : "h264"))
        let times = try export.shownTimes()
        #expect(times.count == 50)
        for (index, time) in times.enumerated() { #expect(abs(time - Double(index) * 0.04) < 0.000_1) }
    }
}
