@testable import Vault

/// libFuzzer's entry point: whatever of age comes from a disk, a bucket or a person: header, armour, identity, recipient.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    let header = (try? AgeHeader(parsing: bytes)).flatMap { ClipHeader($0) }
    if let fixed = ClipHeader(fixedForm: bytes, count: count) {
        precondition(header == fixed, "read in place what the parser reads otherwise")
    }
    if AgeArmor.isArmored(bytes), let plain = try? AgeArmor.decode(bytes) { _ = try? AgeHeader(parsing: plain) }
    _ = Bech32.decode(bytes)
    _ = AgeRecipient(String(decoding: bytes, as: UTF8.self))
    return 0
}
