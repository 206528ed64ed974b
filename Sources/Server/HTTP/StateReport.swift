import Core
import Ingest

/// `GET /api/v1/state`, and each element of `GET /api/v1/events`; `schemas/openapi.yaml` describes it.
struct StateReport: Codable, Sendable, Equatable {
    enum CameraState: String, Codable, Sendable {
        case connecting, recording, offline, failing
        /// There is footage of it, and nothing is recorded here.
        case archived
    }
    struct Camera: Codable, Sendable, Equatable {
        var id: CameraID
        /// Names are for those who may see: nil before log-in.
        var name: String?
        var state: CameraState
        var since: WallTime
        var reason: String?
        /// Since when it delivers a picture that does not change.
        var frozenSince: WallTime?
        var codec: String?
        var width: Int
        var height: Int
        /// Where the camera's footage begins and ends so far.
        var first: WallTime?
        var last: WallTime?
    }

    /// How a copy elsewhere stands; what one that is `followed` lags is how old its newest footage is.
    struct Remote: Codable, Sendable, Equatable {
        var name: String
        /// Another recorder sends there; we only look.
        var followed: Bool
        var lagSeconds: Int64
        var lagObjects: Int
        var lagBytes: Int
        /// End of the oldest clip with an event that waits.
        var oldestUnsentEvent: WallTime?
        var objects: Int
        var bytes: Int
        /// Lying there only.
        var evictedObjects: Int
        /// Removed here, and kept there by object lock or for want of rights.
        var lockedObjects: Int
        /// What is still to be brought back from there.
        var backfillObjects: Int
        var backfillBytes: Int
        var lastSuccess: WallTime?
        /// Why nothing is sent, in a sentence.
        var failure: String?
    }

    var version: String
    var vault: VaultID
    /// Nobody can see footage until the passphrase is given.
    var locked: Bool
    /// Whether *this* browser is logged in.
    var loggedIn: Bool
    var now: WallTime
    var cameras: [Camera]
    /// Everything kept was read and found to be what it was, or told as an alarm, since then.
    var verifiedSince: WallTime?
    var alarms: [String]
    /// For those who are logged in; nil before.
    var remotes: [Remote]?
}

extension StateReport.CameraState {
    init(_ state: Pipeline.Status.State) {
        self =
            switch state {
            case .connecting: .connecting
            case .recording: .recording
            case .offline: .offline
            case .failing: .failing
            }
    }
}
