import Core
import Foundation
import Vault
import Yams

extension ConfigurationReader {
    mutating func retention(_ node: Node) -> Configuration.Retention {
        var retention = Configuration.Retention()
        guard let mapping = node.mapping else {
            add(node, "`retention` wants keys and values, as in `rules: [{ keep: 30d }]`")
            return retention
        }
        for (keyNode, value) in mapping {
            switch keyNode.string ?? "" {
            case "rules": retention.rules = rules(value)
            case "each-camera": retention.eachCamera = budget(value, "each-camera")
            case "total": retention.total = budget(value, "total")
            case "keep-free": retention.keepFree = budget(value, "keep-free") ?? retention.keepFree
            case let other:
                let known = ["rules", "each-camera", "total", "keep-free"]
                add(keyNode, "unknown key `\(other)` in `retention`\(suggestion(other, known))")
            }
        }
        return retention
    }

    private mutating func rules(_ node: Node) -> [Configuration.Retention.Rule] {
        guard let sequence = node.sequence else {
            add(node, "`rules` wants a list, as in `- { keep: 30d }`; the first that fits a clip decides")
            return []
        }
        var rules: [Configuration.Retention.Rule] = []
        for node in sequence {
            let before = problems.count
            guard let mapping = node.mapping, !mapping.isEmpty else {
                add(node, "a rule wants `keep`, and maybe `cameras`, `classes`, `minimum`")
                continue
            }
            var rule = Configuration.Retention.Rule()
            for (keyNode, value) in mapping {
                switch keyNode.string ?? "" {
                case "cameras":
                    rule.cameras = list(value, "cameras")
                    if value.sequence?.isEmpty == true {
                        add(value, "`cameras` names none; leave it out for every camera")
                    }
                    for name in value.sequence ?? [] { if let text = name.string { namedCameras.append((text, name)) } }
                case "classes":
                    if value.sequence?.isEmpty == true {
                        add(value, "`classes` names none; leave it out for every class")
                    }
                    rule.classes = list(value, "classes").compactMap { name in
                        if let kind = RetentionClass(rawValue: name) { return kind }
                        let known = RetentionClass.allCases.map(\.rawValue)
                        add(value, "there is no class `\(name)`\(suggestion(name, known))")
                        return nil
                    }
                case "keep": rule.keep = duration(value, "keep")
                case "minimum": rule.minimum = duration(value, "minimum") ?? 0
                case "pre-roll": rule.preRoll = roll(value, "pre-roll")
                case "post-roll": rule.postRoll = roll(value, "post-roll")
                case let other:
                    let known = ["cameras", "classes", "keep", "minimum", "pre-roll", "post-roll"]
                    add(keyNode, "unknown key `\(other)` in a rule\(suggestion(other, known))")
                }
            }
            if let keep = rule.keep, rule.minimum > keep {
                add(node, "this rule's `minimum` is longer than its `keep`")
            }
            if rule.preRoll > 0 || rule.postRoll > 0, rule.classes?.contains(.continuous) ?? true {
                add(node, "`pre-roll` and `post-roll` want `classes` without `continuous`: what they lie around")
            }
            if problems.count == before, !isReached(rule, behind: rules) {
                add(node, "nothing comes to this rule: those before it take all of its cameras and classes")
            }
            rules.append(rule)
        }
        return rules
    }

    /// Whether some clip gets past the rules before: of one of its cameras, and of one of its classes, or, with a roll, of any.
    private func isReached(
        _ rule: Configuration.Retention.Rule, behind rules: [Configuration.Retention.Rule]
    ) -> Bool {
        let hasRoll = rule.preRoll > 0 || rule.postRoll > 0
        let classes = hasRoll ? RetentionClass.allCases : rule.classes ?? RetentionClass.allCases
        // Nil: a camera that no rule names.
        let cameras: [String?] = rule.cameras ?? [nil]
        return cameras.contains { camera in
            classes.contains { kind in
                !rules.contains { earlier in
                    (earlier.cameras.map { names in camera.map(names.contains) ?? false } ?? true)
                        && earlier.classes?.contains(kind) ?? true
                }
            }
        }
    }

    private mutating func roll(_ node: Node, _ key: String) -> Int64 {
        guard let roll = duration(node, key) else { return 0 }
        if roll > RetentionPolicy.Rule.longestRoll { add(node, "`\(key)` is at most 1h") }
        return roll
    }

    mutating func scrub(_ node: Node) -> Configuration.Scrub {
        var scrub = Configuration.Scrub()
        guard let mapping = node.mapping else {
            add(node, "`scrub` wants keys and values, as in `{ every: 30d }`")
            return scrub
        }
        for (keyNode, value) in mapping {
            switch keyNode.string ?? "" {
            case "every":
                if value.scalar?.string == "never" {
                    scrub.every = nil
                } else if let every = duration(value, "every") {
                    if every < 3_600_000_000 { add(value, "`every` is at least an hour, or `never`") }
                    scrub.every = every
                }
            case "rate":
                scrub.rate = size(value, "rate") ?? scrub.rate
                if scrub.rate < 100_000 { add(value, "`rate` is at least 100kB (a second)") }
            case let other:
                add(keyNode, "unknown key `\(other)` in `scrub`\(suggestion(other, ["every", "rate"]))")
            }
        }
        return scrub
    }

    /// `90d`, `12h`, `30m`, `10s`; µs.
    private mutating func duration(_ node: Node, _ key: String) -> Int64? {
        guard let duration = node.scalar.flatMap({ Quantity.duration($0.string) }) else {
            add(node, "`\(key)` wants a length of time, as in 30d, 12h or 90m")
            return nil
        }
        return duration
    }

    /// A size that footage fits in: `0`, or `500` for 500GB, would let everything go.
    mutating func budget(_ node: Node, _ key: String) -> Int? {
        guard let size = size(node, key) else { return nil }
        guard size >= RetentionPolicy.smallestBudget else {
            add(node, "`\(key)` is \(size) bytes: at least 1MB is wanted, with its unit, as in 500GB")
            return nil
        }
        return size
    }

    /// `500GB`, `64MiB`, `2TB`, or a number of bytes.
    mutating func size(_ node: Node, _ key: String) -> Int? {
        if let size = node.scalar.flatMap({ Quantity.size($0.string) }) { return size }
        add(node, "`\(key)` wants a size, as in 500GB or 64MiB")
        return nil
    }
}

extension Configuration {
    /// The policy for one vault: cameras by their UUIDs.
    func retentionPolicy(vault: VaultID) -> RetentionPolicy {
        func id(_ key: String) -> CameraID { RecordingService.identity(of: key, in: vault) }
        var policy = RetentionPolicy()
        policy.rules = retention.rules.map { rule in
            RetentionPolicy.Rule(
                cameras: rule.cameras.map { Set($0.map(id)) }, classes: rule.classes.map { Set($0) },
                keep: rule.keep, minimum: rule.minimum, preRoll: rule.preRoll, postRoll: rule.postRoll)
        }
        for camera in cameras { if let bytes = camera.bytes { policy.cameraBytes[id(camera.key)] = bytes } }
        policy.eachCameraBytes = retention.eachCamera
        policy.vaultBytes = retention.total
        policy.freeBytes = retention.keepFree
        return policy
    }
}
