import Core
import TestKit
import Testing

@testable import Vault

/// The scan over our own lines against the parser of all lines.
@Suite struct FixedFormTests {
    /// Clips and deletions of every shape that is written.
    private static func entries(_ random: inout SeededGenerator) -> [LedgerEntry] {
        func object(_ random: inout SeededGenerator) -> ObjectID {
            ObjectID(digest: (0..<32).map { _ in UInt8.random(in: 0...255, using: &random) }) ?? .zero
        }
        let times: [Int64] = [0, 1, -1, 9, 10, -10, 1_764_000_000_000_000, 999_999_999_999_999_999, .max, .min]
        let counts = [0, 7, 10, 65_536, 99_999_999_999, 1 << 40]
        let causes: [RetentionCause] = [.age(rule: 1), .age(rule: 40), .cameraBudget, .vaultBudget, .shredded]
        var entries: [LedgerEntry] = []
        for number in 0..<200 {
            func time() -> WallTime { WallTime(microseconds: times.randomElement(using: &random) ?? 0) }
            let bytes = counts.randomElement(using: &random) ?? 0
            if number % 4 == 3 {
                entries.append(
                    LedgerEntry(
                        at: time(),
                        .delete(
                            DeletionRecord(
                                object: object(&random), camera: .random(), range: TimeRange(time(), time()),
                                byteCount: bytes, cause: causes[number / 4 % causes.count], policy: object(&random)))))
            } else {
                let identity = ClipIdentity(
                    vault: .random(), camera: .random(), epoch: .random(), run: .random(), sequence: UInt64(bytes),
                    start: time())
                entries.append(
                    LedgerEntry(
                        at: time(),
                        .clip(
                            ClipRecord(
                                object: object(&random), identity: identity, end: time(), byteCount: bytes,
                                kind: RetentionClass.allCases[number % 4], isSalvaged: number % 5 == 0))))
            }
        }
        return entries
    }

    @Test func `our own lines are read alike by both, and but for numbers of 19 digits by the scan`() throws {
        var random = SeededGenerator(seed: 1)
        var scanned = 0
        for entry in Self.entries(&random) {
            let line = try #require(entry.encoded())
            #expect(try LedgerEntry(parsingAny: line) == entry)
            #expect(try LedgerEntry(parsing: line) == entry)
            let isLong = String(decoding: line, as: UTF8.self).split { !$0.isNumber }.contains { $0.count >= 19 }
            if let fixed = LedgerEntry(fixedForm: line[...]) {
                #expect(fixed == entry)
                scanned += 1
            } else {
                #expect(isLong, "\(String(decoding: line, as: UTF8.self))")
            }
        }
        #expect(scanned > 40)
    }

    @Test func `a line between others is read as if it stood alone`() throws {
        var random = SeededGenerator(seed: 3)
        for entry in Self.entries(&random) {
            let line = try #require(entry.encoded())
            for others in [[], Array("0".utf8), line] {
                let bytes = others + line + others
                let place = bytes[others.count..<others.count + line.count]
                #expect(try LedgerEntry(parsing: place) == entry)
                #expect(LedgerEntry(fixedForm: place) == LedgerEntry(fixedForm: line[...]))
                // Cut short, what follows does not help.
                #expect(LedgerEntry(fixedForm: place.dropLast()) == nil)
            }
        }
    }

    /// Every line with each of its bytes replaced, left out, doubled, and cut behind it.
    @Test func `what the scan takes the general parser takes, with the same result`() throws {
        var random = SeededGenerator(seed: 2)
        let replacements = Array("\"\\{}:,-+0019afAFgxZ \u{0}\u{1f}\u{7f}".utf8) + [0x80, 0xff]
        var taken = 0
        var refused = 0
        func check(_ line: [UInt8]) {
            guard let fixed = LedgerEntry(fixedForm: line[...]) else {
                refused += 1
                return
            }
            taken += 1
            #expect((try? LedgerEntry(parsingAny: line)) == fixed, "\(String(decoding: line, as: UTF8.self))")
        }
        for entry in Self.entries(&random).prefix(12) {
            let line = try #require(entry.encoded())
            everyChange(of: line, to: replacements, check)
            check(line + [10])
            check(line + line)
        }
        // Digits may stand for digits, and only that.
        #expect(taken > 1000 && refused > taken)
    }

    @Test(arguments: [
        #"{"type":"clip","at":01"#, #"{"type":"clip","at":-0"#, #"{"type":"clip","at":"1""#, #"{"type":"clip","at":-"#,
        #"{ "type":"clip","at":1"#, #"{"type":"clip"}"#, "", "{", #"{"type":"gap","at":1}"#,
    ])
    func `a beginning that is not quite ours is left to the general parser`(text: String) {
        #expect(LedgerEntry(fixedForm: Array(text.utf8)[...]) == nil)
    }

    @Test func `sizes and numbers of which a few would not fit into 63 bits are none`() throws {
        var random = SeededGenerator(seed: 4)
        for entry in Self.entries(&random) {
            let (key, last): (String, Int64)
            switch entry.body {
            case .clip(let clip): (key, last) = (#""seq":\#(clip.identity.sequence)"#, 1 << 53)
            case .delete(let deletion): (key, last) = (#""bytes":\#(deletion.byteCount)"#, 1 << 40)
            default: continue
            }
            let line = String(decoding: try #require(entry.encoded()), as: UTF8.self)
            func parses(_ number: Int64) -> Bool {
                let other = Array(line.replacing(key, with: key.prefix { $0 != ":" } + ":\(number)").utf8)
                let isEntry = (try? LedgerEntry(parsingAny: other)) != nil
                #expect(isEntry || LedgerEntry(fixedForm: other[...]) == nil)
                return isEntry
            }
            #expect(parses(last))
            #expect(!parses(last + 1))
            #expect(!parses(-1))
        }
    }

    @Test func `a line in another order, with spaces or upper-case digits is read by the general parser`() throws {
        var random = SeededGenerator(seed: 3)
        let entry = try #require(Self.entries(&random).first { $0.at.microseconds < 1_000_000 })
        let line = String(decoding: try #require(entry.encoded()), as: UTF8.self)
        let at = #""at":\#(entry.at.microseconds)"#
        for other in [
            line.replacing(",", with: ", "), line.replacing(#""type":"clip","# + at, with: at + #","type":"clip""#),
            line.replacing("}", with: #","later":1}"#),
        ] {
            #expect(other != line)
            #expect(LedgerEntry(fixedForm: Array(other.utf8)[...]) == nil)
            #expect(try LedgerEntry(parsing: Array(other.utf8)) == entry)
        }
    }

    @Test(arguments: ["", "plain", "a \"quoted\" \\ one", "\u{0}\u{1f}\u{7f} \n", "Tür 🚪", "\"", "~ !"])
    func `a text is quoted so that it is read back as it was`(text: String) {
        let quoted = JSON.quote(text)
        #expect(JSON(Array(quoted.utf8)) == .string(text))
        #expect(quoted.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
    }

    @Test(arguments: [0, 1, 54, 55, 56, 63, 64, 65, 400])
    func `a digest in one go is that of the pieces`(count: Int) throws {
        let bytes = patternBytes(count)
        let digest = try Digest.sha256()
        digest.update([7])
        digest.update(bytes)
        digest.update(bytes)
        #expect(Digest.sha256(7, bytes[...], bytes[...]) == digest.finish())
        #expect(Digest.sha256(7, bytes[...]) == Digest.sha256([7] + bytes))
        let whole = try Digest.sha256()
        whole.update(bytes)
        #expect(Digest.sha256(bytes) == whole.finish())
    }
}

/// What one wrong byte makes of `bytes`: another in each place, one missing, one twice, and every end cut off.
func everyChange(of bytes: [UInt8], to replacements: [UInt8], _ check: ([UInt8]) -> Void) {
    for index in bytes.indices {
        for byte in replacements {
            var other = bytes
            other[index] = byte
            check(other)
        }
        var other = bytes
        other.remove(at: index)
        check(other)
        other = bytes
        other.insert(bytes[index], at: index)
        check(other)
        check(Array(bytes[..<index]))
    }
}
