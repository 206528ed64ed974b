import Core

/// What the ledger says of objects, entry by entry, sorted into the 256 shards of `objects/` so that each can be judged alone: a
/// ledger of any length costs the memory of one shard (V46).
struct ObjectHistory {
    /// A clip or its deletion, at its place in the ledger.
    enum Event: Sendable {
        case clip(ClipRecord)
        case deletion(DeletionRecord, at: WallTime)
        /// Repair says that it is lost, or has moved it to quarantine.
        case withdrawal(ObjectID)
        /// Its copy here was given up for a remote's.
        case eviction(ObjectID)
        /// It lies here again.
        case fetched(ObjectID)
    }

    private let vault: VaultID
    private let file = ScratchFile()
    /// Records not yet in the file, and where those in the file begin.
    private var waiting = [[UInt8]](repeating: [], count: 256)
    private var blocks = [[Int]](repeating: [], count: 256)
    private var cameras = Table<CameraID>()
    private var epochs = Table<EpochID>()
    private var policies = Table<ObjectID>()
    private var causes = Table<RetentionCause>()

    private static let recordSize = 128
    private static let recordsPerBlock = 64

    init(vault: VaultID) { self.vault = vault }

    mutating func append(_ clip: ClipRecord, at position: Int) throws(VaultError) {
        var record = Record()
        record.put(0, position)
        record.put(clip.object.digest)
        record.put(cameras.number(clip.camera), epochs.number(clip.identity.epoch))
        record.put(
            Int(bitPattern: UInt(clip.identity.run.uuid.high)), Int(bitPattern: UInt(clip.identity.run.uuid.low)))
        record.put(Int(bitPattern: UInt(clip.identity.sequence)), Int(clip.start.microseconds))
        record.put(Int(clip.end.microseconds), clip.byteCount)
        record.put(Index.code(of: clip.kind), clip.isSalvaged ? 1 : 0)
        try append(record, clip.object)
    }

    mutating func append(_ deletion: DeletionRecord, at time: WallTime, position: Int) throws(VaultError) {
        var record = Record()
        record.put(1, position)
        record.put(deletion.object.digest)
        record.put(cameras.number(deletion.camera), policies.number(deletion.policy))
        record.put(causes.number(deletion.cause), Int(time.microseconds))
        record.put(Int(deletion.range.start.microseconds), Int(deletion.range.end.microseconds))
        record.put(deletion.byteCount, 0)
        try append(record, deletion.object)
    }

    mutating func append(withdrawal object: ObjectID, position: Int) throws(VaultError) {
        try append(kind: 2, object, position)
    }
    mutating func append(eviction object: ObjectID, isBack: Bool = false, position: Int) throws(VaultError) {
        try append(kind: isBack ? 4 : 3, object, position)
    }
    private mutating func append(kind: Int, _ object: ObjectID, _ position: Int) throws(VaultError) {
        var record = Record()
        record.put(kind, position)
        record.put(object.digest)
        try append(record, object)
    }

    private mutating func append(_ record: Record, _ object: ObjectID) throws(VaultError) {
        let shard = Int(object.digest.first ?? 0)
        waiting[shard] += record.bytes
        waiting[shard] += [UInt8](repeating: 0, count: Self.recordSize - record.bytes.count)
        guard waiting[shard].count == Self.recordSize * Self.recordsPerBlock else { return }
        blocks[shard].append(try file.append(waiting[shard]))
        waiting[shard].removeAll(keepingCapacity: true)
    }

    /// Of one shard, in the ledger's order.
    func events(shard: Int, _ body: (_ position: Int, Event) throws(VaultError) -> Void) throws(VaultError) {
        for block in blocks[shard] {
            try read(try file.read(at: block, count: Self.recordSize * Self.recordsPerBlock), body)
        }
        try read(waiting[shard], body)
    }

    private func read(
        _ bytes: [UInt8], _ body: (_ position: Int, Event) throws(VaultError) -> Void
    ) throws(VaultError) {
        for start in stride(from: 0, to: bytes.count, by: Self.recordSize) {
            var record = Record(bytes: Array(bytes[start..<start + Self.recordSize]))
            let (kind, position) = record.take()
            guard let object = ObjectID(digest: record.takeDigest()) else { continue }
            if kind == 2 {
                try body(position, .withdrawal(object))
            } else if kind == 3 {
                try body(position, .eviction(object))
            } else if kind == 4 {
                try body(position, .fetched(object))
            } else if kind == 0 {
                let (camera, epoch) = record.take()
                let (high, low) = record.take()
                let (sequence, from) = record.take()
                let (to, byteCount) = record.take()
                let (code, isSalvaged) = record.take()
                let identity = ClipIdentity(
                    vault: vault, camera: cameras[camera], epoch: epochs[epoch],
                    run: RunID(UUID(high: UInt64(UInt(bitPattern: high)), low: UInt64(UInt(bitPattern: low)))),
                    sequence: UInt64(UInt(bitPattern: sequence)), start: WallTime(microseconds: Int64(from)))
                try body(
                    position,
                    .clip(
                        ClipRecord(
                            object: object, identity: identity, end: WallTime(microseconds: Int64(to)),
                            byteCount: byteCount, kind: Index.kind(of: code), isSalvaged: isSalvaged == 1)))
            } else {
                let (camera, policy) = record.take()
                let (cause, at) = record.take()
                let (from, to) = record.take()
                let (byteCount, _) = record.take()
                let deletion = DeletionRecord(
                    object: object, camera: cameras[camera],
                    range: TimeRange(WallTime(microseconds: Int64(from)), WallTime(microseconds: Int64(to))),
                    byteCount: byteCount, cause: causes[cause], policy: policies[policy])
                try body(position, .deletion(deletion, at: WallTime(microseconds: Int64(at))))
            }
        }
    }

    /// Pairs of words in the machine's order: it is read by the process that wrote it.
    private struct Record {
        var bytes: [UInt8] = []
        private var offset = 0

        init() { bytes.reserveCapacity(ObjectHistory.recordSize) }
        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func put(_ a: Int, _ b: Int) {
            for word in [a, b] { for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * shift))) } }
        }
        mutating func put(_ digest: [UInt8]) { bytes += digest }
        mutating func take() -> (Int, Int) { (word(), word()) }
        mutating func takeDigest() -> [UInt8] {
            defer { offset += 32 }
            return Array(bytes[offset..<offset + 32])
        }
        private mutating func word() -> Int {
            defer { offset += 8 }
            return (0..<8).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
        }
    }

    /// What few values many records share.
    private struct Table<Value: Hashable & Sendable>: Sendable {
        private var numbers: [Value: Int] = [:]
        private var values: [Value] = []

        mutating func number(_ value: Value) -> Int {
            if let number = numbers[value] { return number }
            numbers[value] = values.count
            values.append(value)
            return values.count - 1
        }
        subscript(number: Int) -> Value { values[number] }
    }
}
