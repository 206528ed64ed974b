import Core
import Glibc

/// A place in bytes that are read as the one form in which we write them. What does not stand there leaves the place as it is, or
/// ends the scan with nil.
struct FixedScan {
    /// A digit's value, or 255: the lower-case ones that we write and no others.
    static let nibbles: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, digit) in "0123456789abcdef".utf8.enumerated() { values[Int(digit)] = UInt8(value) }
        return values
    }()

    private let line: ArraySlice<UInt8>
    private let nibbles: [UInt8]
    /// An index of `line`.
    private var position: Int

    init(_ line: ArraySlice<UInt8>) {
        self.line = line
        position = line.startIndex
        nibbles = Self.nibbles
    }
    var isAtEnd: Bool { position == line.endIndex }
    /// Bytes that were read.
    var offset: Int { position - line.startIndex }
    private var remaining: Int { line.endIndex - position }

    mutating func take(_ text: StaticString) -> Bool {
        let size = text.utf8CodeUnitCount
        guard remaining >= size else { return false }
        let isThere = unsafe line.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return size == 0 }
            return unsafe memcmp(base + offset, text.utf8Start, size) == 0
        }
        if isThere { position += size }
        return isThere
    }

    /// As we write it: no leading zero, no `-0`. Those of more than 18 digits are left to the general parser.
    mutating func integer() -> Int64? {
        let isNegative = !isAtEnd && line[position] == UInt8(ascii: "-")
        if isNegative { position += 1 }
        let first = position
        var value: Int64 = 0
        while position < line.endIndex, case let digit = line[position] &- 48, digit < 10 {
            guard position - first < 18 else { return nil }
            value = value * 10 + Int64(digit)
            position += 1
        }
        guard position > first, line[first] != 48 || position == first + 1 && !isNegative else { return nil }
        return isNegative ? -value : value
    }

    mutating func digest() -> ObjectID? {
        guard remaining >= 64 else { return nil }
        guard let first = hex(16), let second = hex(16), let third = hex(16), let fourth = hex(16) else { return nil }
        return ObjectID(words: (first, second, third, fourth))
    }

    mutating func uuid() -> Core.UUID? {
        guard remaining >= 36, let first = hex(8), hyphen(), let second = hex(4), hyphen(),
            let third = hex(4), hyphen(), let fourth = hex(4), hyphen(), let fifth = hex(12)
        else { return nil }
        return Core.UUID(high: first << 32 | second << 16 | third, low: fourth << 48 | fifth)
    }
    private mutating func hyphen() -> Bool {
        guard line[position] == UInt8(ascii: "-") else { return false }
        position += 1
        return true
    }
    /// Who calls has seen that so many digits are there.
    private mutating func hex(_ count: Int) -> UInt64? {
        var value: UInt64 = 0
        var stray: UInt8 = 0
        for index in position..<position + count {
            let nibble = nibbles[Int(line[index])]
            stray |= nibble
            value = value << 4 | UInt64(nibble & 15)
        }
        guard stray < 16 else { return nil }
        position += count
        return value
    }

    /// Up to the next quote, which stays: a few lower-case letters, digits, hyphens and colons.
    mutating func word() -> String? {
        let first = position
        while position < line.endIndex, line[position] != UInt8(ascii: "\"") {
            switch line[position] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: ":"):
                position += 1
            default: return nil
            }
        }
        return String(decoding: line[first..<position], as: UTF8.self)
    }

    /// Canonical Base64 without padding of so many bytes, as `Base64` reads it.
    mutating func base64(ofCount bytes: Int) -> Bool {
        let characters = (bytes * 8 + 5) / 6
        guard remaining >= characters else { return false }
        let values = Base64.values
        var stray: UInt8 = 0
        var last: UInt8 = 0
        for index in position..<position + characters {
            last = values[Int(line[index])]
            stray |= last
        }
        // The last character has bits that no byte takes.
        let unused = UInt8(characters * 6 - bytes * 8)
        guard stray < 64, last & (1 << unused - 1) == 0 else { return false }
        position += characters
        return true
    }
}
