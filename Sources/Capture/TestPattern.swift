public import Core

/// Draws the test picture: something that moves, and the capture time twice, as a clock a person can read and as a block
/// code that survives compression (`docs/reference/block-code.md`).
public struct TestPattern: Sendable {
    public struct Settings: Sendable, Equatable {
        public var width = 1280
        public var height = 720
        public var rate = 25
        public var keyInterval = 50
        public var bitRate = 4_000_000
        public var bFrames = 0
        public var profile = "high"
        public init() {}
    }

    public private(set) var luma: [UInt8]
    public let cb: [UInt8]
    public let cr: [UInt8]
    private let background: [UInt8]
    private let width: Int
    private let height: Int
    private var box: (x: Int, y: Int, size: Int)?

    public init(_ settings: Settings) {
        width = settings.width
        height = settings.height
        var plane = [UInt8](repeating: 0, count: width * height)
        for y in 0..<height {
            for x in 0..<width { plane[y * width + x] = UInt8(40 + (x * 90 / width) + (y * 60 / height)) }
        }
        let (half, rows) = (width / 2, height / 2)
        var blue = [UInt8](repeating: 128, count: half * rows)
        var red = blue
        // Colour only beside and below the code, so that its cells stay neutral.
        let cell = Self.cell(width)
        for y in 0..<rows {
            for x in 0..<half where x * 2 > cell * 14 || y * 2 > cell * 10 {
                blue[y * half + x] = UInt8(96 + x * 64 / half)
                red[y * half + x] = UInt8(160 - y * 64 / rows)
            }
        }
        // One cell of grey around the code.
        for y in 0..<min(height, cell * 10) { for x in 0..<min(width, cell * 14) { plane[y * width + x] = 128 } }
        background = plane
        luma = plane
        cb = blue
        cr = red
    }

    static func cell(_ width: Int) -> Int { max(8, width / 40 / 2 * 2) }

    /// - Parameter frame: counts up; moves the box.
    public mutating func draw(_ time: WallTime, frame: Int) {
        if let box { restore(box.x, box.y, box.size, box.size) }
        let size = height / 6
        let span = max(1, width - size)
        let step = frame * max(2, width / 160) % (2 * span)
        let x = step < span ? step : 2 * span - step
        let y = height - size - height / 12
        fill(x, y, size, size, 220)
        fill(x + size / 4, y + size / 4, size / 2, size / 2, 30)
        box = (x, y, size)
        drawCode(time)
        drawClock(time)
    }

    private mutating func drawCode(_ time: WallTime) {
        let cell = Self.cell(width)
        for (index, bit) in BlockCode.bits(of: UInt64(bitPattern: time.microseconds)).enumerated() {
            fill(cell + index % 12 * cell, cell + index / 12 * cell, cell, cell, bit ? 235 : 16)
        }
    }

    private mutating func drawClock(_ time: WallTime) {
        let scale = max(2, width / 320)
        let text = Self.clock(time)
        let (x, y) = (Self.cell(width) * 2, Self.cell(width) * 11)
        restoreAndDarken(x - scale, y - scale, text.count * 6 * scale + scale, 9 * scale)
        for (index, character) in text.enumerated() {
            guard let rows = Self.font[character] else { continue }
            for (row, bits) in rows.enumerated() {
                for column in 0..<5 where bits >> UInt8(4 - column) & 1 == 1 {
                    fill(x + (index * 6 + column) * scale, y + row * scale, scale, scale, 235)
                }
            }
        }
    }

    /// `2026-11-25 14:03:27.480Z`; the calendar by Howard Hinnant's days-to-civil arithmetic.
    static func clock(_ time: WallTime) -> String {
        func pad(_ value: Int64, _ digits: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        let day = time.utcDay
        let micros = time.microseconds - day * 86_400_000_000
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let month = (5 * ofYear + 2) / 153
        let date = ofYear - (153 * month + 2) / 5 + 1
        let number = month < 10 ? month + 3 : month - 9
        let millis = micros / 1000
        return "\(pad(year + era * 400 + (number <= 2 ? 1 : 0), 4))-\(pad(number, 2))-\(pad(date, 2)) "
            + "\(pad(millis / 3_600_000, 2)):\(pad(millis / 60_000 % 60, 2)):\(pad(millis / 1000 % 60, 2)).\(pad(millis % 1000, 3))Z"
    }

    // MARK: Planes

    private mutating func fill(_ x: Int, _ y: Int, _ w: Int, _ h: Int, _ value: UInt8) {
        let (left, right) = (max(0, x), min(width, x + w))
        guard left < right else { return }
        for row in max(0, y)..<max(max(0, y), min(height, y + h)) {
            for column in row * width + left..<row * width + right { luma[column] = value }
        }
    }

    private mutating func restore(_ x: Int, _ y: Int, _ w: Int, _ h: Int) {
        let (left, right) = (max(0, x), min(width, x + w))
        guard left < right else { return }
        for row in max(0, y)..<max(max(0, y), min(height, y + h)) {
            for column in row * width + left..<row * width + right { luma[column] = background[column] }
        }
    }

    private mutating func restoreAndDarken(_ x: Int, _ y: Int, _ w: Int, _ h: Int) { fill(x, y, w, h, 24) }

    /// 5 × 7 dots, our own drawing.
    private static let font: [Character: [UInt8]] = [
        "0": [0x0E, 0x11, 0x11, 0x15, 0x11, 0x11, 0x0E], "1": [0x04, 0x0C, 0x04, 0x04, 0x04, 0x04, 0x0E],
        "2": [0x0E, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1F], "3": [0x1E, 0x01, 0x01, 0x0E, 0x01, 0x01, 0x1E],
        "4": [0x02, 0x06, 0x0A, 0x12, 0x1F, 0x02, 0x02], "5": [0x1F, 0x10, 0x1E, 0x01, 0x01, 0x11, 0x0E],
        "6": [0x06, 0x08, 0x10, 0x1E, 0x11, 0x11, 0x0E], "7": [0x1F, 0x01, 0x02, 0x04, 0x04, 0x08, 0x08],
        "8": [0x0E, 0x11, 0x11, 0x0E, 0x11, 0x11, 0x0E], "9": [0x0E, 0x11, 0x11, 0x0F, 0x01, 0x02, 0x0C],
        ":": [0x00, 0x04, 0x04, 0x00, 0x04, 0x04, 0x00], ".": [0x00, 0x00, 0x00, 0x00, 0x00, 0x0C, 0x0C],
        "-": [0x00, 0x00, 0x00, 0x1F, 0x00, 0x00, 0x00], "Z": [0x1F, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1F],
    ]
}

/// 96 cells: a row of sync, 64 bits of time, CRC-16/CCITT-FALSE over them, four zero bits.
public enum BlockCode {
    static let sync: [Bool] = [1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 0].map { $0 == 1 }

    public static func bits(of value: UInt64) -> [Bool] {
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) }
        let crc = crc16(bytes)
        return sync + (0..<64).map { value >> UInt64(63 - $0) & 1 == 1 }
            + (0..<16).map { crc >> UInt16(15 - $0) & 1 == 1 } + [false, false, false, false]
    }

    /// Polynomial 0x1021, initial value 0xFFFF, nothing reflected.
    public static func crc16(_ bytes: [UInt8]) -> UInt16 {
        bytes.reduce(UInt16(0xFFFF)) { crc, byte in
            (0..<8).reduce(crc ^ UInt16(byte) << 8) { value, _ in
                value & 0x8000 != 0 ? value << 1 ^ 0x1021 : value << 1
            }
        }
    }
}
