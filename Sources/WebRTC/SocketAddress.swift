import Glibc

/// An IPv4 or IPv6 address with a UDP port.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// 4 or 16 bytes, network order.
    public let bytes: [UInt8]
    public let port: UInt16

    /// nil unless there are 4 or 16 bytes. IPv4-mapped IPv6 becomes IPv4, so that one path has one name.
    public init?(bytes: [UInt8], port: UInt16) {
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]
        if bytes.count == 16, bytes.starts(with: mapped) {
            self.bytes = Array(bytes[12...])
        } else if bytes.count == 4 || bytes.count == 16 {
            self.bytes = bytes
        } else {
            return nil
        }
        self.port = port
    }

    /// A literal address without brackets; nil for a name.
    public init?(host: some StringProtocol, port: UInt16) {
        let text = String(host)
        var raw = [UInt8](repeating: 0, count: 16)
        let family = text.contains(":") ? AF_INET6 : AF_INET
        let parsed = unsafe raw.withUnsafeMutableBytes { buffer in
            unsafe inet_pton(family, text, buffer.baseAddress)
        }
        guard parsed == 1 else { return nil }
        self.init(bytes: family == AF_INET ? Array(raw[..<4]) : raw, port: port)
    }

    public var isIPv4: Bool { bytes.count == 4 }

    /// The address without the port.
    public var host: String {
        if isIPv4 { return bytes.map(String.init).joined(separator: ".") }
        var text = [CChar](repeating: 0, count: 64)
        unsafe bytes.withUnsafeBytes { source in
            _ = unsafe text.withUnsafeMutableBufferPointer { target in
                unsafe inet_ntop(AF_INET6, source.baseAddress, target.baseAddress, 64)
            }
        }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
    public var description: String { isIPv4 ? "\(host):\(port)" : "[\(host)]:\(port)" }
}

/// One UDP payload and the two ends of its path.
public struct Datagram: Hashable, Sendable {
    public var bytes: [UInt8]
    /// The own address it arrived at, or leaves from.
    public var local: SocketAddress
    public var remote: SocketAddress

    public init(bytes: [UInt8], local: SocketAddress, remote: SocketAddress) {
        self.bytes = bytes
        self.local = local
        self.remote = remote
    }

    /// By the first byte, RFC 7983.
    enum Kind { case stun, dtls, rtp, other }
    var kind: Kind {
        switch bytes.first {
        case .some(0...3): .stun
        case .some(20...63): .dtls
        case .some(128...191): .rtp
        default: .other
        }
    }
}
