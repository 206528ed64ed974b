/// Bits of a raw byte sequence payload: emulation prevention bytes are left out as it reads (ITU-T H.264 section 7.4.1).
///
/// Reading past the end yields zeros and sets `isExhausted`, so that a parser checks once instead of at every field.
struct BitReader {
    private let bytes: ArraySlice<UInt8>
    private var index: Int
    private var bit = 0
    private var zeros = 0
    private(set) var isExhausted = false

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        index = bytes.startIndex
        skipEmulation()
    }

    /// 0 or 1.
    mutating func bit1() -> UInt32 {
        guard index < bytes.endIndex else {
            isExhausted = true
            return 0
        }
        let value = bytes[index] >> UInt8(7 - bit) & 1
        bit += 1
        if bit == 8 {
            zeros = bytes[index] == 0 ? zeros + 1 : 0
            bit = 0
            index += 1
            skipEmulation()
        }
        return UInt32(value)
    }
    mutating func flag() -> Bool { bit1() == 1 }

    /// u(n), n ≤ 32.
    mutating func bits(_ count: Int) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<min(32, count) { value = value << 1 | bit1() }
        return value
    }
    mutating func skip(_ count: Int) {
        for _ in 0..<count where !isExhausted { _ = bit1() }
    }

    /// ue(v), section 9.1; more than 31 leading zeros are no valid code.
    mutating func ue() -> UInt32 {
        var zeros = 0
        while bit1() == 0 {
            zeros += 1
            guard zeros < 32, !isExhausted else {
                isExhausted = true
                return 0
            }
        }
        return UInt32(truncatingIfNeeded: (UInt64(1) << UInt64(zeros)) &- 1 &+ UInt64(bits(zeros)))
    }
    /// se(v), section 9.1.1.
    mutating func se() -> Int32 {
        let code = Int64(ue())
        return Int32(truncatingIfNeeded: code & 1 == 1 ? (code + 1) / 2 : -(code / 2))
    }

    private mutating func skipEmulation() {
        if zeros >= 2, index < bytes.endIndex, bytes[index] == 3 {
            index += 1
            zeros = 0
        }
    }
}
