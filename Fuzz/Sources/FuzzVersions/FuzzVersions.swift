@testable import Vault

/// libFuzzer's entry point: a page of a listing of versions, what a bucket is set to, the end of a lock, the place of a part.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    if let page = try? VersionPage(parsing: bytes) {
        precondition(page.versions.allSatisfy { !$0.key.isEmpty && !$0.id.isEmpty }, "a version that cannot be")
        precondition(page.next?.key.isEmpty != true, "a marker that leads nowhere")
        var machine = VersionListingMachine(key: page.versions.first?.key ?? "a")
        if (try? machine.handle(page)) != nil {
            precondition(machine.versions.count <= page.versions.count, "a version out of nothing")
            // What leads on once leads back the second time.
            if page.next != nil { precondition((try? machine.handle(page)) == nil, "a circle") }
        }
    }
    let answer = HTTPAnswer(status: 206, body: bytes)
    for root in ["VersioningConfiguration", "ObjectLockConfiguration"] { _ = S3Configuration(answer, root: root) }
    let text = String(decoding: bytes, as: UTF8.self)
    if let time = HTTPDate.parse(timestamp: text) {
        precondition(time.microseconds >= 0, "a lock that ended before 1970")
    }
    let headers = ["content-range": text, "content-length": text]
    for request in [RemotePart.Request.range(10..<20), .suffix(10)] {
        for status in [200, 206] {
            let answer = HTTPAnswer(status: status, headers: headers, received: 10)
            if let part = try? S3Judgement.part(answer, request, what: "") {
                precondition(part.range.count == 10 && part.range.upperBound <= part.count, "a part that cannot be")
            }
        }
    }
    return 0
}
