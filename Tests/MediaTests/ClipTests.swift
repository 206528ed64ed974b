import Core
import Foundation
import Media
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

    @Test func `a clip without its end is read up to the last whole fragment`() async throws {
        let clip = try SyntheticClip(frames: 60, keyInterval: 20)
        let whole = try await ClipReader(ArraySource(clip.bytes))
        for cut in stride(from: clip.bytes.count - 1, to: 3000, by: -997) {
            let reader = try await ClipReader(ArraySource(Array(clip.bytes[..<cut])))
            #expect(reader.groups.count <= whole.groups.count)
            for index in reader.groups.indices { _ = try await reader.samples(ofGroup: index) }
        }
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
