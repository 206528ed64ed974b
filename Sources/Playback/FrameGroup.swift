public import Core
public import Media

/// A frame ready to be sent, on the wall clock.
public struct PlaybackFrame: Sendable {
    public var time: WallTime
    public var isKey: Bool
    /// NAL units with 4-byte lengths.
    public var data: [UInt8]

    public init(time: WallTime, isKey: Bool, data: [UInt8]) {
        self.time = time
        self.isKey = isKey
        self.data = data
    }
}

/// A key frame and what depends on it, in the order it is sent. Never empty.
public struct FrameGroup: Sendable {
    public var camera: CameraID
    /// From the key frame to the end of the last frame.
    public var range: TimeRange
    public var frames: [PlaybackFrame]
    public var parameters: CodecParameters
    /// The group's end is still being recorded.
    public var isGrowing: Bool

    public init(
        camera: CameraID, range: TimeRange, frames: [PlaybackFrame], parameters: CodecParameters, isGrowing: Bool
    ) {
        self.camera = camera
        self.range = range
        self.frames = frames
        self.parameters = parameters
        self.isGrowing = isGrowing
    }

    /// The frame on the screen at `time`: the last that began by then, else the first (P1).
    func index(showing time: WallTime) -> Int {
        // Ticks of 90 kHz round by up to 6 µs; whoever asks with a frame's own time must get that frame.
        frames.lastIndex { $0.time <= time + Self.tolerance } ?? 0
    }
    static let tolerance: Int64 = 12
}

/// What the player wants to know of the footage.
public enum FootageRequest: Sendable, Equatable {
    /// The group on the screen at this time.
    case at(CameraID, WallTime)
    /// The first group that begins at or after this time.
    case after(CameraID, WallTime)
    /// The last group that begins before this time.
    case before(CameraID, WallTime)
}

/// The answer; always one, also where nothing is.
public enum FootageAnswer: Sendable {
    case group(FrameGroup)
    /// Nothing in [from, to); nil where nothing lies beyond. `isLiveEdge`: the camera records, later footage will come.
    case gap(from: WallTime?, to: WallTime?, reason: String, isLiveEdge: Bool)
    case failure(PlaybackError)
}
