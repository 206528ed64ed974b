import Core
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Vault

/// Changes of who can open a vault; every cut is made with the files as they would lie after a power cut.
@Suite struct KeyringTests {
    @Test func `of more epochs than are kept, the one longest unused is opened anew`() throws {
        let owner = try AgeIdentity.random()
        let keyring = Keyring(epochLimit: 3)
        keyring.unlock(owner)
        let epochs = (0..<4).map { _ in EpochID.random() }
        let sealed = try epochs.map { _ in try AgeFile.seal(AgeIdentity.random().text(), to: [owner.recipient]) }
        var opened: [Int] = []
        func use(_ number: Int) throws {
            _ = try keyring.epoch(epochs[number]) {
                opened.append(number)
                return sealed[number]
            }
        }
        for number in [0, 1, 2, 0, 3, 0, 2, 3, 1, 0] { try use(number) }
        #expect(opened == [0, 1, 2, 3, 1, 0])
        keyring.lock()
        #expect(throws: VaultError(.locked, "")) { try use(2) }
    }
}

@Suite struct KeyTests {
    private static let cameras = (0..<2).map { _ in CameraID.random() }
    private static let newPassphrase = "tr0ub4dor&3"

    /// Two cameras, two days: four epochs with a clip each; closed.
    private static func filled() async throws -> (TemporaryVault, [ClipRecord]) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        var clips: [ClipRecord] = []
        for _ in 0..<2 {
            let start = temporary.time.wallNow()
            for camera in cameras {
                clips.append(try await RecordingTests.record(vault, patternBytes(100), at: start, camera: camera))
            }
            temporary.time.advance(microseconds: 86_400_000_000)
        }
        await vault.close()
        return (temporary, clips)
    }

    private static func owner(_ vault: Vault) async throws -> KeyAuthority {
        try await vault.authorise(passphrase: SecretBytes(text: TemporaryVault.passphrase))
    }

    /// How many of the clips' epochs an identity opens.
    private static func opened(_ vault: Vault, _ clips: [ClipRecord], by identity: AgeIdentity) -> Int {
        let authority = KeyAuthority(identity: identity)
        return clips.count { clip in
            guard let epoch = try? vault.epochIdentity(clip.identity.epoch, authority) else { return false }
            return !epoch.recipient.point.isEmpty
        }
    }

    @Test func `a new recipient opens every day, a removed one nothing new, and the ledger tells of both`() async throws
    {
        let (temporary, old) = try await Self.filled()
        let vault = try await temporary.open()
        let anna = try AgeIdentity.random()
        let owner = try await Self.owner(vault)
        try await vault.addRecipient(anna.recipient, owner)
        #expect(try await vault.recipients().staleEpochs == 4)
        #expect(Self.opened(vault, old, by: anna) == 0)
        let seen = Mutex<[RewrapProgress]>([])
        let report = try await vault.rewrap(owner) { step in seen.withLock { $0.append(step) } }
        #expect(report.rewrapped == 4 && report.failures.isEmpty && report.remaining == 0)
        #expect(seen.withLock { $0.last } == RewrapProgress(done: 4, total: 4))
        #expect(Self.opened(vault, old, by: anna) == 4)
        // Today's epoch was made before; one of tomorrow is sealed to her at once.
        var start = temporary.time.wallNow()
        let first = try await RecordingTests.record(vault, patternBytes(70_000), at: start, camera: Self.cameras[0])
        #expect(Self.opened(vault, [first], by: anna) == 1)
        // The identity alone, with stock age: a recipient needs nothing of ours.
        try temporary.folder.write(
            try unsafe anna.text().withBytes { (bytes) throws(VaultError) in unsafe Array(bytes) }, to: "anna.txt")
        let key = try outputOfProgram(
            "age",
            ["-d", "-i", temporary.folder.path + "/anna.txt", Layout(temporary.path).epoch(first.identity.epoch)])
        try temporary.folder.write(key, to: "epoch.txt")
        let plain = try outputOfProgram(
            "age", ["-d", "-i", temporary.folder.path + "/epoch.txt", Layout(temporary.path).object(first.object)])
        #expect(plain == patternBytes(70_000))

        try await vault.removeRecipient(anna.recipient, isForced: false, owner)
        // What comes next has another key, though the day is the same and her copy of its first one may be anywhere.
        start = start + 60_000_000
        let second = try await RecordingTests.record(vault, patternBytes(10), at: start, camera: Self.cameras[0])
        #expect(second.identity.epoch != first.identity.epoch)
        #expect(Self.opened(vault, [second], by: anna) == 0)
        #expect(try await vault.rewrap(owner).remaining == 0)
        #expect(Self.opened(vault, old + [first, second], by: anna) == 0)
        #expect(Self.opened(vault, old + [first, second], by: owner.identity) == 6)
        await #expect(throws: VaultError(.keys, "")) {
            _ = try await vault.authorise(identity: try anna.text())
        }
        #expect(try await vault.verify().findings == [])
        let log = try await vault.keyLog(limit: 10).map { "\($0.kind)" }
        #expect(log.count == 4 && log[0].contains("add") && log[1].contains("4") && log[3].contains("5"))
        await vault.close()

        // The same day goes on under the new key after a restart, also with an index made anew from the ledger.
        let before = try await temporary.open(.read).index.dump()
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: temporary.path + "/index.sqlite" + suffix)
        }
        #expect(try await temporary.open(.read).index.dump() == before)
        let again = try await temporary.open()
        #expect(again.openingAlarms.count == 1)
        let third = try await RecordingTests.record(
            again, patternBytes(10), at: start + 60_000_000, camera: Self.cameras[0])
        #expect(third.identity.epoch == second.identity.epoch)
        #expect(try await again.verify().findings == [])
        await again.close()
    }

    @Test func `what would lock the owner out is refused`() async throws {
        let (temporary, _) = try await Self.filled()
        let vault = try await temporary.open()
        let owner = try await Self.owner(vault)
        let recovery = try await vault.authorise(identity: temporary.creation.recoveryIdentity)
        await #expect(throws: VaultError(.invalid, "")) {
            try await vault.removeRecipient(owner.recipient, isForced: true, recovery)
        }
        await #expect(throws: VaultError(.invalid, "")) {
            try await vault.removeRecipient(recovery.recipient, isForced: false, owner)
        }
        await #expect(throws: VaultError(.exists, "")) { try await vault.addRecipient(owner.recipient, owner) }
        await #expect(throws: VaultError(.notFound, "")) {
            try await vault.removeRecipient(try AgeIdentity.random().recipient, isForced: true, owner)
        }
        await #expect(throws: VaultError(.wrongPassphrase, "")) {
            _ = try await vault.authorise(passphrase: SecretBytes(text: "guessed"))
        }
        await #expect(throws: VaultError(.wrongPassphrase, "")) {
            try await vault.changePassphrase(
                from: SecretBytes(text: "guessed"), to: SecretBytes(text: "x"), scryptWorkFactor: 4)
        }
        // A point of low order, to which nothing can be sealed, is told at once and not at the next midnight.
        let zero = try #require(AgeRecipient(point: [UInt8](repeating: 0, count: 32)))
        await #expect(throws: VaultError(.invalid, "")) { try await vault.addRecipient(zero, owner) }
        #expect(try await vault.recipients().recipients.map(\.role) == [.owner, .recovery])
        try await vault.removeRecipient(recovery.recipient, isForced: true, owner)
        #expect(try await vault.recipients().recipients.map(\.role) == [.owner])
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    /// Runs `change` on copies of a vault, each cut one file operation later, until one goes through; every cut is reopened.
    private static func cutEverywhere(
        _ original: TemporaryVault, atLeast: Int, _ change: (Vault) async throws -> Void,
        check: (Vault, _ cut: Int, _ isWhole: Bool) async throws -> Void
    ) async throws {
        var cut = 0
        while true {
            let temporary = try original.copy()
            var isWhole = false
            let files = FailingFileSystem(PosixFileSystem(), failures: .all, after: cut, with: .io)
            if let vault = try? await temporary.open(files: files) {
                do {
                    try await change(vault)
                    isWhole = true
                } catch {
                    #expect(files.hasFailed, "cut at \(cut): \(error)")
                }
                await vault.close()
            }
            // As it lies there, before anybody mends it: at most a file too many, named as what it is.
            let reader = try await temporary.open(.read)
            let found = try await reader.verify().findings
            #expect(
                found.allSatisfy { $0.kind == .extra && $0.detail.contains("interrupted re-wrapping") },
                "cut at \(cut), unmended: \(found)")
            await reader.close()
            let vault = try await temporary.open()
            #expect(try await vault.verify().findings == [], "cut at \(cut)")
            let leftovers = try temporary.folder.everyFile().filter { $0.hasSuffix(".new") || $0.hasSuffix(".tmp") }
            #expect(leftovers == [], "cut at \(cut)")
            try await check(vault, cut, isWhole)
            #expect(try await vault.verify().findings == [], "cut at \(cut), finished")
            await vault.close()
            if isWhole { break }
            cut += 1
        }
        #expect(cut >= atLeast)
    }

    @Test func `V34: re-wrapping cut at any file operation loses no key and goes on where it was`() async throws {
        let (original, clips) = try await Self.filled()
        let anna = try AgeIdentity.random()
        let partial = Mutex(Set<Int>())
        try await Self.cutEverywhere(original, atLeast: 30) { vault in
            let owner = try await Self.owner(vault)
            try await vault.addRecipient(anna.recipient, owner)
            _ = try await vault.rewrap(owner)
        } check: { vault, cut, isWhole in
            let owner = try await Self.owner(vault)
            #expect(Self.opened(vault, clips, by: owner.identity) == 4, "cut at \(cut)")
            let stale = try await vault.staleEpochs()
            let isAdded = try await vault.recipients().recipients.contains { $0.recipient == anna.recipient }
            #expect(Self.opened(vault, clips, by: anna) == (isAdded ? 4 - stale : 0), "cut at \(cut)")
            if isAdded { partial.withLock { _ = $0.insert(stale) } }
            #expect(!isWhole || isAdded && stale == 0)
            if isAdded {
                #expect(try await vault.rewrap(owner).remaining == 0)
                #expect(Self.opened(vault, clips, by: anna) == 4, "cut at \(cut)")
            }
            #expect(Self.opened(vault, clips, by: owner.identity) == 4, "cut at \(cut)")
        }
        #expect(partial.withLock { $0.isSuperset(of: [0, 4]) })
    }

    @Test func `V34: recovery cut at any file operation leaves the recovery identity able to finish it`() async throws {
        let (original, clips) = try await Self.filled()
        let recoveryText = original.creation.recoveryIdentity.revealed()
        let kept = try AgeIdentity(text: SecretBytes(text: recoveryText))
        func authority(_ vault: Vault) async throws -> KeyAuthority {
            try await vault.authorise(identity: SecretBytes(text: recoveryText))
        }
        try await Self.cutEverywhere(original, atLeast: 30) { vault in
            let recovery = try await authority(vault)
            try await vault.replaceOwner(
                passphrase: SecretBytes(text: Self.newPassphrase), recovery: nil, isRecovery: true, recovery,
                scryptWorkFactor: 4)
            _ = try await vault.rewrap(recovery)
        } check: { vault, cut, isWhole in
            #expect(Self.opened(vault, clips, by: kept) == 4, "cut at \(cut)")
            // One passphrase opens the vault, never none and never both.
            let new = try? await vault.authorise(passphrase: SecretBytes(text: Self.newPassphrase))
            let old = try? await Self.owner(vault)
            #expect((new == nil) != (old == nil), "cut at \(cut)")
            #expect(!isWhole || new != nil)
            guard let new else { return }
            let recovery = try await authority(vault)
            #expect(try await vault.rewrap(recovery).remaining == 0)
            #expect(Self.opened(vault, clips, by: new.identity) == 4, "cut at \(cut)")
        }
    }

    @Test func `a passphrase changed and cut anywhere: the old one or the new one opens`() async throws {
        let (original, clips) = try await Self.filled()
        try await Self.cutEverywhere(original, atLeast: 4) { vault in
            try await vault.changePassphrase(
                from: SecretBytes(text: TemporaryVault.passphrase), to: SecretBytes(text: Self.newPassphrase),
                scryptWorkFactor: 4)
        } check: { vault, cut, isWhole in
            let new = try? await vault.authorise(passphrase: SecretBytes(text: Self.newPassphrase))
            let old = try? await Self.owner(vault)
            #expect((new == nil) != (old == nil), "cut at \(cut)")
            #expect(!isWhole || new != nil)
            let opens = try #require(new ?? old)
            #expect(Self.opened(vault, clips, by: opens.identity) == 4)
        }
    }

    @Test func `a new recovery identity takes the old one's place, and the old one can still finish`() async throws {
        let (temporary, clips) = try await Self.filled()
        let vault = try await temporary.open()
        let text = temporary.creation.recoveryIdentity.revealed()
        let old = try AgeIdentity(text: SecretBytes(text: text))
        let new = try AgeIdentity.random()
        try await vault.replaceOwner(
            passphrase: SecretBytes(text: Self.newPassphrase), recovery: new.recipient, isRecovery: true,
            try await vault.authorise(identity: SecretBytes(text: text)), scryptWorkFactor: 4)
        await vault.close()
        // Cut before the first epoch: the passphrase's identity opens none yet, and says so instead of losing any.
        let again = try await temporary.open()
        let owner = try await again.authorise(passphrase: SecretBytes(text: Self.newPassphrase))
        let report = try await again.rewrap(owner)
        #expect(report.rewrapped == 0 && report.failures.count == 4 && report.remaining == 4)
        await #expect(throws: VaultError(.keys, "")) {
            _ = try await again.authorise(identity: SecretBytes(text: text))
        }
        let former = try await again.authorise(identity: SecretBytes(text: text), mayBeFormer: true)
        #expect(try await again.rewrap(former).remaining == 0)
        #expect(Self.opened(again, clips, by: new) == 4)
        #expect(Self.opened(again, clips, by: owner.identity) == 4)
        #expect(Self.opened(again, clips, by: old) == 0)
        #expect(try await again.recipients().recipients.map(\.role) == [.owner, .recovery])
        #expect(try await again.verify().findings == [])
        await again.close()
    }

    @Test func `a shredded day does not come back with a re-wrapping, however both are interleaved or cut`()
        async throws
    {
        let (original, clips) = try await Self.filled()
        let doomed = clips[0]
        let day = doomed.start.utcDay
        // At once: whichever comes first.
        for _ in 0..<5 {
            let temporary = try original.copy()
            let vault = try await temporary.open()
            let owner = try await Self.owner(vault)
            try await vault.addRecipient(try AgeIdentity.random().recipient, owner)
            async let rewrapped = vault.rewrap(owner)
            async let shredded = vault.shred(camera: doomed.camera, day: day)
            #expect(try await shredded.epochs == [doomed.identity.epoch])
            #expect(try await rewrapped.remaining == 0)
            #expect(Self.opened(vault, [doomed], by: owner.identity) == 0)
            #expect(try await vault.verify().findings == [])
            await vault.close()
        }
        // Shredded while `.new` waits: what a cut between the ledger's entry and the rename left.
        let temporary = try original.copy()
        var vault = try await temporary.open()
        let sealed = try vault.files.contents(vault.layout.epoch(doomed.identity.epoch))
        _ = try await vault.shred(camera: doomed.camera, day: day)
        try vault.files.replace(vault.layout.epoch(doomed.identity.epoch) + ".new", with: sealed)
        await vault.close()
        vault = try await temporary.open()
        let leftovers = try temporary.folder.everyFile().filter { $0.contains("\(doomed.identity.epoch)") }
        #expect(leftovers == [])
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test func `an error in between, and the vault goes on: the next order finishes or takes back what it left`()
        async throws
    {
        let (original, clips) = try await Self.filled()
        // Only what comes after opening the vault shall fail.
        let counting = FailingFileSystem(PosixFileSystem(), failures: .one, after: .max - 1, with: .io)
        await (try await original.copy().open(files: counting)).close()
        let opening = counting.calls
        var failed = 0
        for call in stride(from: 0, to: 100, by: 2) {
            let temporary = try original.copy()
            let files = FailingFileSystem(PosixFileSystem(), failures: .one, after: opening + call, with: .io)
            let vault = try await temporary.open(files: files)
            let owner = try await Self.owner(vault)
            let anna = try AgeIdentity.random()
            do {
                try await vault.addRecipient(anna.recipient, owner)
                _ = try await vault.rewrap(owner)
            } catch {
                #expect(files.hasFailed, "call \(call): \(error)")
            }
            // Behind the last call: nothing was left to fail.
            guard files.hasFailed else {
                await vault.close()
                break
            }
            failed += 1
            files.heal()
            // Recording met it too, and knows by now who is sealed to.
            let next = try await RecordingTests.record(
                vault, [1], at: temporary.time.wallNow(), camera: .random())
            if try await !vault.recipients().recipients.contains(where: { $0.recipient == anna.recipient }) {
                #expect(Self.opened(vault, [next], by: anna) == 0)
                try await vault.addRecipient(anna.recipient, owner)
            } else {
                #expect(Self.opened(vault, [next], by: anna) == 1, "call \(call)")
            }
            #expect(try await vault.rewrap(owner).remaining == 0, "call \(call)")
            #expect(Self.opened(vault, clips + [next], by: anna) == 5, "call \(call)")
            #expect(Self.opened(vault, clips + [next], by: owner.identity) == 5)
            let found = try await vault.verify().findings
            #expect(found == [], "call \(call): \(found)")
            await vault.close()
        }
        #expect(failed > 15)
    }

    @Test func `verify beside a process that re-wraps all the time finds nothing`() async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        for _ in 0..<40 {
            _ = try await RecordingTests.record(vault, [1], at: temporary.time.wallNow(), camera: .random())
        }
        let owner = try await Self.owner(vault)
        let verified = try await VerificationBesideWriterTests.verifying(temporary) {
            for _ in 0..<6 {
                let guest = try AgeIdentity.random()
                try await vault.addRecipient(guest.recipient, owner)
                _ = try await vault.rewrap(owner)
                try await vault.removeRecipient(guest.recipient, isForced: false, owner)
                _ = try await vault.rewrap(owner)
            }
        }
        #expect(verified >= 3)
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test(arguments: [1, 2, 3])
    func `a reader opens beside a change of recipients that is finished between its looking and its reading`(
        opening: Int
    ) async throws {
        let (temporary, _) = try await Self.filled()
        let vault = try await temporary.open()
        let path = vault.layout.vaultFile
        let before = try vault.files.contents(path)
        try await vault.addRecipient(try AgeIdentity.random().recipient, try await Self.owner(vault))
        await vault.close()
        // In the ledger, and not renamed yet.
        let new = try PosixFileSystem().contents(path)
        try PosixFileSystem().rename(path, to: path + ".new")
        try PosixFileSystem().replace(path, with: before)

        let openings = Atomic(0)
        let files = GatedFileSystem(beforeReading: { name in
            guard name == path + ".new", openings.add(1, ordering: .relaxed).newValue == opening else { return }
            try? PosixFileSystem().rename(name, to: path)
        })
        let reader = try await temporary.open(.read, files: files)
        #expect(openings.load(ordering: .relaxed) > 0)
        #expect(reader.file.encoded == new)
        #expect(try await reader.verify().findings == [])
        await reader.close()
    }

    @Test func `recording beside changes of the recipients: each new epoch is sealed to those of its moment`()
        async throws
    {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        let owner = try await Self.owner(vault)
        let start = temporary.time.wallNow()
        async let recorded: [ClipRecord] = {
            var clips: [ClipRecord] = []
            for _ in 0..<60 {
                clips.append(try await RecordingTests.record(vault, [1], at: start, camera: .random()))
            }
            return clips
        }()
        var added: [AgeIdentity] = []
        for _ in 0..<6 {
            let identity = try AgeIdentity.random()
            try await vault.addRecipient(identity.recipient, owner)
            added.append(identity)
            _ = try await vault.rewrap(owner)
        }
        let clips = try await recorded
        #expect(try await vault.rewrap(owner).remaining == 0)
        for identity in added { #expect(Self.opened(vault, clips, by: identity) == clips.count) }
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test func `vault.json changed by another hand: told at the start, found by verify, and no day is sealed to it`()
        async throws
    {
        let (temporary, clips) = try await Self.filled()
        var vault = try await temporary.open()
        try await vault.addRecipient(try AgeIdentity.random().recipient, try await Self.owner(vault))
        await vault.close()
        let thief = try AgeIdentity.random()
        var file = try VaultFile(parsing: try temporary.folder.contents("vault/vault.json"), path: "vault.json")
        file.recipients.append(thief.recipient)
        try temporary.folder.write(file.encoded, to: "vault/vault.json")
        let reader = try await temporary.open(.read)
        #expect(try await reader.verify().findings.map(\.subject) == [.vaultFile])
        await reader.close()
        vault = try await temporary.open()
        #expect(vault.openingAlarms.contains { $0.contains("vault.json") })
        let owner = try await Self.owner(vault)
        await #expect(throws: VaultError(.damaged, "")) { _ = try await vault.rewrap(owner) }
        #expect(Self.opened(vault, clips, by: thief) == 0)
        #expect(try await vault.verify().findings.map(\.kind) == [.forged])
        await vault.close()
    }

    @Test func `a damaged epoch file is left as it is, reported, and keeps no other from being re-wrapped`()
        async throws
    {
        let (temporary, clips) = try await Self.filled()
        let vault = try await temporary.open()
        let owner = try await Self.owner(vault)
        let name = "vault/epochs/\(clips[2].identity.epoch).age"
        var bad = try temporary.folder.contents(name)
        bad[bad.count - 1] ^= 1
        try temporary.folder.write(bad, to: name)
        try await vault.addRecipient(try AgeIdentity.random().recipient, owner)
        let report = try await vault.rewrap(owner)
        #expect(report.rewrapped == 3 && report.failures.map(\.epoch) == [clips[2].identity.epoch])
        #expect(report.remaining == 1)
        #expect(try temporary.folder.contents(name) == bad)
        #expect(try await vault.verify().findings.map(\.subject) == [.epoch(clips[2].identity.epoch)])
        await vault.close()
    }

    @Test func `stock age opens a shared clip with the recipient's own key, a salvaged one to its end too`()
        async throws
    {
        let temporary = try await TemporaryVault()
        var vault = try await temporary.open()
        let start = temporary.time.wallNow()
        let bytes = patternBytes(200_000)
        let whole = try await RecordingTests.record(vault, bytes, at: start)
        let writer = try await vault.beginClip(camera: Self.cameras[0], run: .random(), start: start)
        try await writer.append(bytes)
        await vault.syncOpenClips()
        await vault.close()
        vault = try await temporary.open()
        let salvaged = try #require(try await vault.clip(at: start, camera: Self.cameras[0]))
        #expect(salvaged.isSalvaged)

        let guest = try AgeIdentity.random()
        try temporary.folder.write(Array(try guest.text().revealed().utf8), to: "guest.txt")
        let owner = try await Self.owner(vault)
        for (clip, wanted) in [(whole, bytes), (salvaged, Array(bytes.prefix(3 * 65_536)))] {
            let named = try await vault.clip(named: String(clip.object.description.prefix(8)))
            #expect(named == clip)
            let shared = try await vault.share(named.object, to: guest.recipient, owner)
            let object = try temporary.folder.contents(Layout("vault").object(clip.object))
            let payload = object[shared.payloadOffset..<shared.payloadOffset + shared.copied]
            try temporary.folder.write(shared.header + payload + shared.ending, to: "shared.age")
            let path = temporary.folder.path
            #expect(try outputOfProgram("age", ["-d", "-i", path + "/guest.txt", path + "/shared.age"]) == wanted)
            // The clip's own words about itself go with it, authenticated; the object is what it was.
            #expect(ClipStanza.decode(try AgeHeader(parsing: shared.header)) == clip.identity)
            #expect(ObjectID(digest: Digest.sha256(object)) == clip.object)
            #expect(object.count == shared.payloadOffset + shared.copied + shared.ending.count)
        }
        await #expect(throws: VaultError(.notFound, "")) { _ = try await vault.clip(named: "00000000") }
        await #expect(throws: VaultError(.invalid, "")) { _ = try await vault.clip(named: "0000000") }
        await #expect(throws: VaultError(.invalid, "")) { _ = try await vault.clip(named: "0000000g") }
        #expect(try await vault.keyLog(limit: 9).count == 2)
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }

    @Test func `an exported day opens with stock age by who it was meant for, that camera and day alone`() async throws
    {
        let (temporary, clips) = try await Self.filled()
        let vault = try await temporary.open()
        let guest = try AgeIdentity.random()
        let path = temporary.folder.path
        try temporary.folder.write(Array(try guest.text().revealed().utf8), to: "guest.txt")
        let owner = try await Self.owner(vault)
        let export = try await vault.exportEpochs(
            camera: clips[0].camera, day: clips[0].start.utcDay, to: guest.recipient, isPlain: false, owner)
        #expect(export.clips == [clips[0]])
        try temporary.folder.write(export.sealedIdentity, to: "day.age")
        try temporary.folder.write(
            try outputOfProgram("age", ["-d", "-i", path + "/guest.txt", path + "/day.age"]), to: "day.txt")
        for (place, clip) in clips.enumerated() {
            let plain = try outputOfProgram(
                "age", ["-d", "-i", path + "/day.txt", Layout(temporary.path).object(clip.object)])
            #expect(plain == (place == 0 ? patternBytes(100) : []))
        }
        let log = try await vault.keyLog(limit: 9).map { "\($0.kind)" }
        #expect(log.count == 1 && log[0].contains(guest.recipient.description))
        await #expect(throws: VaultError(.notFound, "")) {
            _ = try await vault.exportEpochs(
                camera: clips[0].camera, day: 1, to: guest.recipient, isPlain: false, owner)
        }
        #expect(try await vault.verify().findings == [])
        await vault.close()
    }
}
