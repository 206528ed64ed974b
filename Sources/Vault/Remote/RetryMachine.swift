/// How often and when a request to a remote is tried again. Pure: the chance is an argument.
struct RetryPolicy: Sendable, Hashable {
    var attempts = 6
    /// The longest wait before the second attempt; doubles with each further one.
    var firstMilliseconds: Int64 = 200
    var longestMilliseconds: Int64 = 30_000

    /// "Full jitter": anything from nothing to the limit, so that many recorders do not come back in step.
    func wait(after attempt: Int, chance: Double) -> Int64 {
        let doubled = firstMilliseconds << Int64(min(max(0, attempt - 1), 20))
        return Int64(Double(min(longestMilliseconds, doubled)) * min(1, max(0, chance)))
    }
}

/// What one attempt came to.
enum AttemptOutcome: Sendable {
    case done
    /// May go well later. `after`: what the server asked for (`Retry-After`).
    case transient(VaultError, after: Int64? = nil)
    /// The server finds our clock wrong; `offset` microseconds put it right.
    case skewed(offset: Int64, VaultError)
    case final(VaultError)
}

struct RetryMachine {
    enum Action {
        case done
        case retry(milliseconds: Int64)
        /// Sign anew with this offset, at once.
        case correct(offset: Int64)
        case fail(VaultError)
    }

    let policy: RetryPolicy
    private(set) var attempt = 0
    private var wasCorrected = false

    init(_ policy: RetryPolicy) { self.policy = policy }

    mutating func handle(_ outcome: AttemptOutcome, chance: Double) -> Action {
        attempt += 1
        switch outcome {
        case .done: return .done
        case .final(let error): return .fail(error)
        case .skewed(let offset, let error):
            // Once: a server whose own Date does not satisfy it never will be.
            guard !wasCorrected else { return .fail(error) }
            wasCorrected = true
            return .correct(offset: offset)
        case .transient(let error, let after):
            guard attempt < policy.attempts else { return .fail(error) }
            let own = policy.wait(after: attempt, chance: chance)
            return .retry(milliseconds: max(own, min(after ?? 0, policy.longestMilliseconds)))
        }
    }
}
