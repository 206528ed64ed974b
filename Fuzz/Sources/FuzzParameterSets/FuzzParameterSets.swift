@testable import Media

/// libFuzzer's entry point: what a camera says of its pictures and of its sound.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    _ = try? CodecParameters(codec: bytes.first == 1 ? .h264 : .h265, extradata: bytes)
    _ = try? SoundParameters(configuration: bytes)
    for frame in ADTS.frames(bytes) ?? [] { _ = try? SoundParameters(configuration: frame.configuration) }
    return 0
}
