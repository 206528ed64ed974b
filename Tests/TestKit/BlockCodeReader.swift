public import Core

/// Reads the time in a test picture, after `docs/reference/block-code.md` and without the code that draws it: a mistake there
/// shall not be mirrored here.
public enum BlockCodeReader {
    private static let (columns, rows) = (12, 8)
    private static let sync = "101010101100".map { $0 == "1" }

    /// - Parameter luma: row by row, width × height bytes.
    /// - Returns: nil where sync word, checksum or the last zeros say that there is no code.
    public static func read(luma: [UInt8], width: Int, height: Int) -> WallTime? {
        let cell = max(8, width / 80 * 2)
        guard width >= cell * (columns + 2), height >= cell * (rows + 2), luma.count >= width * height else {
            return nil
        }
        let bits = (0..<columns * rows).map { index in
            // The middle half of a cell: what blurs at its edges does not count.
            let left = cell + index % columns * cell + cell / 4
            let top = cell + index / columns * cell + cell / 4
            var sum = 0
            for row in top..<top + cell / 2 {
                for column in left..<left + cell / 2 { sum += Int(luma[row * width + column]) }
            }
            return sum > 128 * (cell / 2) * (cell / 2)
        }
        let number = { (range: Range<Int>) in bits[range].reduce(UInt64(0)) { $0 << 1 | ($1 ? 1 : 0) } }
        let value = number(12..<76)
        guard Array(bits.prefix(columns)) == sync, number(76..<92) == UInt64(checksum(value)), number(92..<96) == 0
        else { return nil }
        return WallTime(microseconds: Int64(bitPattern: value))
    }

    /// CRC-16/CCITT-FALSE of the eight bytes, bit by bit: polynomial x¹⁶ + x¹² + x⁵ + 1, register of ones, nothing reflected.
    private static func checksum(_ value: UInt64) -> UInt16 {
        var register: UInt16 = 0xFFFF
        for bit in 0..<64 {
            let carry = register >> 15 ^ UInt16(value >> UInt64(63 - bit) & 1)
            register <<= 1
            if carry == 1 { register ^= 0x1021 }
        }
        return register
    }
}
