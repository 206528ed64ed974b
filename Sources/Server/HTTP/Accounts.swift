import Core
import Foundation
import Synchronization

/// Who is logged in: knowing the vault's passphrase is the login. Sessions live in memory only; locking ends them all.
final class Accounts: Sendable {
    struct Session: Sendable {
        var lastSeen: MonotonicTime
    }

    private struct State {
        var sessions: [String: Session] = [:]
        /// Failed attempts an address, with the time of the last.
        var failures: [String: (count: Int, last: MonotonicTime)] = [:]
        var globalFailures: (count: Int, windowStart: MonotonicTime)?
        /// The right passphrase was given last; on the command line that makes no session, and is use all the same.
        var lastSuccess: MonotonicTime?
        /// µs; nil: never.
        var idleLimit: Int64?
    }

    private let state = Mutex(State())
    private let time: any TimeSource

    /// Attempts an address may make before it has to wait; then the wait doubles up to five minutes.
    static let freeAttempts = 5
    /// Failed attempts of all addresses together in a minute.
    static let globalLimit = 60

    init(time: any TimeSource, idleMinutes: Int) {
        self.time = time
        setIdle(minutes: idleMinutes)
    }

    /// - Parameter minutes: 0: never.
    func setIdle(minutes: Int) {
        state.withLock { $0.idleLimit = minutes > 0 ? Int64(minutes) * 60_000_000 : nil }
    }

    /// Seconds to wait before another attempt is allowed; nil: go ahead. An attempt counts as failed from its beginning until
    /// `succeeded`: many at once are not judged by what was known before any of them ended.
    func attempt(address: String) -> Int? {
        let now = time.monotonicNow()
        return state.withLock { state in
            if let global = state.globalFailures, now - global.windowStart < 60_000_000,
                global.count >= Self.globalLimit
            {
                return 60
            }
            let before = state.failures[address]
            if let before, before.count >= Self.freeAttempts {
                let wait = min(300, 1 << min(before.count - Self.freeAttempts, 9))
                let left = Int64(wait) * 1_000_000 - (now - before.last)
                if left > 0 { return Int((left + 999_999) / 1_000_000) }
            }
            state.failures[address] = ((before?.count ?? 0) + 1, now)
            if let global = state.globalFailures, now - global.windowStart < 60_000_000 {
                state.globalFailures = (global.count + 1, global.windowStart)
            } else {
                state.globalFailures = (1, now)
            }
            // An attacker with many addresses must not fill memory.
            if state.failures.count > 10_000 {
                state.failures = state.failures.filter { now - $0.value.last < 600_000_000 }
            }
            return nil
        }
    }

    /// The wait begins when the answer is given.
    func failed(address: String) {
        let now = time.monotonicNow()
        state.withLock { $0.failures[address]?.last = now }
    }

    /// The right passphrase: nothing is held against the address any more.
    func succeeded(address: String) {
        let now = time.monotonicNow()
        state.withLock { state in
            state.lastSuccess = now
            state.failures[address] = nil
            if let global = state.globalFailures { state.globalFailures?.count = max(0, global.count - 1) }
        }
    }

    /// A new session's token: 256 random bits.
    func logIn() -> String {
        var generator = SystemRandomNumberGenerator()
        let token = Hex.encode((0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) })
        let now = time.monotonicNow()
        state.withLock { $0.sessions[token] = Session(lastSeen: now) }
        return token
    }

    /// Whether the token belongs to a session that was not idle for too long; counts as activity.
    func isValid(_ token: String) -> Bool {
        let now = time.monotonicNow()
        return state.withLock { state in
            guard let session = state.sessions[token] else { return false }
            if let idleLimit = state.idleLimit, now - session.lastSeen > idleLimit {
                state.sessions[token] = nil
                return false
            }
            state.sessions[token]?.lastSeen = now
            return true
        }
    }

    func logOutAll() { state.withLock { $0.sessions = [:] } }

    /// True once every session, and the last unlocking, lie beyond the idle limit: time to lock the vault.
    func allIdle() -> Bool {
        let now = time.monotonicNow()
        return state.withLock { state in
            guard let idleLimit = state.idleLimit else { return false }
            return state.sessions.values.allSatisfy { now - $0.lastSeen > idleLimit }
                && state.lastSuccess.map { now - $0 > idleLimit } ?? true
        }
    }
}
