public import Core
public import Media

/// Bytes in memory as a source.
public struct ArraySource: ByteSource {
    private let bytes: [UInt8]
    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public var count: Int { bytes.count }
    public func read(at offset: Int, count: Int) async throws -> [UInt8] {
        guard offset >= 0, count >= 0, offset <= bytes.count else { return [] }
        return Array(bytes[offset..<min(bytes.count, offset + count)])
    }
}

/// The same numbers for the same seed (SplitMix64).
public struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    public init(seed: UInt64) { state = seed }
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}

/// A short film by libx264 at 25 frames a second, and the clip made of it.
public struct SyntheticClip: Sendable {
    public let identity: ClipIdentity
    public let parameters: CodecParameters
    public let units: [AccessUnit]
    public let bytes: [UInt8]

    public init(
        frames: Int, keyInterval: Int, width: Int = 320, height: Int = 240,
        start: WallTime = WallTime(seconds: 1_764_000_000), bitRate: Int = 400_000
    ) throws {
        let encoder = try Encoder(
            Encoder.Settings(width: width, height: height, rate: 25, keyInterval: keyInterval, bitRate: bitRate))
        let chroma = [UInt8](repeating: 128, count: width / 2 * (height / 2))
        var units: [AccessUnit] = []
        for frame in 0..<frames {
            // What nothing but many bits can show, where they are asked for.
            let grain = bitRate > 400_000 ? 97 : 1
            let luma = (0..<width * height).map {
                UInt8(
                    truncatingIfNeeded: ($0 / width + $0 % width) &* grain &+ ($0 &* $0 / 7) &* (grain / 97) + frame * 3
                )
            }
            for packet in try encoder.encode(luma: luma, cb: chroma, cr: chroma, pts: Int64(frame) * 3600) {
                units.append(
                    AccessUnit(
                        codec: .h264, data: packet.data, isKey: packet.isKey, dts: packet.dts, pts: packet.pts,
                        capturedWall: start + Int64(frame) * 40_000,
                        capturedMonotonic: MonotonicTime(microseconds: Int64(frame) * 40_000),
                        captureTimeIsExact: true))
            }
        }
        identity = ClipIdentity(
            vault: .random(), camera: .random(), epoch: .random(), run: .random(), sequence: 1, start: start)
        parameters = encoder.parameters
        self.units = units
        var muxer = ClipMuxer(parameters: encoder.parameters, identity: identity, cameraName: "Küche")
        var bytes = try muxer.start()
        for unit in units { bytes += try muxer.add(unit, dts: unit.dts, pts: unit.pts) ?? [] }
        bytes += muxer.flush(nextDTS: Int64(frames) * 3600) ?? []
        bytes += muxer.finish()
        self.bytes = bytes
    }
}
