public import Core
import Foundation
import Synchronization
public import Vault

extension KeyCommands {
    // MARK: A clip

    public struct Shared: Codable, Sendable {
        public var path: String
        public var object: ObjectID
        public var camera: CameraID
        public var start: String
        public var end: String
        public var to: String
        public var bytes: Int
    }

    /// Writes an age file of the clip that `recipient` opens: a new header before the object's own bytes.
    ///
    /// What is entered into the ledger cannot be taken back, so the object is read before, and `output` is begun.
    /// - Parameter what: the beginning of an object's name, 8 digits or more; with a camera: a time.
    public static func share(
        _ configuration: Configuration, _ what: String, camera: String?, to recipient: AgeRecipient,
        output: OutputFile, _ credential: Credential, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws -> Shared {
        do {
            return try await fill(output, configuration, what, camera, recipient, credential, progress)
        } catch {
            // At once: whoever listens for signals holds it too.
            output.discard()
            throw error
        }
    }

    private static func fill(
        _ output: OutputFile, _ configuration: Configuration, _ what: String, _ camera: String?,
        _ recipient: AgeRecipient, _ credential: Credential, _ progress: @escaping @Sendable (Int, Int) -> Void
    ) async throws -> Shared {
        // What lies in a remote only is shared too.
        try await configuration.reading(hasRemotes: true, time: time) { vault in
            let clip = try await clip(configuration, what, camera, vault)
            let lease = ControlClient.lease(vault: configuration.vault, camera: clip.camera, range: clip.range)
            defer { withExtendedLifetime(lease) {} }
            try await vault.readObject(clip, handingOut: 0..<0) { (_) throws(VaultError) in }
            let request = Request(
                action: .share, credential: credential.kind, recipient: recipient.description, object: clip.object)
            guard let share = try await ask(configuration, request, credential).share else {
                throw ServerError(.refused, "The recorder did not say what it did.")
            }
            let total = share.header.count + share.copied + share.ending.count
            try output.append(Array(share.header))
            let done = Mutex(share.header.count)
            let range = share.payloadOffset..<share.payloadOffset + share.copied
            try await vault.readObject(clip, handingOut: range) { (bytes) throws(VaultError) in
                try output.append(bytes)
                progress(
                    done.withLock {
                        $0 += bytes.count
                        return $0
                    }, total)
            }
            try output.append(Array(share.ending))
            try output.publish()
            return Shared(
                path: output.path, object: clip.object, camera: clip.camera, start: FileTime.iso(clip.start),
                end: FileTime.iso(clip.end), to: recipient.description, bytes: total)
        }
    }

    private static func clip(
        _ configuration: Configuration, _ what: String, _ camera: String?, _ vault: Vault
    ) async throws -> ClipRecord {
        guard let camera else { return try await vault.clip(named: what) }
        guard let time = FileTime.parse(what, now: time.wallNow()) else {
            throw ServerError(.configuration, "\(what) is no time.", hint: "Write \(TimeForms.text).")
        }
        guard let clip = try await vault.clip(at: time, camera: try VaultCommands.camera(camera, configuration, vault))
        else {
            throw VaultError(
                .notFound, "Nothing is recorded at \(FileTime.iso(time)), or its clip is still open.",
                hint: "`sudocam clips` lists what there is.")
        }
        return clip
    }

    // MARK: A day

    public struct Exported: Codable, Sendable {
        public var folder: String
        /// Nil: the key lies unsealed.
        public var to: String?
        public var epochs: [EpochID]
        public var clips: Int
        public var bytes: Int
        /// Lost or damaged here: not in the folder.
        public var missing: [ObjectID]
        /// The day is not over: the key opens what is still to come.
        public var dayIsOpen: Bool
    }

    /// Writes a folder for a third party: the day's key, its objects or their names, their sums, and how to open them with stock
    /// tools. After an error nothing of it is left, but the ledger may say already that the key was given out.
    ///
    /// - Parameters:
    ///   - day: as `2026-11-25`, UTC.
    ///   - recipient: nil: the key lies unsealed in `identity.txt`.
    ///   - hasObjects: false: only their names.
    public static func export(
        _ configuration: Configuration, camera: String, day: String, to recipient: AgeRecipient?, hasObjects: Bool,
        folder: OutputFolder, _ credential: Credential,
        progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws -> Exported {
        let now = time.wallNow()
        guard let utcDay = FileTime.day(day) else {
            throw ServerError(.configuration, "\(day) is no day.", hint: "Write it as 2026-11-25; days are UTC.")
        }
        // The folder first: that a key was given out stays in the ledger for ever.
        return try await folder.write {
            let id = try await configuration.reading(time: time) { vault in
                try VaultCommands.camera(camera, configuration, vault)
            }
            let midnight = WallTime(microseconds: utcDay * 86_400_000_000)
            let lease = ControlClient.lease(
                vault: configuration.vault, camera: id, range: TimeRange(midnight, midnight + 86_400_000_000))
            defer { withExtendedLifetime(lease) {} }
            // Unsealed it comes too, but sealed on its way: to an identity that lives as long as this call.
            let carrier = try AgeIdentity.random()
            let request = Request(
                action: .export, credential: credential.kind,
                recipient: (recipient ?? carrier.recipient).description, camera: id, day: utcDay,
                plain: recipient == nil)
            guard let export = try await ask(configuration, request, credential).export else {
                throw ServerError(.refused, "The recorder did not say what it did.")
            }
            if recipient == nil {
                let text = try carrier.open(Array(export.sealedIdentity))
                defer { text.wipe() }
                // It lies in the open from here on: that is what was asked for.
                try OutputFile.write(Array(text.revealed().utf8) + [10], to: folder.part + "/identity.txt")
            } else {
                try OutputFile.write(Array(export.sealedIdentity), to: folder.part + "/identity.age")
            }
            let total = export.clips.reduce(0) { $0 + $1.bytes }
            var copies = Copies()
            if hasObjects {
                // Opened only now: what it knows is the vault of this moment, and the recorder may have named a clip that is a
                // second old.
                copies = try await configuration.reading(hasRemotes: true, time: time) { vault in
                    try await copy(export.clips, total, from: vault, to: folder, progress)
                }
            }
            let missing = copies.missing
            let list = export.clips.map { clip in
                let remarks =
                    (clip.salvaged ? "  cut short" : "") + (missing[clip.object].map { "  NOT HERE: \($0)" } ?? "")
                return
                    "\(clip.object)  \(FileTime.iso(clip.start))  \(FileTime.iso(clip.end))  \(clip.bytes)\(remarks)\n"
            }.joined()
            try OutputFile.write(Array(list.utf8), to: folder.part + "/objects.txt")
            let readme = readme(
                camera: camera, id: id, day: day, clips: export.clips.count - missing.count,
                isSealed: recipient != nil, hasObjects: hasObjects)
            try OutputFile.write(Array(readme.utf8), to: folder.part + "/README.txt")
            return Exported(
                folder: folder.path, to: recipient?.description, epochs: export.epochs,
                clips: export.clips.count - missing.count, bytes: hasObjects ? copies.bytes : total,
                missing: export.clips.map(\.object).filter { missing[$0] != nil }, dayIsOpen: utcDay >= now.utcDay)
        }
    }

    /// What became of a day's objects.
    private struct Copies {
        var bytes = 0
        /// Why each could not be copied.
        var missing: [ObjectID: String] = [:]
    }

    /// Into the folder `objects`, in their order, and their sums into `SHA256SUMS`.
    private static func copy(
        _ clips: [Answer.Clip], _ total: Int, from vault: Vault, to folder: OutputFolder,
        _ progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws -> Copies {
        try folder.makeFolder("objects")
        var copies = Copies()
        var sums = ""
        let done = Mutex(0)
        for (place, clip) in clips.enumerated() {
            let number = String(place + 1)
            let padded = String(repeating: "0", count: max(0, 5 - number.count)) + number
            let name = "objects/\(padded)-\(FileTime.text(clip.start)).mp4.age"
            do {
                let record = try await vault.clip(named: clip.object.description)
                let file = try OutputFile(folder.part + "/" + name)
                try await vault.readObject(record, handingOut: 0..<clip.bytes) { (bytes) throws(VaultError) in
                    try file.append(bytes)
                    progress(
                        done.withLock {
                            $0 += bytes.count
                            return $0
                        }, total)
                }
                try file.publish()
                copies.bytes += clip.bytes
                sums += "\(clip.object)  \(name)\n"
            } catch let error as VaultError where error.code != .noSpace {
                // One that is lost or damaged does not keep the rest of the day from who is to have it.
                copies.missing[clip.object] = error.reason
            }
        }
        try OutputFile.write(Array(sums.utf8), to: folder.part + "/SHA256SUMS")
        return copies
    }

    /// For whoever receives the folder and knows neither SudoCam nor age.
    static func readme(
        camera: String, id: CameraID, day: String, clips: Int, isSealed: Bool, hasObjects: Bool
    ) -> String {
        let unseal = """

            The key is sealed to you. Open it with your own age key (here: my-key.txt):

                age -d -i my-key.txt identity.age > identity.txt

            """
        let check = """

            Check that nothing was altered on the way (each sum is the recording's name in the recorder's signed list):

                sha256sum -c SHA256SUMS

            """
        let fetch = """

            The recordings are not in this folder: objects.txt lists their names, as they lie in the recorder's folder objects/ or
            in its remote storage. Put them into a folder objects/ here, each with the ending .age.

            """
        return """
            Recordings of camera "\(camera)" on \(day) (a day by UTC)
            =====================================================

            \(clips) recording(s), about a minute each, are encrypted with age (https://age-encryption.org). The key in this folder opens
            all of them, and nothing of another day or camera. Keep it from others as you would the pictures. To open them you
            need age (version 1.0 or later) and, to join or play them, ffmpeg; both are free and run on Linux, macOS and Windows.
            camera id: \(id)
            \(isSealed ? unseal : "\nThe key, identity.txt, is not sealed: whoever gets this folder sees the pictures.\n")\(hasObjects ? check : fetch)
            Decrypt every recording to an MP4 file:

                for f in objects/*.age; do age -d -i identity.txt -o "${f%.age}" "$f"; done

            Join them into one film, without loss:

                for f in objects/*.mp4; do echo "file '$f'"; done > films.txt
                ffmpeg -f concat -safe 0 -i films.txt -c copy day.mp4

            objects.txt lists name, start and end (UTC) and size of each recording. One marked "cut short" was being written when
            the recorder lost power: age reports an error at its end, after writing everything there is.

            """
    }
}
