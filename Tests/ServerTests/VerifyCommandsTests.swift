import Core
import Foundation
import Synchronization
import TestKit
import Testing
import Vault

@testable import Server

@Suite(.serialized) struct VerifyCommandsTests {
    @Test func `a verification that is broken off is continued, and one that is over leaves no note`() async throws {
        let temporary = try await TemporaryVault()
        let notes = try TemporaryFolder()
        setenv("XDG_STATE_HOME", notes.path, 1)
        defer { unsetenv("XDG_STATE_HOME") }
        let vault = try await temporary.open()
        for index in 0..<40 {
            let writer = try await vault.beginClip(
                camera: .random(), run: .random(), start: temporary.time.wallNow() + Int64(index))
            try await writer.append(patternBytes(5000, seed: UInt64(index)))
            _ = try await writer.finish(end: temporary.time.wallNow() + 1_000_000)
        }
        await vault.close()
        let configuration = Configuration(vault: temporary.path)
        func verify(
            resumes: Bool, progress: @escaping @Sendable (VerificationProgress) -> Void = { _ in }
        ) async throws -> VerifyCommands.Verified {
            try await VerifyCommands.verify(
                configuration, VerifyCommands.Options(passphrase: nil, resumes: resumes, isQuick: false),
                progress: progress, time: temporary.time)
        }
        let work = Mutex<Task<VerifyCommands.Verified, any Error>?>(nil)
        let task = Task {
            try await verify(resumes: false) { progress in
                if progress.objectsDone == 20 { work.withLock { $0?.cancel() } }
            }
        }
        work.withLock { $0 = task }
        await #expect(throws: VaultError(.closed, "")) { _ = try await task.value }
        #expect(try notes.everyFile().count == 1)
        let rest = try await verify(resumes: true)
        #expect(rest.clean && rest.resumed && rest.objects == 40)
        #expect(rest.bytes > 0 && rest.bytes < 40 * 5000)
        #expect(try notes.everyFile().isEmpty)
        let whole = try await verify(resumes: true)
        #expect(whole.clean && !whole.resumed && whole.bytes > 40 * 5000)
        #expect(try notes.everyFile().isEmpty)
    }
}
