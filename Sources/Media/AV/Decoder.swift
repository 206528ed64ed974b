import CAV

/// Decodes access units to pictures with libavcodec; for tests and detection. For one thread at a time.
@safe public final class Decoder {
    public struct Picture: Sendable {
        public var width: Int
        public var height: Int
        /// width × height bytes.
        public var luma: [UInt8]
        /// What was given with the access unit.
        public var pts: Int64
    }

    /// What an 8K camera has.
    public static let mostPixels: Int64 = 1 << 25

    private var context: UnsafeMutablePointer<AVCodecContext>?
    private var frame: UnsafeMutablePointer<AVFrame>?
    private var packet: UnsafeMutablePointer<AVPacket>?

    public init(_ parameters: CodecParameters) throws(MediaError) {
        _ = AVFailure.quiet
        let id = parameters.codec == .h264 ? AV_CODEC_ID_H264 : AV_CODEC_ID_HEVC
        guard let codec = unsafe avcodec_find_decoder(id), let made = unsafe avcodec_alloc_context3(codec) else {
            throw MediaError(.unsupported, "This FFmpeg does not decode \(parameters.codec.rawValue).")
        }
        var owned: UnsafeMutablePointer<AVCodecContext>? = unsafe made
        unsafe made.pointee.thread_count = 1
        // A stream says itself how large its pictures are, and three times as many bytes are taken for each.
        unsafe made.pointee.max_pixels = Self.mostPixels
        let code = unsafe avcodec_open2(made, codec, nil)
        guard code >= 0 else {
            unsafe avcodec_free_context(&owned)
            throw MediaError(.codecFailed, "The decoder does not start: \(AVFailure.text(code)).")
        }
        unsafe packet = unsafe av_packet_alloc()
        unsafe frame = unsafe av_frame_alloc()
        unsafe context = unsafe made
        prefix = parameters.annexB
    }

    deinit {
        unsafe av_packet_free(&packet)
        unsafe av_frame_free(&frame)
        unsafe avcodec_free_context(&context)
    }

    private let prefix: [UInt8]

    /// - Parameter data: NAL units behind 4-byte lengths; empty: the last pictures, please.
    public func decode(_ data: [UInt8], isKey: Bool, pts: Int64) throws(MediaError) -> [Picture] {
        guard let context = unsafe context, let frame = unsafe frame, let packet = unsafe packet else { return [] }
        if data.isEmpty {
            unsafe avcodec_send_packet(context, nil)
        } else {
            let bytes = (isKey ? prefix : []) + AnnexB.join(lengthPrefixed: data)
            guard unsafe av_new_packet(packet, Int32(bytes.count)) >= 0, let target = unsafe packet.pointee.data else {
                throw MediaError(.codecFailed, "No memory for a packet.")
            }
            unsafe bytes.withUnsafeBufferPointer { source in
                if let base = source.baseAddress { unsafe target.update(from: base, count: bytes.count) }
            }
            unsafe packet.pointee.pts = pts
            let code = unsafe avcodec_send_packet(context, packet)
            unsafe av_packet_unref(packet)
            guard code >= 0 else {
                throw MediaError(.codecFailed, "A frame cannot be decoded: \(AVFailure.text(code)).")
            }
        }
        var pictures: [Picture] = []
        while unsafe avcodec_receive_frame(context, frame) >= 0 {
            let (width, height) = unsafe (Int(frame.pointee.width), Int(frame.pointee.height))
            var luma: [UInt8] = []
            luma.reserveCapacity(width * height)
            if let plane = unsafe frame.pointee.data.0 {
                for row in 0..<height {
                    unsafe luma.append(
                        contentsOf: UnsafeBufferPointer(
                            start: plane + row * Int(frame.pointee.linesize.0), count: width))
                }
            }
            pictures.append(Picture(width: width, height: height, luma: luma, pts: unsafe frame.pointee.pts))
            unsafe av_frame_unref(frame)
        }
        return pictures
    }
}
