import Core

/// What the ledger lists after its last entry; built while its files are checked against the signed checkpoint.
struct LedgerVerification {
    let ledger: LedgerReader
    let file: VaultFile
    var report = VerificationReport()

    /// Objects that ought to be there, by digest, and what became of the others.
    var clips: [ObjectID: ClipRecord] = [:]
    var deleted: Set<ObjectID> = []
    var epochs: [EpochID: EpochRecord] = [:]
    var shredded: Set<EpochID> = []
    /// Objects that repair entered as lost (true) or moved to quarantine.
    private var withdrawn: [ObjectID: Bool] = [:]
    private var lastVaultFile: ObjectID?
    private var policies: [ObjectID: RetentionPolicy] = [:]
    private var holds: [HoldID: HoldRecord] = [:]
    private var sequences: [CameraID: Sequences] = [:]

    init(_ ledger: LedgerReader, _ file: VaultFile) {
        self.ledger = ledger
        self.file = file
    }

    private mutating func add(
        _ kind: VerificationFinding.Kind, _ subject: VerificationFinding.Subject, _ detail: String
    ) {
        report.findings.append(VerificationFinding(kind, subject, detail))
    }

    /// - Parameter vaultFile: the bytes of `vault.json`.
    mutating func run(vaultFile: [UInt8]) throws(VaultError) {
        // Read first: what a writer adds meanwhile lies behind it.
        let checkpoint = readCheckpoint()
        var tree = MerkleTree()
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
                for tile in tree.append(leaf: leaf) { check(tile, &suspects, &tileFindings) }
                if tree.count == checkpoint?.count { signedRoot = tree.root }
                take(bundle.entries[offset], at: first + offset)
            }
            if leaves.count < MerkleTree.tileWidth { break }
            index += 1
        }
        report.entries = tree.count
        judge(checkpoint, tree, signedRoot, suspects, tileFindings)
        if let lastVaultFile, lastVaultFile.digest != Digest.sha256(vaultFile) {
            add(.damaged, .vaultFile, "differs from what the ledger recorded at the last start")
        }
        report.knownLost = withdrawn.values.count { $0 }
        report.knownQuarantined = withdrawn.count - report.knownLost
        for sequences in sequences.values { report.sequenceHoles += sequences.holes }
    }

    private mutating func readCheckpoint() -> Checkpoint? {
        do throws(VaultError) {
            return try Checkpoint(
                verifying: try ledger.files.contents(ledger.checkpointPath), vault: file.id, key: file.ledger)
        } catch {
            add(error.code == .notFound ? .missing : .forged, .checkpoint, error.reason)
            return nil
        }
    }

    /// Compares a full tile with the one on disk; a difference may be the tile's fault or an entry's.
    private func check(
        _ tile: MerkleTree.Tile, _ suspects: inout [(Range<Int>, String)], _ findings: inout [VerificationFinding]
    ) {
        let subject = VerificationFinding.Subject.tile(tile.level, tile.index)
        do throws(VaultError) {
            guard let stored = try ledger.tile(tile.level, tile.index) else {
                return findings.append(VerificationFinding(.missing, subject, "no such file"))
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
        _ checkpoint: Checkpoint?, _ tree: MerkleTree, _ signedRoot: MerkleTree.Hash?,
        _ suspects: [(Range<Int>, String)],
        _ tileFindings: [VerificationFinding]
    ) {
        guard let checkpoint else {
            report.findings += tileFindings
            return
        }
        if signedRoot == checkpoint.root {
            report.findings += tileFindings
        } else if !suspects.isEmpty {
            for (range, detail) in suspects { add(.damaged, .entries(range), detail) }
            report.findings += tileFindings.filter { if case .tile(0, _) = $0.subject { false } else { true } }
        } else if tree.count < checkpoint.count {
            add(.missing, .entries(tree.count..<checkpoint.count), "the signed checkpoint covers them")
        } else {
            // No tile covers the last bundle: it, as a whole, is what differs.
            let first = checkpoint.count / MerkleTree.tileWidth * MerkleTree.tileWidth
            add(.damaged, .entries(first..<max(first + 1, checkpoint.count)), "differ from the signed checkpoint")
        }
        report.unsignedEntries = max(0, tree.count - checkpoint.count)
    }

    private mutating func take(_ bytes: [UInt8], at position: Int) {
        guard let entry = try? LedgerEntry(parsing: bytes) else {
            return add(.damaged, .entries(position..<position + 1), "is no ledger entry")
        }
        let subject = VerificationFinding.Subject.entries(position..<position + 1)
        switch entry.body {
        case .clip(let clip):
            if clips[clip.object] != nil { add(.outOfOrder, subject, "lists object \(clip.object) again") }
            clips[clip.object] = clip
            deleted.remove(clip.object)
            let isFoundAgain = withdrawn.removeValue(forKey: clip.object) != nil
            let isNew = sequences[clip.camera, default: Sequences()].insert(clip.identity.sequence)
            if !isNew, !isFoundAgain {
                add(.outOfOrder, subject, "sequence \(clip.identity.sequence) of camera \(clip.camera) comes twice")
            }
            if epochs[clip.identity.epoch]?.camera != clip.camera {
                add(.forged, subject, "names epoch \(clip.identity.epoch), which is not of its camera")
            }
            if !(0...Index.plausibleDuration).contains(clip.end - clip.start)
                || !(0..<Index.plausibleEnd).contains(clip.start.microseconds)
            {
                add(
                    .implausible, .object(clip.object),
                    "runs from \(clip.start.microseconds) to \(clip.end.microseconds) µs")
            }
        case .epoch(let epoch): epochs[epoch.epoch] = epoch
        case .delete(let deletion):
            check(deletion, at: entry.at, subject)
            clips[deletion.object] = nil
            deleted.insert(deletion.object)
        case .policy(let digest, let text):
            policies[digest] = RetentionPolicy(text: text)
            if ObjectID(digest: Digest.sha256(Array(text.utf8))) != digest {
                add(.forged, subject, "is a policy under another one's name")
            }
        case .hold(let hold): holds[hold.hold] = hold
        case .release(let hold): holds[hold] = nil
        case .shred(let epoch, _): shredded.insert(epoch)
        case .open(_, let vaultFile, _): lastVaultFile = vaultFile
        case .lost(let record):
            if clips.removeValue(forKey: record.object) != nil { withdrawn[record.object] = true }
        case .quarantine(let record):
            if clips.removeValue(forKey: record.object) != nil { withdrawn[record.object] = false }
        case .gap, .camera, .clock, .rebuilt, .other: break
        }
    }
}

extension LedgerVerification {
    /// Whether the policy in force allowed it, as far as the ledger alone can tell.
    private mutating func check(
        _ deletion: DeletionRecord, at time: WallTime, _ subject: VerificationFinding.Subject
    ) {
        guard let clip = clips[deletion.object] else {
            return add(.outOfOrder, subject, "removes object \(deletion.object), which is not there")
        }
        if clip.camera != deletion.camera || clip.range != deletion.range || clip.byteCount != deletion.byteCount {
            add(.forged, subject, "describes object \(deletion.object) otherwise than the entry that added it")
        }
        if let hold = holds.values.first(where: { $0.covers(clip) }) {
            add(.deletedEarly, subject, "removes object \(deletion.object), which hold \(hold.hold) keeps")
        }
        if deletion.cause == .shredded {
            if !shredded.contains(clip.identity.epoch) {
                add(.deletedEarly, subject, "says that object \(deletion.object) was shredded, but its epoch was not")
            }
            return
        }
        guard let policy = policies[deletion.policy] else {
            return add(.deletedEarly, subject, "names a policy that no entry before it describes")
        }
        guard case .age(let number) = deletion.cause else { return }
        let rule = policy.rule(for: clip)
        guard let rule, rule.number == number, let keep = rule.rule.keep, clip.end <= time - keep else {
            return add(.deletedEarly, subject, "its policy keeps object \(deletion.object) longer")
        }
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
