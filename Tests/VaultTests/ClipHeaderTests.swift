import Core
import TestKit
import Testing

@testable import Vault

/// The header read in place against the parser of all age headers.
@Suite struct ClipHeaderTests {
    private static func header(
        sequence: UInt64 = 7, start: Int64 = 1_764_000_000_000_000, stanzas: [AgeStanza] = []
    ) throws -> [UInt8] {
        let identity = ClipIdentity(
            vault: .random(), camera: .random(), epoch: .random(), run: .random(), sequence: sequence,
            start: WallTime(microseconds: start))
        let fileKey = SecretBytes.random(count: AgeWrapping.fileKeySize)
        let recipient = try AgeIdentity.random().recipient
        return try AgeHeader(
            stanzas: [try AgeWrapping.wrap(fileKey, to: recipient)] + stanzas + [ClipStanza.encode(identity)],
            fileKey: fileKey
        ).bytes
    }
    private static func general(_ bytes: [UInt8]) -> ClipHeader? {
        (try? AgeHeader(parsing: bytes)).flatMap { ClipHeader($0) }
    }
    private static func fixed(_ bytes: [UInt8]) -> ClipHeader? { ClipHeader(fixedForm: bytes, count: bytes.count) }

    @Test(
        arguments: zip(
            [1, 10_000_000, 999_999_999_999_999_999] as [UInt64], [0, -1, 1_764_000_000_000_000] as [Int64]))
    func `our own headers are read in place, whatever follows them`(sequence: UInt64, start: Int64) throws {
        let header = try Self.header(sequence: sequence, start: start)
        let found = try #require(Self.fixed(header))
        #expect(found == Self.general(header))
        #expect(found.count == header.count)
        #expect(found.identity.sequence == sequence)
        #expect(found.identity.start.microseconds == start)
        #expect(Self.fixed(header + patternBytes(700)) == found)
        // A buffer that held a longer one before.
        #expect(ClipHeader(fixedForm: header + header, count: header.count) == found)
        #expect(ClipHeader(fixedForm: header, count: header.count - 1) == nil)
    }

    @Test func `numbers of 19 digits and further stanzas are left to the general parser, which takes them`() throws {
        for header in [
            try Self.header(sequence: .max), try Self.header(start: .min),
            try Self.header(stanzas: [AgeStanza(arguments: ["grease", "x"], body: patternBytes(100))]),
        ] {
            #expect(Self.fixed(header) == nil)
            #expect(Self.general(header) != nil)
        }
    }

    /// With each byte replaced, left out, doubled, and cut before it.
    @Test func `what is read in place the general parser takes, with the same result`() throws {
        let replacements = Array(0...255) as [UInt8]
        var taken = 0
        var refused = 0
        func check(_ bytes: [UInt8]) {
            guard let fixed = Self.fixed(bytes) else {
                refused += 1
                return
            }
            taken += 1
            #expect(Self.general(bytes) == fixed, "\(String(decoding: bytes, as: UTF8.self))")
        }
        for start: Int64 in [1_764_000_000_000_000, -30] {
            everyChange(of: try Self.header(start: start), to: replacements, check)
        }
        // Digits may stand for digits and Base64 for Base64, and only that.
        #expect(taken > 1000 && refused > taken)
    }

    @Test func `stray bits at the end of the body or the MAC are refused by both`() throws {
        let header = try Self.header()
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let body = try #require(header.indices.filter { header[$0] == 10 }.dropFirst(2).first) - 1
        for place in [body, header.count - 2] {
            var taken = 0
            for digit in digits {
                var other = header
                other[place] = digit
                #expect((Self.fixed(other) == nil) == (Self.general(other) == nil))
                if Self.fixed(other) != nil { taken += 1 }
            }
            #expect(taken == 16)
        }
    }
}
