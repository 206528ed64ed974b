import Core

/// A Bloom filter in memory of a fixed size: of nearly every clip of a ledger it says that it cannot have come before.
struct SeenObjects: Sendable {
    private var filter: [UInt64]
    private let mask: UInt64
    /// In bits: 64 a clip, at most 32 MiB. Of a million clips none is looked up in vain, of thirty million one in four hundred.
    private static let bitsPerClip = 64
    private static let largestFilter = 1 << 28

    /// - Parameter expected: clips that will come, as far as can be said; wrong, it costs time only.
    init(expected: Int) {
        var bits = 1 << 16
        while bits < Self.largestFilter, bits / Self.bitsPerClip < expected { bits *= 2 }
        filter = [UInt64](repeating: 0, count: bits / 64)
        mask = UInt64(filter.count - 1)
    }

    /// Whether no such object has come before; false when that cannot be said. From here on it has come.
    mutating func isNew(_ object: ObjectID) -> Bool {
        let words = object.words
        let isNew = mark(words.0, in: words.1)
        return mark(words.2, in: words.3) || isNew
    }

    /// Whether one of four bits was not set; now all are. They lie within 64 bytes, which a processor fetches at once: of a filter
    /// of some megabytes that is what takes time. A SHA-256 needs no further hashing.
    private mutating func mark(_ places: UInt64, in line: UInt64) -> Bool {
        let first = Int(line & mask) & ~7
        var isNew = false
        for part: UInt64 in 0..<4 {
            let place = places >> (part * 16)
            let word = first + Int(place & 7)
            let bit = UInt64(1) << (place >> 3 & 63)
            isNew = isNew || filter[word] & bit == 0
            filter[word] |= bit
        }
        return isNew
    }
}
