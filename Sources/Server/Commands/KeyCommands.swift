import CProcess
import Core
import Foundation
public import Vault

/// What `sudocam key` does: by the running recorder, over its socket, or here when none runs. Every change takes the passphrase,
/// or an identity, anew; that the vault is unlocked for viewers is not enough.
public enum KeyCommands {
    public struct Progress: Codable, Sendable {
        public var done: Int
        public var total: Int
    }

    /// One action, as it goes over the socket; the secrets follow on lines of their own.
    struct Request: Codable, Sendable {
        enum Action: String, Codable {
            case addRecipient, removeRecipient, changePassphrase, replaceOwner, rewrap, export, share
        }
        enum Credential: String, Codable { case passphrase, identity }
        var action: Action
        /// What the first secret is.
        var credential: Credential
        /// Whether a second secret follows: the new passphrase.
        var newPassphrase = false
        /// `age1…`
        var recipient: String?
        var recovery: String?
        var force = false
        var camera: CameraID?
        /// Days since 1970-01-01 UTC.
        var day: Int64?
        var plain = false
        var object: ObjectID?
    }
    struct Answer: Codable, Sendable {
        var changed: Changed?
        var export: Export?
        var share: Share?

        struct Export: Codable, Sendable {
            var sealedIdentity: Data
            var epochs: [EpochID]
            var clips: [Clip]
        }
        struct Clip: Codable, Sendable {
            var object: ObjectID
            var start: WallTime
            var end: WallTime
            var bytes: Int
            var salvaged: Bool
        }
        struct Share: Codable, Sendable {
            var header: Data
            var payloadOffset: Int
            var ending: Data
            var copied: Int
        }
    }
    public struct Changed: Codable, Sendable {
        /// Days of cameras whose keys were sealed anew.
        public var rewrapped: Int
        public var remaining: Int
        /// Days whose keys could not be sealed anew, and why.
        public var failures: [String]
    }

    static var time: any TimeSource { SystemTime { sudocam_wall_clock_is_synchronised() } }

    // MARK: In the recorder, or in its place

    static func perform(
        _ request: Request, credential: SecretBytes, newPassphrase: SecretBytes?, _ vault: Vault,
        progress: @escaping @Sendable (Progress) -> Void
    ) async throws(VaultError) -> Answer {
        func recipient(_ text: String?) throws(VaultError) -> AgeRecipient {
            guard let recipient = text.flatMap({ AgeRecipient($0) }) else {
                throw VaultError(
                    .invalid, "That is no recipient.", hint: "It begins with age1; `age-keygen -y` prints one.")
            }
            return recipient
        }
        if request.action == .changePassphrase {
            guard request.credential == .passphrase, let newPassphrase else {
                throw VaultError(.invalid, "The old passphrase is wanted, and a new one.")
            }
            try await vault.changePassphrase(from: credential, to: newPassphrase)
            return Answer()
        }
        let authority =
            switch request.credential {
            case .passphrase: try await vault.authorise(passphrase: credential)
            case .identity:
                try await vault.authorise(identity: credential, mayBeFormer: request.action == .rewrap)
            }
        defer { authority.wipe() }
        switch request.action {
        case .changePassphrase, .rewrap: break
        case .addRecipient: try await vault.addRecipient(try recipient(request.recipient), authority)
        case .removeRecipient:
            try await vault.removeRecipient(try recipient(request.recipient), isForced: request.force, authority)
        case .replaceOwner:
            guard let newPassphrase else { throw VaultError(.invalid, "A new passphrase is wanted.") }
            let recovery = try request.recovery.map { (text) throws(VaultError) in try recipient(text) }
            try await vault.replaceOwner(
                passphrase: newPassphrase, recovery: recovery, isRecovery: request.credential == .identity, authority)
        case .export:
            guard let camera = request.camera, let day = request.day else {
                throw VaultError(.invalid, "An export wants a camera and a day.")
            }
            let export = try await vault.exportEpochs(
                camera: camera, day: day, to: try recipient(request.recipient), isPlain: request.plain, authority)
            let clips = export.clips.map { clip in
                Answer.Clip(
                    object: clip.object, start: clip.start, end: clip.end, bytes: clip.byteCount,
                    salvaged: clip.isSalvaged)
            }
            return Answer(
                export: Answer.Export(
                    sealedIdentity: Data(export.sealedIdentity), epochs: export.epochs, clips: clips))
        case .share:
            guard let object = request.object else { throw VaultError(.invalid, "Which object?") }
            let shared = try await vault.share(object, to: try recipient(request.recipient), authority)
            return Answer(
                share: Answer.Share(
                    header: Data(shared.header), payloadOffset: shared.payloadOffset, ending: Data(shared.ending),
                    copied: shared.copied))
        }
        let report = try await vault.rewrap(authority) { progress(Progress(done: $0.done, total: $0.total)) }
        return Answer(
            changed: Changed(
                rewrapped: report.rewrapped, remaining: report.remaining,
                failures: report.failures.map { "\($0.epoch): \($0.reason)" }))
    }

    /// Who asks: the passphrase, or an identity instead.
    public enum Credential: Sendable {
        case passphrase(SecretBytes)
        case identity(SecretBytes)

        var kind: Request.Credential {
            switch self {
            case .passphrase: .passphrase
            case .identity: .identity
            }
        }
        var secret: SecretBytes {
            switch self {
            case .passphrase(let secret), .identity(let secret): secret
            }
        }
    }

    static func ask(
        _ configuration: Configuration, _ request: Request, _ credential: Credential, newPassphrase: SecretBytes? = nil,
        progress: @escaping @Sendable (Progress) -> Void = { _ in }
    ) async throws -> Answer {
        defer {
            credential.secret.wipe()
            newPassphrase?.wipe()
        }
        do throws(ServerError) {
            return try ControlClient.key(
                vault: configuration.vault, request, secrets: [credential.secret] + (newPassphrase.map { [$0] } ?? []),
                progress: progress)
        } catch {
            guard error.code == .noService else { throw error }
        }
        // An empty mount point, another disk or an older copy is refused here as `serve` refuses it.
        let store = PinStore(configuration)
        let (vault, pin) = try await store.openWriting(configuration, time: time)
        do {
            let answer = try await perform(
                request, credential: credential.secret, newPassphrase: newPassphrase, vault, progress: progress)
            try? store.save(try await vault.pin(after: pin))
            await vault.close()
            return answer
        } catch {
            await vault.close()
            throw error
        }
    }

    // MARK: Changes

    private static func changed(_ answer: Answer) throws(ServerError) -> Changed {
        guard let changed = answer.changed else {
            throw ServerError(.refused, "The recorder did not say what it did.")
        }
        return changed
    }

    public static func addRecipient(
        _ configuration: Configuration, _ recipient: AgeRecipient, _ credential: Credential,
        progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> Changed {
        let request = Request(
            action: .addRecipient, credential: credential.kind, recipient: recipient.description)
        return try changed(try await ask(configuration, request, credential, progress: progress))
    }

    public static func removeRecipient(
        _ configuration: Configuration, _ recipient: AgeRecipient, force: Bool, _ credential: Credential,
        progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> Changed {
        let request = Request(
            action: .removeRecipient, credential: credential.kind, recipient: recipient.description, force: force)
        return try changed(try await ask(configuration, request, credential, progress: progress))
    }

    public static func rewrap(
        _ configuration: Configuration, _ credential: Credential, progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> Changed {
        let request = Request(action: .rewrap, credential: credential.kind)
        return try changed(try await ask(configuration, request, credential, progress: progress))
    }

    /// Only the file `keys/owner.age` changes; a copy of it still opens with the old passphrase.
    public static func changePassphrase(
        _ configuration: Configuration, from old: SecretBytes, to new: SecretBytes
    ) async throws {
        let request = Request(action: .changePassphrase, credential: .passphrase, newPassphrase: true)
        _ = try await ask(configuration, request, .passphrase(old), newPassphrase: new)
    }

    /// A new owner's identity under a new passphrase, and every day sealed to it in place of the old one.
    ///
    /// - Parameter recovery: who takes the recovery identity's place; its owner has written the identity down by now.
    public static func replaceOwner(
        _ configuration: Configuration, _ credential: Credential, newPassphrase: SecretBytes, recovery: AgeRecipient?,
        progress: @escaping @Sendable (Progress) -> Void
    ) async throws -> Changed {
        let request = Request(
            action: .replaceOwner, credential: credential.kind, newPassphrase: true, recovery: recovery?.description)
        return try changed(
            try await ask(configuration, request, credential, newPassphrase: newPassphrase, progress: progress))
    }

    // MARK: Questions

    /// Errors: age's, when it is no identity; `.noMatch` when the vault is not sealed to it.
    public static func check(_ configuration: Configuration, identity: SecretBytes) async throws {
        let recipient = try AgeIdentity(text: identity).recipient.description
        guard try await list(configuration).recipients.contains(where: { $0.recipient == recipient }) else {
            throw VaultError(
                .keys, "This identity is not one of the vault's.", hint: "`sudocam key list` shows whose it is.")
        }
    }

    public struct List: Codable, Sendable {
        public struct Recipient: Codable, Sendable {
            public var recipient: String
            public var role: String
        }
        public var recipients: [Recipient]
        /// Days of cameras that have a key.
        public var epochs: Int
        /// Those not sealed to these recipients yet.
        public var stale: Int
        /// Who signs the ledger; no secret.
        public var ledgerKey: String
    }

    public static func list(_ configuration: Configuration) async throws -> List {
        try await configuration.reading(time: time) { vault in
            let list = try await vault.recipients()
            return List(
                recipients: list.recipients.map {
                    List.Recipient(recipient: $0.recipient.description, role: $0.role.rawValue)
                }, epochs: list.epochs, stale: list.staleEpochs, ledgerKey: vault.ledgerKey)
        }
    }

    public struct LogLine: Codable, Sendable {
        public var entry: Int
        public var at: String
        public var what: String
    }

    /// From the signed ledger: who was let in, who was shut out, what was given out.
    public static func log(_ configuration: Configuration, limit: Int) async throws -> [LogLine] {
        let receipts = try await configuration.reading(time: time) { try await $0.keyLog(limit: limit) }
        return receipts.map { receipt in
            let what: String =
                switch receipt.kind {
                case .recipients(let added, let removed, let cause):
                    "recipients (\(cause)):" + added.map { " +\($0)" }.joined() + removed.map { " -\($0)" }.joined()
                case .rewrapped(let count): "\(count) day(s) sealed to the recipients"
                case .exported(let epoch, let to):
                    "key of epoch \(epoch) given out, \(to.map { "sealed to \($0)" } ?? "unsealed")"
                case .shared(let object, let to): "object \(object) shared with \(to)"
                }
            return LogLine(entry: receipt.position, at: FileTime.iso(receipt.at), what: what)
        }
    }
}
