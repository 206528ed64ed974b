import Core
import Media
import TestKit
import Testing

/// Frames that can be told apart after compression: eight bars, black or white, are the frame's number.
private struct NumberedVideo: Sendable {
    let parameters: CodecParameters
    let packets: [Encoder.Packet]
    static let (width, height) = (320, 240)

    init(frames: Int, keyInterval: Int, bFrames: Int) throws {
        let (width, height) = (Self.width, Self.height)
        let encoder = try Encoder(
            Encoder.Settings(
                width: width, height: height, rate: 25, keyInterval: keyInterval, bitRate: 500_000, bFrames: bFrames))
        let chroma = [UInt8](repeating: 128, count: width / 2 * (height / 2))
        var packets: [Encoder.Packet] = []
        for frame in 0..<frames {
            let row = (0..<width).map { UInt8(frame >> ($0 * 8 / width) & 1 == 1 ? 220 : 30) }
            let luma = [[UInt8]](repeating: row, count: height).flatMap { $0 }
            packets += try encoder.encode(luma: luma, cb: chroma, cr: chroma, pts: Int64(frame) * 3600)
        }
        packets += try encoder.finish()
        parameters = encoder.parameters
        self.packets = packets
    }

    static func number(of luma: [UInt8]) -> Int {
        (0..<8).reduce(0) { $0 | (luma[height / 2 * width + width * (2 * $1 + 1) / 16] > 128 ? 1 << $1 : 0) }
    }

    var samples: [MovieWriter.Sample] {
        packets.map {
            MovieWriter.Sample(
                byteCount: $0.data.count, duration: 3600, compositionOffset: $0.pts - $0.dts, isKey: $0.isKey,
                description: 0)
        }
    }
    var data: [UInt8] { packets.flatMap(\.data) }
}

@Suite(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg))) struct MovieWriterTests {
    private let folder: TemporaryFolder

    /// Encoded once.
    private static let plain = Result { try NumberedVideo(frames: 120, keyInterval: 40, bFrames: 0) }
    private static let reordered = Result { try NumberedVideo(frames: 120, keyInterval: 40, bFrames: 2) }

    init() throws { folder = try TemporaryFolder() }

    @Test(arguments: [0, 2], [0, 1, 37, 99])
    func `P7: an export shows exactly the frames asked for, wherever the key frames are`(
        bFrames: Int, first: Int
    ) throws {
        let video = try (bFrames == 0 ? Self.plain : Self.reordered).get()
        #expect(video.packets.count == 120)
        let last = min(119, first + 50)
        // From the key frame before, as an export does: decoding begins there, showing at the edit.
        let begin = try #require(video.packets.lastIndex { $0.isKey && $0.pts <= Int64(first) * 3600 })
        let base = video.packets[begin].dts
        let movie = MovieWriter(
            descriptions: [video.parameters], samples: Array(video.samples[begin...]),
            editStart: Int64(first) * 3600 - base, editDuration: Int64(last - first + 1) * 3600)
        let header = movie.header()
        let data = video.packets[begin...].flatMap(\.data)
        #expect(movie.dataByteCount == data.count)
        try folder.write(header + data, to: "export.mp4")
        let film = Film(path: folder.path + "/export.mp4")
        let shown = try film.shownLuma(width: NumberedVideo.width, height: NumberedVideo.height)
        #expect(shown.map(NumberedVideo.number) == Array(first...last))
        let times = try film.shownTimes()
        #expect(times.count == last - first + 1)
        for (index, time) in times.enumerated() { #expect(abs(time - Double(index) * 0.04) < 0.000_1) }
        #expect(abs(try film.durationSeconds() - Double(last - first + 1) * 0.04) < 0.001)
    }

    @Test func `the index stands in front of the data`() throws {
        let video = try NumberedVideo(frames: 10, keyInterval: 5, bFrames: 0)
        let movie = MovieWriter(
            descriptions: [video.parameters], samples: video.samples, editStart: 0, editDuration: 36_000)
        let header = movie.header()
        var types: [String] = []
        var reader = ByteReader(header)
        while let size = try? reader.u32(), let type = try? reader.take(4) {
            types.append(String(decoding: type, as: UTF8.self))
            guard size >= 8, (try? reader.skip(Int(size) - 8)) != nil else { break }
        }
        #expect(types == ["ftyp", "moov", "mdat"])
        // A 64-bit size, which counts its own 16 bytes.
        let size = header.suffix(8).reduce(0) { $0 << 8 | Int($1) }
        #expect(size == video.data.count + 16)
    }

    @Test func `a change of size in mid-export plays on`() throws {
        let small = try SyntheticClip(frames: 50, keyInterval: 25)
        let large = try SyntheticClip(frames: 50, keyInterval: 25, width: 640, height: 360)
        let samples = [small, large].enumerated().flatMap { description, clip in
            clip.units.map {
                MovieWriter.Sample(
                    byteCount: $0.data.count, duration: 3600, compositionOffset: 0, isKey: $0.isKey,
                    description: description)
            }
        }
        let movie = MovieWriter(
            descriptions: [small.parameters, large.parameters], samples: samples, editStart: 0, editDuration: 360_000)
        try folder.write(movie.header() + (small.units + large.units).flatMap(\.data), to: "export.mp4")
        let film = Film(path: folder.path + "/export.mp4")
        #expect(try film.decodedFrames() == 100)
        #expect(abs(try film.durationSeconds() - 4) < 0.001)
    }

    @Test func `beyond 4 GiB offsets are long`() throws {
        let video = try NumberedVideo(frames: 1, keyInterval: 1, bFrames: 0)
        let samples = (0..<200).map { _ in
            MovieWriter.Sample(byteCount: 60 << 20, duration: 90_000, compositionOffset: 0, isKey: true, description: 0)
        }
        let movie = MovieWriter(
            descriptions: [video.parameters], samples: samples, editStart: 0, editDuration: 200 * 90_000)
        let header = movie.header()
        let type = Array("co64".utf8)
        let place = try #require(header.indices.first { header[$0...].starts(with: type) })
        // Type, version and flags, count, then eight bytes for each chunk.
        let last = header[(place + 12 + 199 * 8)...].prefix(8).reduce(0) { $0 << 8 | Int($1) }
        #expect(last == header.count + 199 * (60 << 20))
    }
}
