public import Core

/// What the owner wants kept, and for how long. Times are microseconds, sizes bytes.
///
/// One precedence, for planning, simulation and execution alike; the first that applies decides about a clip:
///
/// 1. a hold, or a reader's lease: kept, whatever else says;
/// 2. a time nobody vouches for (`docs/guide/retention.md`): kept, goes first when space is needed;
/// 3. the first rule that names the clip's camera and class, or whose roll reaches it from a clip of its classes: older than
///    `keep`, it goes;
/// 4. its camera's byte budget, then the vault's: the oldest go, none younger than its rule's `minimum`;
/// 5. a full disk: the oldest go, `minimum` or not.
public struct RetentionPolicy: Sendable, Hashable {
    public struct Rule: Sendable, Hashable {
        /// Nil: every camera.
        public var cameras: Set<CameraID>?
        /// Nil: every class.
        public var classes: Set<RetentionClass>?
        /// Age at which a clip goes, by its end; nil: never by age.
        public var keep: Int64?
        /// Age up to which no budget touches it.
        public var minimum: Int64
        /// The rule takes in what is recorded so long before a clip of its classes begins, and after it ends; at most `longestRoll`.
        public var preRoll: Int64
        public var postRoll: Int64
        public static let longestRoll: Int64 = 3_600_000_000

        public init(
            cameras: Set<CameraID>? = nil, classes: Set<RetentionClass>? = nil, keep: Int64? = nil, minimum: Int64 = 0,
            preRoll: Int64 = 0, postRoll: Int64 = 0
        ) {
            self.preRoll = min(max(0, preRoll), Self.longestRoll)
            self.postRoll = min(max(0, postRoll), Self.longestRoll)
            self.cameras = cameras
            self.classes = classes
            self.keep = keep
            self.minimum = minimum
        }
        func applies(to clip: ClipRecord) -> Bool {
            cameras?.contains(clip.camera) ?? true && classes?.contains(clip.kind) ?? true
        }
        /// Where a clip of the rule's classes would have to be for its roll to reach this one; nil when the rule has no roll, or
        /// takes the clip in anyway.
        func reach(of clip: ClipRecord) -> TimeRange? {
            guard preRoll > 0 || postRoll > 0, classes != nil, cameras?.contains(clip.camera) ?? true else {
                return nil
            }
            return TimeRange(clip.start - postRoll, clip.end + preRoll)
        }
    }

    /// The first that applies governs a clip.
    public var rules: [Rule] = []
    /// Budgets of single cameras.
    public var cameraBytes: [CameraID: Int] = [:]
    /// Of every camera that has none of its own; nil: none.
    public var eachCameraBytes: Int?
    public var vaultBytes: Int?
    /// Below this much free space the disk counts as full.
    public var freeBytes = 1 << 30

    public init() {}

    /// The rule of a clip and its number, from 1.
    /// - Parameter isNear: whether a clip of one of the classes, of the same camera, shares time with the range.
    func rule(
        for clip: ClipRecord, isNear: (Set<RetentionClass>, TimeRange) throws(VaultError) -> Bool
    ) throws(VaultError) -> (number: Int, rule: Rule)? {
        for (index, rule) in rules.enumerated() {
            if rule.applies(to: clip) { return (index + 1, rule) }
            if let range = rule.reach(of: clip), let classes = rule.classes, try isNear(classes, range) {
                return (index + 1, rule)
            }
        }
        return nil
    }

    /// Whether rule `number` may have decided about a clip, whatever was recorded around it then.
    func mayDecide(_ number: Int, _ clip: ClipRecord) -> Rule? {
        guard rules.indices.contains(number - 1), !rules.prefix(number - 1).contains(where: { $0.applies(to: clip) })
        else { return nil }
        let rule = rules[number - 1]
        return rule.applies(to: clip) || rule.reach(of: clip) != nil ? rule : nil
    }
    /// Until when the rule that names it lets its owner count on a clip, full disks aside; nil: on nothing. What a roll adds is
    /// left out.
    public func promise(for clip: ClipRecord) -> WallTime? {
        guard clip.isPlausible, let rule = rules.first(where: { $0.applies(to: clip) }) else { return nil }
        let length = max(rule.keep ?? 0, rule.minimum)
        return length > 0 ? clip.end + length : nil
    }
    public func budget(_ camera: CameraID) -> Int? { cameraBytes[camera] ?? eachCameraBytes }

    /// One line that says all of it and nothing else; equal policies have equal texts. Stands in the ledger.
    public var text: String {
        func sorted(_ names: [String]) -> String { "[" + names.sorted().map(JSON.quote).joined(separator: ",") + "]" }
        let rules = rules.map { rule in
            var fields: [String] = []
            if let cameras = rule.cameras { fields.append("\"cameras\":\(sorted(cameras.map(\.description)))") }
            if let classes = rule.classes { fields.append("\"classes\":\(sorted(classes.map(\.rawValue)))") }
            if let keep = rule.keep { fields.append("\"keep\":\(keep)") }
            if rule.minimum > 0 { fields.append("\"minimum\":\(rule.minimum)") }
            if rule.preRoll > 0 { fields.append("\"preRoll\":\(rule.preRoll)") }
            if rule.postRoll > 0 { fields.append("\"postRoll\":\(rule.postRoll)") }
            return "{\(fields.joined(separator: ","))}"
        }
        let cameras = cameraBytes.sorted { $0.key < $1.key }.map { "\(JSON.quote($0.key.description)):\($0.value)" }
        var fields = ["\"rules\":[\(rules.joined(separator: ","))]"]
        if !cameras.isEmpty { fields.append("\"cameraBytes\":{\(cameras.joined(separator: ","))}") }
        if let eachCameraBytes { fields.append("\"eachCameraBytes\":\(eachCameraBytes)") }
        if let vaultBytes { fields.append("\"vaultBytes\":\(vaultBytes)") }
        fields.append("\"freeBytes\":\(freeBytes)")
        return "{\(fields.joined(separator: ","))}"
    }

    /// Names the policy: SHA-256 of `text`.
    public var digest: ObjectID { ObjectID(digest: Digest.sha256(Array(text.utf8))) ?? .zero }

    /// From a ledger's `policy` entry; nil when it is none of ours.
    init?(text: String) {
        guard let json = JSON(Array(text.utf8)), let rules = json["rules"]?.array else { return nil }
        func bytes(_ json: JSON?) -> Int? { json?.integer.flatMap { $0 >= 0 ? Int($0) : nil } }
        for json in rules {
            var rule = Rule(
                keep: json["keep"]?.integer, minimum: json["minimum"]?.integer ?? 0,
                preRoll: json["preRoll"]?.integer ?? 0, postRoll: json["postRoll"]?.integer ?? 0)
            if let names = json["cameras"]?.array {
                rule.cameras = Set(names.compactMap { $0.string.flatMap { CameraID($0) } })
                guard rule.cameras?.count == names.count else { return nil }
            }
            if let names = json["classes"]?.array {
                rule.classes = Set(names.compactMap { $0.string.flatMap(RetentionClass.init(rawValue:)) })
                guard rule.classes?.count == names.count else { return nil }
            }
            self.rules.append(rule)
        }
        if case .object(let members)? = json["cameraBytes"] {
            for (name, value) in members {
                guard let camera = CameraID(name), let value = bytes(value) else { return nil }
                cameraBytes[camera] = value
            }
        }
        eachCameraBytes = bytes(json["eachCameraBytes"])
        vaultBytes = bytes(json["vaultBytes"])
        guard let free = bytes(json["freeBytes"]) else { return nil }
        freeBytes = free
    }
}

/// Why a clip goes.
public enum RetentionCause: Sendable, Hashable, LosslessStringConvertible {
    /// Older than rule number n (from 1) keeps it.
    case age(rule: Int)
    case cameraBudget
    case vaultBudget
    case diskFull
    /// Its epoch's key was destroyed.
    case shredded

    public init?(_ text: String) {
        switch text {
        case "camera-budget": self = .cameraBudget
        case "vault-budget": self = .vaultBudget
        case "disk-full": self = .diskFull
        case "shredded": self = .shredded
        default:
            guard text.hasPrefix("age:"), let rule = Int(text.dropFirst(4)), rule > 0 else { return nil }
            self = .age(rule: rule)
        }
    }
    public var description: String {
        switch self {
        case .age(let rule): "age:\(rule)"
        case .cameraBudget: "camera-budget"
        case .vaultBudget: "vault-budget"
        case .diskFull: "disk-full"
        case .shredded: "shredded"
        }
    }
}
