import Core
import Vault

/// The page of plain language in an evidence bundle: for somebody who has never heard of SudoCam.
struct EvidencePage {
    /// Raise the version with every change to the page: `prove --check` compares pages of its own version only.
    static let form = EvidencePageForm(version: 1) { Self(evidence: $0).html }

    let evidence: Evidence

    var html: String {
        let rows = evidence.clips.map { clip in
            let record = clip.record
            return """
                <tr><td><a href="\(clip.file)">\(clip.file)</a></td><td>\(FileTime.iso(record.start))</td>\
                <td>\(FileTime.iso(record.end))</td><td>\(record.identity.sequence)</td><td>\(clip.entry)</td>\
                <td><code>\(record.object)</code></td></tr>
                """
        }
        let name = evidence.cameraName.map { "\u{201C}\(Self.escaped($0))\u{201D} " } ?? ""
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><title>Evidence from a SudoCam recorder</title>
            <style>body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}code{font-size:.85em;\
            overflow-wrap:anywhere}table{border-collapse:collapse;font-size:.9em}td,th{border:1px solid #999;padding:.3em .5em;\
            text-align:left;vertical-align:top}</style></head><body>
            <h1>Evidence from a SudoCam recorder</h1>
            <p>This folder holds \(evidence.clips.count) recording(s) of camera \(name)(<code>\(evidence.camera)</code>), taken out of \
            vault <code>\(evidence.vault)</code> on \(FileTime.iso(evidence.made)). All times are UTC, by the recorder's own clock.</p>
            <table><tr><th>recording</th><th>from</th><th>to</th><th>number</th><th>ledger entry</th><th>SHA-256 of the sealed file</th></tr>
            \(rows.joined(separator: "\n"))</table>

            <h2>What it proves</h2>
            <ul>
            <li>Each recording is, byte for byte, what the sealed file beside it holds; nobody changed a picture since.</li>
            <li>Each sealed file was entered into the recorder's ledger at the place named above. The ledger is a list to which can
            only be added: its head, <code>checkpoint</code>, is signed by the recorder, and every later head shows if an earlier
            entry was changed or taken out.</li>
            <li>The recordings of a camera are numbered without a break: a number that is missing here is a recording that this
            folder leaves out.</li>
            </ul>

            <h2>What it does not prove</h2>
            <ul>
            <li>That the clock was right. The check says whether a time service vouched for it when the recorder was started.</li>
            <li>That there was no gap, no start and no step of the clock but those that this folder tells of: their entries can be left
            out. A recording cannot: its number is missing then.</li>
            <li>When this folder was made and what the camera is called: that is this folder's own word.</li>
            <li>That the camera saw what it seems to show. A picture held in front of it is recorded as faithfully as a room.</li>
            <li>That the recorder itself was honest. Whoever controls it, and its signing key, can enter recordings that he made
            himself, from then on; not change what was entered and seen by a witness before. Somebody else who has kept an older
            checkpoint of this ledger can tell whether it still fits.</li>
            <li>Who is seen.</li>
            </ul>

            <h2>How to check it</h2>
            <p>On any machine with SudoCam, without the vault and without its passphrase:</p>
            <pre>sudocam prove --check . --key '\(Self.escaped(evidence.key))'</pre>
            <p>The key above must be the one that the recorder's owner tells you in another way than with this folder:
            <code>sudocam prove --show-key</code> prints it. Without SudoCam: <code>sha256sum sealed/*</code> must give
            the files their own names; each name stands in <code>entries/…json</code>; <code>entries/…tlog-proof</code> is a proof as
            described at c2sp.org/tlog-proof that the entry stands in the ledger; <code>checkpoint</code> is a signed note
            (c2sp.org/signed-note); and with the 16-byte <code>fileKey</code> in <code>bundle.json</code> each sealed file, an age
            file (age-encryption.org/v1), opens to the recording.</p>
            <p>Whoever has this folder can see these recordings, and no others.</p>
            </body></html>

            """
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;").replacing("'", with: "&#39;")
    }
}
