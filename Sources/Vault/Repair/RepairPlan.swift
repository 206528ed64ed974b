import Core

/// Decides, finding by finding, what to do; reads, and writes nothing.
struct RepairPlan {
    let vault: Vault
    let options: RepairOptions
    private var layout: Layout { vault.layout }
    private var files: any FileSystem { vault.files }

    init(_ vault: Vault, _ options: RepairOptions) {
        self.vault = vault
        self.options = options
    }

    func make(_ found: VerificationReport) throws(VaultError) -> (steps: [RepairStep], isBraked: Bool) {
        var steps: [RepairStep] = []
        var seen: Set<VerificationFinding.Subject> = []
        // While entries are damaged nobody knows what the ledger would say of an object. What a start went on over is settled.
        let isLedgerWhole = !found.findings.contains { finding in
            guard case .entries = finding.subject, finding.detail != VerificationFinding.signedEarlier else {
                return false
            }
            return finding.kind == .damaged || finding.kind == .missing
        }
        for finding in found.findings where isAboutFiles(finding) && seen.insert(finding.subject).inserted {
            switch (finding.kind, finding.subject) {
            case (.missing, .object(let object)):
                steps.append(try missing(object, finding, isLedgerWhole))
            case (.damaged, .object(let object)): steps.append(try damaged(object, finding))
            case (.extra, .object(let object)): steps.append(try extra(object, finding, isLedgerWhole))
            case (.notDeleted, _): steps.append(RepairStep(.finish, finding.subject, finding.detail))
            case (.extra, .file), (.extra, .epoch):
                steps.append(RepairStep(.quarantine, finding.subject, finding.detail))
            case (.damaged, .epoch(let epoch)), (.missing, .epoch(let epoch)):
                steps.append(try self.epoch(epoch, finding))
            default: steps.append(leave(finding))
            }
        }
        let missing = steps.count { $0.action == .lost }
        let total = found.objects + found.findings.count { isMissingObject($0) }
        guard missing * 2 > total, !options.isForced else { return (steps, false) }
        for index in steps.indices where steps[index].action == .lost {
            steps[index].action = .leave
            steps[index].detail +=
                "; so are more than half of all: is every disk mounted? If they are really gone, --force"
        }
        return (steps, true)
    }

    /// Tiles and the checkpoint are `LedgerRepair`'s.
    private func isAboutFiles(_ finding: VerificationFinding) -> Bool {
        switch finding.subject {
        case .tile, .checkpoint: false
        default: true
        }
    }
    private func isMissingObject(_ finding: VerificationFinding) -> Bool {
        guard case .object = finding.subject else { return false }
        return finding.kind == .missing
    }

    private func missing(
        _ object: ObjectID, _ finding: VerificationFinding, _ isLedgerWhole: Bool
    ) throws(VaultError) -> RepairStep {
        if try copy(object) { return RepairStep(.fetch, finding.subject, "is missing; the copy has it") }
        if try files.attributes(layout.quarantine + "/\(object)") != nil {
            return RepairStep(.quarantine, finding.subject, "lies in quarantine since an interrupted repair")
        }
        guard isLedgerWhole else { return ledgerFirst(finding) }
        return RepairStep(.lost, finding.subject, "is missing and nowhere else")
    }

    private func damaged(_ object: ObjectID, _ finding: VerificationFinding) throws(VaultError) -> RepairStep {
        if try copy(object) { return RepairStep(.fetch, finding.subject, "\(finding.detail); the copy is good") }
        guard let clip = try vault.index.clip(object, vault.id) else { return leave(finding) }
        if !options.quarantinesPlayable, plays(clip) {
            return RepairStep(
                .leave, finding.subject,
                "\(finding.detail); what is good of it still plays, so it stays; --all moves it to quarantine too")
        }
        return RepairStep(.quarantine, finding.subject, finding.detail)
    }

    /// Whether something of it opens: with the key by trying, else by its header.
    private func plays(_ clip: ClipRecord) -> Bool {
        if vault.isUnlocked { return (try? vault.openBlocking(clip)) != nil }
        guard let file = try? files.open(layout.object(clip.object), .read),
            let header = try? ObjectReader.header(file), let count = try? file.count()
        else { return false }
        return ClipStanza.decode(header) == clip.identity && count > header.count + AgePayload.nonceSize + 16
    }

    private func extra(
        _ object: ObjectID, _ finding: VerificationFinding, _ isLedgerWhole: Bool
    ) throws(VaultError) -> RepairStep {
        do throws(VaultError) {
            let clip = try recovery.adopt(layout.object(object), object)
            guard isLedgerWhole else { return ledgerFirst(finding) }
            return RepairStep(
                .adopt, finding.subject, "sequence \(clip.identity.sequence) of camera \(clip.camera); it is whole")
        } catch {
            return RepairStep(.quarantine, finding.subject, "the ledger does not list it, and \(error.reason)")
        }
    }

    private func epoch(_ epoch: EpochID, _ finding: VerificationFinding) throws(VaultError) -> RepairStep {
        if try copy(epoch) { return RepairStep(.fetch, finding.subject, "\(finding.detail); the copy is good") }
        return RepairStep(
            .leave, finding.subject,
            "\(finding.detail); restore the file from any copy of the vault (--from FOLDER)")
    }

    private func leave(_ finding: VerificationFinding) -> RepairStep {
        let hint =
            switch (finding.kind, finding.subject) {
            case (.damaged, .entries), (.missing, .entries):
                "; restore ledger/entries from any copy of the vault: the signed hashes tell which is right"
            case (_, .vaultFile): "; compare it with a copy; if it is right, the next start of the recorder enters it"
            case (.forged, .object): "; somebody wrote it who was not this recorder: keep it, and look who could"
            default: "; it stays in the record, there is nothing to repair"
            }
        return RepairStep(.leave, finding.subject, finding.detail + hint)
    }
    private func ledgerFirst(_ finding: VerificationFinding) -> RepairStep {
        RepairStep(.leave, finding.subject, "\(finding.detail); the ledger's damaged entries have to be restored first")
    }

    private func copy(_ object: ObjectID) throws(VaultError) -> Bool {
        try options.source?.contents(layout.relative(layout.object(object))).map(Digest.sha256) == object.digest
    }
    private func copy(_ epoch: EpochID) throws(VaultError) -> Bool {
        guard let digest = try vault.index.epochFile(epoch) else { return false }
        return try options.source?.contents(layout.relative(layout.epoch(epoch))).map(Digest.sha256) == digest.digest
    }

    var recovery: Recovery {
        Recovery(layout: layout, files: files, vault: vault.id, index: vault.index, now: vault.time.wallNow())
    }
}
