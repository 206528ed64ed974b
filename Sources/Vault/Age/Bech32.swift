/// Bech32 (BIP 173) as age uses it: no limit on the length.
enum Bech32 {
    private static let digits = Array("qpzry9x8gf2tvdw0s3jn54khce6mua7l".utf8)

    private static func polymod(_ values: some Sequence<UInt8>) -> UInt32 {
        let generator: [UInt32] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3]
        var checksum: UInt32 = 1
        for value in values {
            let top = checksum >> 25
            checksum = (checksum & 0x1ff_ffff) << 5 ^ UInt32(value)
            for (bit, term) in generator.enumerated() where top >> UInt32(bit) & 1 == 1 { checksum ^= term }
        }
        return checksum
    }

    private static func expand(_ prefix: [UInt8]) -> [UInt8] { prefix.map { $0 >> 5 } + [0] + prefix.map { $0 & 31 } }

    /// Lower case. The caller wipes what is secret.
    static func encode(prefix: String, _ bytes: [UInt8]) -> [UInt8] {
        let prefix = Array(prefix.utf8)
        var values = regroup(bytes, from: 8, to: 5, pad: true) ?? []
        let checksum = polymod(expand(prefix) + values + [0, 0, 0, 0, 0, 0]) ^ 1
        for index in 0..<6 { values.append(UInt8(checksum >> UInt32(5 * (5 - index)) & 31)) }
        let text = prefix + [UInt8(ascii: "1")] + values.map { digits[Int($0)] }
        wipeBytes(&values)
        return text
    }

    /// Nil for mixed case, a stray character or a wrong checksum. `prefix` comes back in lower case.
    static func decode(_ text: [UInt8]) -> (prefix: String, bytes: [UInt8])? {
        let isUpper = text.contains { (65...90).contains($0) }
        let isLower = text.contains { (97...122).contains($0) }
        guard !(isUpper && isLower), text.allSatisfy({ (33...126).contains($0) }) else { return nil }
        var lower = text.map { (65...90).contains($0) ? $0 + 32 : $0 }
        defer { wipeBytes(&lower) }
        guard let separator = lower.lastIndex(of: UInt8(ascii: "1")), separator > 0, separator + 7 <= lower.count else {
            return nil
        }
        var values: [UInt8] = []
        values.reserveCapacity(lower.count)
        defer { wipeBytes(&values) }
        for character in lower[(separator + 1)...] {
            guard let value = digits.firstIndex(of: character) else { return nil }
            values.append(UInt8(value))
        }
        guard polymod(expand(Array(lower[..<separator])) + values) == 1 else { return nil }
        guard let bytes = regroup(Array(values.dropLast(6)), from: 5, to: 8, pad: false) else { return nil }
        return (String(decoding: lower[..<separator], as: UTF8.self), bytes)
    }

    private static func regroup(_ values: [UInt8], from: UInt32, to: UInt32, pad: Bool) -> [UInt8]? {
        var output: [UInt8] = []
        output.reserveCapacity(values.count * Int(from) / Int(to) + 1)
        var bits: UInt32 = 0
        var count: UInt32 = 0
        for value in values {
            bits = bits << from | UInt32(value)
            count += from
            while count >= to {
                count -= to
                output.append(UInt8(truncatingIfNeeded: bits >> count & ((1 << to) - 1)))
            }
            bits &= (1 << count) - 1
        }
        if pad {
            if count > 0 { output.append(UInt8(truncatingIfNeeded: bits << (to - count) & ((1 << to) - 1))) }
        } else if count >= from || bits != 0 {
            return nil
        }
        return output
    }
}
