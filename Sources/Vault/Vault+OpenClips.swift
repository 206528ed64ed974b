public import Core
import Synchronization

/// A clip that is being written, or being closed and not yet committed.
public struct OpenClip: Sendable {
    public let identity: ClipIdentity
    /// Up to where frames were appended so far.
    public var end: WallTime
    let writer: ClipWriter

    /// What was appended so far, through the key in memory.
    public var source: any ByteSource { writer.source }
}

extension Vault {
    /// Clips of a camera that no query finds yet, oldest first: mostly one, two while the older is being closed.
    public func openClips(camera: CameraID) -> [OpenClip] {
        recording.withLock { recording in
            recording.open.values.filter { $0.identity.camera == camera }
        }.sorted { $0.identity.start < $1.identity.start }
    }

    /// Says up to where a clip's frames reach by now, so that it can be found by time.
    public func reached(_ end: WallTime, in writer: ClipWriter) {
        let key = ObjectIdentifier(writer.part)
        recording.withLock { recording in
            guard let known = recording.open[key]?.end else { return }
            recording.open[key]?.end = max(known, end)
        }
    }
}
