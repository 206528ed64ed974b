/// What differs between the configuration in force and a new one, by what it concerns. Pure.
struct ConfigurationChanges: Sendable, Equatable {
    /// Cameras that are new, as the new configuration has them.
    var started: [Configuration.Camera] = []
    /// Cameras with another source, or whose sound is to be recorded from now on, or no longer.
    var restarted: [Configuration.Camera] = []
    /// Cameras with another name; their runs go on unless the source is another one too.
    var renamed: [Configuration.Camera] = []
    /// Cameras that are gone, as the old configuration has them.
    var stopped: [Configuration.Camera] = []
    /// Keys of what is applied at once.
    var changed: [String] = []
    /// Keys of what stays as it was until the recorder is started anew.
    var needsRestart: [String] = []
    /// What is in force afterwards: the new configuration, with the old values of `needsRestart`.
    var result: Configuration

    init(from old: Configuration, to new: Configuration) {
        result = new
        // Neither is a key of the file.
        (result.pins, result.path) = (old.pins, old.path)
        keep("vault", \.vault, of: old)
        keep("listen", \.listen, of: old)
        keep("tls", \.tls, of: old)
        keep("media-port", \.mediaPort, of: old)
        keep("media-addresses", \.mediaAddresses, of: old)
        keep("unlock", \.unlock, of: old)
        apply("host-names", \.hostNames, old, new)
        apply("clip-seconds", \.clipSeconds, old, new)
        apply("lock-after-minutes", \.lockAfterMinutes, old, new)
        apply("retention", \.retention, old, new)
        apply("scrub", \.scrub, old, new)
        apply("notify", \.notify, old, new)
        compare(old.cameras, new.cameras)
    }

    var isEmpty: Bool {
        started.isEmpty && restarted.isEmpty && renamed.isEmpty && stopped.isEmpty && changed.isEmpty
            && needsRestart.isEmpty
    }

    private mutating func keep<Value: Equatable>(
        _ key: String, _ path: WritableKeyPath<Configuration, Value>, of old: Configuration
    ) {
        guard result[keyPath: path] != old[keyPath: path] else { return }
        result[keyPath: path] = old[keyPath: path]
        needsRestart.append(key)
    }

    private mutating func apply<Value: Equatable>(
        _ key: String, _ path: KeyPath<Configuration, Value>, _ old: Configuration, _ new: Configuration
    ) {
        if old[keyPath: path] != new[keyPath: path] { changed.append(key) }
    }

    private mutating func compare(_ old: [Configuration.Camera], _ new: [Configuration.Camera]) {
        let before = Dictionary(old.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        for camera in new {
            guard let known = before[camera.key] else {
                started.append(camera)
                continue
            }
            if camera.source != known.source || camera.sound != known.sound { restarted.append(camera) }
            if camera.name != known.name { renamed.append(camera) }
            if camera.bytes != known.bytes { changed.append("cameras.\(camera.key).bytes") }
        }
        let after = Set(new.map(\.key))
        stopped = old.filter { !after.contains($0.key) }
        let stays = { (cameras: [Configuration.Camera], others: Set<String>) in
            cameras.map(\.key).filter(others.contains)
        }
        if stays(old, after) != stays(new, Set(before.keys)) { changed.append("order of cameras") }
    }
}
