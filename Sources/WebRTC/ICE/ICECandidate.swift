/// A UDP candidate line (RFC 8839 §5.1).
public struct ICECandidate: Hashable, Sendable {
    public var address: SocketAddress
    public var priority: UInt32
    public var type: String

    public init(address: SocketAddress, priority: UInt32, type: String) {
        self.address = address
        self.priority = priority
        self.type = type
    }

    /// `candidate:…` with or without `a=`. nil for TCP, for names (`.local` has no resolver here) and for garbage.
    public init?(line: some StringProtocol) {
        let parts = line.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count >= 8, parts[2].lowercased() == "udp", parts[6] == "typ", parts[1] == "1",
            let priority = UInt32(parts[3]), let port = UInt16(parts[5]), port != 0,
            let address = SocketAddress(host: parts[4], port: port)
        else { return nil }
        self.init(address: address, priority: priority, type: String(parts[7]))
    }

    /// The value of the attribute, without `a=`. `index` orders several hosts (RFC 8445 §5.1.2).
    static func host(_ address: SocketAddress, index: Int) -> String {
        "candidate:\(index + 1) 1 udp \(hostPriority(index)) \(address.host) \(address.port) typ host"
    }
    static func hostPriority(_ index: Int) -> UInt32 {
        126 << 24 | UInt32(65535 - min(max(index, 0), 65535)) << 8 | 255
    }
}
