import Core
import Media
import TestKit
import Testing

/// No bytes may trap; whatever goes wrong is a `MediaError`.
@Suite struct HostileBytesTests {
    @Test func `hostile bytes in a clip give samples or a typed error`() async throws {
        let clip = try SyntheticClip(frames: 30, keyInterval: 10)
        try await hurt(clip.bytes, seed: 7, rounds: 1200)
    }

    @Test func `random parameter sets are read or refused`() throws {
        var generator = SeededGenerator(seed: 11)
        let parameters = try SyntheticClip(frames: 1, keyInterval: 1).parameters
        for round in 0..<8_000 {
            var record = parameters.avcC()
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                record[Int.random(in: record.indices, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            if round % 3 == 0 { record.removeLast(Int.random(in: 0..<record.count, using: &generator)) }
            _ = try? CodecParameters(codec: .h264, extradata: record)
            _ = try? CodecParameters(codec: .h265, extradata: record)
            let noise = (0..<Int.random(in: 0...80, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? CodecParameters(codec: .h264, units: [[0x67] + noise, [0x68, 1]])
            _ = try? CodecParameters(codec: .h265, units: [[0x40, 1], [0x42, 1] + noise, [0x44, 1]])
            _ = try? CodecParameters(codec: .h265, extradata: noise)
            for unit in NALUnits(noise, lengthSize: round % 5) { #expect(!unit.isEmpty) }
        }
    }
}

/// Flips bytes where parsers can be hurt, cuts, doubles and joins pieces, and reads everything there is to read.
func hurt(_ clip: [UInt8], seed: UInt64, rounds: Int) async throws {
    var generator = SeededGenerator(seed: seed)
    var (good, refused) = (0, 0)
    for round in 0..<rounds {
        var bytes = clip
        for _ in 0..<Int.random(in: 1...6, using: &generator) {
            let place =
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: Int.random(in: 0..<min(1400, bytes.count), using: &generator)
                case 1: bytes.count - 1 - Int.random(in: 0..<min(200, bytes.count), using: &generator)
                default: Int.random(in: bytes.indices, using: &generator)
                }
            bytes[place] =
                [0, 0xFF, 0x7F, 0x80, .random(in: 0...255, using: &generator)][
                    Int.random(in: 0..<5, using: &generator)]
        }
        if round % 5 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
        if round % 7 == 0 {
            let start = Int.random(in: 0..<clip.count, using: &generator)
            bytes.insert(contentsOf: clip[start..<min(clip.count, start + 500)], at: min(bytes.count, start))
        }
        // Typed: whatever goes wrong is a MediaError.
        do throws(MediaError) {
            let reader = try await ClipReader(ArraySource(bytes))
            for index in reader.groups.indices.prefix(50) {
                _ = try await reader.samples(ofGroup: index)
                _ = try await reader.infos(ofGroup: index)
                _ = try await reader.contents(ofGroup: index)
            }
            for index in reader.groups.indices.prefix(3) { _ = try? await reader.soundSamples(ofGroup: index) }
            good += 1
        } catch {
            refused += 1
        }
    }
    // Both happen, or the bytes were not hostile enough or too much so.
    #expect(good > 0 && refused > 0)
}
