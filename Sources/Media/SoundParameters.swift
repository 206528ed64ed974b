import Core

/// What a decoder of recorded sound must know before the first frame. What is recorded is always AAC-LC.
public struct SoundParameters: Sendable, Hashable {
    /// AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1), as it came.
    public let configuration: [UInt8]
    /// Samples a second.
    public let sampleRate: Int
    public let channels: Int
    /// Samples of a frame: 1024, or 960.
    public let frameLength: Int

    /// ISO/IEC 14496-3 table 1.18.
    static let sampleRates = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350,
    ]
    /// ISO/IEC 14496-3 table 1.19; 0 would be described by the stream itself.
    private static let channelCounts = [0, 1, 2, 3, 4, 5, 6, 8]
    /// Few bytes in fact; a configuration of more is junk.
    static let configurationLimit = 64

    /// - Throws: `.malformed`; `.unsupported` for other kinds of AAC than AAC-LC.
    public init(configuration: [UInt8]) throws(MediaError) {
        guard (2...Self.configurationLimit).contains(configuration.count) else {
            throw MediaError(.malformed, "The sound's configuration has \(configuration.count) bytes.")
        }
        // All that is needed stands in the first 38 bits.
        let word = (0..<8).reduce(UInt64(0)) { $0 << 8 | ($1 < configuration.count ? UInt64(configuration[$1]) : 0) }
        func bits(_ place: Int, _ count: Int) -> Int {
            Int(word >> UInt64(64 - place - count) & (1 << UInt64(count) - 1))
        }
        guard bits(0, 5) == 2 else { throw MediaError(.unsupported, "The sound is no AAC-LC.") }
        let index = bits(5, 4)
        var place = 9
        if index == 15 {
            sampleRate = bits(9, 24)
            place += 24
        } else {
            sampleRate = index < Self.sampleRates.count ? Self.sampleRates[index] : 0
        }
        let layout = bits(place, 4)
        channels = layout < Self.channelCounts.count ? Self.channelCounts[layout] : 0
        frameLength = bits(place + 4, 1) == 1 ? 960 : 1024
        guard (4000...192_000).contains(sampleRate), channels > 0 else {
            throw MediaError(.malformed, "The sound's configuration gives no rate or no channels.")
        }
        self.configuration = configuration
    }

    /// 90 kHz ticks of so many samples, to the nearest.
    func ticks(samples: Int64) -> Int64 { Self.ticks(samples: samples, sampleRate: sampleRate) }
    static func ticks(samples: Int64, sampleRate: Int) -> Int64 {
        let rate = Int64(max(1, sampleRate))
        let (whole, rest) = samples.quotientAndRemainder(dividingBy: rate)
        return whole.multipliedReportingOverflow(by: 90_000).partialValue
            .addingSaturating((rest * 90_000 + (rest < 0 ? -rate / 2 : rate / 2)) / rate)
    }
    /// 90 kHz ticks of a frame.
    public var frameTicks: Int64 { ticks(samples: Int64(frameLength)) }
}

/// One frame of AAC-LC, without any header.
public struct SoundFrame: Sendable, Equatable {
    public var data: [UInt8]
    /// When its first sample is heard: 90 kHz ticks of the clock that the same source's pictures are on.
    public var pts: Int64
    /// 90 kHz ticks.
    public var duration: Int64

    public init(data: [UInt8], pts: Int64, duration: Int64) {
        self.data = data
        self.pts = pts
        self.duration = duration
    }
    /// ISO/IEC 14496-3 section 4.5.3.1 allows 6144 bits a channel; what is larger is no frame.
    static let byteLimit = 6144 / 8 * 8
}
