import Core
import Ingest

/// `GET /api/v1/state`, and each element of `GET /api/v1/events`; `schemas/openapi.yaml` describes it.
struct StateReport: Codable, Sendable, Equatable {
    struct Camera: Codable, Sendable, Equatable {
        var id: CameraID
        /// Names are for those who may see: nil before log-in.
        var name: String?
        var state: Pipeline.Status.State
        var since: WallTime
        var reason: String?
        var codec: String?
        var width: Int
        var height: Int
        /// Where the camera's footage begins and ends so far.
        var first: WallTime?
        var last: WallTime?
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
}
