import Core
import Dispatch
import Media

/// A clip's plaintext in memory.
private struct Source: ByteSource {
    var bytes: [UInt8]
    var count: Int { bytes.count }
    func read(at offset: Int, count: Int) async throws -> [UInt8] {
        Array(bytes[min(offset, bytes.count)..<min(bytes.count, offset + count)])
    }
}

/// libFuzzer's entry point: the whole reader, head, index, groups, and samples of pictures and sound.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: data, count: count))
    _ = ClipReader.identity(inHead: bytes)
    let done = DispatchSemaphore(value: 0)
    Task.detached {
        defer { done.signal() }
        guard let reader = try? await ClipReader(Source(bytes: bytes)) else { return }
        _ = reader.groupIndex(showing: 0)
        for index in reader.groups.indices.prefix(16) {
            _ = try? await reader.samples(ofGroup: index)
            _ = try? await reader.sampleInfos(ofGroup: index)
            _ = try? await reader.infos(ofGroup: index)
            _ = try? await reader.contents(ofGroup: index)
            _ = try? await reader.soundSamples(ofGroup: index)
        }
    }
    done.wait()
    return 0
}
