/// Reads big-endian values from bytes that nobody vouches for; every read is checked.
public struct ByteReader: Sendable {
    public let bytes: ArraySlice<UInt8>
    /// Index into `bytes` of the next byte.
    public private(set) var position: Int

    public init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }
    public init(_ bytes: [UInt8]) { self.init(bytes[...]) }

    public var remaining: Int { bytes.endIndex - position }
    public var isAtEnd: Bool { remaining == 0 }
    /// Bytes read so far.
    public var offset: Int { position - bytes.startIndex }

    public mutating func u8() throws(EndOfBytes) -> UInt8 { UInt8(try integer(1)) }
    public mutating func u16() throws(EndOfBytes) -> UInt16 { UInt16(try integer(2)) }
    public mutating func u24() throws(EndOfBytes) -> UInt32 { UInt32(try integer(3)) }
    public mutating func u32() throws(EndOfBytes) -> UInt32 { UInt32(try integer(4)) }
    public mutating func u64() throws(EndOfBytes) -> UInt64 { try integer(8) }

    /// A slice that shares the storage.
    public mutating func take(_ count: Int) throws(EndOfBytes) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else { throw EndOfBytes(wanted: count, left: remaining) }
        defer { position += count }
        return bytes[position..<position + count]
    }
    public mutating func skip(_ count: Int) throws(EndOfBytes) { _ = try take(count) }
    public mutating func rest() -> ArraySlice<UInt8> {
        defer { position = bytes.endIndex }
        return bytes[position...]
    }

    private mutating func integer(_ count: Int) throws(EndOfBytes) -> UInt64 {
        guard count <= remaining else { throw EndOfBytes(wanted: count, left: remaining) }
        var value: UInt64 = 0
        for index in position..<position + count { value = value << 8 | UInt64(bytes[index]) }
        position += count
        return value
    }
}

/// A reader was asked for more than there is.
public struct EndOfBytes: Error, Equatable, Sendable {
    public var wanted: Int
    public var left: Int
    public init(wanted: Int, left: Int) {
        self.wanted = wanted
        self.left = left
    }
}
