import CAV

/// libx264 through libavcodec: grey planes with colour in, H.264 access units out. For one thread at a time.
@safe public final class Encoder {
    public struct Settings: Sendable, Equatable {
        /// Even, pixels.
        public var width: Int
        public var height: Int
        /// Frames a second.
        public var rate: Int
        /// Frames from one key frame to the next.
        public var keyInterval: Int
        /// Bits a second.
        public var bitRate: Int
        public var bFrames: Int
        /// `baseline`, `main` or `high`.
        public var profile: String

        public init(
            width: Int, height: Int, rate: Int, keyInterval: Int, bitRate: Int, bFrames: Int = 0,
            profile: String = "high"
        ) {
            self.width = width
            self.height = height
            self.rate = rate
            self.keyInterval = keyInterval
            self.bitRate = bitRate
            self.bFrames = bFrames
            self.profile = profile
        }
    }

    public struct Packet: Sendable {
        /// NAL units behind 4-byte lengths.
        public var data: [UInt8]
        public var isKey: Bool
        /// 90 kHz.
        public var dts: Int64
        public var pts: Int64
    }

    public let parameters: CodecParameters
    private var context: UnsafeMutablePointer<AVCodecContext>?
    private var frame: UnsafeMutablePointer<AVFrame>?
    private var packet: UnsafeMutablePointer<AVPacket>?

    public init(_ settings: Settings) throws(MediaError) {
        _ = AVFailure.quiet
        guard let codec = unsafe avcodec_find_encoder_by_name("libx264"),
            let made = unsafe avcodec_alloc_context3(codec)
        else {
            throw MediaError(.unsupported, "This FFmpeg has no libx264.", hint: "Install Debian's libavcodec.")
        }
        var owned: UnsafeMutablePointer<AVCodecContext>? = unsafe made
        unsafe made.pointee.width = Int32(settings.width)
        unsafe made.pointee.height = Int32(settings.height)
        unsafe made.pointee.pix_fmt = AV_PIX_FMT_YUV420P
        unsafe made.pointee.time_base = AVRational(num: 1, den: 90_000)
        unsafe made.pointee.framerate = AVRational(num: Int32(settings.rate), den: 1)
        unsafe made.pointee.gop_size = Int32(settings.keyInterval)
        unsafe made.pointee.keyint_min = Int32(settings.keyInterval)
        unsafe made.pointee.max_b_frames = Int32(settings.bFrames)
        unsafe made.pointee.bit_rate = Int64(settings.bitRate)
        unsafe made.pointee.rc_max_rate = Int64(settings.bitRate)
        unsafe made.pointee.rc_buffer_size = Int32(settings.bitRate)
        unsafe made.pointee.thread_count = 1
        unsafe made.pointee.flags |= AV_CODEC_FLAG_GLOBAL_HEADER
        var options: OpaquePointer?
        unsafe av_dict_set(&options, "preset", "superfast", 0)
        if settings.bFrames == 0 { unsafe av_dict_set(&options, "tune", "zerolatency", 0) }
        unsafe av_dict_set(&options, "profile", settings.profile, 0)
        unsafe av_dict_set(&options, "x264-params", "scenecut=0:open-gop=0:sliced-threads=0:b-pyramid=0", 0)
        let code = unsafe avcodec_open2(made, codec, &options)
        unsafe av_dict_free(&options)
        guard code >= 0 else {
            unsafe avcodec_free_context(&owned)
            throw MediaError(.codecFailed, "libx264 refuses these settings: \(AVFailure.text(code)).")
        }
        let extradata = unsafe Array(
            UnsafeBufferPointer(start: made.pointee.extradata, count: Int(made.pointee.extradata_size)))
        let known: CodecParameters
        do {
            known = try CodecParameters(codec: .h264, extradata: extradata, leastReorder: settings.bFrames > 0 ? 1 : 0)
        } catch {
            unsafe avcodec_free_context(&owned)
            throw error
        }
        parameters = known
        unsafe packet = unsafe av_packet_alloc()
        unsafe frame = unsafe av_frame_alloc()
        unsafe frame?.pointee.format = AV_PIX_FMT_YUV420P.rawValue
        unsafe frame?.pointee.width = Int32(settings.width)
        unsafe frame?.pointee.height = Int32(settings.height)
        unsafe av_frame_get_buffer(frame, 0)
        unsafe context = unsafe made
    }

    deinit {
        unsafe av_packet_free(&packet)
        unsafe av_frame_free(&frame)
        unsafe avcodec_free_context(&context)
    }

    /// - Parameters:
    ///   - luma: width × height bytes; `cb`, `cr`: (width/2) × (height/2) bytes.
    ///   - pts: 90 kHz, rising.
    /// - Returns: what is ready now; with B-frames later frames bring earlier ones.
    public func encode(luma: [UInt8], cb: [UInt8], cr: [UInt8], pts: Int64) throws(MediaError) -> [Packet] {
        guard let context = unsafe context, let frame = unsafe frame else { return [] }
        var code = unsafe av_frame_make_writable(frame)
        guard code >= 0 else { throw MediaError(.codecFailed, "No memory for a frame: \(AVFailure.text(code)).") }
        let (width, height) = unsafe (Int(context.pointee.width), Int(context.pointee.height))
        guard luma.count == width * height, cb.count == width / 2 * (height / 2), cr.count == cb.count else {
            throw MediaError(.invalid, "The planes do not have the picture's size.")
        }
        unsafe Self.copy(luma, width, height, frame.pointee.data.0, frame.pointee.linesize.0)
        unsafe Self.copy(cb, width / 2, height / 2, frame.pointee.data.1, frame.pointee.linesize.1)
        unsafe Self.copy(cr, width / 2, height / 2, frame.pointee.data.2, frame.pointee.linesize.2)
        unsafe frame.pointee.pts = pts
        code = unsafe avcodec_send_frame(context, frame)
        guard code >= 0 else { throw MediaError(.codecFailed, "libx264 refused a frame: \(AVFailure.text(code)).") }
        return try ready()
    }

    /// What B-frames held back; nothing can be encoded after it.
    public func finish() throws(MediaError) -> [Packet] {
        guard let context = unsafe context, unsafe avcodec_send_frame(context, nil) >= 0 else { return [] }
        return try ready()
    }

    private func ready() throws(MediaError) -> [Packet] {
        guard let context = unsafe context, let packet = unsafe packet else { return [] }
        var packets: [Packet] = []
        while true {
            let code = unsafe avcodec_receive_packet(context, packet)
            if code == sudocam_averror_again() || code == sudocam_averror_eof() { return packets }
            guard code >= 0 else { throw MediaError(.codecFailed, "libx264 failed: \(AVFailure.text(code)).") }
            let bytes = unsafe Array(UnsafeBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size)))
            packets.append(
                unsafe Packet(
                    data: NALUnits.lengthPrefixed(AnnexB.split(bytes)),
                    isKey: packet.pointee.flags & AV_PKT_FLAG_KEY != 0, dts: packet.pointee.dts,
                    pts: packet.pointee.pts))
            unsafe av_packet_unref(packet)
        }
    }

    private static func copy(
        _ plane: [UInt8], _ width: Int, _ height: Int, _ target: UnsafeMutablePointer<UInt8>?, _ stride: Int32
    ) {
        guard let target = unsafe target else { return }
        unsafe plane.withUnsafeBufferPointer { source in
            guard let base = source.baseAddress else { return }
            for row in 0..<height {
                unsafe (target + row * Int(stride)).update(from: base + row * width, count: width)
            }
        }
    }
}
