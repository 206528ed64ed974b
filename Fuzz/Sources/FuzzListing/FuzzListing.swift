@testable import Vault

/// libFuzzer's entry point: a page of a listing, an error body, a date, the lines of a file with credentials.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    if let page = try? ListPage(parsing: bytes) {
        precondition(page.objects.allSatisfy { !$0.key.isEmpty && $0.size >= 0 }, "an object that cannot be")
        var machine = ListingMachine(prefix: "")
        _ = try? machine.handle(page)
    }
    if let error = S3ErrorBody(bytes) {
        precondition(error.message.utf8.allSatisfy { $0 >= 32 }, "a control character")
    }
    if let time = HTTPDate.parse(String(decoding: bytes, as: UTF8.self)) { _ = HTTPDate.basic(time) }
    return 0
}
