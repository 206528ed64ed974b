import Core
import Foundation
import TestKit
import Testing

@testable import Server
@testable import Vault

@Suite struct WitnessTests {
    @Test func `one place has one name, however its address is spelled`() throws {
        for (address, name) in [
            ("http://127.0.0.1:47831", "http://127.0.0.1:47831/"),
            ("HTTP://127.0.0.1:47831/", "http://127.0.0.1:47831/"),
            ("https://Recorder.Example:443/api?x=1#y", "https://recorder.example/"), ("http://host:80", "http://host/"),
            ("https://host:80/", "https://host:80/"),
            ("http://user@[2001:DB8::1]:8480/x", "http://[2001:db8::1]:8480/"),
        ] { #expect(try WitnessClient(address, fingerprint: nil).name == name) }
        for address in ["ftp://host/", "http:///", "http://"] {
            #expect(throws: ServerError(.configuration, "")) { _ = try WitnessClient(address, fingerprint: nil) }
        }
    }

    @Test func `what older versions kept under several spellings counts for one place and one vault`() throws {
        let folder = try TemporaryFolder()
        let (vault, other) = (VaultID.random(), VaultID.random())
        func pin(_ vault: VaultID, _ size: Int, _ seen: Int64) -> CheckpointPin {
            CheckpointPin(
                vault: vault, key: "k", size: size, root: "", since: WallTime(seconds: 0), seen: WallTime(seconds: seen)
            )
        }
        let path = folder.path + "/witness.json"
        for (name, pin) in [
            ("http://127.0.0.1:1", pin(vault, 5, 1)), ("http://127.0.0.1:1/", pin(vault, 9, 2)),
            ("http://localhost:1/", pin(vault, 20, 3)), ("/a/copy", pin(vault, 7, 4)), ("/b", pin(other, 90, 5)),
        ] { try PinStore(path: path, name: name).save(pin) }
        var pins = try WitnessPins(path: path)
        #expect(pins.last(at: "http://127.0.0.1:1/")?.size == 9)
        #expect(pins.newest(of: vault)?.pin.size == 20 && pins.newest(of: vault)?.place == "http://localhost:1/")
        #expect(pins.newest(of: .random()) == nil && pins.last(at: "/c") == nil)
        try pins.keep(pin(vault, 21, 6), at: "/c", isBeginning: false)
        #expect(try PinStore(path: path, name: "http://127.0.0.1:1").load()?.size == 5)
        #expect(try PinStore(path: path, name: "/c").load()?.size == 21)
        // A beginning leaves nothing that would be taken for what was seen later, and other vaults alone.
        try pins.keep(pin(vault, 3, 7), at: "http://127.0.0.1:1/", isBeginning: true)
        #expect(try WitnessPins(path: path).newest(of: vault)?.pin.size == 3)
        #expect(try WitnessPins(path: path).last(at: "/b")?.size == 90)
    }

    @Test func `a folder is known by its vault: an older copy and another vault are told, wherever they stand`()
        async throws
    {
        let (temporary, another) = (try await TemporaryVault(), try await TemporaryVault())
        let pins = temporary.folder.path + "/pins/witness.json"
        func look(
            _ path: String, key: String? = nil, accepts: Bool = false
        ) async throws -> WitnessCommands.Look {
            try await WitnessCommands.look(path, pins: pins, key: key, fingerprint: nil, accepts: accepts)
        }
        func grow(_ vault: TemporaryVault) async throws {
            let open = try await vault.open()
            let writer = try await open.beginClip(camera: .random(), run: .random(), start: vault.time.wallNow())
            try await writer.append(patternBytes(1000))
            _ = try await writer.finish(end: vault.time.wallNow() + 1_000_000)
            await open.close()
        }
        try await grow(temporary)
        let older = try temporary.copy()
        try await grow(temporary)
        let first = try await look(temporary.path)
        #expect(first.verdict == .first && first.text.contains("Compare the key"))
        let key = try #require(first.key)
        try await grow(temporary)
        let next = try await look(temporary.path + "/", key: key)
        #expect(next.verdict == .continues && next.sizeBefore == first.size && next.seenAt == nil)
        let told = try await look(older.path)
        #expect(told.verdict == .rollback && told.seenAt == temporary.path && told.sizeBefore == next.size)
        #expect(told.text.contains("at \(temporary.path)") && told.text.contains("older copy"))
        // A copy of now goes on from what was seen elsewhere.
        let copy = try temporary.copy()
        try await grow(copy)
        let ahead = try await look(copy.path)
        #expect(ahead.verdict == .continues && ahead.seenAt == temporary.path && ahead.sizeBefore == next.size)
        #expect(try await look(temporary.path).verdict == .rollback)
        // Another vault in its place, even one that is known from elsewhere.
        #expect(try await look(another.path).verdict == .first)
        try FileManager.default.removeItem(atPath: copy.path)
        try FileManager.default.copyItem(atPath: another.path, toPath: copy.path)
        #expect(try await look(copy.path).verdict == .otherVault)
        // A new beginning holds for every place where this vault was seen.
        #expect(try await look(older.path, accepts: true).verdict == .first)
        #expect(try await look(temporary.path).verdict == .continues)
        #expect(try await look(another.path).verdict == .continues)
    }

    @Test func `the sentences say what was compared with what`() async throws {
        let temporary = try await TemporaryVault()
        let pins = temporary.folder.path + "/witness.json"
        let wrong = try await WitnessCommands.look(
            temporary.path, pins: pins, key: "foo", fingerprint: nil, accepts: false)
        #expect(wrong.verdict == .key && wrong.text.hasSuffix("with another key than the one given."))
        #expect(!FileManager.default.fileExists(atPath: pins))
        let key = temporary.creation.ledgerKey
        let right = try await WitnessCommands.look(
            temporary.path, pins: pins, key: key, fingerprint: nil, accepts: false)
        #expect(right.verdict == .first && right.text.hasSuffix("signed with the key that was given."))
        func error(_ target: String, _ pins: String) async -> ServerError? {
            do {
                _ = try await WitnessCommands.look(target, pins: pins, key: nil, fingerprint: nil, accepts: false)
                return nil
            } catch { return error as? ServerError }
        }
        #expect(await error("127.0.0.1:47831", pins)?.hint == "Write http:// or https:// before an address.")
        let unwritable = await error(temporary.path, "/proc/witness.json")
        #expect(unwritable?.hint == "Choose another file with --pins.")
    }
}
