import Core
import Media
import TestKit
import Testing

/// By reference, for use inside `#expect`.
private final class Feed {
    private var assembler: AccessUnitAssembler
    init(codec: Codec, extradata: [UInt8] = [], timing: AccessUnitAssembler.Timing = .container) {
        assembler = AccessUnitAssembler(codec: codec, extradata: extradata, timing: timing)
    }
    var parameters: CodecParameters? { assembler.parameters }
    var lacksParameters: Bool { assembler.lacksParameters }
    func learn(extradata: [UInt8]) { assembler.learn(extradata: extradata) }
    func assemble(
        _ packet: [UInt8], dts: Int64? = nil, pts: Int64? = nil, duration: Int64 = 0, isCorrupt: Bool = false
    ) -> CodedFrame? {
        assembler.assemble(packet, dts: dts, pts: pts, duration: duration, isCorrupt: isCorrupt)
    }
}

@Suite struct AccessUnitAssemblerTests {
    private let small: SyntheticClip
    private let large: SyntheticClip

    /// Encoded once.
    private static let clips = Result {
        (
            small: try SyntheticClip(frames: 8, keyInterval: 4),
            large: try SyntheticClip(frames: 8, keyInterval: 4, width: 640, height: 360)
        )
    }

    init() throws { (small, large) = try Self.clips.get() }

    /// A unit as a camera sends it: in Annex B, with the sets in front if wanted.
    private func packet(_ clip: SyntheticClip, _ index: Int, sets: [[UInt8]]? = nil) -> [UInt8] {
        (sets ?? []).reduce(into: []) { $0 += [0, 0, 0, 1] + $1 } + AnnexB.join(lengthPrefixed: clip.units[index].data)
    }

    @Test func `I6: pictures before any parameter set are left out, and said to be useless`() {
        let assembler = Feed(codec: .h264)
        let early = assembler.assemble(packet(small, 1), dts: 0, pts: 0)
        #expect(early == nil && assembler.lacksParameters)
        let first = assembler.assemble(packet(small, 4, sets: small.parameters.units), dts: 1, pts: 1)
        #expect(first?.newParameters == small.parameters && first?.isKey == true && !assembler.lacksParameters)
    }

    @Test func `I6: sets in packets of their own join the next frame, empty units and trailing zeros do not`() throws {
        let assembler = Feed(codec: .h264)
        for set in small.parameters.units {
            let alone = assembler.assemble([0, 0, 1] + set + [0, 0, 1, 0, 0, 0, 1], dts: 0, pts: 0)
            #expect(alone == nil)
        }
        let frame = try #require(assembler.assemble(packet(small, 0) + [0, 0, 0], dts: 3600, pts: 3600))
        #expect(frame.newParameters == small.parameters)
        #expect(frame.data == NALUnits.lengthPrefixed(small.parameters.units.map { $0[...] }) + small.units[0].data)
        let next = try #require(assembler.assemble(packet(small, 1), dts: 7200, pts: 7200))
        #expect(next.data == small.units[1].data && next.newParameters == nil && !next.isKey)
    }

    @Test func `I6: a key frame without its sets is recorded untouched with the last known ones`() throws {
        let assembler = Feed(codec: .h264, extradata: small.parameters.annexB)
        for index in small.units.indices {
            let frame = try #require(assembler.assemble(packet(small, index), dts: 0, pts: 0))
            #expect(frame.data == small.units[index].data)
            #expect(frame.newParameters == (index == 0 ? small.parameters : nil))
        }
        #expect(assembler.parameters == small.parameters)
    }

    @Test func `I6: start codes inside length-prefixed data, and instead of it, are understood`() throws {
        let assembler = Feed(codec: .h264, extradata: small.parameters.avcC())
        let nested = NALUnits.lengthPrefixed([packet(small, 0)[...]])
        #expect(assembler.assemble(nested, dts: 0, pts: 0)?.data == small.units[0].data)
        let plain = try #require(assembler.assemble(packet(small, 1), dts: 3600, pts: 3600))
        #expect(plain.data == small.units[1].data && !plain.isDamaged)
    }

    @Test func `I6: broken sets in band change nothing`() throws {
        let assembler = Feed(codec: .h264, extradata: small.parameters.avcC())
        let broken: [[UInt8]] = [[0x67, 0x64, 0, 0x1E], [0x67], [0x68], [0x68, 0, 0]]
        let sets = NALUnits.lengthPrefixed(broken.map { $0[...] })
        let frame = try #require(assembler.assemble(sets + small.units[0].data, dts: 0, pts: 0))
        #expect(frame.newParameters == small.parameters)
        #expect(frame.data == sets + small.units[0].data)
    }

    @Test func `a new size is told with the first frame it applies to, once`() {
        let assembler = Feed(codec: .h264)
        let packets = [small, large].flatMap { clip in
            clip.units.indices.map { packet(clip, $0, sets: $0 % 4 == 0 ? clip.parameters.units : nil) }
        }
        let told = packets.map { assembler.assemble($0)?.newParameters?.width }
        #expect(told == [320, nil, nil, nil, nil, nil, nil, nil, 640, nil, nil, nil, nil, nil, nil, nil])
    }

    @Test func `sets that come early wait for the key frame, and so does new extradata`() {
        let assembler = Feed(codec: .h264, extradata: small.parameters.annexB)
        func told(_ packet: [UInt8]) -> Int? { assembler.assemble(packet)?.newParameters?.width }
        #expect(told(packet(small, 0)) == 320)
        // In band with a frame that is no key frame.
        #expect(told(packet(small, 1, sets: large.parameters.units)) == nil)
        #expect(told(packet(large, 0)) == 640)
        // Out of band, and with another framing.
        assembler.learn(extradata: small.parameters.avcC())
        #expect(told(small.units[4].data) == 320)
        // Junk is not learnt.
        assembler.learn(extradata: [0, 0, 1, 9])
        assembler.learn(extradata: [1, 2, 3])
        #expect(told(small.units[5].data) == nil && assembler.parameters?.width == 320)
    }

    @Test func `sets of other ids beside the active one do not matter`() throws {
        // The large film's sets under id 1 (ue 010 for ue 1): a sequence set's id stands behind profile and level.
        let assembler = Feed(codec: .h264, extradata: small.parameters.annexB)
        let first = assembler.assemble(packet(small, 0))
        #expect(first?.newParameters?.width == 320)
        var other = large.parameters.sps[0]
        // 1xxxxxxx becomes 010xxxxx xx: shift what follows by two bits.
        other = Self.renumbered(other, after: 4)
        let key = try #require(assembler.assemble(packet(small, 4, sets: [other])))
        #expect(key.newParameters == nil && assembler.parameters?.width == 320)
    }

    /// A set whose id 0 (one bit, 1) becomes id 1 (three bits, 010).
    private static func renumbered(_ set: [UInt8], after header: Int) -> [UInt8] {
        var bits = set[header...].flatMap { byte in (0..<8).map { byte >> UInt8(7 - $0) & 1 } }
        bits.replaceSubrange(0..<1, with: [0, 1, 0])
        while bits.count % 8 != 0 { bits.append(0) }
        return set[..<header]
            + stride(from: 0, to: bits.count, by: 8).map { start in bits[start..<start + 8].reduce(0) { $0 << 1 | $1 } }
    }

    @Test func `missing times go on as before; jumps stay for a time line to judge`() throws {
        let assembler = Feed(codec: .h264, extradata: small.parameters.annexB)
        func times(_ dts: Int64?, _ pts: Int64?, _ duration: Int64 = 0) throws -> [Int64] {
            let frame = try #require(assembler.assemble(packet(small, 0), dts: dts, pts: pts, duration: duration))
            return [frame.dts, frame.pts]
        }
        #expect(try times(nil, nil) == [0, 0])
        #expect(try times(nil, nil) == [3600, 3600])
        #expect(try times(6600, 6600) == [6600, 6600])
        #expect(try times(nil, nil) == [9600, 9600])
        #expect(try times(nil, nil, 1500) == [12_600, 12_600])
        #expect(try times(nil, nil) == [14_100, 14_100])
        #expect(try times(-5490, nil) == [-5490, -5490])
        #expect(try times(nil, 900) == [900, 900])
        #expect(try times(.max, .min) == [.max, .min])
        #expect(try times(nil, nil)[0] == .max)
    }

    @Test func `I3: where only presentation times are known, decoding times rise`() throws {
        let assembler = Feed(codec: .h264, extradata: small.parameters.annexB, timing: .presentationOnly)
        var last: Int64?
        for pts: Int64 in [0, 10800, 3600, 7200, 21600, 14400, 18000, 32400, 25200, 28800, 43200, 36000, 39600] {
            let frame = try #require(assembler.assemble(packet(small, 1), dts: nil, pts: pts))
            #expect(frame.pts == pts)
            // The reordering is not declared: it is found out at the first jump back, which is the only one.
            if let last, pts != 3600 { #expect(frame.dts > last) }
            if pts > 10800 { #expect(frame.dts <= pts) }
            last = frame.dts
        }
    }

    @Test func `a frame that is cut is left out, and the next one says so`() throws {
        let assembler = Feed(codec: .h264, extradata: small.parameters.avcC())
        let whole = try #require(assembler.assemble(small.units[0].data))
        #expect(!whole.isDamaged)
        let cut = assembler.assemble(Array(small.units[1].data.dropLast(9)))
        #expect(cut == nil)
        let next = try #require(assembler.assemble(small.units[2].data))
        #expect(next.isDamaged && next.data == small.units[2].data)
        let after = try #require(assembler.assemble(small.units[3].data))
        #expect(!after.isDamaged)
        // What the demuxer knows to be incomplete is kept as it is.
        let corrupt = try #require(assembler.assemble(small.units[4].data, isCorrupt: true))
        #expect(corrupt.isDamaged && corrupt.data == small.units[4].data)
    }

    @Test(arguments: [Codec.h264, .h265], [AccessUnitAssembler.Timing.container, .presentationOnly])
    func `I6: random packets become frames or nothing`(codec: Codec, timing: AccessUnitAssembler.Timing) {
        var generator = SeededGenerator(seed: 13)
        let assembler = Feed(codec: codec, timing: timing)
        for round in 0..<6_000 {
            var packet = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            for index in packet.indices where index % 11 < 3 { packet[index] = index % 11 == 2 ? 1 : 0 }
            // Real sets now and then, so that the random slices behind them are taken for pictures.
            if round % 50 == 0, codec == .h264 { packet = small.parameters.annexB + packet }
            if round % 97 == 0 { assembler.learn(extradata: round % 2 == 0 ? packet : small.parameters.avcC()) }
            let time = Int64.random(in: .min ... .max, using: &generator)
            let frame = assembler.assemble(
                packet, dts: round % 3 == 0 ? time : nil, pts: round % 5 == 0 ? time / 3 : nil,
                duration: time, isCorrupt: round % 7 == 0)
            if let frame { #expect(NALUnits(frame.data).isWhole) }
        }
    }

    @Test func `packets without a picture do not fill memory`() throws {
        let assembler = Feed(codec: .h264, extradata: small.parameters.annexB)
        let message = [0, 0, 1, 6] + [UInt8](repeating: 0x55, count: 100_000)
        for _ in 0..<500 { _ = assembler.assemble(message) }
        let frame = try #require(assembler.assemble(packet(small, 0)))
        #expect(frame.data.count < 2 << 20)
    }
}
