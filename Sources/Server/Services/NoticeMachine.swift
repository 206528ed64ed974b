import Core
import Ingest

/// What the owner is told of, and that once (case I13). Pure.
///
///     well ──offline for `patience`, or frozen──▶ told ──well for `rest`──▶ well
///     an alarm is told when it is raised, and again when it comes back after `rest`
struct NoticeMachine {
    /// One sentence for the owner.
    struct Notice: Sendable, Equatable {
        enum Topic: String, Sendable { case offline, failing, frozen, alarm }
        var topic: Topic
        /// Key of the camera in `sudocam.yaml`.
        var camera: String?
        var at: WallTime
        var text: String
    }
    struct Camera {
        var key: String
        var name: String
        var status: Pipeline.Status
    }
    private struct Trouble {
        var first: MonotonicTime
        var last: MonotonicTime
        var isTold = false
    }
    private struct Subject: Hashable {
        var topic: Notice.Topic
        var name: String
    }

    /// A camera that comes back sooner is no news, µs: restarting takes one a while.
    static let patience: Int64 = 30_000_000
    /// What comes back sooner is the same trouble still, µs.
    static let rest: Int64 = 300_000_000

    private var troubles: [Subject: Trouble] = [:]

    /// Called every few seconds. Returns: what is to be told now.
    mutating func look(
        _ cameras: [Camera], alarms: [(topic: String, text: String)], at now: MonotonicTime, _ wall: WallTime
    ) -> [Notice] {
        var notices: [Notice] = []
        for camera in cameras {
            let topic: Notice.Topic? =
                switch camera.status.state {
                case .offline, .connecting: .offline
                case .failing: .failing
                case .recording: camera.status.frozenSince == nil ? nil : .frozen
                }
            guard let topic else { continue }
            let patience = topic == .offline ? Self.patience : 0
            if isNews(Subject(topic: topic, name: camera.key), patience, now) {
                notices.append(Notice(topic: topic, camera: camera.key, at: wall, text: Self.text(camera, topic)))
            }
        }
        for alarm in alarms where isNews(Subject(topic: .alarm, name: alarm.topic), 0, now) {
            notices.append(Notice(topic: .alarm, camera: nil, at: wall, text: alarm.text))
        }
        troubles = troubles.filter { now - $0.value.last < Self.rest }
        return notices
    }

    private mutating func isNews(_ subject: Subject, _ patience: Int64, _ now: MonotonicTime) -> Bool {
        var trouble = troubles[subject] ?? Trouble(first: now, last: now)
        defer { troubles[subject] = trouble }
        // Well in between, and not told: it begins anew.
        if !trouble.isTold, now - trouble.last > Self.patience / 2 { trouble.first = now }
        trouble.last = now
        guard !trouble.isTold, now - trouble.first >= patience else { return false }
        trouble.isTold = true
        return true
    }

    private static func text(_ camera: Camera, _ topic: Notice.Topic) -> String {
        let status = camera.status
        let reason = status.reason.map { ": \($0)" } ?? "."
        return switch topic {
        case .frozen:
            "The picture of camera \(camera.name) has not changed since \(FileTime.iso(status.frozenSince ?? status.since)). It is recorded as it comes."
        case .failing: "Camera \(camera.name) has not been recorded since \(FileTime.iso(status.since))\(reason)"
        case .offline, .alarm: "Camera \(camera.name) has been offline since \(FileTime.iso(status.since))\(reason)"
        }
    }
}
