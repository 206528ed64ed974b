import Capture
import Core
import Foundation
import Yams

/// Reads `sudocam.yaml`: unknown keys, wrong types and impossible values are all reported at once, each with its line.
public struct ConfigurationReader {
    var problems: [ConfigurationProblem] = []
    /// Cameras that rules name; checked once all are known.
    var namedCameras: [(String, Node)] = []

    /// - Parameter path: the file; relative paths inside it are relative to its folder.
    public static func read(_ path: String) throws(ServerError) -> Configuration {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw ServerError(
                .configuration, "\(path) cannot be read.",
                hint: "Write one with `sudocam init`, or say where it is with --config.",
                underlying: FoundationReason(error))
        }
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        switch parse(text, folder: folder) {
        case .success(var configuration):
            configuration.path = path
            configuration.pins = PinStore.standardPath(folder: folder)
            // What is masked in every output is a secret.
            if configuration.cameras.contains(where: { $0.source.description.contains("***") }) {
                try SecretFile.check(path, holds: "a camera's password")
            }
            if let tls = configuration.tls { try SecretFile.check(tls.key, holds: "the page's key") }
            return configuration
        case .failure(let failure):
            let list = failure.problems.map { "  \($0)" }.joined(separator: "\n")
            throw ServerError(.configuration, "\(path) has \(failure.problems.count) error(s):\n\(list)\n")
        }
    }

    public struct Problems: Error, Equatable {
        public var problems: [ConfigurationProblem]
    }

    public static func parse(_ text: String, folder: String) -> Result<Configuration, Problems> {
        var reader = ConfigurationReader()
        let configuration = reader.configuration(text, folder: folder)
        guard let configuration, reader.problems.isEmpty else {
            return .failure(Problems(problems: reader.problems.sorted { $0.line < $1.line }))
        }
        return .success(configuration)
    }

    private mutating func configuration(_ text: String, folder: String) -> Configuration? {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            problems.append(problem(error))
            return nil
        } catch {
            problems.append(ConfigurationProblem(line: 0, message: "not YAML"))
            return nil
        }
        guard let mapping = root?.mapping else {
            problems.append(
                ConfigurationProblem(
                    line: root?.mark?.line ?? 0, message: "keys and values are wanted, as in `vault: ./vault`"))
            return nil
        }
        var configuration = Configuration(vault: "")
        var seen: Set<String> = []
        for (keyNode, value) in mapping {
            guard let key = keyNode.string else {
                add(keyNode, "a key must be text")
                continue
            }
            guard seen.insert(key).inserted else {
                add(keyNode, "`\(key)` stands here twice")
                continue
            }
            switch key {
            case "vault": configuration.vault = text_(value, key).map { absolute($0, folder) } ?? ""
            case "listen": if let listen = listen(value) { configuration.listen = listen }
            case "tls": configuration.tls = tls(value, folder)
            case "host-names": configuration.hostNames = list(value, key)
            case "media-port": configuration.mediaPort = number(value, key, 1...65_535) ?? configuration.mediaPort
            case "media-addresses": configuration.mediaAddresses = list(value, key)
            case "clip-seconds": configuration.clipSeconds = number(value, key, 2...300) ?? configuration.clipSeconds
            case "lock-after-minutes":
                configuration.lockAfterMinutes = number(value, key, 0...100_000) ?? configuration.lockAfterMinutes
            case "unlock": configuration.unlock = unlock(value, folder)
            case "retention": configuration.retention = retention(value)
            case "scrub": configuration.scrub = scrub(value)
            case "notify": configuration.notify = notify(value)
            case "cameras": configuration.cameras = cameras(value, folder)
            default: add(keyNode, "unknown key `\(key)`\(suggestion(key, Self.keys))")
            }
        }
        for (name, node) in namedCameras where !configuration.cameras.contains(where: { $0.key == name }) {
            add(node, "a rule names camera `\(name)`, which is not under `cameras`")
        }
        if !seen.contains("vault") {
            problems.append(
                ConfigurationProblem(line: 0, message: "`vault` is missing: the folder that keeps the footage"))
        }
        return configuration
    }

    static let keys = [
        "vault", "listen", "tls", "host-names", "media-port", "media-addresses", "clip-seconds", "lock-after-minutes",
        "unlock", "retention", "scrub", "notify", "cameras",
    ]

    private static let cameraKeys = ["name", "source", "bytes", "sound"]

    // MARK: Values

    mutating func add(_ node: Node, _ message: String) {
        problems.append(ConfigurationProblem(line: node.mark?.line ?? 0, message: message))
    }

    private func problem(_ error: YamlError) -> ConfigurationProblem {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            ConfigurationProblem(line: mark.line, message: "not YAML: \(problem)")
        case .duplicatedKeysInMapping(let keys, let context):
            ConfigurationProblem(
                line: context.mark.line,
                message: keys.sorted().map { "`\($0)`" }.joined(separator: ", ") + " stands here twice")
        case .reader(let problem, _, _, _): ConfigurationProblem(line: 0, message: "not YAML: \(problem)")
        // Not the error itself: it would quote the whole file, passwords and all.
        default: ConfigurationProblem(line: 0, message: "not YAML")
        }
    }

    mutating func text_(_ node: Node, _ key: String) -> String? {
        guard let text = node.scalar?.string, !text.isEmpty else {
            add(node, "`\(key)` wants text")
            return nil
        }
        return text
    }

    private mutating func number(_ node: Node, _ key: String, _ range: ClosedRange<Int>) -> Int? {
        guard let text = node.scalar?.string, let value = Int(text), range.contains(value) else {
            add(node, "`\(key)` wants a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return value
    }

    private mutating func truth(_ node: Node, _ key: String) -> Bool? {
        guard let text = node.scalar?.string, let value = Bool(text) else {
            add(node, "`\(key)` wants true or false")
            return nil
        }
        return value
    }

    mutating func list(_ node: Node, _ key: String) -> [String] {
        guard let sequence = node.sequence else {
            add(node, "`\(key)` wants a list, as in `[a, b]`")
            return []
        }
        return sequence.compactMap { text_($0, key) }
    }

    private mutating func listen(_ node: Node) -> Configuration.Listen? {
        guard let text = text_(node, "listen") else { return nil }
        guard let listen = Configuration.Listen(text) else {
            add(node, "`listen` wants an address and a port, as in 127.0.0.1:8480; 0.0.0.0 is every IPv4 address")
            return nil
        }
        return listen
    }

    private mutating func tls(_ node: Node, _ folder: String) -> Configuration.TLS? {
        guard let mapping = node.mapping else {
            add(node, "`tls` wants `certificate` and `key`")
            return nil
        }
        var files: [String: String] = [:]
        for (keyNode, value) in mapping {
            let key = keyNode.string ?? ""
            guard ["certificate", "key"].contains(key) else {
                add(keyNode, "unknown key `\(key)` in `tls`\(suggestion(key, ["certificate", "key"]))")
                continue
            }
            files[key] = text_(value, key).map { absolute($0, folder) }
        }
        guard let certificate = files["certificate"], let key = files["key"] else {
            add(node, "`tls` wants both `certificate` and `key`")
            return nil
        }
        return Configuration.TLS(certificate: certificate, key: key)
    }

    private mutating func notify(_ node: Node) -> Configuration.Notify? {
        guard let mapping = node.mapping else {
            add(node, "`notify` wants `command`, as in `notify: { command: [/usr/local/bin/tell-me] }`")
            return nil
        }
        var command: [String]?
        for (keyNode, value) in mapping {
            let key = keyNode.string ?? ""
            guard key == "command" else {
                add(keyNode, "unknown key `\(key)` in `notify`\(suggestion(key, ["command"]))")
                continue
            }
            let words = list(value, "command")
            command = words
            if words.first?.hasPrefix("/") == false {
                add(value, "`command` begins with a program's whole path, as in /usr/bin/logger; no shell looks for it")
            } else if words.isEmpty, value.sequence != nil {
                add(value, "`command` wants a program and its arguments, as in `[/usr/bin/logger, -t, sudocam]`")
            }
        }
        guard let command else {
            add(node, "`notify` wants `command`")
            return nil
        }
        return Configuration.Notify(command: command)
    }

    private mutating func cameras(_ node: Node, _ folder: String) -> [Configuration.Camera] {
        guard let mapping = node.mapping else {
            add(
                node,
                "`cameras` wants one entry a camera, as in `living-room: { name: Living room, source: \"rtsp://…\" }`")
            return []
        }
        var cameras: [Configuration.Camera] = []
        for (keyNode, value) in mapping {
            guard let key = keyNode.string, !key.isEmpty else {
                add(keyNode, "a camera's key must be text")
                continue
            }
            if cameras.contains(where: { $0.key == key }) { add(keyNode, "camera `\(key)` stands here twice") }
            guard let fields = value.mapping else {
                add(value, "camera `\(key)` wants at least `source`")
                continue
            }
            var name = key
            var source: SourceAddress?
            var hasSource = false
            var bytes: Int?
            var sound = true
            for (fieldNode, field) in fields {
                switch fieldNode.string ?? "" {
                case "name": name = text_(field, "name") ?? key
                case "source":
                    hasSource = true
                    guard let text = text_(field, "source") else { continue }
                    do {
                        source = try SourceAddress(text)
                    } catch {
                        add(field, "camera `\(key)`: \(error)")
                    }
                case "bytes": bytes = budget(field, "bytes")
                case "sound": sound = truth(field, "sound") ?? sound
                case let other:
                    add(
                        fieldNode,
                        "unknown key `\(other)` in camera `\(key)`\(suggestion(other, Self.cameraKeys))")
                }
            }
            if !hasSource { add(value, "camera `\(key)` wants `source`") }
            if let source {
                cameras.append(
                    Configuration.Camera(key: key, name: name, source: source, bytes: bytes, sound: sound))
            }
        }
        return cameras
    }

    func absolute(_ path: String, _ folder: String) -> String {
        path.hasPrefix("/")
            ? path : URL(fileURLWithPath: path, relativeTo: URL(fileURLWithPath: folder)).standardizedFileURL.path
    }

    /// What was probably meant: a known key at most two edits away.
    func suggestion(_ word: String, _ known: [String]) -> String {
        let near = known.map { ($0, distance(Array(word), Array($0))) }.filter { $0.1 <= 2 }.min { $0.1 < $1.1 }
        return near.map { "; `\($0.0)`?" } ?? "; known are \(known.joined(separator: ", "))"
    }

    private func distance(_ a: [Character], _ b: [Character]) -> Int {
        var row = Array(0...b.count)
        for i in a.indices {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let substituted = diagonal + (a[i] == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
            }
        }
        return row[b.count]
    }
}

extension Configuration.Listen {
    /// `127.0.0.1:8480`, `[::1]:8480`. Nil when it is not understood.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count >= 2, let port = Int(parts.last ?? ""), (0...65_535).contains(port) else { return nil }
        let host = parts.dropLast().joined(separator: ":").trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        guard !host.isEmpty else { return nil }
        self.init(host: host, port: port)
    }
}
