public import Core
import Media
public import Vault

/// `sudocam prove`: evidence bundles, made with a vault and checked without.
public enum ProofCommands {
    public struct Proved: Codable, Sendable {
        public var path: String
        public var camera: CameraID
        public var clips: Int
        public var from: String
        public var to: String
        public var bytes: Int
        /// The ledger's public key as text: whoever checks compares it with what the owner told him.
        public var key: String
    }

    /// Writes the bundle of every clip of a camera that shares time with `range`, or of the one that `object` begins to name.
    /// After an error nothing of it is left.
    public static func prove(
        _ configuration: Configuration, camera: String?, range: TimeRange?, object: String?, to folder: OutputFolder,
        passphrase: SecretBytes, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void,
        time: any TimeSource = SystemTime()
    ) async throws -> Proved {
        // Clips whose bytes lie elsewhere only come from there.
        try await configuration.reading(passphrase: passphrase, hasRemotes: true, time: time) { vault in
            let clips: [ClipRecord]
            if let object {
                clips = [try await vault.clip(named: object)]
            } else if let camera, let range {
                let id = try VaultCommands.camera(camera, configuration, vault)
                clips = try await vault.clips(camera: id, overlapping: range, limit: 100_000)
            } else {
                throw ServerError(
                    .refused, "What is to be proved?", hint: "Name a camera with --from and --to, or --clip.")
            }
            let lease: ControlClient.Lease? =
                if let first = clips.map(\.start).min(), let last = clips.map(\.end).max(),
                    let camera = clips.first?.camera
                {
                    ControlClient.lease(vault: configuration.vault, camera: camera, range: TimeRange(first, last))
                } else {
                    nil
                }
            defer { withExtendedLifetime(lease) {} }
            let cameraName = configuration.cameras.first {
                RecordingService.identity(of: $0.key, in: vault.id) == clips.first?.camera
            }?.name
            let evidence = try await folder.write {
                try await vault.prove(
                    clips, to: folder.part, cameraName: cameraName, page: EvidencePage.form,
                    name: { "\(FileTime.text($0.start))-\($0.identity.sequence).mp4" }, progress: progress)
            }
            let records = evidence.clips.map(\.record)
            return Proved(
                path: folder.path, camera: evidence.camera, clips: records.count,
                from: records.map(\.start).min().map(FileTime.iso) ?? "",
                to: records.map(\.end).max().map(FileTime.iso) ?? "", bytes: records.reduce(0) { $0 + $1.byteCount },
                key: evidence.key)
        }
    }

    /// The ledger's public key as text.
    public static func key(_ configuration: Configuration, time: any TimeSource = SystemTime()) async throws -> String {
        try await configuration.reading(time: time) { try await $0.ledgerHead().key }
    }

    public struct Checked: Codable, Sendable {
        public struct Clip: Codable, Sendable {
            public var file: String
            public var object: ObjectID
            public var sequence: UInt64
            public var from: String
            public var to: String
            /// When it was entered, by the recorder's clock.
            public var entered: String
            public var entry: Int
            public var salvaged: Bool
        }
        public var sound: Bool
        public var findings: [String]
        public var vault: VaultID
        public var camera: CameraID
        /// As the bundle has it, and its own word only, like `made`.
        public var cameraName: String?
        public var key: String
        /// Whether that key was compared with one that was given.
        public var keyCompared: Bool
        public var ledgerSize: Int
        public var made: String
        public var clips: [Clip]
        /// The recorder's clock was vouched for by a time service at every start that the bundle tells of.
        public var clockSynchronised: Bool
        public var clockSteps: Int
        /// Like starts and steps of the clock, those that the bundle tells of: others can be left out of it unseen.
        public var gaps: Int
        /// Clips between the first and the last one that the bundle leaves out.
        public var missingClips: Int
        public var strangers: [String]
        /// README.html is the page that belongs to this bundle; false without a finding when another version wrote it.
        public var pageCompared: Bool
    }

    /// Checks a bundle. Errors only when it is none; what does not fit is in `findings`.
    public static func check(_ folder: String, key: String?) async throws -> Checked {
        let report = try await EvidenceCheck(folder: folder, page: EvidencePage.form) {
            ClipReader.identity(inHead: $0)
        }.run(expected: key)
        return Checked(
            sound: report.isSound, findings: report.findings, vault: report.vault, camera: report.camera,
            cameraName: report.cameraName, key: report.key, keyCompared: key != nil, ledgerSize: report.ledgerSize,
            made: FileTime.iso(report.made),
            clips: report.clips.map { clip in
                Checked.Clip(
                    file: clip.file, object: clip.record.object, sequence: clip.record.identity.sequence,
                    from: FileTime.iso(clip.record.start), to: FileTime.iso(clip.record.end),
                    entered: FileTime.iso(clip.entered), entry: clip.entry, salvaged: clip.record.isSalvaged)
            },
            clockSynchronised: !report.starts.isEmpty && report.starts.allSatisfy(\.isClockSynchronised),
            clockSteps: report.clockSteps.count, gaps: report.gaps.count, missingClips: report.missingNumbers,
            strangers: report.strangers, pageCompared: report.isPageCompared)
    }
}

extension ProofCommands.Checked {
    /// In plain lines. Whoever made the bundle chose names in it: none of them can forge a line or talk to the terminal.
    public var text: String {
        var lines = findings.map { "WRONG: \($0)" }
        for clip in clips {
            lines.append(
                "\(clip.file): \(clip.from) to \(clip.to), entered as number \(clip.entry) at \(clip.entered); unchanged since"
            )
        }
        if missingClips > 0 {
            lines.append("\(missingClips) clip(s) between the first and the last are not in the bundle.")
        }
        if gaps > 0 { lines.append("\(gaps) gap(s) in the recording are entered.") }
        if clockSteps > 0 { lines.append("The recorder's clock was set \(clockSteps) time(s) meanwhile.") }
        lines.append(
            clockSynchronised
                ? "A time service vouched for the recorder's clock when it was started."
                : "Nobody vouches for the recorder's clock but itself.")
        lines.append("Gaps, starts and clock steps: only as far as the bundle tells of them.")
        let name = cameraName.map { " \u{201C}\($0)\u{201D}" } ?? ""
        lines.append("Made at \(made) of camera\(name) \(camera): the bundle's own word for the time and the name.")
        if sound, !pageCompared {
            lines.append("README.html is not part of the proof: another version of SudoCam wrote it.")
        }
        if !strangers.isEmpty { lines.append("Not part of the proof: \(strangers.joined(separator: ", ")).") }
        lines.append("Signed by \(key)")
        if !keyCompared {
            lines.append("Compare that key with what the recorder's owner says, or give it with --key.")
        }
        lines.append(sound ? "Everything fits." : "The bundle does NOT prove what it claims.")
        return lines.map(Self.printable).joined(separator: "\n")
    }

    /// Whatever is no plain character is written as its number.
    private static func printable(_ text: String) -> String {
        var output = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
                output += "\\u{\(String(scalar.value, radix: 16))}"
            default: output.unicodeScalars.append(scalar)
            }
        }
        return output
    }
}
