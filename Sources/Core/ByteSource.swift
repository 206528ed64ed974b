/// Bytes that can be read from any place, as a file or a sealed object can.
public protocol ByteSource: Sendable {
    /// Bytes there are now; grows while a clip is being written.
    var count: Int { get }
    /// `count` bytes from `offset`, fewer only at the end; nothing behind it.
    func read(at offset: Int, count: Int) async throws -> [UInt8]
}
