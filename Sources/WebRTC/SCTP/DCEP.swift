import Core

/// Data Channel Establishment Protocol (RFC 8832).
public enum DCEPMessage: Sendable, Equatable {
    case open(channelType: UInt8, priority: UInt16, reliability: UInt32, label: String, protocolName: String)
    case acknowledge

    public init(parsing bytes: [UInt8]) throws(WebRTCError) {
        do {
            var reader = ByteReader(bytes)
            switch try reader.u8() {
            case 2:
                self = .acknowledge
            case 3:
                let type = try reader.u8()
                let priority = try reader.u16()
                let reliability = try reader.u32()
                let labelLength = Int(try reader.u16())
                let protocolLength = Int(try reader.u16())
                self = .open(
                    channelType: type, priority: priority, reliability: reliability,
                    label: String(decoding: try reader.take(labelLength), as: UTF8.self),
                    protocolName: String(decoding: try reader.take(protocolLength), as: UTF8.self))
            default:
                throw WebRTCError(.packet, "DCEP: unknown message")
            }
        } catch let error as WebRTCError {
            throw error
        } catch {
            throw WebRTCError(.packet, "DCEP: cut short")
        }
    }

    public var encoded: [UInt8] {
        switch self {
        case .acknowledge: return [2]
        case .open(let type, let priority, let reliability, let label, let protocolName):
            var writer = ByteWriter()
            writer.u8(3)
            writer.u8(type)
            writer.u16(priority)
            writer.u32(reliability)
            writer.u16(UInt16(clamping: label.utf8.count))
            writer.u16(UInt16(clamping: protocolName.utf8.count))
            writer.append(label.utf8.prefix(65535))
            writer.append(protocolName.utf8.prefix(65535))
            return writer.bytes
        }
    }
}

/// Payload protocol identifiers (RFC 8831 §8).
enum PayloadProtocol {
    static let control: UInt32 = 50
    static let text: UInt32 = 51
    static let binary: UInt32 = 53
    static let emptyText: UInt32 = 56
    static let emptyBinary: UInt32 = 57
}
