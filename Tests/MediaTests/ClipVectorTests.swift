import Core
import Media
import TestKit
import Testing

/// What stands in vaults already must stay what is written: cameras without sound have the clips that they always had.
@Suite struct ClipVectorTests {
    /// 320 × 240 by libx264, as it wrote them once.
    static let sets: [[UInt8]] = [
        [
            0x67, 0x64, 0x00, 0x0D, 0xAC, 0xD9, 0x41, 0x41, 0xFB, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
            0x03, 0x03, 0x20, 0xF1, 0x42, 0x99, 0x60,
        ],
        [0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0],
    ]

    static func parameters() throws -> CodecParameters { try CodecParameters(codec: .h264, units: sets) }

    static func unit(_ number: Int, isKey: Bool) -> AccessUnit {
        let nal = [isKey ? 0x65 : 0x41, UInt8(number), 0x99]
        return AccessUnit(
            codec: .h264, data: NALUnits.lengthPrefixed([nal[...]]), isKey: isKey, dts: 0, pts: 0,
            capturedWall: WallTime(seconds: 0), capturedMonotonic: MonotonicTime(microseconds: 0))
    }

    /// Its identity is JSON, whose keys come in any order: `{…}` is left out here.
    static func hex(_ bytes: [UInt8]) -> String {
        var kept: [UInt8] = []
        var depth = 0
        for (place, byte) in bytes.enumerated() {
            if byte == UInt8(ascii: "{"), depth > 0 || bytes[place...].starts(with: Array("{\"".utf8)) { depth += 1 }
            if depth == 0 { kept.append(byte) }
            if byte == UInt8(ascii: "}"), depth > 0 { depth -= 1 }
        }
        return kept.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined()
    }

    static func joined(_ lines: String) -> String { lines.filter { !$0.isWhitespace } }

    /// `ftyp`, `moov`.
    static let head = """
        000000206674797069736f360000020069736f3669736f356d70343161766331000003b16d6f6f76000000786d76686401000000
        0000000000000000000000000000000000015f900000000000000000000100000100000000000000000000000001000000000000
        00000000000000000001000000000000000000000000000040000000000000000000000000000000000000000000000000000000
        00000002000001f47472616b00000068746b68640100000300000000000000000000000000000000000000010000000000000000
        00000000000000000000000000000000000000000001000000000000000000000000000000010000000000000000000000000000
        400000000140000000f00000000001846d6469610000002c6d646864010000000000000000000000000000000000000000015f90
        000000000000000055c400000000002868646c720000000000000000766964650000000000000000000000005375646f43616d00
        000001286d696e6600000014766d68640000000100000000000000000000002464696e660000001c647265660000000000000001
        0000000c75726c2000000001000000e87374626c0000009c7374736400000000000000010000008c617663310000000000000001
        00000000000000000000000000000000014000f00048000000480000000000000001000000000000000000000000000000000000
        00000000000000000000000000000018ffff00000036617663430164000dffe100196764000dacd94141fb011000000300100000
        030320f142996001000668ebe3cb22c0fdf8f8000000001073747473000000000000000000000010737473630000000000000000
        000000107374636f0000000000000000000000147374737a000000000000000000000000000000286d7665780000002074726578
        00000000000000010000000100000000000000000101000000000115757569645ce91d0a7f434e0b9a613b1c55d284f7
        """
    /// Two fragments: three frames, and two.
    static let fragments = """
        000000886d6f6f66000000106d666864000000000000000100000070747261660000001074666864000200000000000100000014
        74666474010000000000000000000000000000447472756e01000f01000000030000009000000e10000000070200000000000708
        00000e1000000007010100000000070800000e100000000701010000000007080000001d6d646174000000036500990000000341
        019900000003410299000000786d6f6f66000000106d666864000000000000000200000060747261660000001074666864000200
        00000000010000001474666474010000000000000000002a30000000347472756e01000f01000000020000008000000e10000000
        07020000000000070800000e10000000070101000000000708000000166d6461740000000365039900000003410499
        """
    /// `mfra` up to the copy of the head.
    static let index = """
        0000043f6d6672610000003e7466726101000000000000010000000000000002000000000000000000000000000003d101010100
        00000000002a300000000000000476010101000003e975756964a20b649c31d74c528e1f7702c84d903b
        """
    /// `mfro`.
    static let end = """
        000000106d66726f000000000000043f
        """

    @Test func `a clip without sound is what it always was, byte for byte`() throws {
        let identity = ClipIdentity(
            vault: .random(), camera: .random(), epoch: .random(), run: .random(), sequence: 7,
            start: WallTime(seconds: 1_764_000_000))
        var muxer = ClipMuxer(parameters: try Self.parameters(), identity: identity, cameraName: "Flur")
        var bytes = try muxer.start()
        for frame in 0..<5 {
            bytes +=
                try muxer.add(
                    Self.unit(frame, isKey: frame % 3 == 0), dts: Int64(frame) * 3600, pts: Int64(frame) * 3600 + 1800)
                ?? []
        }
        bytes += muxer.flush(nextDTS: 5 * 3600) ?? []
        bytes += muxer.finish()
        #expect(
            Self.hex(bytes) == [Self.head, Self.fragments, Self.index, Self.head, Self.end].map(Self.joined).joined())
    }
}
