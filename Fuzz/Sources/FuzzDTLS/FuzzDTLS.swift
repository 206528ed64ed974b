import Core

@testable import WebRTC

/// Two certificates for the whole run: making one costs more than a handshake.
private let own = try! DTLSCertificate(now: WallTime(seconds: 1_800_000_000))
private let other = try! DTLSCertificate(now: WallTime(seconds: 1_800_000_000))

/// libFuzzer's entry point: a client's flights with bytes changed on their way, then the rest of the input as a record.
///
/// Three input bytes make one change: which packet's turn, where, and what is added.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    guard let server = try? DTLSSession(certificate: own, fingerprint: ("sha-256", other.fingerprint)),
        let client = try? DTLSSession(certificate: other, fingerprint: ("sha-256", own.fingerprint), isClient: true)
    else { return 0 }
    var changes = bytes.prefix(48)
    client.handle(nil)
    for _ in 0..<12 {
        var packets = client.takeOutput()
        if packets.isEmpty { break }
        for index in packets.indices {
            guard let turn = changes.popFirst(), let place = changes.popFirst(), let value = changes.popFirst() else {
                break
            }
            if turn & 1 == 1, !packets[index].isEmpty {
                let at = (Int(place) + Int(turn >> 1) * 256) % packets[index].count
                packets[index][at] &+= value
            }
        }
        for packet in packets { server.handle(packet) }
        for packet in server.takeOutput() { client.handle(packet) }
    }
    server.handle(Array(bytes.dropFirst(48)))
    server.handleTimeout()
    return 0
}
