import Core
import Media
import TestKit
import Testing

@Suite(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg))) struct H265Tests {
    private let folder: TemporaryFolder
    private let codec: Codec
    private let frames: [CodedFrame]
    private let parameters: CodecParameters

    init() throws {
        folder = try TemporaryFolder()
        let film = try Film("source.mp4", in: folder, size: "640x360", codec: "libx265", bFrames: 2)
        (codec, frames) = try film.codedFrames()
        parameters = try #require(frames.first?.newParameters)
    }

    private func clip() throws -> [UInt8] {
        let identity = ClipIdentity(
            vault: .random(), camera: .random(), epoch: .random(), run: .random(), sequence: 1,
            start: WallTime(seconds: 1_764_000_000))
        var muxer = ClipMuxer(parameters: parameters, identity: identity, cameraName: "Flur")
        var bytes = try muxer.start()
        let base = frames[0].dts
        for frame in frames {
            let unit = AccessUnit(
                codec: codec, data: frame.data, isKey: frame.isKey, dts: frame.dts, pts: frame.pts,
                capturedWall: identity.start, capturedMonotonic: MonotonicTime(microseconds: 0))
            bytes += try muxer.add(unit, dts: frame.dts - base, pts: frame.pts - base) ?? []
        }
        bytes += muxer.flush() ?? []
        return bytes + muxer.finish()
    }

    @Test func `a film of H.265 is read, and its parameters are told`() throws {
        #expect(codec == .h265 && frames.count == 50 && frames.filter(\.isKey).count == 2)
        #expect(parameters.width == 640 && parameters.height == 360 && parameters.reorderFrames >= 1)
        #expect(parameters.codecString.hasPrefix("hvc1.1.6.L"))
        #expect(parameters.vps.count == 1 && parameters.sps.count == 1 && parameters.pps.count >= 1)
        #expect(try CodecParameters(codec: .h265, extradata: parameters.hvcC()) == parameters)
        #expect(try CodecParameters(codec: .h265, extradata: parameters.annexB) == parameters)
        #expect(parameters.avcC().isEmpty)
    }

    @Test(arguments: ["a.mkv", "a.ts"]) func `other containers give the same frames`(name: String) throws {
        let other = try Film(path: folder.path + "/source.mp4").copied(to: name, in: folder).codedFrames()
        #expect(other.codec == .h265 && other.frames.count == 50)
        #expect(other.frames[0].newParameters == parameters)
        #expect(other.frames.filter { $0.newParameters != nil }.count == 1)
        let pictures = { (frame: CodedFrame) in NALUnits(frame.data).filter(H265NAL.isPicture).map(Array.init) }
        for (a, b) in zip(frames, other.frames) {
            #expect(pictures(a) == pictures(b) && a.isKey == b.isKey)
            #expect(abs((a.pts - frames[0].pts) - (b.pts - other.frames[0].pts)) <= 90)
        }
    }

    @Test func `a clip of H.265 gives back what was put into it`() async throws {
        let bytes = try clip()
        let reader = try await ClipReader(ArraySource(bytes))
        #expect(reader.parameters == parameters && reader.groups.count == 2)
        var read: [ClipReader.Sample] = []
        for index in reader.groups.indices { read += try await reader.samples(ofGroup: index) }
        #expect(read.map(\.data) == frames.map(\.data) && read.map(\.isKey) == frames.map(\.isKey))
        #expect(read.map { $0.pts - $0.dts } == frames.map { $0.pts - $0.dts })
        try folder.write(bytes, to: "clip.mp4")
        let film = Film(path: folder.path + "/clip.mp4")
        #expect(try film.decodedFrames() == 50 && film.codecName() == "hevc")
    }

    @Test func `P7: an export of H.265 shows exactly the frames asked for`() throws {
        let base = frames[0].dts
        let samples = frames.map {
            MovieWriter.Sample(
                byteCount: $0.data.count, duration: 3600, compositionOffset: $0.pts - $0.dts, isKey: $0.isKey,
                description: 0)
        }
        // Frames 7 to 36 of 50, in the order of showing.
        let start = frames[0].pts + 7 * 3600 - base
        let movie = MovieWriter(
            descriptions: [parameters], samples: samples, editStart: start, editDuration: 30 * 3600)
        try folder.write(movie.header() + frames.flatMap(\.data), to: "export.mp4")
        let film = Film(path: folder.path + "/export.mp4")
        #expect(try film.codecName() == "hevc")
        let times = try film.shownTimes()
        #expect(times.count == 30)
        for (index, time) in times.enumerated() { #expect(abs(time - Double(index) * 0.04) < 0.000_1) }
    }

    @Test func `the decoder reads what the demuxer gives`() throws {
        let decoder = try Decoder(parameters)
        var pictures = 0
        for frame in frames {
            pictures += try decoder.decode(frame.data, isKey: frame.isKey, pts: frame.pts).count
        }
        pictures += try decoder.decode([], isKey: false, pts: 0).count
        #expect(pictures == 50)
    }

    @Test func `hostile bytes in a clip of H.265 give samples or a typed error`() async throws {
        try await hurt(try clip(), seed: 21, rounds: 500)
    }
}
