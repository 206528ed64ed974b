import Dispatch
import Media

/// Some points of a picture's brightness: enough to tell whether two pictures are the same, and 64 KB however large they are.
struct PictureGrid: Sendable {
    private let width: Int
    private let height: Int
    private let points: [UInt8]

    static let side = 256
    /// Mean difference in brightness up to which two pictures are the same: what FFmpeg's filter `freezedetect` takes by itself, a
    /// thousandth of the whole range. A sensor's own noise is more.
    static let tolerance = 0.001 * 255

    /// - Parameter luma: width × height bytes; others are the same as nothing.
    init(width: Int, height: Int, luma: [UInt8]) {
        self.width = width
        self.height = height
        let (columns, rows) = (min(Self.side, width), min(Self.side, height))
        var points: [UInt8] = []
        guard luma.count == width * height else {
            self.points = []
            return
        }
        points.reserveCapacity(columns * rows)
        for row in 0..<rows {
            let start = row * height / rows * width
            for column in 0..<columns { points.append(luma[start + column * width / columns]) }
        }
        self.points = points
    }

    func isSame(as other: PictureGrid) -> Bool {
        guard (width, height) == (other.width, other.height), !points.isEmpty else { return false }
        let difference = zip(points, other.points).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
        return Double(difference) <= Self.tolerance * Double(points.count)
    }

    /// One at a time, for all cameras: a decoder takes some bytes for each point while it works, 50 MB for an 8K picture.
    private static let lane = DispatchQueue(label: "sudocam.pictures")

    /// Nil where the key frame cannot be decoded.
    static func decoding(_ unit: TimedUnit) async -> PictureGrid? {
        await withCheckedContinuation { continuation in
            lane.async {
                let decoder = try? Decoder(unit.parameters)
                let first = try? decoder?.decode(unit.unit.data, isKey: true, pts: 0).first
                // A decoder gives a picture out when it knows that no earlier one comes.
                let picture = try? first ?? decoder?.decode([], isKey: false, pts: 0).first
                continuation.resume(
                    returning: picture.map { PictureGrid(width: $0.width, height: $0.height, luma: $0.luma) })
            }
        }
    }
}
