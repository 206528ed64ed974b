import Core

@testable import Vault

/// A key made of zeros: what is signed is never right, and everything before the signature is reached.
private let verifier = LedgerVerifier(point: [UInt8](repeating: 0, count: 32), vault: vault)
private let vault = VaultID.random()

/// libFuzzer's entry point: a ledger entry, a checkpoint, the vault's own file.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    if let entry = try? LedgerEntry(parsing: bytes), let again = entry.encoded() {
        precondition((try? LedgerEntry(parsing: again)) == entry, "read, but written as something else")
    }
    // As it lies in a bundle, between others.
    let between = ([UInt8(ascii: "0")] + bytes + [UInt8(ascii: "}")])[1..<count + 1]
    if let fixed = LedgerEntry(fixedForm: between) {
        precondition((try? LedgerEntry(parsingAny: bytes)) == fixed, "the scan takes what the parser does not")
    }
    if let verifier { _ = try? Checkpoint(verifying: bytes, vault: vault, key: verifier) }
    _ = try? VaultFile(parsing: bytes, path: "vault.json")
    return 0
}
