public import Core

/// An evidence bundle's table of contents, `bundle.json`: what lies beside it and belongs together.
///
/// | file | what |
/// |---|---|
/// | `clips/….mp4` | a clip as it was recorded, to be played |
/// | `sealed/<sha256>` | the same clip as it lies in the vault |
/// | `entries/<n>.json`, `<n>.tlog-proof` | a ledger entry and the proof that the signed ledger has it |
/// | `checkpoint` | the signed head of the ledger that all proofs lead to |
/// | `README.html` | all this in plain language |
public struct Evidence: Sendable, Hashable {
    public struct Clip: Sendable, Hashable {
        public var record: ClipRecord
        /// Position of its ledger entry.
        public var entry: Int
        /// Path of the playable file in the bundle.
        public var file: String
        /// Opens this one clip: 16 bytes.
        var fileKey: [UInt8]
        public var sealedFile: String { "sealed/\(record.object)" }
    }
    static let format = 1

    public var vault: VaultID
    /// The ledger's public key as c2sp.org/signed-note writes it.
    public var key: String
    public var made: WallTime
    public var camera: CameraID
    /// What its owner calls it.
    public var cameraName: String?
    public var clips: [Clip]
    /// Positions of the other entries that tell of these clips: epochs, starts of the recorder, gaps, steps of the clock.
    public var context: [Int]
    /// `EvidencePageForm.version` of the page.
    var page: Int

    static func entryFile(_ position: Int) -> String { "entries/\(position).json" }
    static func proofFile(_ position: Int) -> String { "entries/\(position).tlog-proof" }
    var positions: [Int] { (clips.map(\.entry) + context).sorted() }

    var encoded: [UInt8] {
        let clips = clips.map { clip in
            """
                {"entry": \(clip.entry), "object": "\(clip.record.object)", "file": \(JSON.quote(clip.file)), \
            "fileKey": "\(Base64.encode(clip.fileKey, padded: true))"}
            """
        }
        return Array(
            """
            {
              "format": \(Self.format),
              "vault": "\(vault)",
              "key": \(JSON.quote(key)),
              "made": \(made.microseconds),
              "camera": "\(camera)",
            \(cameraName.map { "  \"cameraName\": \(JSON.quote($0)),\n" } ?? "")\
              "page": \(page),
              "clips": [
            \(clips.joined(separator: ",\n"))
              ],
              "context": [\(context.map(String.init).joined(separator: ", "))]
            }

            """.utf8)
    }

    /// What `bundle.json` names, without the clips' records, which its entries hold.
    struct Contents {
        var vault: VaultID
        var verifier: LedgerVerifier
        var key: String
        var made: WallTime
        var camera: CameraID
        var cameraName: String?
        /// Nil in bundles of a SudoCam that did not write it down.
        var page: Int?
        var clips: [(entry: Int, object: ObjectID, file: String, fileKey: [UInt8])]
        var context: [Int]

        /// Errors: `.damaged`, `.newerFormat`.
        init(parsing bytes: [UInt8]) throws(VaultError) {
            func fail() -> VaultError { VaultError(.damaged, "bundle.json is malformed.") }
            guard let json = JSON(bytes), let format = json["format"]?.integer else { throw fail() }
            guard format <= Evidence.format else {
                throw VaultError(
                    .newerFormat, "The bundle is of format \(format); this SudoCam knows up to \(Evidence.format).",
                    hint: "Install a newer SudoCam.")
            }
            guard let vault = json["vault"]?.string.flatMap({ VaultID($0) }), let key = json["key"]?.string,
                let named = LedgerVerifier.parse(key), named.vault == vault, let made = json["made"]?.integer,
                let camera = json["camera"]?.string.flatMap({ CameraID($0) }), let clips = json["clips"]?.array,
                let context = json["context"]?.array
            else { throw fail() }
            self.vault = vault
            self.key = key
            verifier = named.key
            self.made = WallTime(microseconds: made)
            self.camera = camera
            cameraName = json["cameraName"]?.string
            page = json["page"]?.integer.flatMap { Int(exactly: $0) }
            self.clips = []
            for clip in clips {
                guard let entry = clip["entry"]?.integer.flatMap({ Int(exactly: $0) }), entry >= 0,
                    let object = clip["object"]?.string.flatMap({ ObjectID($0) }), let file = clip["file"]?.string,
                    Self.isClipFile(file),
                    let fileKey = clip["fileKey"]?.string.flatMap({ Base64.decode(Array($0.utf8), padded: true) }),
                    fileKey.count == AgeWrapping.fileKeySize
                else { throw fail() }
                self.clips.append((entry, object, file, fileKey))
            }
            self.context = []
            for position in context {
                guard let position = position.integer.flatMap({ Int(exactly: $0) }), position >= 0 else { throw fail() }
                self.context.append(position)
            }
        }

        /// Nothing outside the bundle is read, whatever its table of contents says, and no name of a file does anything to a
        /// terminal.
        private static func isClipFile(_ file: String) -> Bool {
            let folder = "clips/"
            let name = file.utf8.dropFirst(folder.utf8.count)
            return file.hasPrefix(folder) && !name.isEmpty && !name.allSatisfy { $0 == UInt8(ascii: ".") }
                && name.allSatisfy {
                    switch $0 {
                    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                        true
                    default: false
                    }
                }
        }
    }
}

/// How the page of plain language in a bundle is written. `Vault` keeps it and compares it; the words are another's.
public struct EvidencePageForm: Sendable {
    /// Another one for other words, so that the page of another SudoCam is not taken for one that somebody changed.
    public let version: Int
    let html: @Sendable (Evidence) -> String

    public init(version: Int, html: @escaping @Sendable (Evidence) -> String) {
        self.version = version
        self.html = html
    }
}
