import CAV

/// What is known of a stream of sound before it is decoded.
struct SoundCoding: Equatable {
    /// libavcodec's number for the codec.
    var codec: UInt32
    var extradata: [UInt8]
    /// Samples a second.
    var sampleRate: Int
    var channels: Int
    /// Bytes; what ADPCM and its like need.
    var blockAlign: Int
    var bitsPerSample: Int

    var name: String { unsafe String(cString: avcodec_get_name(AVCodecID(codec))) }
    var isAAC: Bool { codec == AV_CODEC_ID_AAC.rawValue }

    /// What cameras and their films send. A camera chooses what it announces, and libavcodec has some two hundred decoders of sound:
    /// no other one is to see its bytes.
    var isKnown: Bool {
        // libavcodec numbers PCM's kinds from there, and ADPCM's from 0x11000 on (codec_id.h).
        if (AV_CODEC_ID_FIRST_AUDIO.rawValue..<0x11000).contains(codec) { return true }
        let others = [
            AV_CODEC_ID_AAC, AV_CODEC_ID_AAC_LATM, AV_CODEC_ID_MP2, AV_CODEC_ID_MP3, AV_CODEC_ID_OPUS, AV_CODEC_ID_AC3,
            AV_CODEC_ID_EAC3, AV_CODEC_ID_FLAC, AV_CODEC_ID_VORBIS, AV_CODEC_ID_AMR_NB, AV_CODEC_ID_ADPCM_G722,
            AV_CODEC_ID_ADPCM_G726, AV_CODEC_ID_ADPCM_G726LE,
        ]
        return others.contains { $0.rawValue == codec }
    }
}

/// A stretch of decoded sound.
struct SoundSamples: Equatable {
    var sampleRate: Int
    /// For each channel, −1…1.
    var planes: [[Float]]
    /// 90 kHz; nil where the stream does not say.
    var pts: Int64?
}

/// libavcodec's decoders of sound, one or two channels. For one thread at a time.
@safe final class SoundDecoder {
    private var context: UnsafeMutablePointer<AVCodecContext>?
    private var frame: UnsafeMutablePointer<AVFrame>?
    private var packet: UnsafeMutablePointer<AVPacket>?

    /// A packet of sound is some kilobytes; libavcodec wants zeros behind it, which `av_new_packet` gives.
    private static let packetLimit = 1 << 20

    /// - Throws: `.unsupported`, `.codecFailed`.
    init(_ coding: SoundCoding) throws(MediaError) {
        _ = AVFailure.quiet
        guard coding.isKnown, let codec = unsafe avcodec_find_decoder(AVCodecID(coding.codec)),
            let made = unsafe avcodec_alloc_context3(codec)
        else { throw MediaError(.unsupported, "The sound is \(coding.name), which SudoCam does not record.") }
        var owned: UnsafeMutablePointer<AVCodecContext>? = unsafe made
        guard let parameters = unsafe avcodec_parameters_alloc() else {
            unsafe avcodec_free_context(&owned)
            throw MediaError(.codecFailed, "No memory for a decoder.")
        }
        unsafe parameters.pointee.codec_type = AVMEDIA_TYPE_AUDIO
        unsafe parameters.pointee.codec_id = AVCodecID(coding.codec)
        unsafe parameters.pointee.sample_rate = Int32(clamping: coding.sampleRate)
        unsafe parameters.pointee.block_align = Int32(clamping: coding.blockAlign)
        unsafe parameters.pointee.bits_per_coded_sample = Int32(clamping: coding.bitsPerSample)
        unsafe av_channel_layout_default(&parameters.pointee.ch_layout, Int32(clamping: coding.channels))
        var code = unsafe avcodec_parameters_to_context(made, parameters)
        var freed: UnsafeMutablePointer<AVCodecParameters>? = unsafe parameters
        unsafe avcodec_parameters_free(&freed)
        if code >= 0, !coding.extradata.isEmpty {
            // libav frees it with the context.
            let padded = coding.extradata + [UInt8](repeating: 0, count: Int(AV_INPUT_BUFFER_PADDING_SIZE))
            if let copy = unsafe av_memdup(padded, padded.count) {
                unsafe made.pointee.extradata = unsafe copy.assumingMemoryBound(to: UInt8.self)
                unsafe made.pointee.extradata_size = Int32(coding.extradata.count)
            }
        }
        unsafe made.pointee.thread_count = 1
        unsafe made.pointee.pkt_timebase = AVRational(num: 1, den: 90_000)
        if code >= 0 { code = unsafe avcodec_open2(made, codec, nil) }
        guard code >= 0 else {
            unsafe avcodec_free_context(&owned)
            throw MediaError(.codecFailed, "The decoder of \(coding.name) does not start: \(AVFailure.text(code)).")
        }
        unsafe packet = unsafe av_packet_alloc()
        unsafe frame = unsafe av_frame_alloc()
        unsafe context = unsafe made
    }

    deinit {
        unsafe av_packet_free(&packet)
        unsafe av_frame_free(&frame)
        unsafe avcodec_free_context(&context)
    }

    /// - Parameters:
    ///   - data: a packet; nil: what is left, and nothing comes after it.
    ///   - pts: 90 kHz.
    /// - Throws: `.codecFailed` for a packet that cannot be decoded, `.unsupported` for samples of more than two channels; the next
    ///   packet may be better.
    func decode(_ data: [UInt8]?, pts: Int64?) throws(MediaError) -> [SoundSamples] {
        guard let context = unsafe context, let packet = unsafe packet else { return [] }
        if let data {
            guard !data.isEmpty, data.count <= Self.packetLimit,
                unsafe av_new_packet(packet, Int32(data.count)) >= 0, let target = unsafe packet.pointee.data
            else { throw MediaError(.codecFailed, "A packet of sound has \(data.count) bytes.") }
            unsafe data.withUnsafeBufferPointer { source in
                if let base = source.baseAddress { unsafe target.update(from: base, count: data.count) }
            }
            unsafe packet.pointee.pts = pts ?? sudocam_no_timestamp()
            let code = unsafe avcodec_send_packet(context, packet)
            unsafe av_packet_unref(packet)
            guard code >= 0 else {
                throw MediaError(.codecFailed, "Sound cannot be decoded: \(AVFailure.text(code)).")
            }
        } else {
            unsafe avcodec_send_packet(context, nil)
        }
        return try received()
    }

    private func received() throws(MediaError) -> [SoundSamples] {
        guard let context = unsafe context, let frame = unsafe frame else { return [] }
        var stretches: [SoundSamples] = []
        while unsafe avcodec_receive_frame(context, frame) >= 0 {
            defer { unsafe av_frame_unref(frame) }
            let channels = unsafe Int(frame.pointee.ch_layout.nb_channels)
            guard (1...2).contains(channels) else {
                throw MediaError(.unsupported, "The sound has \(channels) channels; SudoCam encodes one or two.")
            }
            guard let planes = unsafe Self.planes(frame, channels) else {
                throw MediaError(.unsupported, "The sound's samples are of no kind that SudoCam reads.")
            }
            let pts = unsafe frame.pointee.pts
            stretches.append(
                SoundSamples(
                    sampleRate: unsafe Int(frame.pointee.sample_rate), planes: planes,
                    pts: pts == sudocam_no_timestamp() ? nil : pts))
        }
        return stretches
    }

    private static func planes(_ frame: UnsafeMutablePointer<AVFrame>, _ channels: Int) -> [[Float]]? {
        switch unsafe AVSampleFormat(frame.pointee.format) {
        case AV_SAMPLE_FMT_U8, AV_SAMPLE_FMT_U8P:
            unsafe planes(frame, channels) { (value: UInt8) in (Float(value) - 128) / 128 }
        case AV_SAMPLE_FMT_S16, AV_SAMPLE_FMT_S16P:
            unsafe planes(frame, channels) { (value: Int16) in Float(value) / 32_768 }
        case AV_SAMPLE_FMT_S32, AV_SAMPLE_FMT_S32P:
            unsafe planes(frame, channels) { (value: Int32) in Float(value) / 2_147_483_648 }
        case AV_SAMPLE_FMT_FLT, AV_SAMPLE_FMT_FLTP: unsafe planes(frame, channels) { (value: Float) in value }
        case AV_SAMPLE_FMT_DBL, AV_SAMPLE_FMT_DBLP: unsafe planes(frame, channels) { (value: Double) in Float(value) }
        default: nil
        }
    }

    /// The encoder refuses what is no number, and what is louder than the loudest would be clipped by a player anyway.
    private static func planes<Value>(
        _ frame: UnsafeMutablePointer<AVFrame>, _ channels: Int, _ level: (Value) -> Float
    ) -> [[Float]]? {
        let count = unsafe Int(max(0, frame.pointee.nb_samples))
        let isPlanar = unsafe av_sample_fmt_is_planar(AVSampleFormat(frame.pointee.format)) != 0
        var planes: [[Float]] = []
        for channel in 0..<channels {
            guard let start = unsafe frame.pointee.extended_data[isPlanar ? channel : 0] else { return nil }
            let values = unsafe UnsafeRawPointer(start).assumingMemoryBound(to: Value.self)
            planes.append(
                (0..<count).map { sample in
                    let value = unsafe level(values[isPlanar ? sample : sample * channels + channel])
                    return value.isFinite ? min(1, max(-1, value)) : 0
                })
        }
        return planes
    }
}
