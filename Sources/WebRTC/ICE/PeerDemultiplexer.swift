/// Which peer a datagram belongs to when all share one port (RFC 7983; own rule for the first packet: the ufrag in USERNAME).
///
/// A path is learned only by the caller, after the peer accepted an authenticated check on it.
public struct PeerDemultiplexer<Key: Hashable & Sendable>: Sendable {
    private struct Path: Hashable {
        var local: SocketAddress
        var remote: SocketAddress
    }
    private var byPath: [Path: Key] = [:]
    private var byFragment: [String: Key] = [:]

    public init() {}

    /// Call again after an ICE restart, with the new fragment.
    public mutating func add(_ key: Key, localUfrag: String) { byFragment[localUfrag] = key }
    public mutating func learn(_ key: Key, local: SocketAddress, remote: SocketAddress) {
        byPath[Path(local: local, remote: remote)] = key
    }
    public mutating func remove(_ key: Key) {
        byPath = byPath.filter { $0.value != key }
        byFragment = byFragment.filter { $0.value != key }
    }

    /// nil: drop it.
    public func peer(for datagram: Datagram) -> Key? {
        // A check names its session, which beats the path: a browser may reuse a port for its next session.
        if datagram.kind == .stun, let message = try? STUNMessage(parsing: datagram.bytes),
            let fragment = message.username?.split(separator: ":").first, let key = byFragment[String(fragment)]
        {
            return key
        }
        return byPath[Path(local: datagram.local, remote: datagram.remote)]
    }
}
