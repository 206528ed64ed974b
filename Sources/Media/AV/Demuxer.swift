import CAV
import Core
import Synchronization

/// Ends a blocking call of libav from another thread.
public final class InterruptFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    /// CLOCK_BOOTTIME µs after which the present call is given up; 0: never.
    private let deadline = Atomic<Int64>(0)

    public init() {}
    public func interrupt() { flag.store(true, ordering: .releasing) }
    public var isSet: Bool { flag.load(ordering: .acquiring) }

    func allow(microseconds: Int64) {
        deadline.store(SystemTime().monotonicNow().microseconds + microseconds, ordering: .releasing)
    }
    var isOver: Bool {
        if isSet { return true }
        let limit = deadline.load(ordering: .acquiring)
        return limit > 0 && SystemTime().monotonicNow().microseconds > limit
    }
}

/// An opened input of libavformat: the video of a file or an RTSP camera as access units. For one thread at a time.
@safe public final class Demuxer {
    /// One coded frame as it came.
    public struct Frame: Sendable {
        /// NAL units behind 4-byte lengths.
        public var data: [UInt8]
        public var isKey: Bool
        /// 90 kHz; nil where the container says nothing.
        public var dts: Int64?
        public var pts: Int64?
        public var duration: Int64
    }

    public let codec: Codec
    /// From the container or SDP; nil until they come in band.
    public private(set) var parameters: CodecParameters?
    /// They changed with the last frame.
    public private(set) var parametersChanged = false

    private var context: UnsafeMutablePointer<AVFormatContext>?
    private var packet: UnsafeMutablePointer<AVPacket>?
    private let stream: Int32
    private let timeBase: AVRational
    private let lengthSize: Int?
    private let interrupt: InterruptFlag
    private let readTimeout: Int64

    /// - Parameters:
    ///   - url: as libavformat takes it; its scheme was checked by the caller.
    ///   - options: `AVDictionary` entries for the protocol and the demuxer.
    ///   - probe: look into the stream for its parameters (files); RTSP carries them in SDP or in band.
    ///   - timeout: µs, for opening and for each read.
    public init(
        url: String, options: [String: String], probe: Bool, interrupt: InterruptFlag, timeout: Int64
    ) throws(MediaError) {
        _ = AVFailure.quiet
        self.interrupt = interrupt
        readTimeout = timeout
        guard var opened = unsafe avformat_alloc_context() else {
            throw MediaError(.openFailed, "libavformat has no memory.")
        }
        unsafe opened.pointee.interrupt_callback = AVIOInterruptCB(
            callback: { opaque in
                guard let opaque = unsafe opaque else { return 0 }
                return unsafe Unmanaged<InterruptFlag>.fromOpaque(opaque).takeUnretainedValue().isOver ? 1 : 0
            }, opaque: Unmanaged.passUnretained(interrupt).toOpaque())
        var dictionary: OpaquePointer?
        for (key, value) in options { unsafe av_dict_set(&dictionary, key, value, 0) }
        defer { unsafe av_dict_free(&dictionary) }
        interrupt.allow(microseconds: timeout)
        var pointer: UnsafeMutablePointer<AVFormatContext>? = unsafe opened
        let code = unsafe avformat_open_input(&pointer, url, nil, &dictionary)
        guard code >= 0, let ready = unsafe pointer else {
            throw Self.failure(.openFailed, "cannot be opened", code, interrupt)
        }
        unsafe opened = unsafe ready
        var closing: UnsafeMutablePointer<AVFormatContext>? = unsafe opened
        if probe {
            let found = unsafe avformat_find_stream_info(opened, nil)
            guard found >= 0 else {
                unsafe avformat_close_input(&closing)
                throw Self.failure(.readFailed, "has no readable stream", found, interrupt)
            }
        }
        let index = unsafe av_find_best_stream(opened, AVMEDIA_TYPE_VIDEO, -1, -1, nil, 0)
        guard index >= 0, let entry = unsafe opened.pointee.streams[Int(index)],
            let coding = unsafe entry.pointee.codecpar
        else {
            unsafe avformat_close_input(&closing)
            throw MediaError(.unsupported, "There is no video in it.")
        }
        let codec: Codec? =
            switch unsafe coding.pointee.codec_id {
            case AV_CODEC_ID_H264: .h264
            case AV_CODEC_ID_HEVC: .h265
            default: nil
            }
        guard let codec else {
            let name = unsafe String(cString: avcodec_get_name(coding.pointee.codec_id))
            unsafe avformat_close_input(&closing)
            throw MediaError(.unsupported, "Its video is \(name); SudoCam records H.264 and H.265.")
        }
        let extradata = unsafe Array(
            UnsafeBufferPointer(start: coding.pointee.extradata, count: Int(max(0, coding.pointee.extradata_size))))
        parameters = extradata.isEmpty ? nil : try? CodecParameters(codec: codec, extradata: extradata)
        lengthSize = extradata.isEmpty ? nil : CodecParameters.lengthSize(ofExtradata: extradata, codec)
        for other in 0..<Int(unsafe opened.pointee.nb_streams) where other != Int(index) {
            unsafe opened.pointee.streams[other]?.pointee.discard = AVDISCARD_ALL
        }
        self.codec = codec
        stream = index
        timeBase = unsafe entry.pointee.time_base
        unsafe packet = unsafe av_packet_alloc()
        unsafe context = unsafe opened
    }

    deinit {
        unsafe av_packet_free(&packet)
        unsafe avformat_close_input(&context)
    }

    /// The next frame; nil at the end of a file.
    public func next() throws(MediaError) -> Frame? {
        guard let context = unsafe context, let packet = unsafe packet else { return nil }
        parametersChanged = false
        // Once a frame, not once a packet: a camera that sends parameter sets but no picture is silent too (I13).
        interrupt.allow(microseconds: readTimeout)
        while true {
            let code = unsafe av_read_frame(context, packet)
            if code == sudocam_averror_eof() { return nil }
            guard code >= 0 else { throw Self.failure(.readFailed, "stopped", code, interrupt) }
            defer { unsafe av_packet_unref(packet) }
            guard unsafe packet.pointee.stream_index == stream, unsafe packet.pointee.size > 0 else { continue }
            let bytes = unsafe Array(
                UnsafeBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size)))
            if let frame = unsafe frame(bytes, packet) { return frame }
        }
    }

    private func frame(_ bytes: [UInt8], _ packet: UnsafeMutablePointer<AVPacket>) -> Frame? {
        let units: [ArraySlice<UInt8>]
        if let lengthSize {
            units = Array(NALUnits(bytes, lengthSize: lengthSize))
        } else {
            units = AnnexB.split(bytes)
        }
        guard units.contains(where: { codec == .h264 ? H264NAL.isPicture($0) : H265NAL.isPicture($0) }) else {
            learn(units)
            return nil
        }
        learn(units)
        let isKey = units.contains {
            codec == .h264 ? H264NAL.type($0) == H264NAL.idr : H265NAL.isRandomAccess($0) && H265NAL.isPicture($0)
        }
        let none = sudocam_no_timestamp()
        let (dts, pts) = unsafe (packet.pointee.dts, packet.pointee.pts)
        return Frame(
            data: NALUnits.lengthPrefixed(units), isKey: isKey, dts: dts == none ? nil : ticks(dts),
            pts: pts == none ? nil : ticks(pts), duration: ticks(unsafe packet.pointee.duration) ?? 0)
    }

    /// Parameter sets in band replace what was known.
    private func learn(_ units: [ArraySlice<UInt8>]) {
        let sets = units.filter { unit in
            codec == .h264
                ? [H264NAL.sps, H264NAL.pps].contains(H264NAL.type(unit))
                : (H265NAL.vps...H265NAL.pps).contains(H265NAL.type(unit))
        }
        guard !sets.isEmpty, let found = try? CodecParameters(codec: codec, units: sets.map(Array.init)) else { return }
        // They may come in a packet of their own, before the frame they belong to.
        if parameters != nil, parameters != found { parametersChanged = true }
        parameters = found
    }

    /// Nil for what is no time (2^52 ticks are 1500 years), so that nobody's sums of what a file says overflow.
    private func ticks(_ value: Int64) -> Int64? {
        let ticks = av_rescale_q(value, timeBase, AVRational(num: 1, den: 90_000))
        return ticks.magnitude < 1 << 52 ? ticks : nil
    }

    private static func failure(
        _ code: MediaError.Code, _ what: String, _ result: Int32, _ interrupt: InterruptFlag
    ) -> MediaError {
        if interrupt.isSet { return MediaError(.interrupted, "It was stopped.") }
        // Not every protocol of libav says AVERROR_EXIT when it was interrupted; the RTSP handshake does not.
        if result == sudocam_averror_exit() || interrupt.isOver {
            return MediaError(.timedOut, "It \(what): nothing came in time.")
        }
        return MediaError(code, "It \(what): \(AVFailure.text(result)).")
    }
}
