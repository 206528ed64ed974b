import Core
import Foundation
import TestKit
import Testing

@testable import Server

@Suite struct ConfigurationTests {
    @Test func `every error comes at once with its line`() {
        let text = """
            valt: ./x
            listen: nowhere
            clip-seconds: 1
            media-port: many
            cameras:
              hall:
                source: "http://x"
              door:
                nam: Door
              yard:
                source: "test:"
                sound: maybe
            """
        guard case .failure(let failure) = ConfigurationReader.parse(text, folder: "/srv") else {
            Issue.record("it was accepted")
            return
        }
        let lines = failure.problems.map(\.line)
        #expect(lines == [0, 1, 2, 3, 4, 7, 9, 9, 12])
        #expect(failure.problems[1].message.contains("`vault`?"))
    }

    @Test func `a file that cannot be read is named, with the reason and what to do`() throws {
        let folder = try TemporaryFolder()
        try Data([0xFF, 0xFE, 0x80]).write(to: URL(fileURLWithPath: folder.path + "/binary.yaml"))
        for (name, reason) in [
            ("missing.yaml", "(No such file or directory)"), (".", "(Is a directory)"),
            ("binary.yaml", "(The file isn’t in the correct format.)"),
        ] {
            let path = folder.path + "/" + name
            let error = #expect(throws: ServerError.self) { try ConfigurationReader.read(path) }
            #expect(
                error.map { "\($0)" } == """
                    \(path) cannot be read. \(reason) Write one with `sudocam init`, or say where it is with --config.
                    """)
        }
    }

    @Test func `a whole file`() throws {
        let text = """
            vault: ./vault
            listen: "[::1]:8000"
            cameras:
              hall: { name: Hall, source: "rtsp://u:p@192.0.2.7/s" }
              test: { source: "test:", sound: false }
            """
        let configuration = try ConfigurationReader.parse(text, folder: "/srv").get()
        #expect(configuration.vault == "/srv/vault")
        #expect(configuration.listen == Configuration.Listen(host: "::1", port: 8000))
        #expect(configuration.cameras.map(\.name) == ["Hall", "test"])
        #expect(configuration.cameras.map(\.sound) == [true, false])
    }

    @Test func `a scrub has a period and a rate, or never comes`() throws {
        func scrub(_ text: String) throws -> Configuration.Scrub {
            try ConfigurationReader.parse("vault: v\nscrub: \(text)", folder: "/").get().scrub
        }
        #expect(try scrub("{ every: 1w, rate: 2MB }") == Configuration.Scrub(every: 604_800_000_000, rate: 2_000_000))
        #expect(try scrub("{ every: never }").every == nil)
        for wrong in ["30d", "{ every: 5 }", "{ every: 5m }", "{ rate: 1 }", "{ evry: 30d }"] {
            #expect(throws: ConfigurationReader.Problems.self) { try scrub(wrong) }
        }
    }

    @Test(arguments: ["", "- a", "vault", "vault: [", "\u{0}", "cameras: {a: {source: 1}}", "vault: v\nvault: w"])
    func `what is no configuration is refused`(text: String) {
        guard case .failure = ConfigurationReader.parse(text, folder: "/") else {
            Issue.record("it was accepted")
            return
        }
    }

    @Test func `S10: a camera keeps its UUID when its name changes`() {
        let vault = VaultIDs.one
        #expect(RecordingService.identity(of: "hall", in: vault) == RecordingService.identity(of: "hall", in: vault))
        #expect(RecordingService.identity(of: "hall", in: vault) != RecordingService.identity(of: "door", in: vault))
        #expect(
            RecordingService.identity(of: "hall", in: vault) != RecordingService.identity(of: "hall", in: VaultIDs.two))
    }
}

enum VaultIDs {
    static let one = VaultID(Core.UUID(high: 1, low: 2))
    static let two = VaultID(Core.UUID(high: 3, low: 4))
}

@Suite struct AccountsTests {
    @Test func `wrong passphrases make an address wait, longer each time`() {
        let time = ManualTime()
        let accounts = Accounts(time: time, idleMinutes: 30)
        for _ in 0..<5 {
            #expect(accounts.attempt(address: "a") == nil)
            accounts.failed(address: "a")
        }
        #expect(accounts.attempt(address: "a") == 1)
        #expect(accounts.attempt(address: "b") == nil)
        time.advance(microseconds: 1_000_000)
        #expect(accounts.attempt(address: "a") == nil)
        time.advance(microseconds: 1_000_000)
        accounts.failed(address: "a")
        #expect(accounts.attempt(address: "a") == 2)
    }

    @Test func `unlocking without a session, as the command line does, is use: it lasts as long as any`() {
        let time = ManualTime()
        let accounts = Accounts(time: time, idleMinutes: 30)
        #expect(accounts.allIdle())
        accounts.succeeded(address: "control")
        time.advance(microseconds: 29 * 60_000_000)
        #expect(!accounts.allIdle())
        time.advance(microseconds: 2 * 60_000_000)
        #expect(accounts.allIdle())
    }

    @Test func `another idle limit holds for sessions that are open already`() {
        let time = ManualTime()
        let accounts = Accounts(time: time, idleMinutes: 30)
        let token = accounts.logIn()
        time.advance(microseconds: 6 * 60_000_000)
        accounts.setIdle(minutes: 5)
        #expect(accounts.allIdle() && !accounts.isValid(token))
        let other = accounts.logIn()
        accounts.setIdle(minutes: 0)
        time.advance(microseconds: 1000 * 60_000_000)
        #expect(!accounts.allIdle() && accounts.isValid(other))
    }

    @Test func `many addresses together are limited too`() {
        let accounts = Accounts(time: ManualTime(), idleMinutes: 30)
        for index in 0..<60 { #expect(accounts.attempt(address: "\(index)") == nil) }
        #expect(accounts.attempt(address: "new") == 60)
    }

    @Test func `attempts at once are limited as attempts one after another are`() {
        let accounts = Accounts(time: ManualTime(), idleMinutes: 30)
        let allowed = (0..<20).filter { _ in accounts.attempt(address: "a") == nil }
        #expect(allowed.count == Accounts.freeAttempts)
        accounts.succeeded(address: "a")
        #expect(accounts.attempt(address: "a") == nil)
    }

    @Test func `a session ends when idle, and all end at once`() {
        let time = ManualTime()
        let accounts = Accounts(time: time, idleMinutes: 1)
        let token = accounts.logIn()
        time.advance(microseconds: 50_000_000)
        #expect(accounts.isValid(token))
        time.advance(microseconds: 61_000_000)
        #expect(!accounts.isValid(token))
        let other = accounts.logIn()
        accounts.logOutAll()
        #expect(!accounts.isValid(other))
        #expect(!accounts.isValid(""))
    }
}
