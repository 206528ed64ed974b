import CAV
import Core

/// An opened input of libavformat: the pictures of a file or an RTSP camera as coded frames, and its sound as AAC-LC, in the order
/// of arrival. Whatever is wrong with the sound costs no picture. Blocking; for one thread at a time.
@safe public final class Demuxer {
    public enum Item: Sendable {
        case video(CodedFrame)
        case sound(SoundFrame, SoundParameters)
        /// Sound that is left out: why. The same sentence comes for each packet that has the same trouble.
        case soundLost(String)
    }

    public enum Source: Sendable {
        /// Looked into for its parameters; its end must be where its container says.
        case file
        /// Carries parameters in SDP or in band, and presentation times only.
        case rtsp
    }

    public let codec: Codec
    /// Known already where the container or SDP carries them.
    public var parameters: CodecParameters? { assembler.parameters }

    private var context: UnsafeMutablePointer<AVFormatContext>?
    private var packet: UnsafeMutablePointer<AVPacket>?
    private let stream: Int32
    private let timeBase: AVRational
    private let sound: SoundStream?
    private let soundIndex: Int32
    private let soundTimeBase: AVRational
    /// Where libavformat's times are those of several streams over RTP.
    private var clock: MediaClock?
    /// What was read and not taken yet.
    private var waiting: [Item] = []
    private var isOver = false
    private var failure: MediaError?
    /// Since when the next picture is waited for; sound does not count.
    private var waitingSince: MonotonicTime?
    private let source: Source
    private let interrupt: InterruptFlag
    /// libav asks it through an unowned pointer for as long as the context lives.
    private let guardian: OpenGuard
    private let readTimeout: Int64
    private var assembler: AccessUnitAssembler
    private var lastIsCut = false

    /// How long pictures may come that nothing can decode, µs.
    private static let longestGroup: Int64 = 60_000_000
    /// What a camera may take to hear that we go, µs.
    private static let farewell: Int64 = 500_000

    /// Containers, and nothing that opens what its content names: no playlists, no lists of files, no SDP, no image series.
    private static let fileOptions = [
        "protocol_whitelist": "file", "format_whitelist": "mov,matroska,mpegts,mpeg,flv,avi,h264,hevc",
    ]
    private static let rtspOptions = [
        "protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls", "format_whitelist": "rtsp", "rtsp_transport": "tcp",
        "user_agent": "SudoCam",
    ]

    /// - Parameters:
    ///   - url: as libavformat takes it; its scheme was checked by the caller.
    ///   - timeout: µs, for opening and for each picture.
    ///   - wantsSound: whether to look for sound at all.
    /// - Throws: `.openFailed`, `.timedOut`, `.interrupted`; `.malformed` for files of other kinds or without their index;
    ///   `.unsupported` where there is no video in H.264 or H.265.
    public init(
        url: String, source: Source, interrupt: InterruptFlag, timeout: Int64, sound wantsSound: Bool = true
    ) throws(MediaError) {
        _ = AVFailure.quiet
        self.interrupt = interrupt
        self.source = source
        readTimeout = timeout
        var streams = 0
        var lost: String?
        var opened: UnsafeMutablePointer<AVFormatContext>
        do throws(MediaError) {
            unsafe (opened, guardian) = try unsafe Self.open(
                url, source, interrupt, timeout, sound: wantsSound, streams: &streams)
        } catch {
            // A camera that told of its sound and then would not go on may do so without.
            guard source == .rtsp, wantsSound, streams > 1, [.openFailed, .timedOut].contains(error.code) else {
                throw error
            }
            lost = "The camera does not hand out its sound."
            unsafe (opened, guardian) = try unsafe Self.open(
                url, source, interrupt, timeout, sound: false, streams: &streams)
        }
        do throws(MediaError) {
            if source == .file {
                let found = unsafe avformat_find_stream_info(opened, nil)
                guard found >= 0 else { throw Self.failure(.malformed, "has no readable stream", found, interrupt) }
            }
            let (index, codec) = try unsafe Self.video(in: opened)
            guard let entry = unsafe opened.pointee.streams[index], let coding = unsafe entry.pointee.codecpar else {
                throw MediaError(.unsupported, "There is no video in it.")
            }
            let extradata = unsafe Self.bytes(coding.pointee.extradata, Int(coding.pointee.extradata_size))
            assembler = AccessUnitAssembler(
                codec: codec, extradata: extradata, leastReorder: Int(unsafe coding.pointee.video_delay),
                timing: source == .file ? .container : .presentationOnly)
            self.codec = codec
            stream = Int32(index)
            timeBase = unsafe entry.pointee.time_base
        } catch {
            var closing: UnsafeMutablePointer<AVFormatContext>? = unsafe opened
            unsafe avformat_close_input(&closing)
            throw error
        }
        let found = wantsSound ? unsafe Self.sound(in: opened, &lost) : nil
        sound = found?.stream
        soundIndex = found.map { Int32($0.index) } ?? -1
        soundTimeBase = found?.timeBase ?? AVRational(num: 1, den: 90_000)
        let count = unsafe Int(opened.pointee.nb_streams)
        for other in 0..<count where other != Int(stream) && other != Int(soundIndex) {
            unsafe opened.pointee.streams[other]?.pointee.discard = AVDISCARD_ALL
        }
        if source == .rtsp, count > 1 { clock = MediaClock() }
        if let lost { waiting.append(.soundLost(lost)) }
        unsafe packet = unsafe av_packet_alloc()
        unsafe context = unsafe opened
    }

    /// - Parameter streams: how many the camera told of; also where it fails.
    private static func open(
        _ url: String, _ source: Source, _ interrupt: InterruptFlag, _ timeout: Int64, sound: Bool,
        streams: inout Int
    ) throws(MediaError) -> (UnsafeMutablePointer<AVFormatContext>, OpenGuard) {
        guard let opened = unsafe avformat_alloc_context() else {
            throw MediaError(.openFailed, "libavformat has no memory.")
        }
        let guardian = unsafe OpenGuard(interrupt, opened, url: url)
        unsafe opened.pointee.interrupt_callback = AVIOInterruptCB(
            callback: { opaque in
                guard let opaque = unsafe opaque else { return 0 }
                return unsafe Unmanaged<OpenGuard>.fromOpaque(opaque).takeUnretainedValue().ends ? 1 : 0
            }, opaque: Unmanaged.passUnretained(guardian).toOpaque())
        var options = source == .file ? fileOptions : rtspOptions
        if source == .rtsp {
            // The interrupt decides; libav's own limit on a socket only backs it.
            options["timeout"] = "\(timeout.addingSaturating(timeout))"
            options["allowed_media_types"] = sound ? "video+audio" : "video"
        }
        var dictionary: OpaquePointer?
        for (key, value) in options { unsafe av_dict_set(&dictionary, key, value, 0) }
        defer { unsafe av_dict_free(&dictionary) }
        interrupt.allow(microseconds: timeout)
        var pointer: UnsafeMutablePointer<AVFormatContext>? = unsafe opened
        let code = unsafe avformat_open_input(&pointer, url, nil, &dictionary)
        guardian.opened()
        streams = guardian.streams
        guard code >= 0, let ready = unsafe pointer else {
            if guardian.wasRedirected, !interrupt.isSet { throw redirected }
            throw openFailure(code, source, interrupt)
        }
        return unsafe (ready, guardian)
    }

    deinit {
        // A camera that is not told keeps the session and may refuse the next one (I12); a dead one must not hold us up.
        interrupt.allowClosing(microseconds: Self.farewell)
        unsafe av_packet_free(&packet)
        unsafe avformat_close_input(&context)
        interrupt.closed()
    }

    /// The next picture, or piece of sound; nil at the end of a file that is whole, and where a camera ended the stream.
    /// - Throws: `.timedOut` when no picture came in time, `.malformed` when pictures came that nothing can decode,
    ///   `.truncated` at the end of a file that is cut short, `.readFailed`, `.interrupted`.
    public func next() throws(MediaError) -> Item? {
        while waiting.isEmpty {
            if let failure { throw failure }
            guard !isOver else { return nil }
            do throws(MediaError) {
                try read()
            } catch {
                failure = error
            }
            // What the encoder still has is the last that was heard.
            if isOver || failure != nil { hear(sound?.finish() ?? []) }
        }
        return waiting.removeFirst()
    }

    /// Reads one packet.
    private func read() throws(MediaError) {
        guard let context = unsafe context, let packet = unsafe packet else {
            isOver = true
            return
        }
        // Once a picture, not once a packet: a camera that sends parameter sets, or sound, but no picture is silent too (I13).
        let began = waitingSince ?? SystemTime().monotonicNow()
        if waitingSince == nil { interrupt.allow(microseconds: readTimeout) }
        waitingSince = began
        let code = unsafe av_read_frame(context, packet)
        // Packets that do not block must not keep a camera without pictures alive either.
        guard !interrupt.isOver else { throw broken(code) }
        if code == sudocam_averror_eof() {
            try checkEnd()
            isOver = true
            return
        }
        guard code >= 0 else { throw broken(code) }
        defer { unsafe av_packet_unref(packet) }
        if unsafe packet.pointee.stream_index == soundIndex { return unsafe hear(packet) }
        guard unsafe packet.pointee.stream_index == stream else { return }
        if let frame = unsafe try frame(packet) {
            waiting.append(.video(frame))
            waitingSince = nil
            return
        }
        // Sets that come with key frames only may be a long group of pictures away.
        let left = Self.longestGroup - (SystemTime().monotonicNow() - began)
        if assembler.lacksParameters, left > 0 { interrupt.allow(microseconds: min(left, readTimeout)) }
    }

    private func hear(_ packet: UnsafeMutablePointer<AVPacket>) {
        guard let sound else { return }
        var size = 0
        if let extradata = unsafe av_packet_get_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, &size) {
            sound.learn(extradata: unsafe Self.bytes(extradata, size))
        }
        var pts = unsafe ticks(packet.pointee.pts, soundTimeBase)
        if let told = pts, clock != nil {
            pts = clock?.sound(told, at: SystemTime().monotonicNow())
            // Before the first picture there is nothing that it could belong to.
            if pts == nil { return }
        }
        hear(unsafe sound.take(Self.bytes(packet.pointee.data, Int(packet.pointee.size)), pts: pts))
    }

    private func hear(_ outputs: [SoundStream.Output]) {
        waiting += outputs.map { output in
            switch output {
            case .frame(let frame, let parameters): .sound(frame, parameters)
            case .lost(let reason): .soundLost(reason)
            }
        }
    }

    private func frame(_ packet: UnsafeMutablePointer<AVPacket>) throws(MediaError) -> CodedFrame? {
        var size = 0
        if let extradata = unsafe av_packet_get_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, &size) {
            assembler.learn(extradata: unsafe Self.bytes(extradata, size))
        }
        lastIsCut = unsafe packet.pointee.flags & AV_PKT_FLAG_CORRUPT != 0
        var pts = unsafe ticks(packet.pointee.pts, timeBase)
        // Over RTP there are times of showing only, and decoding times are made from them.
        if let told = pts, clock != nil { pts = clock?.video(told, at: SystemTime().monotonicNow()) }
        let frame = unsafe assembler.assemble(
            Self.bytes(packet.pointee.data, Int(packet.pointee.size)), dts: ticks(packet.pointee.dts, timeBase),
            pts: pts,
            duration: ticks(packet.pointee.duration, timeBase) ?? 0, isCorrupt: lastIsCut)
        // AVI and raw streams: decoding order is known, the order of showing is not.
        if source == .file, pts == nil, let parameters = frame?.newParameters, parameters.reorderFrames > 0 {
            throw MediaError(
                .unsupported, "It has B-frames and does not say when they are shown.",
                hint: "Put it into an MP4 or MKV file.")
        }
        return frame
    }

    /// Some demuxers hide a read error behind the end (avio.h, `AVIOContext.error`), and none misses what was cut off.
    private func checkEnd() throws(MediaError) {
        guard source == .file, let context = unsafe context, let io = unsafe context.pointee.pb else { return }
        let error = unsafe io.pointee.error
        guard error >= 0 || error == sudocam_averror_eof() else { throw broken(error) }
        let size = unsafe avio_size(io)
        var isWhole = !lastIsCut
        if size >= 0, let format = unsafe context.pointee.iformat?.pointee.name,
            let kind = ContainerExtent.Kind(format: unsafe String(cString: format))
        {
            let extent = ContainerExtent(kind: kind, fileSize: size) { offset, count in
                guard unsafe avio_seek(io, offset, SEEK_SET) >= 0 else { return [] }
                var bytes = [UInt8](repeating: 0, count: count)
                let got = unsafe avio_read(io, &bytes, Int32(count))
                return Array(bytes.prefix(Int(max(0, got))))
            }
            isWhole = isWhole && extent.isWhole
        }
        guard isWhole else { throw MediaError(.truncated, "It is cut short: its end is missing.") }
    }

    private static func video(
        in context: UnsafeMutablePointer<AVFormatContext>
    ) throws(MediaError) -> (index: Int, codec: Codec) {
        let index = unsafe av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, nil, 0)
        guard index >= 0, let coding = unsafe context.pointee.streams[Int(index)]?.pointee.codecpar else {
            throw MediaError(.unsupported, "There is no video in it.")
        }
        switch unsafe coding.pointee.codec_id {
        case AV_CODEC_ID_H264: return (Int(index), .h264)
        case AV_CODEC_ID_HEVC: return (Int(index), .h265)
        case let other:
            let name = unsafe String(cString: avcodec_get_name(other))
            throw MediaError(.unsupported, "Its video is \(name); SudoCam records H.264 and H.265.")
        }
    }

    /// The first sound that can be recorded.
    /// - Parameter lost: why there is none although there is sound.
    private static func sound(
        in context: UnsafeMutablePointer<AVFormatContext>, _ lost: inout String?
    ) -> (index: Int, stream: SoundStream, timeBase: AVRational)? {
        for index in 0..<Int(unsafe context.pointee.nb_streams) {
            guard let entry = unsafe context.pointee.streams[index], let coding = unsafe entry.pointee.codecpar,
                unsafe coding.pointee.codec_type == AVMEDIA_TYPE_AUDIO
            else { continue }
            do throws(MediaError) {
                let stream = try unsafe SoundStream(
                    SoundCoding(
                        codec: coding.pointee.codec_id.rawValue,
                        extradata: bytes(coding.pointee.extradata, Int(coding.pointee.extradata_size)),
                        sampleRate: Int(coding.pointee.sample_rate),
                        channels: Int(coding.pointee.ch_layout.nb_channels),
                        blockAlign: Int(coding.pointee.block_align),
                        bitsPerSample: Int(coding.pointee.bits_per_coded_sample)))
                lost = nil
                return unsafe (index, stream, entry.pointee.time_base)
            } catch {
                lost = error.reason
            }
        }
        return nil
    }

    private static func bytes(_ start: UnsafeMutablePointer<UInt8>?, _ count: Int) -> [UInt8] {
        unsafe Array(UnsafeBufferPointer(start: start, count: start == nil ? 0 : max(0, count)))
    }

    /// Nil for what is no time (2^52 ticks are 1500 years), so that nobody's sums of what a file says overflow.
    private func ticks(_ value: Int64, _ timeBase: AVRational) -> Int64? {
        guard value != sudocam_no_timestamp() else { return nil }
        let ticks = av_rescale_q(value, timeBase, AVRational(num: 1, den: 90_000))
        return ticks.magnitude < 1 << 52 ? ticks : nil
    }

    // MARK: Failures

    private func broken(_ result: Int32) -> MediaError {
        let failure = Self.failure(
            result == sudocam_averror_invalid_data() ? .malformed : .readFailed, "stopped", result, interrupt)
        guard failure.code == .timedOut, assembler.lacksParameters else { return failure }
        return MediaError(.malformed, "It sends pictures but no usable parameter sets.")
    }

    private static var redirected: MediaError {
        MediaError(
            .unsupported, "It sends us to another address, where SudoCam does not go by itself.",
            hint: "If that is meant, write the address it really has into sudocam.yaml.")
    }

    private static func openFailure(_ result: Int32, _ source: Source, _ interrupt: InterruptFlag) -> MediaError {
        let plain = failure(.openFailed, "cannot be opened", result, interrupt)
        guard source == .file, plain.code == .openFailed else { return plain }
        // A format that is not whitelisted is AVERROR(EINVAL), and so is nothing else that a file can do.
        if result == sudocam_averror_invalid() {
            return MediaError(
                .malformed, "It is no kind of film that SudoCam reads; playlists and lists of files are refused.",
                hint: "Name an MP4, MOV, MKV, MPEG-TS, FLV or AVI file.")
        }
        if result == sudocam_averror_invalid_data() {
            return MediaError(
                .malformed, "It is no film, or its index is missing.",
                hint: "A recording that was broken off may have no index; repair it, or choose another file.")
        }
        return plain
    }

    private static func failure(
        _ code: MediaError.Code, _ what: String, _ result: Int32, _ interrupt: InterruptFlag
    ) -> MediaError {
        if interrupt.isSet { return MediaError(.interrupted, "It was stopped.") }
        // Not every protocol of libav says AVERROR_EXIT when it was interrupted; the RTSP handshake does not.
        if result == sudocam_averror_exit() || result == sudocam_averror_timed_out() || interrupt.isOver {
            return MediaError(.timedOut, "It \(what): nothing came in time.")
        }
        return MediaError(code, "It \(what): \(AVFailure.text(result)).")
    }
}

/// What libav asks in every blocking call. While it opens an address it must stay there: a camera's redirect (RFC 2326 section
/// 11.3) would make the recorder a way to other hosts. libav follows one by itself, but asks before it sends a byte.
///
/// For the one thread that uses the context; `@safe` because the context outlives every question about it.
@safe private final class OpenGuard {
    private let interrupt: InterruptFlag
    private let context: UnsafeMutablePointer<AVFormatContext>
    private let url: String
    private var isOpening = true
    private(set) var wasRedirected = false
    /// How many streams the other side told of.
    private(set) var streams = 0

    init(_ interrupt: InterruptFlag, _ context: UnsafeMutablePointer<AVFormatContext>, url: String) {
        self.interrupt = interrupt
        unsafe self.context = unsafe context
        self.url = url
    }

    /// From now on the context may be gone.
    func opened() { isOpening = false }

    var ends: Bool {
        if isOpening {
            streams = max(streams, unsafe Int(context.pointee.nb_streams))
            if !wasRedirected, let now = unsafe context.pointee.url {
                wasRedirected = unsafe String(cString: now) != url
            }
        }
        return wasRedirected || interrupt.isOver
    }
}
