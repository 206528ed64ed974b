@testable import Vault

/// libFuzzer's entry point: the small files of a vault that a disk, a bucket or an editor may have changed: vault.json, a remote's
/// description, how far the scrub is, credentials.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    _ = try? VaultFile(parsing: bytes, path: "vault.json")
    if let description = try? RemoteDescription(parsing: bytes, path: "remote.json") {
        _ = try? description.address()
        for minute in [0, 719, 1439] { _ = description.limit(minute: minute) }
    }
    if let state = ScrubState(parsing: bytes) {
        precondition(state.shards.count == 256 && (0..<256).contains(state.next), "a folder that is none")
        _ = state.verifiedSince
    }
    var secret = bytes
    _ = try? S3Credentials(parsing: SecretBytes(&secret), path: "credentials")
    return 0
}
