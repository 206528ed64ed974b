import CAV

/// libavcodec's own AAC encoder: AAC-LC of one or two channels. For one thread at a time.
@safe final class SoundEncoder {
    struct Packet {
        var data: [UInt8]
        /// Of which frame that was given this is the sound, from 0; −1 is what a decoder runs up with.
        var index: Int64
    }

    static let frameLength = 1024
    let parameters: SoundParameters
    private var context: UnsafeMutablePointer<AVCodecContext>?
    private var frame: UnsafeMutablePointer<AVFrame>?
    private var packet: UnsafeMutablePointer<AVPacket>?
    private var frames: Int64 = 0

    /// Bits a second, for each channel: 24 000 at 8 kHz, 32 000 at 16 kHz, 64 000 from 32 kHz on.
    static func bitRate(sampleRate: Int) -> Int { max(24_000, min(64_000, sampleRate * 2)) }

    /// - Throws: `.unsupported` for a rate that AAC does not have, `.codecFailed`.
    init(sampleRate: Int, channels: Int) throws(MediaError) {
        _ = AVFailure.quiet
        guard SoundParameters.sampleRates.contains(sampleRate) else {
            throw MediaError(
                .unsupported, "The sound has \(sampleRate) samples a second, a rate that AAC does not have.")
        }
        guard let codec = unsafe avcodec_find_encoder_by_name("aac"), let made = unsafe avcodec_alloc_context3(codec)
        else { throw MediaError(.unsupported, "This FFmpeg has no AAC encoder.", hint: "Install Debian's libavcodec.") }
        var owned: UnsafeMutablePointer<AVCodecContext>? = unsafe made
        unsafe made.pointee.sample_fmt = AV_SAMPLE_FMT_FLTP
        unsafe made.pointee.sample_rate = Int32(sampleRate)
        unsafe made.pointee.time_base = AVRational(num: 1, den: Int32(sampleRate))
        unsafe av_channel_layout_default(&made.pointee.ch_layout, Int32(channels))
        unsafe made.pointee.bit_rate = Int64(channels * Self.bitRate(sampleRate: sampleRate))
        unsafe made.pointee.thread_count = 1
        unsafe made.pointee.flags |= AV_CODEC_FLAG_GLOBAL_HEADER
        let code = unsafe avcodec_open2(made, codec, nil)
        guard code >= 0, unsafe made.pointee.frame_size == Int32(Self.frameLength) else {
            unsafe avcodec_free_context(&owned)
            throw MediaError(.codecFailed, "The AAC encoder does not start: \(AVFailure.text(code)).")
        }
        do {
            parameters = try unsafe SoundParameters(
                configuration: Array(
                    UnsafeBufferPointer(start: made.pointee.extradata, count: Int(made.pointee.extradata_size))))
        } catch {
            unsafe avcodec_free_context(&owned)
            throw error
        }
        unsafe packet = unsafe av_packet_alloc()
        unsafe frame = unsafe av_frame_alloc()
        unsafe frame?.pointee.format = AV_SAMPLE_FMT_FLTP.rawValue
        unsafe frame?.pointee.nb_samples = Int32(Self.frameLength)
        unsafe frame?.pointee.sample_rate = Int32(sampleRate)
        if let frame = unsafe frame {
            unsafe av_channel_layout_default(&frame.pointee.ch_layout, Int32(channels))
            unsafe av_frame_get_buffer(frame, 0)
        }
        unsafe context = unsafe made
    }

    deinit {
        unsafe av_packet_free(&packet)
        unsafe av_frame_free(&frame)
        unsafe avcodec_free_context(&context)
    }

    /// - Parameter planes: `frameLength` samples for each channel.
    /// - Returns: what is ready: mostly the frame before.
    func encode(_ planes: [[Float]]) throws(MediaError) -> [Packet] {
        guard let context = unsafe context, let frame = unsafe frame else { return [] }
        var code = unsafe av_frame_make_writable(frame)
        guard code >= 0 else { throw MediaError(.codecFailed, "No memory for sound: \(AVFailure.text(code)).") }
        guard planes.count == parameters.channels, planes.allSatisfy({ $0.count == Self.frameLength }) else {
            throw MediaError(.invalid, "A frame of sound has \(Self.frameLength) samples for each channel.")
        }
        for (channel, plane) in planes.enumerated() {
            guard let target = unsafe frame.pointee.extended_data[channel] else { continue }
            unsafe plane.withUnsafeBytes { source in
                if let base = source.baseAddress {
                    unsafe UnsafeMutableRawPointer(target).copyMemory(from: base, byteCount: source.count)
                }
            }
        }
        unsafe frame.pointee.pts = frames * Int64(Self.frameLength)
        frames += 1
        code = unsafe avcodec_send_frame(context, frame)
        guard code >= 0 else { throw MediaError(.codecFailed, "Sound cannot be encoded: \(AVFailure.text(code)).") }
        return try ready()
    }

    /// What is left; nothing can be encoded after it.
    func finish() throws(MediaError) -> [Packet] {
        guard let context = unsafe context, unsafe avcodec_send_frame(context, nil) >= 0 else { return [] }
        return try ready()
    }

    private func ready() throws(MediaError) -> [Packet] {
        guard let context = unsafe context, let packet = unsafe packet else { return [] }
        var packets: [Packet] = []
        while true {
            let code = unsafe avcodec_receive_packet(context, packet)
            if code == sudocam_averror_again() || code == sudocam_averror_eof() { return packets }
            guard code >= 0 else { throw MediaError(.codecFailed, "Sound cannot be encoded: \(AVFailure.text(code)).") }
            // A decoder hears each frame one frame later, and the encoder's times say so.
            let index = unsafe packet.pointee.pts / Int64(Self.frameLength)
            packets.append(
                unsafe Packet(
                    data: Array(UnsafeBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size))),
                    index: index))
            unsafe av_packet_unref(packet)
        }
    }
}
