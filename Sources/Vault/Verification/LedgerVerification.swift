import Core

/// What the ledger lists; built while its files are checked against the signed checkpoint. Of objects it keeps a history on disk,
/// so that memory does not grow with the vault.
struct LedgerVerification {
    let ledger: LedgerReader
    let file: VaultFile
    var report = VerificationReport()

    private(set) var objects: ObjectHistory
    var epochs: [EpochID: EpochRecord] = [:]
    /// Where the entry stands that says so.
    private(set) var shredded: [EpochID: Int] = [:]
    /// Objects that ought to be there, and their bytes, as far as single entries tell.
    private(set) var expectedObjects = 0
    private(set) var expectedBytes = 0
    /// Objects that repair entered as lost (true) or moved to quarantine.
    private var withdrawn: [ObjectID: Bool] = [:]
    /// SHA-256 of `vault.json`.
    private(set) var lastVaultFile: ObjectID?
    private var policies: [ObjectID: (policy: RetentionPolicy, position: Int)] = [:]
    private var holds: [(hold: HoldRecord, positions: Range<Int>)] = []
    private var sequences: [CameraID: Sequences] = [:]
    /// Objects whose times cannot be, while they are there.
    private var implausible: [ObjectID: TimeRange] = [:]
    /// Of the entries taken in so far.
    private var tree = MerkleTree()
    /// The newest signature that was met covers the entries.
    private(set) var isVouched = false

    init(_ ledger: LedgerReader, _ file: VaultFile) {
        self.ledger = ledger
        self.file = file
        objects = ObjectHistory(vault: file.id)
    }

    private mutating func add(
        _ kind: VerificationFinding.Kind, _ subject: VerificationFinding.Subject, _ detail: String
    ) {
        report.add([VerificationFinding(kind, subject, detail)])
    }

    /// - Parameter vaultFile: the bytes of `vault.json`.
    mutating func run(vaultFile: [UInt8]) throws(VaultError) {
        // Read first: what a writer adds meanwhile lies behind it.
        let checkpoint = readCheckpoint()
        let contradicted = readContradicted()
        var contradictedRoot: MerkleTree.Hash?
        var signedRoot: MerkleTree.Hash?
        var suspects: [(Range<Int>, String)] = []
        var tileFindings: [VerificationFinding] = []
        if checkpoint?.count == 0 { signedRoot = tree.root }
        var index = 0
        while let bundle = try ledger.bundle(index) {
            let first = index * MerkleTree.tileWidth
            let leaves = bundle.entries.map(MerkleTree.leafHash)
            if bundle.fileCount > bundle.wholeCount, first + leaves.count < checkpoint?.count ?? 0 {
                suspects.append((first + leaves.count..<first + leaves.count + 1, "cut off or malformed"))
            }
            for (offset, leaf) in leaves.enumerated() {
                for tile in tree.append(leaf: leaf) {
                    // A writer signs when the tiles stand.
                    check(tile, isDue: checkpoint.map { tile.end <= $0.count } ?? true, &suspects, &tileFindings)
                }
                if tree.count == checkpoint?.count { signedRoot = tree.root }
                if tree.count == contradicted?.count { contradictedRoot = tree.root }
                try take(bundle.entries[offset], at: first + offset)
            }
            if leaves.count < MerkleTree.tileWidth { break }
            index += 1
        }
        report.entries = tree.count
        for (object, range) in implausible.sorted(by: { $0.key < $1.key }) {
            add(
                .implausible, .object(object),
                "runs from \(range.start.microseconds) to \(range.end.microseconds) µs")
        }
        judge(checkpoint, signedRoot, suspects, tileFindings)
        if let contradicted, contradictedRoot != contradicted.root {
            add(.damaged, .entries(0..<contradicted.count), VerificationFinding.signedEarlier)
        }
        if let lastVaultFile, lastVaultFile.digest != Digest.sha256(vaultFile) {
            add(.damaged, .vaultFile, "differs from what the ledger last recorded")
        }
        report.knownLost = withdrawn.values.count { $0 }
        report.knownQuarantined = withdrawn.count - report.knownLost
        for sequences in sequences.values {
            report.sequenceHoles = report.sequenceHoles.addingSaturating(sequences.holes)
        }
    }

    /// Nil when there is none, or none that was ever signed.
    private func readContradicted() -> Checkpoint? {
        guard let note = try? ledger.files.contents(ledger.contradictedPath, limit: 1 << 16) else { return nil }
        return try? Checkpoint(verifying: note, vault: file.id, key: file.ledger)
    }

    private func newestCheckpoint() throws(VaultError) -> Checkpoint {
        try Checkpoint(
            verifying: try ledger.files.contents(ledger.checkpointPath, limit: 1 << 16), vault: file.id,
            key: file.ledger)
    }

    private mutating func readCheckpoint() -> Checkpoint? {
        do throws(VaultError) { return try newestCheckpoint() } catch {
            add(error.code == .notFound ? .missing : .forged, .checkpoint, error.reason)
            return nil
        }
    }

    /// Compares a full tile with the one on disk; a difference may be the tile's fault or an entry's.
    /// - Parameter isDue: a signature covers it, so that it has to be there.
    private func check(
        _ tile: MerkleTree.Tile, isDue: Bool, _ suspects: inout [(Range<Int>, String)],
        _ findings: inout [VerificationFinding]
    ) {
        let subject = VerificationFinding.Subject.tile(tile.level, tile.index)
        do throws(VaultError) {
            guard let stored = try ledger.tile(tile.level, tile.index) else {
                if isDue { findings.append(VerificationFinding(.missing, subject, "no such file")) }
                return
            }
            guard stored != tile.hashes else { return }
            let places = stored.indices.filter { stored[$0] != tile.hashes[$0] }
            findings.append(
                VerificationFinding(
                    .damaged, subject,
                    "differs from the entries at hash \(places.map(String.init).joined(separator: ", "))"))
            guard tile.level == 0 else { return }
            for place in places {
                let entry = tile.index * MerkleTree.tileWidth + place
                suspects.append((entry..<entry + 1, "differs from its hash in the ledger's tile"))
            }
        } catch {
            findings.append(VerificationFinding(.damaged, subject, error.reason))
        }
    }

    /// The signature decides who lies: with the signed root matched the entries are right and a tile is damaged.
    private mutating func judge(
        _ checkpoint: Checkpoint?, _ signedRoot: MerkleTree.Hash?, _ suspects: [(Range<Int>, String)],
        _ tileFindings: [VerificationFinding]
    ) {
        guard let checkpoint else {
            report.findings += tileFindings
            return
        }
        isVouched = signedRoot == checkpoint.root
        if isVouched {
            report.findings += tileFindings
        } else if !suspects.isEmpty {
            for (range, detail) in suspects { add(.damaged, .entries(range), detail) }
            report.findings += tileFindings.filter { if case .tile(0, _) = $0.subject { false } else { true } }
        } else if tree.count < checkpoint.count {
            add(.missing, .entries(tree.count..<checkpoint.count), "the signed checkpoint covers them")
        } else {
            addDifference(from: checkpoint)
        }
        report.unsignedEntries = max(0, tree.count - checkpoint.count)
    }

    /// No tile covers the last bundle: it, as a whole, is what differs.
    private mutating func addDifference(from checkpoint: Checkpoint) {
        let first = checkpoint.count / MerkleTree.tileWidth * MerkleTree.tileWidth
        add(.damaged, .entries(first..<max(first + 1, checkpoint.count)), "differ from the signed checkpoint")
    }

    /// Takes in what a writer added since, and compares it with the newest signature.
    mutating func follow() throws(VaultError) {
        // Read first, as in `run`.
        let checkpoint = try? newestCheckpoint()
        var signedRoot = tree.count == checkpoint?.count ? tree.root : nil
        while let bundle = try ledger.bundle(tree.count / MerkleTree.tileWidth) {
            for entry in bundle.entries.dropFirst(tree.count % MerkleTree.tileWidth) {
                try take(entry, at: tree.count)
                _ = tree.append(leaf: MerkleTree.leafHash(entry))
                if tree.count == checkpoint?.count { signedRoot = tree.root }
            }
            if bundle.entries.count < MerkleTree.tileWidth { break }
        }
        guard let checkpoint else { return }
        report.unsignedEntries = max(0, tree.count - checkpoint.count)
        guard isVouched else { return }
        if tree.count < checkpoint.count {
            isVouched = false
            add(.missing, .entries(tree.count..<checkpoint.count), "the signed checkpoint covers them")
        } else if let signedRoot, signedRoot != checkpoint.root {
            isVouched = false
            addDifference(from: checkpoint)
        }
    }

    private mutating func take(_ bytes: ArraySlice<UInt8>, at position: Int) throws(VaultError) {
        guard let entry = try? LedgerEntry(parsing: bytes) else {
            return add(.damaged, .entries(position..<position + 1), "is no ledger entry")
        }
        let subject = VerificationFinding.Subject.entries(position..<position + 1)
        switch entry.body {
        case .clip(let clip):
            expectedObjects += 1
            expectedBytes += clip.byteCount
            try objects.append(clip, at: position)
            if clip.identity.vault != file.id { add(.forged, subject, "is of vault \(clip.identity.vault)") }
            let isFoundAgain = withdrawn.removeValue(forKey: clip.object) != nil
            let isNew = sequences[clip.camera, default: Sequences()].insert(clip.identity.sequence)
            if !isNew, !isFoundAgain {
                add(.outOfOrder, subject, "sequence \(clip.identity.sequence) of camera \(clip.camera) comes twice")
            }
            if epochs[clip.identity.epoch]?.camera != clip.camera {
                add(.forged, subject, "names epoch \(clip.identity.epoch), which is not of its camera")
            }
            if !clip.isPlausible { implausible[clip.object] = clip.range }
        case .epoch(let epoch): epochs[epoch.epoch] = epoch
        case .delete(let deletion):
            expectedObjects -= 1
            expectedBytes -= deletion.byteCount
            implausible[deletion.object] = nil
            try objects.append(deletion, at: entry.at, position: position)
        case .policy(let digest, let text):
            if policies[digest] == nil, let policy = RetentionPolicy(text: text) {
                policies[digest] = (policy, position)
            }
            if ObjectID(digest: Digest.sha256(Array(text.utf8))) != digest {
                add(.forged, subject, "is a policy under another one's name")
            }
        case .hold(let hold): holds.append((hold, position..<Int.max))
        case .release(let hold):
            for index in holds.indices where holds[index].hold.hold == hold && holds[index].positions.contains(position)
            {
                holds[index].positions = holds[index].positions.lowerBound..<position
            }
        case .shred(let epoch, _): if shredded[epoch] == nil { shredded[epoch] = position }
        case .open(_, let vaultFile, _):
            if let lastVaultFile, lastVaultFile != vaultFile {
                add(.forged, subject, "starts with a vault.json that no change of the recipients made")
            }
            lastVaultFile = vaultFile
        case .recipients(let record): lastVaultFile = record.vaultFile
        case .rewrap(let epoch, let file, _):
            if epochs[epoch] == nil || shredded[epoch] != nil {
                add(.outOfOrder, subject, "seals epoch \(epoch) anew, which has no key")
            }
            epochs[epoch]?.file = file
        case .export(let epoch, _):
            if epochs[epoch] == nil {
                add(.outOfOrder, subject, "gives out the key of epoch \(epoch), which is unknown")
            }
        case .lost(let record), .quarantine(let record):
            // Without a place it was never listed.
            if record.place != nil {
                expectedObjects -= 1
                if case .lost = entry.body { withdrawn[record.object] = true } else { withdrawn[record.object] = false }
            }
            try objects.append(withdrawal: record.object, position: position)
        case .evict(let record):
            for object in record.objects { try objects.append(eviction: object, position: position) }
        case .fetch(let record):
            for object in record.objects { try objects.append(eviction: object, isBack: true, position: position) }
        case .gap, .event, .camera, .clock, .share, .rebuilt, .other: break
        }
    }
}

extension LedgerVerification {
    /// What ought to lie in one of the folders of `objects/`, and what ought not to any more.
    struct Shard {
        var clips: [ClipRecord] = []
        var deleted: Set<ObjectID> = []
        /// Clips that may lie in a remote only.
        var evicted: Set<ObjectID> = []
        /// Clips entered at or behind a position that the caller gave.
        var recent: Set<ObjectID> = []
        var findings: [VerificationFinding] = []
    }

    /// Goes through a shard's history once more.
    func shard(_ number: Int, recentFrom recent: Int = 0) throws(VaultError) -> Shard {
        var shard = Shard()
        var clips: [ObjectID: ClipRecord] = [:]
        try objects.events(shard: number) { position, event in
            let subject = VerificationFinding.Subject.entries(position..<position + 1)
            switch event {
            case .clip(let clip):
                if clips.updateValue(clip, forKey: clip.object) != nil {
                    shard.findings.append(
                        VerificationFinding(.outOfOrder, subject, "lists object \(clip.object) again"))
                }
                shard.deleted.remove(clip.object)
                if position >= recent { shard.recent.insert(clip.object) }
            case .withdrawal(let object): clips[object] = nil
            case .eviction(let object): shard.evicted.insert(object)
            case .fetched(let object): shard.evicted.remove(object)
            case .deletion(let deletion, let time):
                let clip = clips.removeValue(forKey: deletion.object)
                shard.deleted.insert(deletion.object)
                for (kind, detail) in doubts(about: deletion, of: clip, at: time, position) {
                    shard.findings.append(VerificationFinding(kind, subject, detail))
                }
            }
        }
        shard.clips = clips.values.sorted { $0.object < $1.object }
        return shard
    }

    /// Whether the policy in force allowed it, as far as the ledger alone can tell.
    private func doubts(
        about deletion: DeletionRecord, of clip: ClipRecord?, at time: WallTime, _ position: Int
    ) -> [(VerificationFinding.Kind, String)] {
        guard let clip else { return [(.outOfOrder, "removes object \(deletion.object), which is not there")] }
        var doubts: [(VerificationFinding.Kind, String)] = []
        if clip.camera != deletion.camera || clip.range != deletion.range || clip.byteCount != deletion.byteCount {
            doubts.append((.forged, "describes object \(deletion.object) otherwise than the entry that added it"))
        }
        if let held = holds.first(where: { $0.positions.contains(position) && $0.hold.covers(clip) }) {
            doubts.append((.deletedEarly, "removes object \(deletion.object), which hold \(held.hold.hold) keeps"))
        }
        if deletion.cause == .shredded {
            if shredded[clip.identity.epoch].map({ $0 < position }) != true {
                doubts.append(
                    (.deletedEarly, "says that object \(deletion.object) was shredded, but its epoch was not"))
            }
            return doubts
        }
        guard let policy = policies[deletion.policy], policy.position < position else {
            return doubts + [(.deletedEarly, "names a policy that no entry before it describes")]
        }
        guard case .age(let number) = deletion.cause else { return doubts }
        guard let keep = policy.policy.mayDecide(number, clip)?.keep, clip.end <= time - keep else {
            return doubts + [(.deletedEarly, "its policy keeps object \(deletion.object) longer")]
        }
        return doubts
    }
}

/// Numbers seen of one camera, as ranges: a year of clips is one.
private struct Sequences {
    private var seen = RangeSet<UInt64>()

    /// False when it was there.
    mutating func insert(_ number: UInt64) -> Bool {
        guard number < .max, !seen.contains(number) else { return false }
        seen.insert(contentsOf: number..<number + 1)
        return true
    }
    var holes: Int {
        var holes = 0
        var last: UInt64?
        for range in seen.ranges {
            if let last { holes = holes.addingSaturating(Int(clamping: range.lowerBound - last)) }
            last = range.upperBound
        }
        return holes
    }
}
