import Core
import Ingest

/// What the owner is told of, and that once (case I13). Pure.
///
///     well ──offline for `patience`, or frozen──▶ due ──given──▶ told ──well for `rest`──▶ well
///                                                  └─could not be given──▶ due again, later and later
///     an alarm is due when it is raised, and again when it comes back after `rest`
struct NoticeMachine {
    /// One sentence for the owner.
    struct Notice: Sendable, Equatable {
        enum Topic: String, Sendable { case offline, failing, frozen, alarm }
        var topic: Topic
        /// Key of the camera in `sudocam.yaml`.
        var camera: String?
        var at: WallTime
        var text: String
        fileprivate var subject: Subject

        init(topic: Topic, camera: String? = nil, at: WallTime, text: String, about name: String? = nil) {
            (self.topic, self.camera, self.at, self.text) = (topic, camera, at, text)
            subject = Subject(topic: topic, name: name ?? camera ?? text)
        }
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
        /// Could not be given so often; not before then again.
        var attempts = 0
        var notBefore: MonotonicTime?
    }
    fileprivate struct Subject: Hashable {
        var topic: Notice.Topic
        var name: String
    }

    /// A camera that comes back sooner is no news, µs: restarting takes one a while.
    static let patience: Int64 = 30_000_000
    /// What comes back sooner is the same trouble still, µs.
    static let rest: Int64 = 300_000_000

    /// Until it is tried again, µs: what cannot be given now may be given when the network is back.
    static let retries: [Int64] = [60_000_000, 300_000_000, 900_000_000, 3_600_000_000]

    private var troubles: [Subject: Trouble] = [:]
    private var lastLook: MonotonicTime?

    /// Called every few seconds. Returns: what is to be told now; `tried` says what became of each.
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
            let notice = Notice(topic: topic, camera: camera.key, at: wall, text: Self.text(camera, topic))
            if isDue(notice.subject, patience, now) { notices.append(notice) }
        }
        for alarm in alarms {
            let notice = Notice(topic: .alarm, at: wall, text: alarm.text, about: alarm.topic)
            if isDue(notice.subject, 0, now) { notices.append(notice) }
        }
        lastLook = now
        troubles = troubles.filter { now - $0.value.last < Self.rest }
        return notices
    }

    /// What became of a notice.
    mutating func tried(_ notice: Notice, isGiven: Bool, at now: MonotonicTime) {
        guard var trouble = troubles[notice.subject] else { return }
        trouble.isTold = isGiven
        trouble.notBefore = now + Self.retries[min(trouble.attempts, Self.retries.count - 1)]
        trouble.attempts += 1
        troubles[notice.subject] = trouble
    }

    private mutating func isDue(_ subject: Subject, _ patience: Int64, _ now: MonotonicTime) -> Bool {
        var trouble = troubles[subject] ?? Trouble(first: now, last: now)
        defer { troubles[subject] = trouble }
        // Seen to be well in between, and not told: it begins anew. (A look may be late, which says nothing.)
        if !trouble.isTold, let lastLook, lastLook - trouble.last > Self.patience / 2 { trouble.first = now }
        trouble.last = now
        return !trouble.isTold && now - trouble.first >= patience && trouble.notBefore.map { now >= $0 } ?? true
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
