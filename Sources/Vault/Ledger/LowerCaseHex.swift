import Core

/// Hexadecimal digits as we write them, in lower case, eight at a time: a line of the ledger has two hundred of them, and an object's
/// file is named by 64.
extension UInt32 {
    /// - Parameter digits: eight characters, the first the highest byte.
    fileprivate init?(lowerCase digits: UInt64) {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let high: UInt64 = 0xF0F0_F0F0_F0F0_F0F0
        // Of each byte: whether it is a letter, the half that tells digits and letters, and the digit's value.
        let letters = digits >> 6 & ones
        let kinds = digits & high
        let values = (digits & ~high) &+ letters &* 9
        // "0" to "9" begin at 0x30, "a" to "f" at 0x61; no sum reaches beyond its byte.
        guard kinds == ones &* 0x30 &+ letters &* 0x30, values & high == 0,
            (values &+ ones &* 6) >> 4 & ones == letters
        else { return nil }
        let pairs = (values | values >> 4) & 0x00FF_00FF_00FF_00FF
        let fours = (pairs | pairs >> 8) & 0x0000_FFFF_0000_FFFF
        self.init(truncatingIfNeeded: fours | fours >> 16)
    }
}

extension UnsafeRawBufferPointer {
    /// Eight characters as a number of eight digits. The caller has seen that they are there.
    fileprivate func digits(at place: Int) -> UInt64? {
        let digits = unsafe UInt64(bigEndian: loadUnaligned(fromByteOffset: place, as: UInt64.self))
        return UInt32(lowerCase: digits).map { UInt64($0) }
    }
    fileprivate func isHyphen(at place: Int) -> Bool { unsafe self[place] == UInt8(ascii: "-") }
    /// Twice four characters, likewise.
    fileprivate func digits(at first: Int, and second: Int) -> UInt64? {
        let high = unsafe UInt32(bigEndian: loadUnaligned(fromByteOffset: first, as: UInt32.self))
        let low = unsafe UInt32(bigEndian: loadUnaligned(fromByteOffset: second, as: UInt32.self))
        return UInt32(lowerCase: UInt64(high) << 32 | UInt64(low)).map { UInt64($0) }
    }
}

extension ObjectID {
    /// The 64 digits from `place` on; nil when there are fewer, or others.
    init?(lowerCase text: UnsafeRawBufferPointer, at place: Int) {
        guard place >= 0, text.count - place >= 64 else { return nil }
        func word(_ index: Int) -> UInt64? {
            guard let high = unsafe text.digits(at: place + 16 * index),
                let low = unsafe text.digits(at: place + 16 * index + 8)
            else { return nil }
            return high << 32 | low
        }
        guard let first = word(0), let second = word(1), let third = word(2), let fourth = word(3) else { return nil }
        self.init(words: (first, second, third, fourth))
    }

    /// Exactly 64 lower-case digits, as objects' files are named.
    init?(fileName: String) {
        var name = fileName
        let object = name.withUTF8 { digits -> ObjectID? in
            guard digits.count == 64 else { return nil }
            return unsafe ObjectID(lowerCase: UnsafeRawBufferPointer(digits), at: 0)
        }
        guard let object else { return nil }
        self = object
    }

    var firstByte: UInt8 { UInt8(words.0 >> 56) }
}

extension Core.UUID {
    /// The 36 characters from `place` on; nil when there are fewer, or others.
    init?(lowerCase text: UnsafeRawBufferPointer, at place: Int) {
        guard place >= 0, text.count - place >= 36,
            unsafe text.isHyphen(at: place + 8), unsafe text.isHyphen(at: place + 13),
            unsafe text.isHyphen(at: place + 18), unsafe text.isHyphen(at: place + 23),
            let first = unsafe text.digits(at: place),
            let second = unsafe text.digits(at: place + 9, and: place + 14),
            let third = unsafe text.digits(at: place + 19, and: place + 24),
            let fourth = unsafe text.digits(at: place + 28)
        else { return nil }
        self.init(high: first << 32 | second, low: third << 32 | fourth)
    }
}
