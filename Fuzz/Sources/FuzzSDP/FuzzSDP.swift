@testable import WebRTC

/// libFuzzer's entry point: an offer as a browser posts it, or a fragment of trickled candidates.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = String(decoding: UnsafeBufferPointer(start: data, count: count), as: UTF8.self)
    if let description = try? SessionDescription(parsing: text) { _ = description.candidates }
    if let negotiation = try? Negotiation(offer: text, acceptVideo: true) {
        let own = Negotiation.Own(
            credentials: .init(ufrag: "abcd", password: "0123456789012345678901"), fingerprint: "00", addresses: [],
            ssrc: 1, rtxSSRC: 2, sessionID: 3, maximumMessage: 16384)
        _ = try? SessionDescription(parsing: negotiation.answer(own))
    }
    return 0
}
