public import Core

/// One line of the log of who could open what, since when.
public struct KeyReceipt: Sendable {
    public enum Kind: Sendable {
        case recipients(added: [AgeRecipient], removed: [AgeRecipient], cause: String)
        /// So many epochs, one after another, were sealed to the recipients of then.
        case rewrapped(Int)
        /// Nil: the key lies unsealed.
        case exported(EpochID, to: AgeRecipient?)
        case shared(ObjectID, to: AgeRecipient)
    }
    /// Position in the ledger.
    public var position: Int
    public var at: WallTime
    public var kind: Kind
}

extension Vault {
    /// In the ledger's order, the last `limit` of it.
    public func keyLog(limit: Int) async throws(VaultError) -> [KeyReceipt] {
        try await reads.run { [self] () throws(VaultError) in
            var receipts: [KeyReceipt] = []
            try ledger.replay(from: 0) { (position, entry) throws(VaultError) in
                guard let entry else { return }
                let kind: KeyReceipt.Kind
                switch entry.body {
                case .recipients(let record):
                    kind = .recipients(added: record.added, removed: record.removed, cause: record.cause.rawValue)
                case .rewrap:
                    if let last = receipts.last, case .rewrapped(let count) = last.kind {
                        receipts[receipts.count - 1].kind = .rewrapped(count + 1)
                        return
                    }
                    kind = .rewrapped(1)
                case .export(let epoch, let recipient): kind = .exported(epoch, to: recipient)
                case .share(let object, let recipient): kind = .shared(object, to: recipient)
                default: return
                }
                receipts.append(KeyReceipt(position: position, at: entry.at, kind: kind))
                if receipts.count >= 2 * max(1, limit) { receipts.removeFirst(receipts.count - limit) }
            }
            return receipts.suffix(max(0, limit))
        }
    }
}
