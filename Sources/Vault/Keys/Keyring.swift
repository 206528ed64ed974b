import Core
import Synchronization

/// Something that holds keys or plaintext of closed clips; `wipe` takes both away at once.
protocol Wipeable: AnyObject, Sendable {
    func wipe()
}

/// The owner's identity and the epochs opened with it, in locked memory, until `lock`.
final class Keyring: Sendable {
    private struct Held {
        weak var value: (any Wipeable)?
    }
    private struct Cached {
        var identity: AgeIdentity
        var lastUse: UInt64
    }
    private struct State {
        var owner: AgeIdentity?
        var epochs: [EpochID: Cached] = [:]
        /// Counts uses, so that the one that was used longest ago can be told.
        var uses: UInt64 = 0
        var held: [Held] = []
    }
    private let state = Mutex(State())
    /// Enough for eight cameras and four months. Each takes a page of locked memory between two that nobody may touch: 4 MiB of
    /// the 8 that Debian lets a process lock, and nothing before somebody looks at so many days.
    private let epochLimit: Int

    init(epochLimit: Int = 1024) { self.epochLimit = epochLimit }

    var isUnlocked: Bool { state.withLock { $0.owner != nil } }

    func unlock(_ owner: AgeIdentity) { state.withLock { $0.owner = owner } }

    func lock() {
        let held = state.withLock { state in
            state.owner?.secret.wipe()
            for epoch in state.epochs.values { epoch.identity.secret.wipe() }
            defer { state = State() }
            return state.held.compactMap(\.value)
        }
        for value in held { value.wipe() }
    }

    /// `value` is wiped at the next `lock`. Errors: `.locked` when that has come already.
    func hold(_ value: any Wipeable) throws(VaultError) {
        let isHeld = state.withLock { state in
            guard state.owner != nil else { return false }
            if state.held.count % 64 == 63 { state.held.removeAll { $0.value == nil } }
            state.held.append(Held(value: value))
            return true
        }
        guard isHeld else {
            value.wipe()
            throw Self.locked
        }
    }

    /// The identity of an epoch: cached, or opened with the owner's from what `file` reads.
    func epoch(_ id: EpochID, file: () throws(VaultError) -> [UInt8]) throws(VaultError) -> AgeIdentity {
        let (owner, cached) = state.withLock { state in
            state.uses += 1
            state.epochs[id]?.lastUse = state.uses
            return (state.owner, state.epochs[id]?.identity)
        }
        guard let owner else { throw Self.locked }
        if let cached { return cached }
        let text = try AgeFile.openSecret(try file()) { (header) throws(VaultError) in
            try AgeWrapping.unwrap(header, identities: [owner])
        }
        let identity = try AgeIdentity(text: text)
        text.wipe()
        state.withLock { state in
            guard state.owner != nil else { return identity.secret.wipe() }
            if state.epochs.count >= epochLimit,
                let oldest = state.epochs.min(by: { $0.value.lastUse < $1.value.lastUse })?.key
            {
                state.epochs[oldest] = nil
            }
            state.epochs[id] = Cached(identity: identity, lastUse: state.uses)
        }
        return identity
    }

    /// Errors: `.locked`.
    func owner() throws(VaultError) -> AgeIdentity {
        guard let owner = state.withLock({ $0.owner }) else { throw Self.locked }
        return owner
    }

    /// Its key is destroyed: nothing opens with a copy of ours.
    func forget(_ id: EpochID) {
        state.withLock { state in
            state.epochs[id]?.identity.secret.wipe()
            state.epochs[id] = nil
        }
    }

    static var locked: VaultError {
        VaultError(.locked, "The vault is locked.", hint: "Unlock it with the passphrase.")
    }
}
