import Core

/// The stanza beside the key's that says which clip an object is; age ignores and authenticates it.
enum ClipStanza {
    static let name = "sudocam/clip"

    static func encode(_ identity: ClipIdentity) -> AgeStanza {
        AgeStanza(arguments: [
            name, "v=1", "vault=\(identity.vault)", "camera=\(identity.camera)", "epoch=\(identity.epoch)",
            "run=\(identity.run)", "seq=\(identity.sequence)", "start=\(identity.start.microseconds)",
        ])
    }

    /// Nil when the header names no clip, or one of another version.
    static func decode(_ header: AgeHeader) -> ClipIdentity? {
        guard let stanza = header.stanzas.first(where: { $0.arguments.first == name }) else { return nil }
        var fields: [Substring: String] = [:]
        for argument in stanza.arguments.dropFirst() {
            guard let equals = argument.firstIndex(of: "=") else { return nil }
            fields[argument[..<equals]] = String(argument[argument.index(after: equals)...])
        }
        guard fields["v"] == "1", let vault = fields["vault"].flatMap({ VaultID($0) }),
            let camera = fields["camera"].flatMap({ CameraID($0) }),
            let epoch = fields["epoch"].flatMap({ EpochID($0) }),
            let run = fields["run"].flatMap({ RunID($0) }), let sequence = fields["seq"].flatMap({ UInt64($0) }),
            let start = fields["start"].flatMap({ Int64($0) })
        else { return nil }
        return ClipIdentity(
            vault: vault, camera: camera, epoch: epoch, run: run, sequence: sequence,
            start: WallTime(microseconds: start))
    }
}
