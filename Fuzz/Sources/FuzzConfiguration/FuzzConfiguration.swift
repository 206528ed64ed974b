import Capture
import Server

/// libFuzzer's entry point: `sudocam.yaml`, and a camera's address as a person types it.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = String(decoding: UnsafeBufferPointer(start: data, count: count), as: UTF8.self)
    _ = ConfigurationReader.parse(text, folder: "/")
    _ = try? SourceAddress(text)
    return 0
}
