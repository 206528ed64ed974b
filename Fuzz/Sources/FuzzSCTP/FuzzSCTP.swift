import Core

@testable import WebRTC

private nonisolated(unsafe) var now = MonotonicTime(microseconds: 1_000_000)

/// libFuzzer's entry point: two associations that talk, with bytes changed on their way, then the input as a packet.
///
/// Four input bytes make one change: whether, where (two), and what is added. SCTP's checksum is off on such a path (the
/// lower layer, DTLS, has its own), so changed packets are parsed.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    guard let ours = try? UsrsctpAssociation(remotePort: 5000, sendBuffer: 65536),
        let theirs = try? UsrsctpAssociation(remotePort: 5000, sendBuffer: 65536)
    else { return 0 }
    defer {
        ours.abort()
        theirs.abort()
        // What was closed is given back by timers.
        now = now + 20_000
        ours.handleTimeout(now: now)
    }
    ours.connect(now: now)
    theirs.connect(now: now)
    var changes = bytes.prefix(80)
    for round in 0..<8 {
        now = now + 5_000
        ours.handleTimeout(now: now)
        if round == 3 {
            try? theirs.send(DCEPMessage.acknowledge.encoded, stream: 0, protocolID: 50)
            try? theirs.send([UInt8](repeating: 65, count: 3000), stream: 1, protocolID: 51)
            theirs.reset(stream: 1)
        }
        for var packet in theirs.takePackets() {
            if let whether = changes.popFirst(), let high = changes.popFirst(), let low = changes.popFirst(),
                let value = changes.popFirst(), whether & 1 == 1, !packet.isEmpty
            {
                packet[(Int(high) << 8 | Int(low)) % packet.count] &+= value
            }
            ours.handle(packet, now: now)
        }
        for packet in ours.takePackets() { theirs.handle(packet, now: now) }
        _ = ours.takeEvents()
    }
    ours.handle(Array(bytes.dropFirst(80)), now: now)
    _ = ours.takeEvents()
    return 0
}
