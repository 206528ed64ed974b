/// NAL units behind big-endian lengths, as in `AccessUnit.data`; stops at the first length that does not fit.
public struct NALUnits: Sequence, Sendable {
    private let data: ArraySlice<UInt8>
    private let lengthSize: Int

    /// - Parameter lengthSize: 1, 2 or 4 bytes (ISO/IEC 14496-15 `lengthSizeMinusOne` + 1).
    public init(_ data: ArraySlice<UInt8>, lengthSize: Int = 4) {
        self.data = data
        self.lengthSize = Swift.min(4, Swift.max(1, lengthSize))
    }
    public init(_ data: [UInt8], lengthSize: Int = 4) { self.init(data[...], lengthSize: lengthSize) }

    /// Whether the lengths end where the data does; zeros that pad it do not count.
    public var isWhole: Bool {
        var iterator = makeIterator()
        while iterator.next() != nil {}
        return data[iterator.position...].allSatisfy { $0 == 0 }
    }

    public func makeIterator() -> Iterator { Iterator(data: data, position: data.startIndex, lengthSize: lengthSize) }

    public struct Iterator: IteratorProtocol {
        let data: ArraySlice<UInt8>
        var position: Int
        let lengthSize: Int

        public mutating func next() -> ArraySlice<UInt8>? {
            while data.endIndex - position >= lengthSize {
                var length = 0
                for index in position..<position + lengthSize { length = length << 8 | Int(data[index]) }
                let start = position + lengthSize
                guard length <= data.endIndex - start else { return nil }
                position = start + length
                if length > 0 { return data[start..<position] }
            }
            return nil
        }
    }
}

/// NAL units between start codes (ITU-T H.264 annex B, H.265 annex B).
public enum AnnexB {
    /// Shares the storage; empty units and zero bytes before a start code are left out.
    public static func split(_ data: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var units: [ArraySlice<UInt8>] = []
        unsafe data.withUnsafeBufferPointer { bytes in
            var start: Int?
            var index = 0
            func close(at end: Int) {
                guard let first = start else { return }
                var end = end
                while end > first, unsafe bytes[end - 1] == 0 { end -= 1 }
                if end > first { units.append(data[data.startIndex + first..<data.startIndex + end]) }
            }
            while index + 2 < bytes.count {
                // Most bytes are above 1, which rules out a start code at three places at once.
                let third = unsafe bytes[index + 2]
                if third > 1 {
                    index += 3
                } else if unsafe third == 1 && bytes[index + 1] == 0 && bytes[index] == 0 {
                    close(at: index)
                    index += 3
                    start = index
                } else {
                    index += 1
                }
            }
            close(at: bytes.count)
        }
        return units
    }
    public static func split(_ data: [UInt8]) -> [ArraySlice<UInt8>] { split(data[...]) }

    public static func isStart(_ data: ArraySlice<UInt8>) -> Bool {
        data.starts(with: [0, 0, 1]) || data.starts(with: [0, 0, 0, 1])
    }

    /// `data` of an `AccessUnit` with 4-byte start codes instead of lengths.
    public static func join(lengthPrefixed data: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(data.count)
        for unit in NALUnits(data) {
            out.append(contentsOf: [0, 0, 0, 1])
            out.append(contentsOf: unit)
        }
        return out
    }
}

extension NALUnits {
    /// The other way: `units`, each behind a 4-byte length.
    public static func lengthPrefixed(_ units: [ArraySlice<UInt8>]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(units.reduce(0) { $0 + $1.count + 4 })
        for unit in units {
            let count = UInt32(truncatingIfNeeded: unit.count)
            for shift in [24, 16, 8, 0] as [UInt32] { out.append(UInt8(truncatingIfNeeded: count >> shift)) }
            out.append(contentsOf: unit)
        }
        return out
    }
}

/// What the first byte of an H.264 NAL unit says (ITU-T H.264 table 7-1).
public enum H264NAL {
    public static let slice: UInt8 = 1
    public static let idr: UInt8 = 5
    public static let sei: UInt8 = 6
    public static let sps: UInt8 = 7
    public static let pps: UInt8 = 8
    public static let delimiter: UInt8 = 9

    public static func type(_ unit: ArraySlice<UInt8>) -> UInt8 { (unit.first ?? 0) & 0x1F }
    /// Other pictures may refer to this one.
    public static func isReference(_ unit: ArraySlice<UInt8>) -> Bool { (unit.first ?? 0) & 0x60 != 0 }
    public static func isPicture(_ unit: ArraySlice<UInt8>) -> Bool { (1...5).contains(type(unit)) }

    /// Other pictures may refer to this access unit: one of its slices says so, or it has none that could deny it.
    public static func isReference(lengthPrefixed data: [UInt8]) -> Bool {
        for unit in NALUnits(data) where isPicture(unit) { return isReference(unit) }
        return true
    }
}

/// What the first two bytes of an H.265 NAL unit say (ITU-T H.265 table 7-1).
public enum H265NAL {
    public static let vps: UInt8 = 32
    public static let sps: UInt8 = 33
    public static let pps: UInt8 = 34
    public static let delimiter: UInt8 = 35
    public static let prefixSEI: UInt8 = 39
    public static let suffixSEI: UInt8 = 40

    public static func type(_ unit: ArraySlice<UInt8>) -> UInt8 { (unit.first ?? 0xFF) >> 1 & 0x3F }
    public static func isPicture(_ unit: ArraySlice<UInt8>) -> Bool { unit.count >= 2 && type(unit) < 32 }
    /// IRAP: BLA, IDR or CRA.
    public static func isRandomAccess(_ unit: ArraySlice<UInt8>) -> Bool { (16...21).contains(type(unit)) }
}
