public import Core
import Foundation
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
    /// - Parameter what: the beginning of an object's name, 8 digits or more; with a camera: a time.
    public static func share(
        _ configuration: Configuration, _ what: String, camera: String?, to recipient: AgeRecipient, path: String,
        _ credential: Credential, progress: (_ done: Int, _ total: Int) -> Void
    ) async throws -> Shared {
        let clip = try await clip(configuration, what, camera)
        let request = Request(
            action: .share, credential: credential.kind, recipient: recipient.description, object: clip.object)
        guard let share = try await ask(configuration, request, credential).share else {
            throw ServerError(.refused, "The recorder did not say what it did.")
        }
        let total = share.header.count + share.copied + share.ending.count
        try OutputFile.write(to: path) { (file) throws in
            try file.write(contentsOf: share.header)
            try OutputFile.copy(
                object(clip.object, configuration), from: share.payloadOffset, count: share.copied, to: file
            ) { progress($0, total) }
            try file.write(contentsOf: share.ending)
        }
        return Shared(
            path: path, object: clip.object, camera: clip.camera, start: FileTime.iso(clip.start),
            end: FileTime.iso(clip.end), to: recipient.description, bytes: total)
    }

    private static func clip(
        _ configuration: Configuration, _ what: String, _ camera: String?
    ) async throws -> ClipRecord {
        let vault = try await Vault.open(at: configuration.vault, mode: .read, time: time)
        let result: Result<ClipRecord, any Error>
        do {
            if let camera {
                guard let time = FileTime.parse(what, now: time.wallNow()) else {
                    throw ServerError(.configuration, "\(what) is no time.")
                }
                let id = try VaultCommands.camera(camera, configuration, vault)
                // Times are printed to the millisecond: a clip's start, typed as it was read, lies before it.
                var found = try await vault.clip(at: time, camera: id)
                if found == nil { found = try await vault.clip(at: time + 1000, camera: id) }
                guard let clip = found else {
                    throw VaultError(
                        .notFound, "Nothing is recorded at \(FileTime.iso(time)), or its clip is still open.",
                        hint: "`sudocam clips` lists what there is.")
                }
                result = .success(clip)
            } else {
                result = .success(try await vault.clip(named: what))
            }
        } catch { result = .failure(error) }
        await vault.close()
        return try result.get()
    }

    private static func object(_ object: ObjectID, _ configuration: Configuration) -> String {
        let name = object.description
        return configuration.vault + "/objects/\(name.prefix(2))/\(name)"
    }

    // MARK: A day

    public struct Exported: Codable, Sendable {
        public var folder: String
        /// Nil: the key lies unsealed.
        public var to: String?
        public var epochs: [EpochID]
        public var clips: Int
        public var bytes: Int
        /// The day is not over: the key opens what is still to come.
        public var dayIsOpen: Bool
    }

    /// Writes a folder for a third party: the day's key, its objects or their names, their sums, and how to open them with stock
    /// tools. The folder appears under its name only when it is whole.
    ///
    /// - Parameters:
    ///   - day: as `2026-11-25`, UTC.
    ///   - recipient: nil: the key lies unsealed in `identity.txt`.
    ///   - hasObjects: false: only their names.
    public static func export(
        _ configuration: Configuration, camera: String, day: String, to recipient: AgeRecipient?, hasObjects: Bool,
        folder: String, _ credential: Credential, progress: (_ done: Int, _ total: Int) -> Void
    ) async throws -> Exported {
        let now = time.wallNow()
        guard let start = FileTime.parse(day + "T00:00:00Z", now: now) else {
            throw ServerError(.configuration, "\(day) is no day.", hint: "Write it as 2026-11-25; days are UTC.")
        }
        guard !FileManager.default.fileExists(atPath: folder) else {
            throw ServerError(.refused, "\(folder) is there already.", hint: "Choose another place with --output.")
        }
        let vault = try await Vault.open(at: configuration.vault, mode: .read, time: time)
        let id = try VaultCommands.camera(camera, configuration, vault)
        await vault.close()
        // Unsealed it comes too, but sealed on its way: to an identity that lives as long as this call.
        let carrier = try AgeIdentity.random()
        let request = Request(
            action: .export, credential: credential.kind, recipient: (recipient ?? carrier.recipient).description,
            camera: id, day: start.utcDay, plain: recipient == nil)
        guard let export = try await ask(configuration, request, credential).export else {
            throw ServerError(.refused, "The recorder did not say what it did.")
        }
        let part = folder + ".part"
        try? FileManager.default.removeItem(atPath: part)
        let total = export.clips.reduce(0) { $0 + $1.bytes }
        do {
            try OutputFile.makeFolder(part)
            if recipient == nil {
                let text = try carrier.open(Array(export.sealedIdentity))
                defer { text.wipe() }
                try OutputFile.write(to: part + "/identity.txt") { (file) throws in
                    guard text.writeLine(to: file.fileDescriptor) else {
                        throw ServerError(.refused, "\(part)/identity.txt cannot be written.")
                    }
                }
            } else {
                try OutputFile.write(to: part + "/identity.age") { try $0.write(contentsOf: export.sealedIdentity) }
            }
            let names = export.clips.enumerated().map { place, clip in
                let number = String(place + 1)
                let padded = String(repeating: "0", count: max(0, 5 - number.count)) + number
                return "objects/\(padded)-\(FileTime.text(clip.start)).mp4.age"
            }
            if hasObjects {
                try OutputFile.makeFolder(part + "/objects")
                var done = 0
                for (clip, name) in zip(export.clips, names) {
                    try OutputFile.write(to: part + "/" + name) { (file) throws in
                        try OutputFile.copy(object(clip.object, configuration), from: 0, count: clip.bytes, to: file) {
                            progress(done + $0, total)
                        }
                    }
                    done += clip.bytes
                }
                let sums = zip(export.clips, names).map { "\($0.object)  \($1)\n" }.joined()
                try OutputFile.write(to: part + "/SHA256SUMS") { try $0.write(contentsOf: Data(sums.utf8)) }
            }
            let list = export.clips.map {
                "\($0.object)  \(FileTime.iso($0.start))  \(FileTime.iso($0.end))  \($0.bytes)\($0.salvaged ? "  cut short" : "")\n"
            }.joined()
            try OutputFile.write(to: part + "/objects.txt") { try $0.write(contentsOf: Data(list.utf8)) }
            let readme = readme(
                camera: camera, id: id, day: day, clips: export.clips.count, isSealed: recipient != nil,
                hasObjects: hasObjects)
            try OutputFile.write(to: part + "/README.txt") { try $0.write(contentsOf: Data(readme.utf8)) }
            guard rename(part, folder) == 0 else { throw ServerError(.refused, "\(folder) cannot be written.") }
        } catch {
            try? FileManager.default.removeItem(atPath: part)
            throw error
        }
        return Exported(
            folder: folder, to: recipient?.description, epochs: export.epochs, clips: export.clips.count, bytes: total,
            dayIsOpen: start.utcDay >= now.utcDay)
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

/// Files that others shall not read before their owner decides so: mode 0600, and under their name only when whole.
enum OutputFile {
    static func makeFolder(_ path: String) throws(ServerError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        } catch {
            throw ServerError(
                .refused, "\(path) cannot be made.", hint: "Choose another place with --output.",
                underlying: FoundationReason(error))
        }
    }

    static func write(to path: String, _ body: (FileHandle) throws -> Void) throws {
        let part = path + ".part"
        guard FileManager.default.createFile(atPath: part, contents: nil, attributes: [.posixPermissions: 0o600]),
            let file = FileHandle(forWritingAtPath: part)
        else {
            throw ServerError(.refused, "\(part) cannot be written.", hint: "Choose another place with --output.")
        }
        do {
            try body(file)
            try file.synchronize()
            try file.close()
            guard rename(part, path) == 0 else { throw ServerError(.refused, "\(path) cannot be written.") }
        } catch {
            try? file.close()
            unlink(part)
            throw error
        }
    }

    /// Exactly `count` bytes from `offset` on, or an error.
    static func copy(
        _ path: String, from offset: Int, count: Int, to file: FileHandle, progress: (Int) -> Void
    ) throws {
        guard let source = FileHandle(forReadingAtPath: path) else {
            throw ServerError(.refused, "\(path) cannot be read.", hint: "`sudocam verify` tells whether it is lost.")
        }
        defer { try? source.close() }
        try source.seek(toOffset: UInt64(max(0, offset)))
        var done = 0
        while done < count {
            guard let bytes = try source.read(upToCount: min(1 << 20, count - done)), !bytes.isEmpty else {
                throw ServerError(.refused, "\(path) is shorter than it should be.", hint: "Run `sudocam verify`.")
            }
            try file.write(contentsOf: bytes)
            done += bytes.count
            progress(done)
        }
    }
}
