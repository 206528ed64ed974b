import Core

/// One stream of sound, whatever its codec, as frames of AAC-LC: AAC-LC passes through untouched, all else is encoded anew.
///
/// Nothing here throws once it is made: what cannot be used is left out, and said.
final class SoundStream {
    enum Output: Equatable {
        case frame(SoundFrame, SoundParameters)
        /// A packet that gave nothing; why, in a sentence that is always the same for the same trouble.
        case lost(String)
    }

    private enum Way {
        case asItIs(SoundParameters)
        case withHeaders
        case anew(SoundDecoder, SoundTranscoder)
    }

    private let coding: SoundCoding
    private var way: Way
    /// Where the next frame begins, for packets that do not say.
    private var next: Int64?

    /// - Throws: `.unsupported` where nothing of this stream could ever be recorded, `.codecFailed`.
    init(_ coding: SoundCoding) throws(MediaError) {
        self.coding = coding
        if coding.isAAC, let parameters = try? SoundParameters(configuration: coding.extradata) {
            way = .asItIs(parameters)
        } else if coding.isAAC, coding.extradata.isEmpty {
            way = .withHeaders
        } else {
            way = try Self.anew(coding)
        }
    }

    private static func anew(_ coding: SoundCoding) throws(MediaError) -> Way {
        guard coding.channels <= 2 else {
            throw MediaError(.unsupported, "The sound has \(coding.channels) channels; SudoCam encodes one or two.")
        }
        // Where the container does not say, the decoder will.
        if coding.sampleRate > 0, !SoundParameters.sampleRates.contains(coding.sampleRate) {
            throw MediaError(
                .unsupported, "The sound has \(coding.sampleRate) samples a second, a rate that AAC does not have.")
        }
        return .anew(try SoundDecoder(coding), SoundTranscoder())
    }

    /// The container changed the configuration; it holds from the next packet on.
    func learn(extradata: [UInt8]) {
        guard case .asItIs = way, let parameters = try? SoundParameters(configuration: extradata) else { return }
        way = .asItIs(parameters)
    }

    /// - Parameter pts: 90 kHz; nil where the packet has none.
    func take(_ packet: [UInt8], pts: Int64?) -> [Output] {
        switch way {
        case .asItIs(let parameters): return [frame(packet, pts: pts, parameters)]
        case .withHeaders:
            guard let frames = ADTS.frames(packet), !frames.isEmpty else {
                return [.lost("A packet of AAC has no header that can be read.")]
            }
            return withHeaders(frames, packet, pts)
        case .anew(let decoder, let transcoder): return anew(packet, pts, decoder, transcoder)
        }
    }

    /// What is left, when nothing more comes.
    func finish() -> [Output] {
        guard case .anew(let decoder, let transcoder) = way else { return [] }
        return anew(nil, nil, decoder, transcoder) + transcoder.finish().map(Output.frame)
    }

    private func withHeaders(_ frames: [ADTS.Frame], _ packet: [UInt8], _ pts: Int64?) -> [Output] {
        var pts = pts
        var outputs: [Output] = []
        for found in frames {
            guard let parameters = try? SoundParameters(configuration: found.configuration) else {
                // Another kind of AAC: decoders know it by its headers.
                guard outputs.isEmpty, let way = try? Self.anew(coding) else {
                    return outputs + [.lost("The sound is AAC of a kind that SudoCam does not read.")]
                }
                self.way = way
                return take(packet, pts: pts)
            }
            outputs.append(frame(found.data, pts: pts, parameters))
            pts = nil
        }
        return outputs
    }

    private func frame(_ data: [UInt8], pts: Int64?, _ parameters: SoundParameters) -> Output {
        let pts = pts ?? next ?? 0
        let duration = parameters.frameTicks
        next = pts.addingSaturating(duration)
        guard (1...SoundFrame.byteLimit).contains(data.count) else {
            return .lost("A frame of AAC is empty or too large.")
        }
        return .frame(SoundFrame(data: data, pts: pts, duration: duration), parameters)
    }

    private func anew(
        _ packet: [UInt8]?, _ pts: Int64?, _ decoder: SoundDecoder, _ transcoder: SoundTranscoder
    ) -> [Output] {
        var outputs: [Output] = []
        do throws(MediaError) {
            for samples in try decoder.decode(packet, pts: pts) {
                outputs += try transcoder.take(samples).map(Output.frame)
            }
        } catch {
            outputs.append(.lost(error.reason))
        }
        return outputs
    }
}
