import Foundation
import Glibc
public import Media
import Synchronization

/// A camera that speaks RTSP (RFC 2326) with RTP inside its TCP connection, on loopback; behaves, or misbehaves as told.
/// One connection at a time.
public final class RTSPCamera: Sendable {
    public enum Behaviour: Sendable {
        /// Takes connections and says nothing.
        case mute
        /// Answers everything and sends no picture.
        case dark
        /// Plays its script at once, and then is silent.
        case plays
        /// Plays its script at once, and hangs up.
        case playsAndHangsUp
        /// Sends whoever asks to this URL.
        case redirects(String)
    }

    /// A film as a camera sends it.
    public struct Script: Sendable {
        public struct Picture: Sendable {
            /// NAL units as they stand in the packets.
            public var units: [[UInt8]]
            /// 90 kHz.
            public var pts: Int64
            public init(units: [[UInt8]], pts: Int64) {
                self.units = units
                self.pts = pts
            }
        }
        /// A second stream.
        public struct Sound: Sendable {
            /// As `a=rtpmap` has it: `PCMA/8000`.
            public var encoding: String
            /// As `a=fmtp` has it; empty: none.
            public var format: String
            /// Payloads of packets, and their times by the encoding's clock.
            public var packets: [(payload: [UInt8], time: Int64)]
            /// Its SETUP is answered with 461.
            public var isRefused = false
            /// Between packets, µs.
            public var pace: UInt32 = 0

            public init(_ encoding: String, format: String = "", packets: [(payload: [UInt8], time: Int64)]) {
                self.encoding = encoding
                self.format = format
                self.packets = packets
            }
            var clock: Int64 { encoding.split(separator: "/").dropFirst().first.flatMap { Int64($0) } ?? 8000 }
        }
        /// A sender report (RFC 3550 section 6.4.1).
        public struct Report: Sendable {
            /// It is sent before the first packet of this time, seconds.
            public var at: Double
            public var ofSound: Bool
            /// What the camera's clock says, seconds since 1900.
            public var clock: Double
            /// The stream's time at that instant, by its own clock.
            public var time: Int64
            public init(at: Double, ofSound: Bool, clock: Double, time: Int64) {
                self.at = at
                self.ofSound = ofSound
                self.clock = clock
                self.time = time
            }
        }
        public var codec: Codec
        /// In SDP, `sprop-parameter-sets` and its like; empty: none there.
        public var announced: [[UInt8]]
        public var pictures: [Picture]
        /// In SDP, behind the video's own lines: an attribute of it, or other media.
        public var more: [String]
        public var sound: Sound?
        public var reports: [Report]
        public init(
            codec: Codec = .h264, announced: [[UInt8]] = [], pictures: [Picture] = [], more: [String] = [],
            sound: Sound? = nil, reports: [Report] = []
        ) {
            self.sound = sound
            self.reports = reports
            self.codec = codec
            self.announced = announced
            self.pictures = pictures
            self.more = more
        }
    }

    private struct State {
        var requests: [String] = []
        var refusals: Int
        var connection: Int32 = -1
        var isStopped = false
    }

    public let port: UInt16
    private let behaviour: Behaviour
    private let script: Script
    private let listener: Int32
    private let state: Mutex<State>

    /// - Parameter refusals: so many attempts are answered with 453, as by a camera whose last session still stands.
    public init(_ behaviour: Behaviour, _ script: Script = Script(), refusals: Int = 0) throws {
        self.behaviour = behaviour
        self.script = script
        state = Mutex(State(refusals: refusals))
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = listener
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && listen(socket, 8) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard bound else { throw MediaError(.openFailed, "no port on loopback") }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in serve() }
    }

    public var url: String { "rtsp://127.0.0.1:\(port)/camera" }
    /// Methods that were heard so far, in order.
    public var requests: [String] { state.withLock { $0.requests } }

    /// The camera's thread keeps it alive until this is called.
    public func stop() {
        let connection = state.withLock { state in
            state.isStopped = true
            return state.connection
        }
        shutdown(listener, Int32(SHUT_RDWR))
        if connection >= 0 { shutdown(connection, Int32(SHUT_RDWR)) }
    }

    // MARK: Connections

    private func serve() {
        while !state.withLock({ $0.isStopped }) {
            let connection = accept(listener, nil, nil)
            guard connection >= 0 else { break }
            state.withLock { $0.connection = connection }
            handle(connection)
            state.withLock { $0.connection = -1 }
            close(connection)
        }
        close(listener)
    }

    private func handle(_ connection: Int32) {
        var tracks = 0
        while let request = request(connection) {
            state.withLock { $0.requests.append(request.method) }
            if case .mute = behaviour { continue }
            switch request.method {
            case "OPTIONS": reply(connection, request, ["Public: DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"])
            case "DESCRIBE":
                if case .redirects(let url) = behaviour {
                    send(
                        connection, "RTSP/1.0 302 Found\r\nCSeq: \(request.sequence)\r\nLocation: \(url)\r\n\r\n")
                    continue
                }
                let text = description
                reply(
                    connection, request,
                    ["Content-Type: application/sdp", "Content-Base: \(url)/", "Content-Length: \(text.utf8.count)"],
                    body: text)
            case "SETUP":
                let isRefused = state.withLock { state in
                    state.refusals -= 1
                    return state.refusals >= 0
                }
                if tracks > 0, script.sound?.isRefused == true {
                    send(connection, "RTSP/1.0 461 Unsupported Transport\r\nCSeq: \(request.sequence)\r\n\r\n")
                } else if isRefused {
                    send(connection, "RTSP/1.0 453 Not Enough Bandwidth\r\nCSeq: \(request.sequence)\r\n\r\n")
                } else {
                    reply(
                        connection, request,
                        [
                            "Session: 12345678",
                            "Transport: RTP/AVP/TCP;unicast;interleaved=\(2 * tracks)-\(2 * tracks + 1);ssrc=0BADF00D",
                        ])
                    tracks += 1
                }
            case "PLAY":
                reply(connection, request, ["Session: 12345678", "Range: npt=0-"])
                if case .dark = behaviour { continue }
                play(connection)
                if case .playsAndHangsUp = behaviour { return }
            case "TEARDOWN":
                reply(connection, request, ["Session: 12345678"])
                return
            default: reply(connection, request, ["Session: 12345678"])
            }
        }
    }

    /// RFC 4566; the sets in Base64 (RFC 6184 section 8.1, RFC 7798 section 7.1).
    private var description: String {
        func base64(_ unit: [UInt8]) -> String { Data(unit).base64EncodedString() }
        var format = script.codec == .h264 ? "packetization-mode=1" : ""
        if !script.announced.isEmpty {
            switch script.codec {
            case .h264: format += ";sprop-parameter-sets=" + script.announced.map(base64).joined(separator: ",")
            case .h265:
                let names = [H265NAL.vps: "sprop-vps", H265NAL.sps: "sprop-sps", H265NAL.pps: "sprop-pps"]
                format += script.announced.compactMap { unit in
                    names[H265NAL.type(unit[...])].map { "\($0)=\(base64(unit))" }
                }.joined(separator: ";")
            }
        }
        let lines = [
            "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0", "m=video 0 RTP/AVP 96",
            "a=rtpmap:96 \(script.codec == .h264 ? "H264" : "H265")/90000",
        ]
        var sound: [String] = []
        if let told = script.sound {
            sound = ["m=audio 0 RTP/AVP 97", "a=rtpmap:97 \(told.encoding)"]
            if !told.format.isEmpty { sound.append("a=fmtp:97 \(told.format)") }
            sound.append("a=control:track2")
        }
        return
            (lines + (format.isEmpty ? [] : ["a=fmtp:96 \(format)"]) + ["a=control:track1"] + script.more + sound)
            .joined(separator: "\r\n") + "\r\n"
    }

    /// All packets in order of their times, sound behind pictures.
    private func play(_ connection: Int32) {
        var reports = script.reports.sorted { $0.at < $1.at }
        var sounds = (script.sound?.packets ?? [])[...]
        let clock = Double(script.sound?.clock ?? 1)
        // RFC 3550 section 5.1 wants both to begin anywhere; here they wrap in mid-stream.
        var sequence: UInt16 = 65_530
        var soundSequence: UInt16 = 65_500
        let start: Int64 = 0xFFFF_8000
        let soundStart: Int64 = 0xFFFF_F000

        func tell(until time: Double) {
            while let report = reports.first, report.at <= time {
                reports.removeFirst()
                // RFC 3550 section 6.4.1, without blocks.
                let seconds = UInt32(truncatingIfNeeded: Int64(report.clock))
                let fraction = UInt32((report.clock - report.clock.rounded(.down)) * 4_294_967_296)
                let base = report.ofSound ? soundStart : start
                let words: [UInt32] = [
                    0x0BAD_F00D, seconds, fraction, UInt32(truncatingIfNeeded: base &+ report.time), 1, 1,
                ]
                var packet: [UInt8] = [0x80, 200, 0, 6]
                for word in words { packet += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } }
                send(connection, [0x24, report.ofSound ? 3 : 1, 0, UInt8(packet.count)] + packet)
            }
        }
        func play(until time: Double) {
            while let (payload, stamp) = sounds.first, Double(stamp) / clock <= time {
                sounds.removeFirst()
                if let pace = script.sound?.pace, pace > 0 { usleep(pace) }
                tell(until: Double(stamp) / clock)
                sendPacket(connection, 2, payload, &soundSequence, soundStart &+ stamp, type: 0xE1)
            }
            tell(until: time)
        }
        for picture in script.pictures {
            play(until: Double(picture.pts) / 90_000 - 0.000_01)
            tell(until: Double(picture.pts) / 90_000)
            for (index, unit) in picture.units.enumerated() {
                let payloads = Self.payloads(unit, script.codec)
                for (part, payload) in payloads.enumerated() {
                    let isLast = index == picture.units.count - 1 && part == payloads.count - 1
                    sendPacket(connection, 0, payload, &sequence, start &+ picture.pts, type: isLast ? 0xE0 : 0x60)
                }
            }
        }
        play(until: .infinity)
    }

    /// RFC 3550 section 5.1, in RFC 2326 section 10.12's frame.
    private func sendPacket(
        _ connection: Int32, _ channel: UInt8, _ payload: [UInt8], _ sequence: inout UInt16, _ stamp: Int64, type: UInt8
    ) {
        let time = UInt32(truncatingIfNeeded: stamp)
        var packet: [UInt8] = [0x80, type, UInt8(sequence >> 8), UInt8(truncatingIfNeeded: sequence)]
        packet += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: time >> $0) } + [0x0B, 0xAD, 0xF0, 0x0D]
        packet += payload
        sequence &+= 1
        let length = packet.count
        send(connection, [0x24, channel, UInt8(length >> 8), UInt8(truncatingIfNeeded: length)] + packet)
    }

    /// Single NAL unit packets, or FU-A (RFC 6184 section 5.8) and FU (RFC 7798 section 4.4.3).
    private static func payloads(_ unit: [UInt8], _ codec: Codec) -> [[UInt8]] {
        let header = codec == .h264 ? 1 : 2
        guard unit.count > 1200 else { return [unit] }
        let pieces = stride(from: header, to: unit.count, by: 1100).map { unit[$0..<min(unit.count, $0 + 1100)] }
        return pieces.enumerated().map { index, piece in
            let edge: UInt8 = (index == 0 ? 0x80 : 0) | (index == pieces.count - 1 ? 0x40 : 0)
            let head: [UInt8] =
                codec == .h264
                ? [unit[0] & 0xE0 | 28, edge | unit[0] & 0x1F]
                : [unit[0] & 0x81 | 49 << 1, unit[1], edge | unit[0] >> 1 & 0x3F]
            return head + piece
        }
    }

    // MARK: Bytes

    private func request(_ connection: Int32) -> (method: String, sequence: String)? {
        var bytes: [UInt8] = []
        while let byte = read(connection, 1)?.first {
            // RTCP of the client's, in a frame.
            if bytes.isEmpty, byte == 0x24 {
                guard let head = read(connection, 3), read(connection, Int(head[1]) << 8 | Int(head[2])) != nil else {
                    return nil
                }
                continue
            }
            bytes.append(byte)
            guard bytes.suffix(4) == [13, 10, 13, 10] else { continue }
            let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n").map(String.init)
            let sequence = lines.first { $0.hasPrefix("CSeq:") }?.dropFirst(5).trimmingCharacters(in: .whitespaces)
            return (lines.first?.split(separator: " ").first.map(String.init) ?? "", sequence ?? "0")
        }
        return nil
    }

    private func reply(
        _ connection: Int32, _ request: (method: String, sequence: String), _ headers: [String], body: String = ""
    ) {
        let lines = ["RTSP/1.0 200 OK", "CSeq: \(request.sequence)"] + headers
        send(connection, lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }

    private func send(_ connection: Int32, _ text: String) { send(connection, Array(text.utf8)) }
    private func send(_ connection: Int32, _ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }
    private func read(_ connection: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let more = bytes[got...].withUnsafeMutableBytes { recv(connection, $0.baseAddress, $0.count, 0) }
            guard more > 0 else { return nil }
            got += more
        }
        return bytes
    }
}
