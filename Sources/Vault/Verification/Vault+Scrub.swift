import Core

extension Vault {
    /// How far the reading of everything has come. Errors: the disk's.
    public func scrubState() async throws(VaultError) -> ScrubState {
        try await scrubLane.run { [self] () throws(VaultError) in try readScrubState() }
    }

    private func readScrubState() throws(VaultError) -> ScrubState {
        let now = time.wallNow()
        guard try files.attributes(layout.scrub) != nil,
            var state = ScrubState(parsing: try files.contents(layout.scrub))
        else { return ScrubState(begun: now) }
        // The clock was set back: what lies ahead was read now at the latest.
        state.begun = min(state.begun, now)
        for place in state.shards.indices { state.shards[place] = state.shards[place].map { min($0, now) } }
        return state
    }

    /// Reads every object of one folder of `objects/` and compares it with its name, as `verify` does. Needs no key.
    ///
    /// Errors: `.readOnly`, `.closed`, the disk's. What is wrong with the vault is returned, and kept for `scrubState`.
    /// - Parameters:
    ///   - shard: 0 to 255.
    ///   - pace: called after each object with its bytes; sleeps as long as others are to have the disk. What it throws ends the
    ///     reading, and the folder counts as not read.
    public func scrub(
        shard: Int, pace: @Sendable (Int) async throws -> Void
    ) async throws -> [VerificationFinding] {
        _ = try committer()
        let clips = try await scrubLane.run { [self] () throws(VaultError) in try index.clips(shard: shard, id) }
        let check = ObjectVerification(layout: layout, files: files, options: VerificationOptions(), open: nil)
        var findings: [VerificationFinding] = []
        for clip in clips {
            findings += try await scrubLane.run { [self] () throws(VaultError) in
                var found: [VerificationFinding] = []
                do throws(VaultError) {
                    _ = try check.check(clip, &found)
                } catch {
                    // Given up for a remote's copy: `remote verify` looks at that one.
                    if error.code == .notFound, try index.isEvicted(clip.object) { return [] }
                    let kind: VerificationFinding.Kind = error.code == .notFound ? .missing : .damaged
                    found.append(VerificationFinding(kind, .object(clip.object), error.reason))
                }
                // Retention may have taken it meanwhile.
                guard !found.isEmpty, try index.knowsObject(clip.object) else { return [] }
                return found
            }
            try await pace(clip.byteCount)
        }
        let found = findings
        try await scrubLane.run { [self] () throws(VaultError) in
            var state = try readScrubState()
            state.shards[shard] = time.wallNow()
            state.findings[shard] = found.isEmpty ? nil : found.prefix(100).map(\.description)
            try files.replace(layout.scrub, with: state.encoded)
        }
        return findings
    }

    /// The ledger against its signature, and the epochs' files against the ledger.
    public func scrubLedger() async throws(VaultError) -> [VerificationFinding] {
        _ = try committer()
        let listed = try await verifyLedger()
        let ledger = FollowedLedger(listed)
        let news = try await settled(listed.report.findings, by: ledger) + ledger.findings
        try await scrubLane.run { [self] () throws(VaultError) in
            var state = try readScrubState()
            state.ledger = time.wallNow()
            state.findings[ScrubState.ledgerPlace] = news.isEmpty ? nil : news.prefix(100).map(\.description)
            try files.replace(layout.scrub, with: state.encoded)
        }
        return news
    }
}
