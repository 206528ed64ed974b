import Core

/// A Bloom filter in memory of a fixed size: of nearly every clip of a ledger it says that it cannot have come before.
struct SeenObjects: Sendable {
    private var filter: [UInt64]
    private let mask: UInt64
    /// In bits: 64 a clip, at most 32 MiB. Of a million clips none is looked up in vain, of thirty million every seventieth.
    private static let bitsPerClip = 64
    private static let largestFilter = 1 << 28

    /// - Parameter expected: clips that will come, as far as can be said; wrong, it costs time only.
    init(expected: Int) {
        var bits = 1 << 16
        while bits < Self.largestFilter, bits / Self.bitsPerClip < expected { bits *= 2 }
        filter = [UInt64](repeating: 0, count: bits / 64)
        mask = UInt64(bits - 1)
    }

    /// Whether no such object has come before; false when that cannot be said. From here on it has come.
    mutating func isNew(_ object: ObjectID) -> Bool {
        // A SHA-256 needs no further hashing: eight places of 32 bits each.
        let words = object.words
        let isNew = (mark(words.0 >> 32), mark(words.0), mark(words.1 >> 32), mark(words.1))
        let isNewToo = (mark(words.2 >> 32), mark(words.2), mark(words.3 >> 32), mark(words.3))
        return isNew.0 || isNew.1 || isNew.2 || isNew.3 || isNewToo.0 || isNewToo.1 || isNewToo.2 || isNewToo.3
    }

    /// Whether the bit was not set; now it is.
    private mutating func mark(_ place: UInt64) -> Bool {
        let place = place & mask
        let bit = UInt64(1) << (place & 63)
        guard filter[Int(place >> 6)] & bit == 0 else { return false }
        filter[Int(place >> 6)] |= bit
        return true
    }
}
