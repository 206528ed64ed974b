import Core
import Glibc

/// A place in bytes that are read as the one form in which we write them. What does not stand there leaves the place as it is, or
/// ends the scan with nil.
struct FixedScan {
    private let line: ArraySlice<UInt8>
    /// An index of `line`.
    private var position: Int

    init(_ line: ArraySlice<UInt8>) {
        self.line = line
        position = line.startIndex
    }
    var isAtEnd: Bool { position == line.endIndex }
    /// Bytes that were read.
    var offset: Int { position - line.startIndex }
    private var remaining: Int { line.endIndex - position }

    mutating func take(_ text: StaticString) -> Bool {
        let isThere = Self.begins(line[position...], with: text)
        if isThere { position += text.utf8CodeUnitCount }
        return isThere
    }
    static func begins(_ bytes: ArraySlice<UInt8>, with text: StaticString) -> Bool {
        let size = text.utf8CodeUnitCount
        return unsafe bytes.withUnsafeBytes { bytes in
            guard bytes.count >= size, let base = bytes.baseAddress else { return size == 0 }
            return unsafe memcmp(base, text.utf8Start, size) == 0
        }
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

    /// 64 digits in lower case.
    mutating func digest() -> ObjectID? {
        guard let digest = unsafe line.withUnsafeBytes({ unsafe ObjectID(lowerCase: $0, at: offset) }) else {
            return nil
        }
        position += 64
        return digest
    }

    /// Digits in lower case and hyphens, 36 in all.
    mutating func uuid() -> Core.UUID? {
        guard let uuid = unsafe line.withUnsafeBytes({ unsafe Core.UUID(lowerCase: $0, at: offset) }) else {
            return nil
        }
        position += 36
        return uuid
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
