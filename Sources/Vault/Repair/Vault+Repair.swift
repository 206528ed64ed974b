public import Core

extension Vault {
    /// Puts right what `verify` finds, as far as that takes nothing away: without `isApplied` it only says what it would do, and
    /// works beside a running recorder. Never deletes what the ledger has not removed already.
    ///
    /// Cut off anywhere, running it again goes on. Errors: `.inUse`, `.readOnly`; `.damaged` when the ledger contradicts its
    /// signature: then nothing is written.
    /// - Parameter software: goes into the ledger's `open` entry.
    /// - Parameter progress: of the verification it begins with.
    public static func repair(
        at path: String, _ options: RepairOptions = RepairOptions(), software: String,
        passphrase: SecretBytes? = nil, files: any FileSystem = PosixFileSystem(), time: any TimeSource,
        progress: @escaping @Sendable (VerificationProgress) -> Void = { _ in }
    ) async throws(VaultError) -> RepairReport {
        let layout = Layout(path)
        var report = RepairReport(isApplied: options.isApplied)
        report.steps = try await Lane.serial("vault.repair").run { () throws(VaultError) in
            try repairLedger(layout, files, isApplied: options.isApplied)
        }
        let mode: VaultMode = options.isApplied ? .write(softwareVersion: software) : .read
        let vault = try await open(at: path, mode: mode, files: files, time: time)
        do throws(VaultError) {
            if let passphrase { try await vault.unlock(passphrase: passphrase) }
            let found = try await vault.verify(progress: progress)
            report.objects = found.objects
            let (steps, isBraked) = try await vault.retentionLane.run { () throws(VaultError) in
                // A recorder may have gone on since it was opened.
                if !options.isApplied { try vault.index.catchUp(vault.ledger, skipsDamage: true) }
                let plan = try RepairPlan(vault, options).make(found)
                if options.isApplied { try vault.apply(plan.steps, options) }
                return plan
            }
            report.steps += steps.filter { !$0.isSettled(by: report.steps) }
            report.isBraked = isBraked
        } catch {
            await vault.close()
            throw error
        }
        await vault.close()
        return report
    }

    /// Tiles, mended entries and the checkpoint, before the vault is opened: who appends to a wrong tree signs it.
    private static func repairLedger(
        _ layout: Layout, _ files: any FileSystem, isApplied: Bool
    ) throws(VaultError) -> [RepairStep] {
        let file = try vaultFile(layout, files)
        let ledger = LedgerReader(files: files, path: layout.ledger)
        try checkPresence(ledger)
        var lock: (any OpenFile)?
        if isApplied {
            guard try !files.isNetwork(layout.root) else { throw networkFileSystem(layout) }
            lock = try files.lock(layout.lock)
            guard lock != nil else { throw inUse(layout) }
        }
        defer { withExtendedLifetime(lock) {} }
        let repair = LedgerRepair(ledger: ledger, vault: file.id, verifier: file.ledger)
        var examination = try repair.examine()
        var steps: [RepairStep] = []
        if case .damagedEntries(let mends) = examination.verdict {
            let positions = isApplied ? try repair.mend() : mends.flatMap(\.positions)
            steps = positions.map { position in
                RepairStep(
                    .recompute, .entries(position..<position + 1), "one bit was flipped; the signed hash tells which")
            }
            if isApplied, !steps.isEmpty { examination = try repair.examine() }
        }
        switch examination.verdict {
        case .vouched:
            if isApplied { try repair.rewriteTiles(examination) }
            steps += tileSteps(examination)
        case .unsigned(let trouble):
            steps += tileSteps(examination)
            let key = try ledgerKey(layout, file, files)
            if isApplied {
                try repair.rewriteTiles(examination)
                let tree = try ledger.tree(count: examination.count)
                let checkpoint = Checkpoint(vault: file.id, count: tree.count, root: tree.root)
                try files.replace(ledger.checkpointPath, with: try checkpoint.signed(by: key))
            }
            steps.append(
                RepairStep(
                    .sign, .checkpoint,
                    "\(trouble) Nothing contradicts the \(examination.count) entries; whoever kept an older head can check."
                ))
        case .damagedEntries: break
        case .contradicted(let what):
            throw VaultError(
                .damaged, what,
                hint: """
                    Nothing was changed. Restore the folder ledger from any copy of the vault; what was recorded since is \
                    adopted from the objects then. Without a copy, `sudocam serve --accept-older-copy` goes on with the entries \
                    that can be read; what it cuts off is kept in quarantine.
                    """)
        }
        return steps
    }

    private static func tileSteps(_ examination: LedgerRepair.Examination) -> [RepairStep] {
        examination.tiles.map { tile in
            RepairStep(
                .recompute, .tile(tile.level, tile.index),
                tile.isMissing ? "is missing; the entries give it" : "differs from the entries that were signed")
        }
    }

    /// Each step is whole before the next begins: file first, then ledger, so that an object is never entered as moved
    /// while it still lies in its place.
    private func apply(_ steps: [RepairStep], _ options: RepairOptions) throws(VaultError) {
        let plan = RepairPlan(self, options)
        for step in steps {
            switch (step.action, step.subject) {
            case (.quarantine, .object(let object)):
                let clip = try index.clip(object, id)
                try Quarantine.move(layout.object(object), layout, files)
                try enter(.quarantine(withdrawal(object, clip, step.detail)))
            case (.quarantine, .epoch(let epoch)): try Quarantine.move(layout.epoch(epoch), layout, files)
            case (.quarantine, .file(let path)): try Quarantine.move(layout.root + "/" + path, layout, files)
            case (.lost, .object(let object)):
                try enter(.lost(withdrawal(object, try index.clip(object, id), step.detail)))
            case (.adopt, .object(let object)):
                try enter(.clip(try plan.recovery.adopt(layout.object(object), object)))
            case (.fetch, .object(let object)):
                try fetch(layout.object(object), digest: object.digest, options)
            case (.fetch, .epoch(let epoch)):
                guard let file = try index.epochFile(epoch) else { continue }
                try fetch(layout.epoch(epoch), digest: file.digest, options)
            case (.finish, .object(let object)):
                try files.remove(layout.object(object))
                try files.syncDirectory(parent(of: layout.object(object)))
            case (.finish, .epoch): try finishShredding()
            default: break
            }
        }
    }

    private func enter(_ body: LedgerEntry.Body) throws(VaultError) {
        try committer().commit([LedgerEntry(at: time.wallNow(), body)])
    }
    private func withdrawal(_ object: ObjectID, _ clip: ClipRecord?, _ why: String) -> WithdrawalRecord {
        WithdrawalRecord(
            object: object, why: why, place: clip.map { WithdrawalRecord.Place(camera: $0.camera, range: $0.range) })
    }

    /// The good copy is durable before the damaged file makes way.
    private func fetch(_ path: String, digest: [UInt8], _ options: RepairOptions) throws(VaultError) {
        guard let bytes = try options.source?.contents(layout.relative(path)), Digest.sha256(bytes) == digest else {
            throw VaultError(.notFound, "The copy of \(path) is not there any more.", hint: "Run repair again.")
        }
        let new = layout.open + "/fetched"
        try files.remove(new)
        let file = try files.open(new, .create)
        try file.write(bytes, 0..<bytes.count, at: 0)
        try file.sync()
        try Quarantine.move(path, layout, files)
        try files.rename(new, to: path)
        try files.syncDirectory(parent(of: path))
    }
}
