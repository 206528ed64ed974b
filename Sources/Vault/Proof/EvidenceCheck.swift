public import Core

/// What a bundle shows, and what does not fit.
public struct EvidenceReport: Sendable {
    public struct Clip: Sendable {
        public var record: ClipRecord
        public var file: String
        public var entry: Int
        /// When the entry was written, by the recorder's clock.
        public var entered: WallTime
        public var bytes: Int
    }
    public struct Start: Sendable {
        public var at: WallTime
        public var software: String
        /// A time service vouched for the clock then.
        public var isClockSynchronised: Bool
    }
    /// Each a sentence; empty: everything fits.
    public var findings: [String] = []
    public var vault: VaultID
    public var key: String
    /// Entries of the signed ledger.
    public var ledgerSize = 0
    public var made: WallTime
    public var camera: CameraID
    /// As the bundle has it; like `made` its own word only.
    public var cameraName: String?
    public var clips: [Clip] = []
    public var starts: [Start] = []
    public var gaps: [GapRecord] = []
    /// Steps of the wall clock, as they were noticed.
    public var clockSteps: [TimeRange] = []
    /// Sequence numbers between the first and the last clip that are not in the bundle.
    public var missingNumbers = 0
    /// Files that nothing in the bundle vouches for.
    public var strangers: [String] = []
    /// README.html is what this version would write of this bundle. False without a finding: another version wrote it.
    public var isPageCompared = false
    public var isSound: Bool { findings.isEmpty }
}

/// Checks an evidence bundle; needs neither a vault nor a key.
public struct EvidenceCheck: Sendable {
    private let folder: String
    private let files: any FileSystem
    private let page: EvidencePageForm
    private let innerIdentity: @Sendable ([UInt8]) -> ClipIdentity?

    private static let sizeLimit = 1 << 16
    /// Of the table of contents and the page, which have a line for each clip.
    private static let listLimit = 1 << 26

    /// - Parameter innerIdentity: finds the identity inside a clip, given the beginning of its plaintext.
    public init(
        folder: String, files: any FileSystem = PosixFileSystem(), page: EvidencePageForm,
        innerIdentity: @escaping @Sendable ([UInt8]) -> ClipIdentity?
    ) {
        self.folder = folder
        self.files = files
        self.page = page
        self.innerIdentity = innerIdentity
    }

    /// Errors: `.notFound`, `.damaged`, `.newerFormat` when it is no bundle; what is wrong inside one is a finding.
    /// - Parameter expected: the ledger's key as its owner gave it; nil: the bundle's own word is taken.
    public func run(expected: String?) async throws(VaultError) -> EvidenceReport {
        try await Lane.serial("vault.evidence").run { [self] () throws(VaultError) in try check(expected) }
    }

    private func check(_ expected: String?) throws(VaultError) -> EvidenceReport {
        guard try files.attributes(folder + "/bundle.json") != nil else {
            throw VaultError(
                .notFound, "\(folder) holds no evidence bundle.", hint: "Name the folder that holds bundle.json.")
        }
        let contents = try Evidence.Contents(parsing: try read("bundle.json", limit: Self.listLimit))
        var report = EvidenceReport(
            vault: contents.vault, key: contents.key, made: contents.made, camera: contents.camera,
            cameraName: contents.cameraName)
        if contents.clips.isEmpty { report.findings.append("The bundle names no recording.") }
        if let expected, expected != contents.key {
            report.findings.append("The bundle is signed with another key than the one given.")
        }
        let signed = attempt(&report) { () throws(VaultError) in
            let note = try read("checkpoint")
            return (note, try Checkpoint(verifying: note, vault: contents.vault, key: contents.verifier))
        }
        guard let (note, head) = signed else { return report }
        report.ledgerSize = head.count

        var entries: [Int: LedgerEntry] = [:]
        for position in Set(contents.clips.map(\.entry) + contents.context).sorted() {
            entries[position] = attempt(&report) { () throws(VaultError) in try entry(position, note, head) }
        }
        for clip in contents.clips {
            guard let entry = entries[clip.entry] else { continue }
            guard case .clip(let record) = entry.body, record.object == clip.object,
                record.camera == contents.camera
            else {
                report.findings.append("Ledger entry \(clip.entry) does not tell of \(clip.file).")
                continue
            }
            let isGood: Void? = attempt(&report) { () throws(VaultError) in
                try check(record, clip.file, fileKey: clip.fileKey)
            }
            guard isGood != nil else { continue }
            report.clips.append(
                EvidenceReport.Clip(
                    record: record, file: clip.file, entry: clip.entry, entered: entry.at, bytes: record.byteCount))
        }
        for position in contents.context {
            guard let entry = entries[position] else { continue }
            switch entry.body {
            case .open(let software, _, let isSynchronised):
                report.starts.append(
                    EvidenceReport.Start(at: entry.at, software: software, isClockSynchronised: isSynchronised))
            case .gap(let gap): report.gaps.append(gap)
            case .clock(let from, let to, _): report.clockSteps.append(TimeRange(from, to))
            default: break
            }
        }
        for record in report.clips.map(\.record) {
            let isEpochKnown = entries.values.contains { entry in
                if case .epoch(let epoch) = entry.body {
                    epoch.epoch == record.identity.epoch && epoch.camera == record.camera
                } else {
                    false
                }
            }
            if !isEpochKnown { report.findings.append("No entry tells of the day's key of clip \(record.object).") }
        }
        let numbers = report.clips.map(\.record.identity.sequence)
        if let first = numbers.min(), let last = numbers.max() {
            report.missingNumbers = Int(clamping: last - first) + 1 - Set(numbers).count
        }
        if report.isSound, contents.page == page.version {
            let records = report.clips.map(\.record)
            attempt(&report) { () throws(VaultError) in try checkPage(contents, records) }
            report.isPageCompared = report.isSound
        }
        report.strangers = try strangers(contents)
        return report
    }

    private func open(_ name: String) throws(VaultError) -> any OpenFile {
        guard let attributes = try files.attributes("\(folder)/\(name)") else {
            throw VaultError(.notFound, "\(name) is missing.")
        }
        guard attributes.isRegular else { throw VaultError(.damaged, "\(name) is no file.") }
        return try files.open("\(folder)/\(name)", .read)
    }
    private func read(_ name: String, limit: Int = Self.sizeLimit) throws(VaultError) -> [UInt8] {
        try open(name).contents(limit: limit)
    }

    /// An error becomes a finding.
    @discardableResult
    private func attempt<Value>(_ report: inout EvidenceReport, _ body: () throws(VaultError) -> Value) -> Value? {
        do { return try body() } catch {
            report.findings.append(error.reason)
            return nil
        }
    }

    private func entry(_ position: Int, _ note: [UInt8], _ head: Checkpoint) throws(VaultError) -> LedgerEntry {
        let bytes = try read(Evidence.entryFile(position))
        let proof = try TlogProof(parsing: try read(Evidence.proofFile(position)))
        guard proof.index == position, proof.checkpoint == note,
            MerkleProof.includes(
                MerkleTree.leafHash(bytes), at: position, in: head.count, root: head.root, path: proof.path)
        else {
            throw VaultError(.damaged, "\(Evidence.entryFile(position)) is not what the signed ledger has there.")
        }
        return try LedgerEntry(parsing: bytes)
    }

    /// The sealed file is the one that the ledger names, and the playable one is what it holds.
    private func check(_ clip: ClipRecord, _ name: String, fileKey: [UInt8]) throws(VaultError) {
        let sealed = try open("sealed/\(clip.object)")
        guard try sealed.count() == clip.byteCount, try digest(sealed, upTo: clip.byteCount) == clip.object.digest
        else {
            throw VaultError(.damaged, "sealed/\(clip.object) is not the file that the ledger names.")
        }
        var key = fileKey
        let secret = SecretBytes(&key)
        let reader: ObjectReader
        do throws(VaultError) {
            reader = try ObjectReader(sealed, isSalvaged: clip.isSalvaged, lane: .serial("vault.evidence.object")) {
                _ in secret
            }
        } catch {
            throw VaultError(.damaged, "sealed/\(clip.object) does not open with the bundle's key for it.")
        }
        guard reader.identity == clip.identity else {
            throw VaultError(.damaged, "The header of sealed/\(clip.object) names another clip than the ledger.")
        }
        let plain = try open(name)
        guard try plain.count() == reader.count else {
            throw VaultError(.damaged, "\(name) is not what was sealed: its length differs.")
        }
        var shown = [UInt8](repeating: 0, count: AgePayload.chunkSize)
        for chunk in 0..<reader.chunkCount {
            let start = chunk * AgePayload.chunkSize
            let inside = try reader.readBlocking(at: start, count: AgePayload.chunkSize)
            let count = try plain.read(at: start, into: &shown)
            guard count >= inside.count, shown.starts(with: inside) else {
                throw VaultError(
                    .damaged,
                    "\(name) is not what was sealed: it differs within bytes \(start)..<\(start + inside.count).")
            }
            if chunk == 0, innerIdentity(inside) != clip.identity {
                throw VaultError(.damaged, "What \(name) says of itself is not what the ledger says of it.")
            }
        }
    }

    /// No further than it should be long: what else stands there may have no end.
    private func digest(_ file: any OpenFile, upTo end: Int) throws(VaultError) -> [UInt8] {
        let digest = try Digest.sha256()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var offset = 0
        while offset < end {
            let count = try file.read(at: offset, into: &buffer)
            guard count > 0 else { break }
            digest.update(buffer, 0..<count)
            offset += count
        }
        return digest.finish()
    }

    /// The page is what this SudoCam says of such a bundle. That binds it to the table of contents and to nothing else: when it
    /// was made and what the camera is called stand in no ledger.
    private func checkPage(_ contents: Evidence.Contents, _ records: [ClipRecord]) throws(VaultError) {
        let evidence = Evidence(
            vault: contents.vault, key: contents.key, made: contents.made, camera: contents.camera,
            cameraName: contents.cameraName,
            clips: zip(contents.clips, records).map { clip, record in
                Evidence.Clip(record: record, entry: clip.entry, file: clip.file, fileKey: clip.fileKey)
            }, context: contents.context, page: page.version)
        guard try read("README.html", limit: Self.listLimit) == Array(page.html(evidence).utf8) else {
            throw VaultError(.damaged, "README.html is not the page that belongs to this bundle.")
        }
    }

    /// Every file below that is not part of the proof, without the table of contents and the page, as relative paths.
    private func strangers(_ contents: Evidence.Contents) throws(VaultError) -> [String] {
        let positions = contents.clips.map(\.entry) + contents.context
        var known: Set<String> = ["checkpoint", "bundle.json", "README.html"]
        for clip in contents.clips { known.formUnion([clip.file, "sealed/\(clip.object)"]) }
        for position in positions {
            known.formUnion([Evidence.entryFile(position), Evidence.proofFile(position)])
        }
        var found: [String] = []
        for name in try files.list(folder) {
            // A link to nowhere, or a name that is no text, is there all the same.
            if let attributes = try files.attributes("\(folder)/\(name)"), attributes.isDirectory {
                found += try files.list("\(folder)/\(name)").map { "\(name)/\($0)" }
            } else {
                found.append(name)
            }
        }
        return found.filter { !known.contains($0) }.sorted()
    }
}
