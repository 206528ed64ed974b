import Core

/// Decoded sound to frames of AAC-LC, each with the time of its first sample.
///
/// Times are those of the stretches that come in, not sums of lengths: what their clock does against the pictures' the frames do too.
/// A hole is not filled: what was gathered before it becomes a short frame, and the next one lies where the sound goes on.
final class SoundTranscoder {
    /// What times may differ from the samples' count before it is a hole, 90 kHz.
    private static let tolerance: Int64 = 9000
    /// What is given at once becomes frames at once; beyond this it is no sound.
    private static let stretchLimit = 1 << 20

    private var encoder: SoundEncoder?
    private var sampleRate = 0
    /// Samples that do not fill a frame yet, for each channel.
    private var waiting: [[Float]] = []
    /// The time of a sample, and how many samples before the first waiting one it lies (negative: behind).
    private var anchor: (pts: Int64, samples: Int64)?
    /// Frames given to the encoder that did not come out: time and length in samples.
    private var given: [(index: Int64, pts: Int64, samples: Int)] = []
    private var frames: Int64 = 0

    /// The frames that are whole now, with what they are.
    func take(_ sound: SoundSamples) throws(MediaError) -> [(SoundFrame, SoundParameters)] {
        guard let count = sound.planes.first?.count, count > 0, count <= Self.stretchLimit else { return [] }
        var ready: [(SoundFrame, SoundParameters)] = []
        if encoder == nil || sampleRate != sound.sampleRate || waiting.count != sound.planes.count {
            ready += finish()
            encoder = try SoundEncoder(sampleRate: sound.sampleRate, channels: sound.planes.count)
            sampleRate = sound.sampleRate
            waiting = [[Float]](repeating: [], count: sound.planes.count)
        }
        let gathered = Int64(waiting[0].count)
        let expected = time(of: gathered)
        let pts = sound.pts ?? expected ?? 0
        if let expected, pts.subtractingSaturating(expected).magnitude > UInt64(Self.tolerance) {
            ready += try fill()
            anchor = (pts, 0)
        } else {
            anchor = (pts, -gathered)
        }
        for channel in waiting.indices { waiting[channel] += sound.planes[channel] }
        while waiting[0].count >= SoundEncoder.frameLength { ready += try encode(SoundEncoder.frameLength) }
        return ready
    }

    /// What is left. Sound may come after it: it begins anew.
    func finish() -> [(SoundFrame, SoundParameters)] {
        guard let encoder else { return [] }
        var ready: [(SoundFrame, SoundParameters)] = []
        // An encoder that fails now has nothing more to give.
        if let last = try? fill() { ready += last }
        if let last = try? encoder.finish() { ready += placed(last, encoder.parameters) }
        self.encoder = nil
        (waiting, anchor, given, frames) = ([], nil, [], 0)
        return ready
    }

    /// The time of a sample, counted from the first waiting one.
    private func time(of sample: Int64) -> Int64? {
        anchor.map {
            $0.pts.addingSaturating(SoundParameters.ticks(samples: sample + $0.samples, sampleRate: sampleRate))
        }
    }

    /// What waits, and silence behind it.
    private func fill() throws(MediaError) -> [(SoundFrame, SoundParameters)] {
        guard let count = waiting.first?.count, count > 0 else { return [] }
        return try encode(count)
    }

    private func encode(_ count: Int) throws(MediaError) -> [(SoundFrame, SoundParameters)] {
        guard let encoder, let pts = time(of: 0) else { return [] }
        let planes = waiting.map {
            Array($0.prefix(count)) + [Float](repeating: 0, count: SoundEncoder.frameLength - count)
        }
        for channel in waiting.indices { waiting[channel].removeFirst(count) }
        anchor?.samples += Int64(count)
        given.append((frames, pts, count))
        frames += 1
        do throws(MediaError) {
            return placed(try encoder.encode(planes), encoder.parameters)
        } catch {
            self.encoder = nil
            (waiting, anchor, given, frames) = ([], nil, [], 0)
            throw error
        }
    }

    private func placed(
        _ packets: [SoundEncoder.Packet], _ parameters: SoundParameters
    ) -> [(SoundFrame, SoundParameters)] {
        packets.compactMap { packet in
            let whole = parameters.frameTicks
            if packet.index < 0, let first = given.first {
                return (
                    SoundFrame(data: packet.data, pts: first.pts.subtractingSaturating(whole), duration: whole),
                    parameters
                )
            }
            guard let place = given.firstIndex(where: { $0.index == packet.index }) else { return nil }
            let frame = given[place]
            given.removeFirst(place + 1)
            return (
                SoundFrame(
                    data: packet.data, pts: frame.pts, duration: parameters.ticks(samples: Int64(frame.samples))),
                parameters
            )
        }
    }
}
