@testable import Vault

/// libFuzzer's entry point: what a stranger hands over as evidence: a proof, a bundle's table of contents, a key written down.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    if let proof = try? TlogProof(parsing: bytes) {
        // An extra line is read over, and nothing else.
        if !bytes.contains("extra".utf8) { precondition(proof.encoded == bytes, "two spellings of one proof") }
    }
    if let contents = try? Evidence.Contents(parsing: bytes) {
        precondition(contents.clips.allSatisfy { !$0.file.contains("..") }, "a file outside the bundle")
    }
    if let known = LedgerVerifier.parse(String(decoding: bytes, as: UTF8.self)) {
        precondition(known.key.text(of: known.vault).utf8.elementsEqual(bytes), "two spellings of one key")
    }
    return 0
}
