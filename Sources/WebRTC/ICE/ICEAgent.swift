import Core

/// ICE for one component (RFC 8445): full, controlled unless the other side is lite or a conflict says otherwise.
///
/// Pure: requests, responses and time go in, datagrams come out of `output`. A pair is used as soon as the other side nominates it in an
/// authenticated request; every authenticated request is answered for as long as the session lives (RFC 7675).
struct ICEAgent {
    struct Credentials: Equatable {
        var ufrag: String
        var password: String
    }
    struct Path: Hashable {
        var local: SocketAddress
        var remote: SocketAddress
    }
    private struct Pair {
        var path: Path
        var isValid = false
        /// Something authentic came this way.
        var isHeard = false
        var tries = 0
        var due: MonotonicTime
        var nominating = false
    }
    private struct Transaction {
        var path: Path
        var sentAt: MonotonicTime
        var isControlling: Bool
    }
    static let checkInterval: Int64 = 50_000
    static let maximumTries = 7
    static let maximumPairs = 64
    static let consentExpiry: Int64 = 30_000_000

    private(set) var local: Credentials
    private(set) var remote: Credentials
    /// Kept until a pair of the restarted session is nominated.
    private var previous: (local: Credentials, remote: Credentials)?
    private(set) var isControlling: Bool
    private let tieBreaker: UInt64
    private let hosts: [SocketAddress]
    private var pairs: [Pair] = []
    private var transactions: [[UInt8]: Transaction] = [:]
    private var nextPaced: MonotonicTime
    private var nextConsent: MonotonicTime
    private(set) var lastHeard: MonotonicTime
    /// Where everything else is sent.
    private(set) var selected: Path?
    /// Microseconds, of the last answered check.
    private(set) var roundTrip: Int64?
    var output: [Datagram] = []
    private var random: any RandomNumberGenerator

    init(
        hosts: [SocketAddress], remote: Credentials, remoteIsLite: Bool, random: any RandomNumberGenerator,
        now: MonotonicTime
    ) {
        self.random = random
        self.hosts = hosts
        self.remote = remote
        isControlling = remoteIsLite
        tieBreaker = self.random.next()
        local = Self.credentials(&self.random)
        nextPaced = now
        nextConsent = now
        lastHeard = now
    }

    private static func credentials(_ random: inout any RandomNumberGenerator) -> Credentials {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        func text(_ count: Int) -> String {
            var bytes: [UInt8] = []
            for _ in 0..<count { bytes.append(alphabet[Int(random.next() & 63)]) }
            return String(decoding: bytes, as: UTF8.self)
        }
        return Credentials(ufrag: text(16), password: text(24))
    }

    func isExpired(now: MonotonicTime) -> Bool { now - lastHeard > Self.consentExpiry }

    mutating func add(_ candidate: ICECandidate, now: MonotonicTime) {
        for host in hosts where host.isIPv4 == candidate.address.isIPv4 {
            _ = pair(Path(local: host, remote: candidate.address), now: now)
        }
    }

    /// New credentials on the same transport (RFC 8445 §9); the old pair stays in use until a new nomination.
    mutating func restart(remote credentials: Credentials, now: MonotonicTime) {
        previous = (local, remote)
        local = Self.credentials(&random)
        remote = credentials
        pairs = []
        transactions = [:]
        lastHeard = max(lastHeard, now)
    }

    /// nil when there is no room. A flood of candidates must not become a flood of checks; but a path that checks (`isAuthentic`) takes
    /// the place of one that is silent, else of the oldest one out of use.
    private mutating func pair(_ path: Path, isAuthentic: Bool = false, now: MonotonicTime) -> Int? {
        if let index = pairs.firstIndex(where: { $0.path == path }) { return index }
        if pairs.count >= Self.maximumPairs {
            let idle = pairs.indices.filter { pairs[$0].path != selected && !pairs[$0].nominating }
            guard isAuthentic, let index = idle.first(where: { !pairs[$0].isHeard }) ?? idle.first else { return nil }
            pairs.remove(at: index)
        }
        pairs.append(Pair(path: path, due: now))
        return pairs.count - 1
    }

    /// False for what was not authentic and therefore dropped.
    mutating func handle(_ datagram: Datagram, now: MonotonicTime) -> Bool {
        guard let message = try? STUNMessage(parsing: datagram.bytes) else { return false }
        let path = Path(local: datagram.local, remote: datagram.remote)
        switch message.kind {
        case .request: return handleRequest(message, path, now: now)
        case .success, .failure: return handleResponse(message, path, now: now)
        // Carries no integrity: no sign of life, and no path to learn.
        case .indication: return false
        }
    }

    private mutating func handleRequest(_ message: STUNMessage, _ path: Path, now: MonotonicTime) -> Bool {
        let name = message.username?.split(separator: ":").first.map(String.init)
        let credentials: Credentials
        let isCurrent: Bool
        if name == local.ufrag {
            credentials = local
            isCurrent = true
        } else if let previous, name == previous.local.ufrag {
            credentials = previous.local
            isCurrent = false
        } else {
            return false
        }
        guard message.isAuthentic(password: credentials.password) else { return false }
        var answer = STUNMessage(.success, transaction: message.transaction)
        let unknown = message.unknownRequired
        if !unknown.isEmpty {
            answer.kind = .failure
            answer.addError(420, "Unknown Attribute")
            answer.add(
                STUNMessage.Attribute.unknownAttributes,
                unknown.flatMap { [UInt8($0 >> 8), UInt8(truncatingIfNeeded: $0)] })
            output.append(
                Datagram(
                    bytes: answer.encoded(password: credentials.password), local: path.local, remote: path.remote))
            return true
        }
        lastHeard = now
        // RFC 8445 §7.3.1.1: the larger tie-breaker controls.
        let rival = message[isControlling ? STUNMessage.Attribute.iceControlling : STUNMessage.Attribute.iceControlled]
        if let rival, rival.count == 8 {
            let value = rival.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            if (tieBreaker >= value) == isControlling {
                answer.kind = .failure
                answer.addError(487, "Role Conflict")
                output.append(
                    Datagram(
                        bytes: answer.encoded(password: credentials.password), local: path.local, remote: path.remote))
                return true
            }
            isControlling.toggle()
        }
        answer.addMapped(path.remote)
        output.append(
            Datagram(bytes: answer.encoded(password: credentials.password), local: path.local, remote: path.remote))
        guard isCurrent else { return true }
        // A check from an unknown address is a peer-reflexive candidate (§7.3.1.3); the triggered check opens our own NAT.
        guard let index = pair(path, isAuthentic: true, now: now) else { return true }
        pairs[index].isHeard = true
        if !pairs[index].isValid, pairs[index].tries >= Self.maximumTries {
            pairs[index].tries = 0
            pairs[index].due = now
        }
        if message[STUNMessage.Attribute.useCandidate] != nil, !isControlling {
            select(path, now: now)
        }
        return true
    }

    /// Whether media and DTLS may be taken from, and sent to, this path.
    func knows(_ path: Path) -> Bool { path == selected || pairs.contains { $0.path == path && $0.isHeard } }

    private mutating func select(_ path: Path, now: MonotonicTime) {
        previous = nil
        if selected != path {
            selected = path
            scheduleConsent(now: now)
        }
    }

    private mutating func scheduleConsent(now: MonotonicTime) {
        nextConsent = now + 5_000_000 * Int64(80 + random.next(upperBound: UInt64(41))) / 100
    }

    private mutating func handleResponse(_ message: STUNMessage, _ path: Path, now: MonotonicTime) -> Bool {
        guard let transaction = transactions[message.transaction], message.isAuthentic(password: remote.password) else {
            return false
        }
        transactions[message.transaction] = nil
        guard transaction.path == path else { return false }
        lastHeard = now
        guard let index = pairs.firstIndex(where: { $0.path == path }) else { return true }
        if message.kind == .failure {
            if message.errorCode == 487 {
                // Several checks may be refused for one role; only the first refusal changes it (RFC 8445 §7.2.5.1).
                isControlling = !transaction.isControlling
                pairs[index].tries = 0
                pairs[index].due = now
            }
            return true
        }
        roundTrip = now - transaction.sentAt
        pairs[index].isHeard = true
        pairs[index].isValid = true
        if isControlling {
            if pairs[index].nominating {
                select(path, now: now)
            } else if selected == nil, !pairs.contains(where: \.nominating) {
                pairs[index].nominating = true
                pairs[index].tries = 0
                pairs[index].due = now
                pairs[index].isValid = false
            }
        }
        return true
    }

    mutating func handleTimeout(now: MonotonicTime) {
        for (id, transaction) in transactions where now - transaction.sentAt > 10_000_000 { transactions[id] = nil }
        if let selected, nextConsent <= now {
            scheduleConsent(now: now)
            check(selected, now: now)
        }
        guard nextPaced <= now else { return }
        if let index = pairs.indices.first(where: { Self.wantsCheck(pairs[$0]) && pairs[$0].due <= now }) {
            pairs[index].tries += 1
            pairs[index].due = now + 500_000
            nextPaced = now + Self.checkInterval
            check(pairs[index].path, nominate: isControlling && pairs[index].nominating, now: now)
        }
    }

    private static func wantsCheck(_ pair: Pair) -> Bool { !pair.isValid && pair.tries < maximumTries }

    private mutating func check(_ path: Path, nominate: Bool = false, now: MonotonicTime) {
        var id: [UInt8] = []
        for _ in 0..<12 { id.append(UInt8(truncatingIfNeeded: random.next())) }
        var message = STUNMessage(.request, transaction: id)
        message.add(STUNMessage.Attribute.username, Array("\(remote.ufrag):\(local.ufrag)".utf8))
        // The priority a peer-reflexive candidate of this host would have (§7.1.1).
        let index = hosts.firstIndex(of: path.local) ?? 0
        let priority: UInt32 = 110 << 24 | UInt32(65535 - min(index, 65535)) << 8 | 255
        message.add(
            STUNMessage.Attribute.priority, (0..<4).map { UInt8(truncatingIfNeeded: priority >> (24 - 8 * $0)) })
        message.add(
            isControlling ? STUNMessage.Attribute.iceControlling : STUNMessage.Attribute.iceControlled,
            (0..<8).map { UInt8(truncatingIfNeeded: tieBreaker >> (56 - 8 * UInt64($0))) })
        if nominate { message.add(STUNMessage.Attribute.useCandidate) }
        transactions[id] = Transaction(path: path, sentAt: now, isControlling: isControlling)
        output.append(
            Datagram(bytes: message.encoded(password: remote.password), local: path.local, remote: path.remote))
    }

    var nextTimeout: MonotonicTime {
        var time = lastHeard + Self.consentExpiry + 1
        if selected != nil { time = min(time, nextConsent) }
        for pair in pairs where Self.wantsCheck(pair) { time = min(time, max(pair.due, nextPaced)) }
        return time
    }
}

extension RandomNumberGenerator {
    /// Through an existential the generic `next(upperBound:)` is not reachable.
    mutating func next(upperBound: UInt64) -> UInt64 { next() % max(1, upperBound) }
}
