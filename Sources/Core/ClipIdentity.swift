/// Who a clip is: the fields of its object's `sudocam/clip` stanza. The same fields stand inside the MP4, so that a
/// header that lies is found.
public struct ClipIdentity: Sendable, Hashable, BitwiseCopyable, Codable {
    public var vault: VaultID
    public var camera: CameraID
    public var epoch: EpochID
    public var run: RunID
    /// Rises by one per clip of a camera, from 1.
    public var sequence: UInt64
    public var start: WallTime

    public init(
        vault: VaultID, camera: CameraID, epoch: EpochID, run: RunID, sequence: UInt64, start: WallTime
    ) {
        self.vault = vault
        self.camera = camera
        self.epoch = epoch
        self.run = run
        self.sequence = sequence
        self.start = start
    }
}
