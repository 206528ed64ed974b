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
    private struct State {
        var owner: AgeIdentity?
        var epochs: [EpochID: AgeIdentity] = [:]
        var held: [Held] = []
    }
    private let state = Mutex(State())
    /// Enough for eight cameras and a month; each takes three pages of locked memory.
    private static let epochLimit = 256

    var isUnlocked: Bool { state.withLock { $0.owner != nil } }

    func unlock(_ owner: AgeIdentity) { state.withLock { $0.owner = owner } }

    func lock() {
        let held = state.withLock { state in
            state.owner?.secret.wipe()
            for epoch in state.epochs.values { epoch.secret.wipe() }
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
        let (owner, cached) = state.withLock { ($0.owner, $0.epochs[id]) }
        guard let owner else { throw Self.locked }
        if let cached { return cached }
        let text = try AgeFile.openSecret(try file()) { (header) throws(VaultError) in
            try AgeWrapping.unwrap(header, identities: [owner])
        }
        let identity = try AgeIdentity(text: text)
        text.wipe()
        state.withLock { state in
            guard state.owner != nil else { return identity.secret.wipe() }
            if state.epochs.count >= Self.epochLimit, let old = state.epochs.keys.first { state.epochs[old] = nil }
            state.epochs[id] = identity
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
            state.epochs[id]?.secret.wipe()
            state.epochs[id] = nil
        }
    }

    static var locked: VaultError {
        VaultError(.locked, "The vault is locked.", hint: "Unlock it with the passphrase.")
    }
}
