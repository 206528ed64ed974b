public import Core
import Glibc

extension Vault {
    /// Opens a vault.
    ///
    /// To write: takes the lock, finishes what a crash left undone (without a key, in time bounded by what was open), and
    /// enters `open` into the ledger. To read: writes nothing.
    ///
    /// Errors: `.notFound`, `.halfMade`, `.newerFormat`, `.inUse`, `.readOnly`, `.networkFileSystem`, `.keys`, `.damaged`; with
    /// a pin, those of `recognise`.
    /// - Parameters:
    ///   - pin: the vault that is expected, as it was last seen; checked before anything is written.
    ///   - acceptsOlderCopy: an older copy goes on, and the ledger says so.
    public static func open(
        at path: String, mode: VaultMode, pin: CheckpointPin? = nil, acceptsOlderCopy: Bool = false,
        files: any FileSystem = PosixFileSystem(), time: any TimeSource
    ) async throws(VaultError) -> Vault {
        try await open(
            at: path, mode, pin: pin, acceptsOlderCopy: acceptsOlderCopy, upgrades: .known, files, time)
    }

    /// With other upgrades than this version has, for tests.
    static func open(
        at path: String, _ mode: VaultMode, pin: CheckpointPin? = nil, acceptsOlderCopy: Bool = false,
        upgrades: VaultUpgrades, _ files: any FileSystem, _ time: any TimeSource
    ) async throws(VaultError) -> Vault {
        if let pin {
            try await recognise(at: path, as: pin, acceptsOlderCopy: acceptsOlderCopy, files: files)
        }
        let vault = try await Lane.serial("vault.open").run { () throws(VaultError) in
            let layout = Layout(path)
            let file = try vaultFile(layout, files, upgrades)
            return switch mode {
            case .read: try openReading(layout, files, time, upgrades)
            case .mirror: try openMirror(layout, file, files, time)
            case .write(let version):
                try openWriting(
                    layout, file, files, time, version, upgrades, givesUpDamage: acceptsOlderCopy)
            }
        }
        guard let pin, acceptsOlderCopy, case .write = mode else { return vault }
        do throws(VaultError) {
            try await vault.retentionLane.run { () throws(VaultError) in try vault.enterOlderCopy(pin) }
        } catch {
            await vault.close()
            throw error
        }
        return vault
    }

    static func vaultFile(
        _ layout: Layout, _ files: any FileSystem, _ upgrades: VaultUpgrades = .known
    ) throws(VaultError) -> VaultFile {
        guard try files.attributes(layout.root) != nil else {
            throw VaultError(
                .notFound, "There is no folder \(layout.root).",
                hint: "Is its disk mounted? Else make a vault with init.")
        }
        guard try files.attributes(layout.vaultFile) != nil else {
            if try isHeadless(layout, files) { throw headless(layout) }
            if try files.attributes(layout.ledger) != nil {
                throw VaultError(
                    .halfMade, "The vault in \(layout.root) is half made: vault.json is missing.",
                    hint: "If init was interrupted, run it again.")
            }
            throw VaultError(
                .notFound, "There is no vault in \(layout.root).", hint: "Is its disk mounted? Else make one with init."
            )
        }
        let bytes = try upgrades.current(try files.contents(layout.vaultFile), path: layout.vaultFile).bytes
        return try VaultFile(parsing: bytes, path: layout.vaultFile)
    }

    private static func openReading(
        _ layout: Layout, _ files: any FileSystem, _ time: any TimeSource, _ upgrades: VaultUpgrades
    ) throws(VaultError) -> Vault {
        let ledger = LedgerReader(files: files, path: layout.ledger)
        let index: Index
        // A copy in memory: SQLite touches files even when it reads, and what is missing there can be replayed into it.
        if try files.attributes(layout.index) != nil, let copy = try levelSnapshot(layout, ledger) {
            index = copy
        } else {
            index = try Index.temporary(of: ledger)
        }
        let changes = KeyChanges(layout: layout, files: files, index: index)
        return Vault(
            layout: layout, files: files, time: time, mode: .read,
            sealing: try changes.sealing(upgrades), index: index, ledger: ledger, writing: nil,
            hub: EventHub(), alarms: [])
    }

    /// A copy of the index, level with the ledger; nil when it is not there or damaged.
    private static func levelSnapshot(_ layout: Layout, _ ledger: LedgerReader) throws(VaultError) -> Index? {
        guard let copy = Index.snapshot(layout.index) else { return nil }
        do throws(VaultError) {
            try copy.checkTrees()
            try copy.catchUp(ledger, skipsDamage: true)
            return copy
        } catch {
            guard error.code == .index else { throw error }
            return nil
        }
    }

    /// The folder is ours, the ledger is another's: an index of our own follows it.
    private static func openMirror(
        _ layout: Layout, _ file: VaultFile, _ files: any FileSystem, _ time: any TimeSource
    ) throws(VaultError) -> Vault {
        guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
        guard let lock = try patientLock(layout, files) else { throw inUse(layout) }
        let ledger = LedgerReader(files: files, path: layout.ledger)
        let checkpoint = try Checkpoint(
            verifying: files.contents(ledger.checkpointPath, limit: 1 << 16), vault: file.id, key: file.ledger)
        // What was fetched last and never found to be signed.
        try RemoteMirror.trim(ledger, to: checkpoint.count)
        var alarms: [String] = []
        let (index, _) = try openIndex(layout, file, files, ledger, checkpoint.count, &alarms)
        let changes = KeyChanges(layout: layout, files: files, index: index)
        return Vault(
            layout: layout, files: files, time: time, mode: .mirror, sealing: try changes.sealing(), index: index,
            ledger: ledger, writing: nil, hub: EventHub(), alarms: alarms, mirrorLock: lock)
    }

    /// - Parameter givesUpDamage: goes on without signed entries at the ledger's end that cannot be read.
    private static func openWriting(
        _ layout: Layout, _ file: VaultFile, _ files: any FileSystem, _ time: any TimeSource, _ version: String,
        _ upgrades: VaultUpgrades, givesUpDamage: Bool
    ) throws(VaultError) -> Vault {
        do throws(VaultError) {
            return try openWriting(layout, file, files, time, version, upgrades, givesUpDamage)
        } catch {
            // Damage that the index's opening did not meet: the second time it is made anew, as the note beside it asks.
            guard SQLiteCache.isDamage(error) else { throw error }
            SQLiteCache.noteDamage(at: layout.index)
            return try openWriting(layout, file, files, time, version, upgrades, givesUpDamage)
        }
    }

    private static func openWriting(
        _ layout: Layout, _ file: VaultFile, _ files: any FileSystem, _ time: any TimeSource, _ version: String,
        _ upgrades: VaultUpgrades, _ givesUpDamage: Bool
    ) throws(VaultError) -> Vault {
        guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
        guard let lock = try patientLock(layout, files) else { throw inUse(layout) }
        var alarms: [String] = []
        let ledger = LedgerReader(files: files, path: layout.ledger)
        try checkPresence(ledger)
        let isUpgraded = try upgrade(layout, files, ledger, upgrades, &alarms)
        try Publishing.probe(layout, files)
        let isFull = try makeRoomToStart(layout, files, &alarms)
        let key = try ledgerKey(layout, file, files)
        try LedgerWriter.prepare(files, path: layout.ledger)
        let writer = try LedgerWriter(ledger, vault: file.id, key: key, givesUpDamage: givesUpDamage)
        alarms += writer.alarms

        let (index, isIndexNew) = try openIndex(layout, file, files, ledger, writer.count, &alarms)
        let changes = KeyChanges(layout: layout, files: files, index: index)
        try changes.settleRecipients()
        try changes.settleEpochs()
        let sealing = try changes.sealing()
        if !isUpgraded, let known = try index.vaultFileDigest(), known != sealing.digest {
            alarms.append(Self.changedByOthers)
        }

        let hub = EventHub()
        let committer = Committer(writer, vault: file.id, key: key, index: index) { entries in
            for entry in entries {
                switch entry.body {
                case .clip(let clip): hub.send(.committed(clip))
                case .gap(let gap): hub.send(.gap(gap))
                case .event(let event): hub.send(.event(event))
                default: break
                }
            }
        } alarm: { text in
            hub.send(.alarm(text))
        } calm: { topic in
            hub.send(.calm(topic))
        }
        let recovery = Recovery(layout: layout, files: files, vault: file.id, index: index, now: time.wallNow())
        // What contradicted entries named has its object still.
        let found = try recovery.run(isWhole: isIndexNew || writer.isContradicted)
        alarms += found.alarms
        var entries = found.entries
        entries.append(
            LedgerEntry(
                at: time.wallNow(),
                .open(
                    software: version, vaultFile: sealing.digest,
                    isSynchronised: time.isWallSynchronised())))
        try committer.commit(entries)
        // What fails here is met again by the next start.
        for path in found.finished { try? files.remove(path) }
        let vault = Vault(
            layout: layout, files: files, time: time, mode: .write(softwareVersion: version), sealing: sealing,
            index: index, ledger: ledger, writing: Writing(committer: committer, lock: lock), hub: hub, alarms: alarms)
        if isFull { vault.note(.full) }
        try vault.finishDeletions()
        try vault.finishShredding()
        return vault
    }

    private static let changedByOthers =
        "vault.json is not the one that the ledger knows: somebody else changed it. `sudocam key list` shows who it lets read new footage."

    /// The signing key. It cannot be made anew: who signs with another one cannot be told from a forger.
    ///
    /// Errors: `.keys`, with what its owner can do.
    static func ledgerKey(
        _ layout: Layout, _ file: VaultFile, _ files: any FileSystem
    ) throws(VaultError) -> LedgerKey {
        func lost(_ what: String) -> VaultError {
            VaultError(
                .keys, "\(layout.ledgerKey), which signs what is recorded, \(what).",
                hint:
                    "Put back the one from a backup of this recorder, or from its remote: `sudocam remote restore` into another folder brings it. Without it nothing can be written here; reading, verifying and exporting need no such key."
            )
        }
        guard let attributes = try files.attributes(layout.ledgerKey) else { throw lost("is missing") }
        guard attributes.rights & 0o077 == 0 else {
            throw VaultError(
                .keys, "\(layout.ledgerKey) can be read by others.", hint: "chmod 600 \(layout.ledgerKey)")
        }
        guard attributes.count == LedgerKey.seedSize else {
            throw lost("is damaged: it has \(attributes.count) bytes instead of \(LedgerKey.seedSize)")
        }
        var bytes = try files.contents(layout.ledgerKey)
        let key = try LedgerKey(seed: SecretBytes(&bytes), vault: file.id)
        guard key.verifier == file.ledger else {
            throw lost("is not the key that vault.json names: it is damaged, or another recorder's")
        }
        return key
    }

    /// The index, level with the ledger, and whether it was made anew. Errors: `.damaged` when that would take entries that cannot be
    /// read: what they hold would be forgotten.
    private static func openIndex(
        _ layout: Layout, _ file: VaultFile, _ files: any FileSystem, _ ledger: LedgerReader, _ count: Int,
        _ alarms: inout [String]
    ) throws(VaultError) -> (Index, isNew: Bool) {
        do throws(VaultError) {
            return try openIndex(layout, files, ledger, count, &alarms)
        } catch {
            guard error.code == .damaged else { throw error }
            // One flipped bit is no reason not to record.
            let mended = try LedgerRepair(ledger: ledger, vault: file.id, verifier: file.ledger).mend()
            guard !mended.isEmpty else { throw error }
            alarms.append(LedgerRepair.told(mended))
            return try openIndex(layout, files, ledger, count, &alarms)
        }
    }

    private static func openIndex(
        _ layout: Layout, _ files: any FileSystem, _ ledger: LedgerReader, _ count: Int, _ alarms: inout [String]
    ) throws(VaultError) -> (Index, isNew: Bool) {
        let isMissing = (try files.attributes(layout.index)?.count ?? 0) == 0
        func tell(_ alarm: String) { if !alarms.contains(alarm) { alarms.append(alarm) } }
        if isMissing, count > 0 { tell("The index was missing and is made anew from the ledger.") }
        do throws(VaultError) {
            do throws(VaultError) {
                // A long ledger is taken in at once, several times faster than on top of trees that are there.
                if try SQLiteCache.hasNote(ofDamageAt: layout.index, files) {
                    tell("The index was damaged and is made anew from the ledger.")
                } else if !isMissing || count <= longLedger {
                    let index = try Index.writing(layout.index)
                    try index.checkTrees()
                    if try index.position() <= count {
                        do throws(VaultError) {
                            try index.catchUp(ledger)
                            try Index.checkCount(index.position(), count, ledger)
                        } catch {
                            index.close()
                            // Half an index is none: the next start has to know that it was missing.
                            if isMissing, error.code == .damaged { try SQLiteCache.remove(layout.index, files) }
                            throw error
                        }
                        return (index, isMissing)
                    }
                    index.close()
                    tell("The index knows more than the ledger and is made anew.")
                }
            } catch {
                // A full disk is no reason to give up an index.
                guard error.code == .index, try files.space(layout.root).free >= smallestFreeSpace else { throw error }
                // Another version's is no reason to alarm anybody.
                if Index.version(layout.index) == nil {
                    tell("The index was unusable and is made anew from the ledger. \(error)")
                }
            }
            // The old one stays until a new one is whole.
            _ = try Index.rebuild(layout, files, ledger, checkpoint: nil, expected: count)
            return (try Index.writing(layout.index), true)
        } catch {
            // Without an index nothing can be deleted, and so no space be made for one.
            guard error.code == .noSpace || error.code == .index,
                try files.space(layout.root).free < smallestFreeSpace
            else { throw error }
            tell("The disk is too full for the index, which is kept in memory until the next start.")
            let index = try Index.inMemory()
            try index.catchUp(ledger)
            return (index, false)
        }
    }

    /// Entries, some days of a household's.
    private static let longLedger = 4096
    /// SQLite alone asks for half of this when it opens an index.
    private static let smallestFreeSpace = 1 << 20

    /// Whether the disk is full; then the reserve goes.
    private static func makeRoomToStart(
        _ layout: Layout, _ files: any FileSystem, _ alarms: inout [String]
    ) throws(VaultError) -> Bool {
        guard try files.space(layout.root).free < smallestFreeSpace else { return false }
        guard let ballast = try files.attributes(layout.ballast), ballast.count > 0 else { return true }
        try files.remove(layout.ballast)
        alarms.append("The disk is full; the reserve of \(ballast.count >> 20) MiB was given up.")
        return true
    }

    /// A predecessor that is just ending keeps the lock for a moment longer than its port, and a restart should not fail on
    /// that: half a second's patience, then nil.
    private static func patientLock(
        _ layout: Layout, _ files: any FileSystem
    ) throws(VaultError) -> (any OpenFile)? {
        for attempt in 0..<20 {
            if let lock = try files.lock(layout.lock) { return lock }
            if attempt < 19 { usleep(25_000) }
        }
        return nil
    }
}
