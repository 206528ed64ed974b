import Core

/// One line of the ledger: JSON, described by `schemas/ledger.schema.json`. Written once, read for ever.
struct LedgerEntry: Sendable, Hashable {
    enum Body: Sendable, Hashable {
        case clip(ClipRecord)
        case epoch(EpochRecord)
        case gap(GapRecord)
        case event(EventRecord)
        case camera(CameraID, CameraChange)
        /// The wall clock was set; `isConfirmed`: the owner or a time server vouches for the new time.
        case clock(from: WallTime, to: WallTime, isConfirmed: Bool)
        /// A start of the recorder; `vaultFile` is the SHA-256 of `vault.json`.
        case open(software: String, vaultFile: ObjectID, isSynchronised: Bool)
        /// Removal of an object; written before the file goes.
        case delete(DeletionRecord)
        /// The policy that retention follows from here on, as text; named by its SHA-256.
        case policy(ObjectID, String)
        case hold(HoldRecord)
        case release(HoldID)
        /// Removal of an epoch's key.
        case shred(EpochID, rule: String)
        /// Who the vault's epochs are sealed to from here on; written before `vault.json` is replaced.
        case recipients(RecipientsRecord)
        /// An epoch's file was sealed anew, to the recipients of the `vault.json` with that digest; `file` is its new digest.
        case rewrap(EpochID, file: ObjectID, vaultFile: ObjectID)
        /// An epoch's key was given out; nil: unsealed.
        case export(EpochID, to: AgeRecipient?)
        /// A clip's key was sealed to somebody else.
        case share(ObjectID, to: AgeRecipient)
        /// An object that is gone though nobody removed it: `repair` says so, and viewers see a gap.
        case lost(WithdrawalRecord)
        /// An object that `repair` moved to `quarantine/`.
        case quarantine(WithdrawalRecord)
        /// The ledger does not simply go on: it was begun anew, or an older copy of it was put back.
        case rebuilt(RebuiltRecord)
        /// Objects whose copy on this disk goes because a remote was proven to have them; written before the files go.
        case evict(EvictionRecord)
        /// Objects that lie on this disk again.
        case fetch(EvictionRecord)
        /// A kind a newer version writes; kept and counted, not understood.
        case other(String)
    }

    /// When it was written, by the wall clock.
    var at: WallTime
    var body: Body

    /// Nil for a kind that only newer versions write.
    func encoded() -> [UInt8]? {
        var line = "{\"type\":"
        line.reserveCapacity(512)
        func begin(key: String) {
            line += ",\""
            line += key
            line += "\":"
        }
        func text(_ key: String, _ value: some CustomStringConvertible) {
            begin(key: key)
            line += JSON.quote(value.description)
        }
        func number(_ key: String, _ value: some BinaryInteger) {
            begin(key: key)
            line += value.description
        }
        func begin(_ type: String) {
            line += JSON.quote(type)
            number("at", at.microseconds)
        }
        switch body {
        case .clip(let clip):
            begin("clip")
            text("object", clip.object)
            text("vault", clip.identity.vault)
            text("camera", clip.identity.camera)
            text("epoch", clip.identity.epoch)
            text("run", clip.identity.run)
            number("seq", clip.identity.sequence)
            number("start", clip.identity.start.microseconds)
            number("end", clip.end.microseconds)
            number("bytes", clip.byteCount)
            text("kind", clip.kind.rawValue)
            if clip.isSalvaged { line += ",\"salvaged\":true" }
        case .epoch(let epoch):
            begin("epoch")
            text("epoch", epoch.epoch)
            text("camera", epoch.camera)
            number("day", epoch.day)
            if let recipient = epoch.recipient { text("recipient", recipient) }
            text("file", epoch.file)
        case .gap(let gap):
            begin("gap")
            text("camera", gap.camera)
            number("start", gap.range.start.microseconds)
            number("end", gap.range.end.microseconds)
            text("reason", gap.reason.rawValue)
        case .event(let event):
            begin("event")
            text("event", event.event)
            text("camera", event.camera)
            number("start", event.range.start.microseconds)
            number("end", event.range.end.microseconds)
            text("label", event.label.rawValue)
        case .camera(let camera, let change):
            begin("camera")
            text("camera", camera)
            text("change", change.rawValue)
        case .clock(let from, let to, let isConfirmed):
            begin("clock")
            number("from", from.microseconds)
            number("to", to.microseconds)
            if isConfirmed { line += ",\"confirmed\":true" }
        case .open(let software, let vaultFile, let isSynchronised):
            begin("open")
            text("software", software)
            text("vaultFile", vaultFile)
            if isSynchronised { line += ",\"synchronised\":true" }
        case .delete(let deletion):
            begin("delete")
            text("object", deletion.object)
            text("camera", deletion.camera)
            number("start", deletion.range.start.microseconds)
            number("end", deletion.range.end.microseconds)
            number("bytes", deletion.byteCount)
            text("rule", deletion.cause)
            text("policy", deletion.policy)
        case .policy(let policy, let words):
            begin("policy")
            text("policy", policy)
            text("text", words)
        case .hold(let hold):
            begin("hold")
            text("hold", hold.hold)
            if let camera = hold.camera { text("camera", camera) }
            number("start", hold.range.start.microseconds)
            number("end", hold.range.end.microseconds)
            if let note = hold.note { text("note", Base64.encode(note, padded: true)) }
        case .release(let hold):
            begin("release")
            text("hold", hold)
        case .shred(let epoch, let rule):
            begin("shred")
            text("epoch", epoch)
            text("rule", rule)
        case .recipients(let record):
            begin("recipients")
            text("cause", record.cause.rawValue)
            text("vaultFile", record.vaultFile)
            func list(_ key: String, _ recipients: [AgeRecipient]) {
                line += ",\"\(key)\":[" + recipients.map { JSON.quote($0.description) }.joined(separator: ",") + "]"
            }
            list("recipients", record.recipients)
            list("added", record.added)
            list("removed", record.removed)
        case .rewrap(let epoch, let file, let vaultFile):
            begin("rewrap")
            text("epoch", epoch)
            text("file", file)
            text("vaultFile", vaultFile)
        case .export(let epoch, let recipient):
            begin("export")
            text("epoch", epoch)
            if let recipient { text("to", recipient) }
        case .share(let object, let recipient):
            begin("share")
            text("object", object)
            text("to", recipient)
        case .lost(let record), .quarantine(let record):
            if case .lost = body { begin("lost") } else { begin("quarantine") }
            text("object", record.object)
            text("why", record.why)
            if let place = record.place {
                text("camera", place.camera)
                number("start", place.range.start.microseconds)
                number("end", place.range.end.microseconds)
            }
        case .rebuilt(let record):
            begin("rebuilt")
            text("why", record.why.rawValue)
            number("entries", record.entries)
            number("clips", record.clips)
            number("quarantined", record.quarantined)
            if let since = record.since { number("since", since.microseconds) }
            if let before = record.before {
                number("size", before.count)
                text("root", Base64.encode(before.root, padded: true))
            }
        case .evict(let record), .fetch(let record):
            if case .evict = body { begin("evict") } else { begin("fetch") }
            text("remote", record.remote)
            line += ",\"objects\":[" + record.objects.map { JSON.quote($0.description) }.joined(separator: ",") + "]"
        case .other: return nil
        }
        return Array((line + "}").utf8)
    }

    /// Errors: `.damaged` for a line that is no entry.
    init(parsing bytes: ArraySlice<UInt8>) throws(VaultError) {
        if let entry = LedgerEntry(fixedForm: bytes) { self = entry } else { try self.init(parsingAny: Array(bytes)) }
    }
    init(parsing bytes: [UInt8]) throws(VaultError) { try self.init(parsing: bytes[...]) }
    /// The same, by the general parser alone.
    init(parsingAny bytes: [UInt8]) throws(VaultError) {
        guard let json = JSON(bytes), let type = json["type"]?.string, let at = json["at"]?.integer,
            let body = Self.body(type, json)
        else { throw VaultError(.damaged, "A ledger entry is malformed.") }
        self.at = WallTime(microseconds: at)
        self.body = body
    }
    init(at: WallTime, _ body: Body) {
        self.at = at
        self.body = body
    }

    private static func body(_ type: String, _ json: JSON) -> Body? {
        func identifier<Named>(_ key: String, as: Named.Type) -> Identifier<Named>? {
            json[key]?.string.flatMap { Identifier<Named>($0) }
        }
        func object(_ key: String) -> ObjectID? { json[key]?.string.flatMap { ObjectID($0) } }
        func time(_ key: String) -> WallTime? { json[key]?.integer.map { WallTime(microseconds: $0) } }
        func text(_ key: String) -> String? { json[key]?.string }
        func recipient(_ key: String) -> AgeRecipient? { text(key).flatMap { AgeRecipient($0) } }
        func recipients(_ key: String) -> [AgeRecipient]? {
            guard let array = json[key]?.array else { return nil }
            let recipients = array.compactMap { $0.string.flatMap { AgeRecipient($0) } }
            return recipients.count == array.count ? recipients : nil
        }

        switch type {
        case "clip":
            guard let object = object("object"), let vault = identifier("vault", as: VaultName.self),
                let camera = identifier("camera", as: CameraName.self),
                let epoch = identifier("epoch", as: EpochName.self), let run = identifier("run", as: RunName.self),
                let sequence = json["seq"]?.integer, ClipIdentity.sequences.contains(sequence),
                let start = time("start"),
                let end = time("end"), let bytes = json["bytes"]?.integer, ClipRecord.sizes.contains(bytes),
                let kind = text("kind").flatMap(RetentionClass.init(rawValue:))
            else { return nil }
            let identity = ClipIdentity(
                vault: vault, camera: camera, epoch: epoch, run: run, sequence: UInt64(sequence), start: start)
            return .clip(
                ClipRecord(
                    object: object, identity: identity, end: end, byteCount: Int(bytes), kind: kind,
                    isSalvaged: json["salvaged"]?.bool ?? false))
        case "epoch":
            guard let epoch = identifier("epoch", as: EpochName.self),
                let camera = identifier("camera", as: CameraName.self), let day = json["day"]?.integer,
                let file = object("file")
            else { return nil }
            let recipient = text("recipient").flatMap { AgeRecipient($0) }
            guard (recipient == nil) == (json["recipient"] == nil) else { return nil }
            return .epoch(EpochRecord(epoch: epoch, camera: camera, day: day, recipient: recipient, file: file))
        case "gap":
            guard let camera = identifier("camera", as: CameraName.self), let start = time("start"),
                let end = time("end"), let reason = text("reason")
            else { return nil }
            return .gap(
                GapRecord(
                    camera: camera, range: TimeRange(start, end), reason: GapReason(rawValue: reason) ?? .unknown))
        case "event":
            guard let event = identifier("event", as: EventName.self),
                let camera = identifier("camera", as: CameraName.self), let start = time("start"),
                let end = time("end"), let label = text("label")
            else { return nil }
            return .event(
                EventRecord(
                    event: event, camera: camera, range: TimeRange(start, end),
                    label: EventLabel(rawValue: label) ?? .unknown))
        case "camera":
            guard let camera = identifier("camera", as: CameraName.self),
                let change = text("change").flatMap(CameraChange.init(rawValue:))
            else { return nil }
            return .camera(camera, change)
        case "clock":
            guard let from = time("from"), let to = time("to") else { return nil }
            return .clock(from: from, to: to, isConfirmed: json["confirmed"]?.bool ?? false)
        case "open":
            guard let software = text("software"), let vaultFile = object("vaultFile") else { return nil }
            return .open(
                software: software, vaultFile: vaultFile, isSynchronised: json["synchronised"]?.bool ?? false)
        case "delete":
            guard let removed = object("object"), let camera = identifier("camera", as: CameraName.self),
                let start = time("start"), let end = time("end"), let bytes = json["bytes"]?.integer,
                ClipRecord.sizes.contains(bytes),
                let cause = text("rule").flatMap({ RetentionCause($0) }), let policy = object("policy")
            else { return nil }
            return .delete(
                DeletionRecord(
                    object: removed, camera: camera, range: TimeRange(start, end), byteCount: Int(bytes), cause: cause,
                    policy: policy))
        case "policy":
            guard let policy = object("policy"), let words = text("text") else { return nil }
            return .policy(policy, words)
        case "hold":
            guard let hold = identifier("hold", as: HoldName.self), let start = time("start"), let end = time("end")
            else { return nil }
            var camera: CameraID?
            if json["camera"] != nil {
                guard let named = identifier("camera", as: CameraName.self) else { return nil }
                camera = named
            }
            let note = text("note").flatMap { Base64.decode(Array($0.utf8), padded: true) }
            guard (note == nil) == (json["note"] == nil) else { return nil }
            return .hold(HoldRecord(hold: hold, camera: camera, range: TimeRange(start, end), note: note))
        case "release":
            guard let hold = identifier("hold", as: HoldName.self) else { return nil }
            return .release(hold)
        case "shred":
            guard let epoch = identifier("epoch", as: EpochName.self), let rule = text("rule") else { return nil }
            return .shred(epoch, rule: rule)
        case "recipients":
            guard let cause = text("cause").flatMap(RecipientsRecord.Cause.init(rawValue:)),
                let vaultFile = object("vaultFile"), let all = recipients("recipients"), !all.isEmpty,
                let added = recipients("added"), let removed = recipients("removed")
            else { return nil }
            return .recipients(
                RecipientsRecord(vaultFile: vaultFile, recipients: all, added: added, removed: removed, cause: cause))
        case "rewrap":
            guard let epoch = identifier("epoch", as: EpochName.self), let file = object("file"),
                let vaultFile = object("vaultFile")
            else { return nil }
            return .rewrap(epoch, file: file, vaultFile: vaultFile)
        case "export":
            guard let epoch = identifier("epoch", as: EpochName.self) else { return nil }
            guard json["to"] != nil else { return .export(epoch, to: nil) }
            guard let to = recipient("to") else { return nil }
            return .export(epoch, to: to)
        case "share":
            guard let shared = object("object"), let to = recipient("to") else { return nil }
            return .share(shared, to: to)
        case "lost", "quarantine":
            guard let withdrawn = object("object"), let why = text("why") else { return nil }
            var record = WithdrawalRecord(object: withdrawn, why: why)
            if let camera = identifier("camera", as: CameraName.self), let start = time("start"),
                let end = time("end")
            {
                record.place = WithdrawalRecord.Place(camera: camera, range: TimeRange(start, end))
            }
            return type == "lost" ? .lost(record) : .quarantine(record)
        case "rebuilt":
            guard let why = text("why").flatMap(RebuiltRecord.Reason.init(rawValue:)),
                let entries = json["entries"]?.integer.flatMap(Int.init(exactly:)), entries >= 0,
                let clips = json["clips"]?.integer, let quarantined = json["quarantined"]?.integer
            else { return nil }
            var before: RebuiltRecord.Head?
            if let count = json["size"]?.integer,
                let root = text("root").flatMap({ Base64.decode(Array($0.utf8), padded: true) })
            {
                before = RebuiltRecord.Head(count: Int(count), root: root)
            }
            return .rebuilt(
                RebuiltRecord(
                    why: why, entries: entries, clips: Int(clips), quarantined: Int(quarantined), since: time("since"),
                    before: before))
        case "evict", "fetch":
            guard let remote = text("remote").flatMap({ UUID($0) }), let names = json["objects"]?.array else {
                return nil
            }
            let objects = names.compactMap { $0.string.flatMap { ObjectID($0) } }
            guard objects.count == names.count, !objects.isEmpty else { return nil }
            let record = EvictionRecord(remote: remote, objects: objects)
            return type == "evict" ? .evict(record) : .fetch(record)
        default: return .other(type)
        }
    }
}
