import Core
import Foundation
import TestKit
import Testing

@testable import Media

@Suite(.enabled(if: hasFFmpeg, Comment(rawValue: needsFFmpeg))) struct DemuxerTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// What reading to the end gives: frames that came, frames that were damaged, how it ended (nil: it is over).
    private func read(_ film: Film) -> (frames: Int, damaged: Int, error: MediaError?) {
        var counts = (frames: 0, damaged: 0)
        do throws(MediaError) {
            let demuxer = try Demuxer(
                url: "file:" + film.path, source: .file, interrupt: InterruptFlag(), timeout: 60_000_000)
            while let item = try demuxer.next() {
                guard case .video(let frame) = item else { continue }
                counts.frames += 1
                if frame.isDamaged { counts.damaged += 1 }
            }
            return (counts.frames, counts.damaged, nil)
        } catch {
            return (counts.frames, counts.damaged, error)
        }
    }

    @Test(
        arguments: ["a.mp4", "a.mov", "a.mkv", "a.ts", "a.flv"], [0, 2])
    func `I3: every frame comes, decoding times rise and are never behind the time of showing`(
        name: String, bFrames: Int
    ) throws {
        let film = try Film("source.mp4", in: folder, bFrames: bFrames).copied(to: name, in: folder)
        let (codec, frames) = try film.codedFrames()
        #expect(codec == .h264 && frames.count == 50)
        #expect(frames.filter(\.isKey).count == 2 && frames[0].isKey)
        #expect(frames.filter { $0.newParameters != nil }.count == 1)
        #expect(frames[0].newParameters?.width == 320)
        #expect(frames.allSatisfy { !$0.isDamaged && $0.dts <= $0.pts })
        for (a, b) in zip(frames, frames.dropFirst()) { #expect(b.dts > a.dts) }
        let shown = frames.map(\.pts).sorted()
        for (a, b) in zip(shown, shown.dropFirst()) { #expect((3500...3700).contains(b - a)) }
    }

    @Test(arguments: ["a.mp4", "fragments.mp4", "a.mkv", "live.mkv", "a.ts", "a.avi", "a.flv"])
    func `a file that is cut short is not taken for one that is over`(name: String) throws {
        let options = [
            "a.mp4": ["-movflags", "+faststart"], "fragments.mp4": ["-movflags", "frag_keyframe+empty_moov"],
            "live.mkv": ["-live", "1"],
        ]
        let film = try Film("source.mp4", in: folder, keyInterval: 10).copied(
            to: name, in: folder, options: options[name] ?? [])
        let whole = read(film)
        #expect(whole.frames == 50 && whole.damaged == 0 && whole.error == nil)
        let bytes = try film.bytes()
        for tenths in 4...9 {
            // Odd, so that no MPEG-TS packet ends here; what ends between two packets cannot be told from a whole one.
            let cut = try film.cut(to: (bytes.count * tenths / 10) | 1, name: "cut-" + name, in: folder)
            let result = read(cut)
            #expect(result.error == MediaError(.truncated, ""), "\(tenths) tenths")
            #expect((5..<50).contains(result.frames))
        }
    }

    @Test func `a film whose index is missing is malformed, not unreachable`() throws {
        let film = try Film("a.mp4", in: folder)
        let cut = try film.cut(to: try film.bytes().count / 2, name: "cut.mp4", in: folder)
        #expect(read(cut).error == MediaError(.malformed, ""))
        #expect(read(cut).error?.hint != nil)
        try folder.write([], to: "empty.mp4")
        try folder.write(patternBytes(200_000), to: "noise.mp4")
        for name in ["empty.mp4", "noise.mp4"] {
            let error = read(Film(path: folder.path + "/" + name)).error
            #expect(error == MediaError(.malformed, "") || error == MediaError(.unsupported, ""))
        }
        #expect(read(Film(path: folder.path + "/none.mp4")).error == MediaError(.openFailed, ""))
    }

    @Test func `a packet that is missing in mid-stream is reported, and the rest comes`() throws {
        let film = try Film("a.ts", in: folder)
        var bytes = try film.bytes()
        bytes.removeSubrange(188 * 100..<188 * 103)
        try folder.write(bytes, to: "gap.ts")
        let result = read(Film(path: folder.path + "/gap.ts"))
        #expect(result.damaged >= 1 && result.frames >= 48 && result.error == nil)
    }

    @Test func `lengths that make no sense cost their frame, which is reported`() throws {
        let film = try Film("a.mp4", in: folder, options: ["-movflags", "+faststart"])
        var bytes = try film.bytes()
        let (_, frames) = try film.codedFrames()
        // The tenth frame's own bytes, found by its content; its first length becomes absurd.
        let wanted = frames[9].data
        let place = try #require(
            (0..<bytes.count - wanted.count).first {
                bytes[$0 + 4] == wanted[4] && bytes[$0..<$0 + wanted.count].elementsEqual(wanted)
            })
        bytes[place] = 0xFF
        try folder.write(bytes, to: "bad.mp4")
        let result = read(Film(path: folder.path + "/bad.mp4"))
        #expect(result.frames == 49 && result.damaged == 1 && result.error == nil)
    }

    @Test func `random bytes in a film give frames or a typed error`() throws {
        var generator = SeededGenerator(seed: 5)
        for name in ["a.mp4", "a.mkv", "a.ts", "a.flv", "a.h264"] {
            let film = try Film("source.mp4", in: folder, frames: 12, keyInterval: 6).copied(to: name, in: folder)
            let whole = try film.bytes()
            for round in 0..<60 {
                var bytes = whole
                for _ in 0..<Int.random(in: 1...12, using: &generator) {
                    let limit = Bool.random(using: &generator) ? min(2000, bytes.count) : bytes.count
                    bytes[Int.random(in: 0..<limit, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
                }
                if round % 4 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
                try folder.write(bytes, to: "hostile-" + name)
                _ = read(Film(path: folder.path + "/hostile-" + name))
            }
        }
    }

    @Test func `nothing inside a file makes it open other files or addresses`() throws {
        let film = try Film("a.ts", in: folder)
        let other = film.path
        try folder.write(patternBytes(500), to: "img1.png")
        let lists = [
            "list.ffconcat": "ffconcat version 1.0\nfile '\(other)'\n",
            "list.m3u8":
                "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\n\(other)\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
            // The name says MP4, the content is a playlist.
            "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2,\nfile:\(other)\n#EXT-X-ENDLIST\n",
            "list.sdp":
                "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
            "list.mpd":
                "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"><Period><BaseURL>\(other)</BaseURL></Period></MPD>",
        ]
        for (name, text) in lists {
            try folder.write(Array(text.utf8), to: name)
            let result = read(Film(path: folder.path + "/" + name))
            #expect(result.frames == 0 && result.error == MediaError(.malformed, ""), "\(name)")
        }
        for path in ["img%d.png", "a.ts|b.ts", "concat:a.ts"] {
            #expect(read(Film(path: folder.path + "/" + path)).error != nil, "\(path)")
        }
    }

    @Test func `a new size in mid-film is told with its first key frame`() throws {
        let small = try Film("small.ts", in: folder, frames: 25)
        let large = try Film("large.ts", in: folder, frames: 25, size: "640x360", options: ["-output_ts_offset", "1"])
        try folder.write(try small.bytes() + large.bytes(), to: "both.ts")
        // One file with two sample descriptions: the container tells the second as side data.
        let (_, first) = try small.codedFrames()
        let (_, second) = try large.codedFrames()
        let parameters = [try #require(first[0].newParameters), try #require(second[0].newParameters)]
        var samples: [MovieWriter.Sample] = []
        for (index, frame) in (first + second).enumerated() {
            samples.append(
                MovieWriter.Sample(
                    byteCount: frame.data.count, duration: 3600, compositionOffset: 0, isKey: frame.isKey,
                    description: index < first.count ? 0 : 1))
        }
        let movie = MovieWriter(
            descriptions: parameters, samples: samples, editStart: 0, editDuration: Int64(samples.count) * 3600)
        try folder.write(movie.header() + (first + second).flatMap(\.data), to: "both.mp4")
        for name in ["both.ts", "both.mp4"] {
            let frames = try Film(path: folder.path + "/" + name).codedFrames().frames
            #expect(frames.count == 50)
            let told = frames.indices.filter { frames[$0].newParameters != nil }
            #expect(told == [0, 25], "\(name)")
            #expect(told.map { frames[$0].newParameters?.width } == [320, 640] && told.allSatisfy { frames[$0].isKey })
        }
    }

    @Test func `sets that only the container carries are enough`() throws {
        let film = try Film("a.mkv", in: folder)
        let (_, frames) = try film.codedFrames()
        for frame in frames {
            for unit in NALUnits(frame.data) { #expect(H264NAL.type(unit) != H264NAL.sps) }
        }
        #expect(frames.count == 50 && frames[0].newParameters?.width == 320)
    }

    @Test func `B-frames without times of showing are refused, not shown in the wrong order`() throws {
        let film = try Film("a.mp4", in: folder, bFrames: 2).copied(to: "a.avi", in: folder)
        #expect(read(film).error == MediaError(.unsupported, ""))
        let plain = try Film("b.mp4", in: folder).copied(to: "b.avi", in: folder)
        #expect(read(plain).error == nil && read(plain).frames == 50)
    }

    @Test func `an interrupted demuxer says so`() throws {
        let film = try Film("a.mp4", in: folder, frames: 5)
        let interrupt = InterruptFlag()
        let demuxer = try Demuxer(
            url: "file:" + film.path, source: .file, interrupt: interrupt, timeout: 60_000_000)
        interrupt.interrupt()
        #expect(throws: MediaError(.interrupted, "")) { _ = try demuxer.next() }
    }
}

@Suite struct ContainerExtentTests {
    private func isWhole(_ kind: ContainerExtent.Kind, _ bytes: [UInt8], size: Int? = nil) -> Bool {
        ContainerExtent(kind: kind, fileSize: Int64(size ?? bytes.count)) { offset, count in
            guard offset >= 0, offset < bytes.count else { return [] }
            return Array(bytes[Int(offset)..<min(bytes.count, Int(offset) + count)])
        }.isWhole
    }

    /// ISO/IEC 14496-12 section 4.2: size, type; size 1: eight more bytes hold it; size 0: to the end.
    @Test func `boxes`() {
        let ftyp: [UInt8] = [0, 0, 0, 12] + Array("ftypisom".utf8)
        #expect(isWhole(.boxes, ftyp))
        #expect(!isWhole(.boxes, ftyp + [0, 0, 0, 9] + Array("mdat".utf8)))
        #expect(isWhole(.boxes, ftyp + [0, 0, 0, 0] + Array("mdat".utf8) + [1, 2, 3]))
        #expect(isWhole(.boxes, ftyp + [0, 0, 0, 1] + Array("mdat".utf8) + [0, 0, 0, 0, 0, 0, 0, 17, 5]))
        #expect(!isWhole(.boxes, ftyp + [0, 0, 0, 1] + Array("mdat".utf8) + [0, 0, 0, 0, 0, 0, 0, 18, 5]))
        #expect(!isWhole(.boxes, ftyp + [0, 0, 0, 1] + Array("mdat".utf8) + [255, 255, 255, 255, 255, 255, 255, 255]))
        #expect(!isWhole(.boxes, ftyp + [0, 0, 0, 1] + Array("mdat".utf8)))
        // What follows the film and is no box does not matter.
        #expect(isWhole(.boxes, ftyp + [0, 0]) && isWhole(.boxes, ftyp + [0, 0, 0, 3] + Array("mdat".utf8)))
    }

    /// RFC 8794 sections 5 and 6: id, size with its length in the first byte's zeros; all ones: unknown.
    @Test func `Matroska`() {
        let header: [UInt8] = [0x1A, 0x45, 0xDF, 0xA3, 0x81, 0]
        let segment: [UInt8] = [0x18, 0x53, 0x80, 0x67]
        let cluster: [UInt8] = [0x1F, 0x43, 0xB6, 0x75]
        #expect(isWhole(.matroska, header + segment + [0x82, 1, 2]))
        #expect(!isWhole(.matroska, header + segment + [0x83, 1, 2]))
        #expect(isWhole(.matroska, header + segment + [0x01, 0, 0, 0, 0, 0, 0, 1, 9]))
        #expect(isWhole(.matroska, header + segment + [0xFF] + cluster + [0x81, 7] + cluster + [0x81, 7]))
        #expect(!isWhole(.matroska, header + segment + [0xFF] + cluster + [0x81, 7] + cluster + [0x88, 7]))
        #expect(isWhole(.matroska, header + segment + [0xFF] + cluster + [0xFF, 7]))
        #expect(!isWhole(.matroska, [0x1A, 0x45, 0xDF, 0xA3, 0x8F, 0]))
    }

    @Test func `transport streams of every packet size`() {
        for (size, sync) in [(188, 0), (192, 4), (204, 0)] {
            var packet = [UInt8](repeating: 0xAA, count: size)
            packet[sync] = 0x47
            let stream = packet + packet + packet + packet
            #expect(isWhole(.transportStream, stream))
            #expect(!isWhole(.transportStream, Array(stream.dropLast())))
        }
        #expect(isWhole(.transportStream, [1, 2, 3]))
    }

    /// RIFF: little-endian size without the eight bytes of its head; OpenDML has several.
    @Test func `AVI`() {
        let riff = Array("RIFF".utf8)
        #expect(isWhole(.riff, riff + [4, 0, 0, 0] + Array("AVI ".utf8)))
        #expect(!isWhole(.riff, riff + [5, 0, 0, 0] + Array("AVI ".utf8)))
        #expect(!isWhole(.riff, riff + [4, 0, 0, 0] + Array("AVI ".utf8) + riff + [9, 0, 0, 0] + Array("AVIX".utf8)))
    }

    @Test func `random bytes are whole or not`() {
        var generator = SeededGenerator(seed: 3)
        for kind in [ContainerExtent.Kind.boxes, .matroska, .transportStream, .riff] {
            for _ in 0..<3000 {
                var bytes = (0..<Int.random(in: 0...64, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                if kind == .matroska { bytes = [0x1A, 0x45, 0xDF, 0xA3, 0x81, 0, 0x18, 0x53, 0x80, 0x67] + bytes }
                if kind == .riff { bytes = Array("RIFF".utf8) + bytes }
                _ = isWhole(kind, bytes, size: Int.random(in: 0...Int.max, using: &generator))
            }
        }
    }
}
