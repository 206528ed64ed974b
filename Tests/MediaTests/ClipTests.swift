import Core
import Foundation
import Media
import Synchronization
import TestKit
import Testing

@Suite struct ClipTests {
    @Test func `a clip gives back what was put into it`() async throws {
        let clip = try SyntheticClip(frames: 60, keyInterval: 20)
        let reader = try await ClipReader(ArraySource(clip.bytes))
        #expect(reader.identity == clip.identity)
        #expect(reader.cameraName == "Küche")
        #expect(reader.parameters == clip.parameters)
        #expect(reader.groups.count == 3)
        var read: [ClipReader.Sample] = []
        for index in reader.groups.indices { read += try await reader.samples(ofGroup: index) }
        #expect(read.map(\.data) == clip.units.map(\.data))
        #expect(read.map(\.dts) == clip.units.indices.map { Int64($0) * 3600 })
        #expect(read.filter(\.isKey).count == 3)
        #expect(reader.groupIndex(showing: 25 * 3600) == 1)
    }

    /// Every sample that lies whole before the cut, and no other: a kill loses no frame that reached the disk.
    @Test func `S1: a clip without its end is read up to its last whole frame`() async throws {
        let clip = try SyntheticClip(frames: 60, keyInterval: 20)
        let whole = try await ClipReader(ArraySource(clip.bytes))
        var infos: [ClipReader.SampleInfo] = []
        for index in whole.groups.indices { infos += try await whole.sampleInfos(ofGroup: index) }
        // Where the first fragment begins; before that there is no clip.
        let head = try #require(whole.groups.first?.bytes.lowerBound)
        for cut in stride(from: clip.bytes.count - 1, to: head, by: -251) + infos.map(\.bytes.upperBound) {
            let reader = try await ClipReader(ArraySource(Array(clip.bytes[..<cut])))
            var read: [ClipReader.Sample] = []
            var listed: [ClipReader.SampleInfo] = []
            for index in reader.groups.indices {
                read += try await reader.samples(ofGroup: index)
                listed += try await reader.sampleInfos(ofGroup: index)
            }
            let expected = infos.filter { $0.bytes.upperBound <= cut }
            #expect(listed == expected, "cut at \(cut)")
            #expect(read.map(\.data) == expected.map { Array(clip.bytes[$0.bytes]) })
        }
    }

    @Test func `a growing clip is followed from frame to frame, none read twice`() async throws {
        let clip = try SyntheticClip(frames: 60, keyInterval: 20)
        let whole = try await ClipReader(ArraySource(clip.bytes))
        let head = try #require(whole.groups.first?.bytes.lowerBound)
        let source = GrowingSource(clip.bytes, count: head)
        var reader = try await ClipReader(source)
        #expect(reader.groups.isEmpty)
        var listed: [ClipReader.SampleInfo] = []
        while source.count < clip.bytes.count {
            source.grow(by: 613)
            try await reader.refresh()
            listed = []
            for index in reader.groups.indices { listed += try await reader.sampleInfos(ofGroup: index) }
            #expect(listed.last.map { $0.bytes.upperBound <= source.count } ?? true)
        }
        #expect(listed.count == 60)
        #expect(reader.groups.map(\.startTicks) == whole.groups.map(\.startTicks))
        #expect(reader.groups.allSatisfy { !$0.isCut })
    }

    @Test func `ffprobe counts the same frames`() async throws {
        let clip = try SyntheticClip(frames: 60, keyInterval: 20)
        let folder = try TemporaryFolder()
        try folder.write(clip.bytes, to: "clip.mp4")
        let counted = String(
            decoding: try outputOfProgram(
                "ffprobe",
                [
                    "-v", "error", "-count_frames", "-show_entries",
                    "stream=nb_read_frames", "-of", "csv=p=0",
                    folder.path + "/clip.mp4",
                ]), as: UTF8.self)
        #expect(counted.trimmingCharacters(in: .whitespacesAndNewlines) == "60")
    }
}

/// A clip that is being written.
private final class GrowingSource: ByteSource {
    private let bytes: [UInt8]
    private let available: Mutex<Int>

    init(_ bytes: [UInt8], count: Int) {
        self.bytes = bytes
        available = Mutex(count)
    }

    var count: Int { available.withLock { $0 } }
    func grow(by step: Int) { available.withLock { $0 = min(bytes.count, $0 + step) } }
    func read(at offset: Int, count: Int) async throws -> [UInt8] {
        Array(bytes[offset..<min(self.count, offset + count)])
    }
}
