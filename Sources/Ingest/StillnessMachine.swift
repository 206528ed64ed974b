import Core
import Media

/// Whether a camera that delivers still shows what happens (case I13), from its stream. Pure; one for each camera.
///
/// A frame that repeats the one before costs an encoder next to nothing, a sensor's noise does not: so only where such frames come is
/// a key frame worth decoding, and a camera that works is told from one that hangs by its frames' sizes alone. An encoder that spends
/// a constant, scarce bit rate on a picture that stands still never gets there, and hides it.
///
///     changing ──cheap frames: look──▶ still ──as long as `patience`, three pictures──▶ frozen
///        ▲──another picture, frames with content, the stream's end──┴─────────────────────┘
struct StillnessMachine {
    /// A key frame that wants to be decoded; `see` takes what it shows.
    struct Look: Sendable {
        var unit: TimedUnit
    }
    /// From the first picture to the last one that was the same.
    struct Finding: Equatable {
        var event: EventID
        var range: TimeRange
        var isOver: Bool
    }
    enum Outcome {
        case look(Look)
        case told(Finding)
    }

    /// Between two looks, µs. With key frames every 6 s a frozen picture is told within 30 s of its last change: up to 6 s until the
    /// first look, four of 6 s each until the last.
    static let interval: Int64 = 4_000_000
    /// µs.
    static let patience: Int64 = 18_000_000
    static let pictures = 3
    /// What goes on is told again after so long, µs: a recorder that is killed shall not leave the beginning alone.
    static let renewal: Int64 = 600_000_000
    /// A frame that repeats its predecessor has a header and runs of skipped blocks: bytes, and as a part of the key frame.
    static let cheapFrame = 512
    static let cheapPart = 16

    private var lastKey: WallTime?
    /// Of the frames since then the one with the fewest bytes.
    private var smallest: Int?
    private var reference: PictureGrid?
    private var still: (first: WallTime, last: WallTime, pictures: Int)?
    private var event: EventID?
    private var toldUntil: WallTime?

    /// The next frame of the stream, in decoding order.
    mutating func take(_ unit: TimedUnit) -> Outcome? {
        guard unit.unit.isKey else {
            smallest = min(smallest ?? .max, unit.unit.data.count)
            return nil
        }
        if let lastKey, unit.time - lastKey < Self.interval, unit.time >= lastKey { return nil }
        defer { (lastKey, smallest) = (unit.time, nil) }
        guard lastKey != nil else { return nil }
        let limit = max(Self.cheapFrame, unit.unit.data.count / Self.cheapPart)
        // None: every frame is a key frame.
        guard smallest ?? 0 <= limit else { return end().map(Outcome.told) }
        return .look(Look(unit: unit))
    }

    /// What the key frame showed.
    mutating func see(_ picture: PictureGrid, at time: WallTime) -> Finding? {
        guard let before = reference, let still, picture.isSame(as: before) else {
            let finding = end()
            reference = picture
            still = (time, time, 1)
            return finding
        }
        self.still = (still.first, time, still.pictures + 1)
        if let event {
            guard let toldUntil, time - toldUntil >= Self.renewal else { return nil }
            self.toldUntil = time
            return Finding(event: event, range: TimeRange(still.first, time), isOver: false)
        }
        guard still.pictures + 1 >= Self.pictures, time - still.first >= Self.patience else { return nil }
        let event = EventID.random()
        self.event = event
        toldUntil = time
        return Finding(event: event, range: TimeRange(still.first, time), isOver: false)
    }

    /// The stream ended, or the picture changed.
    mutating func end() -> Finding? {
        defer { (reference, still, event, toldUntil) = (nil, nil, nil, nil) }
        guard let event, let still else { return nil }
        return Finding(event: event, range: TimeRange(still.first, still.last), isOver: true)
    }
}
