import Core
import Foundation
import WebRTC

/// A Peer on a real UDP socket against another stack that a script drives.
final class Interop {
    struct Failed: Error, CustomStringConvertible { var description: String }
    static let scripts = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "PeerTests")

    let address: SocketAddress
    let descriptor: Int32
    private(set) var events: [PeerEvent] = []
    private(set) var statistics = PeerStatistics()
    private(set) var offer = ""
    private(set) var answer = ""
    /// One in so many outgoing datagrams after the handshake is lost.
    var lossPercent = 0

    /// The first address that is not loopback: browsers gather no loopback.
    static let host: String? = {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return nil }
        defer { freeifaddrs(list) }
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let raw = entry.ifa_addr, raw.pointee.sa_family == UInt16(AF_INET),
                entry.ifa_flags & UInt32(IFF_LOOPBACK) == 0
            else { continue }
            let value = raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr.s_addr }
            return (0..<4).map { String(value >> (8 * UInt32($0)) & 255) }.joined(separator: ".")
        }
        return nil
    }()
    static func find(_ tool: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(tool)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }
    /// The Python that has aiortc, from SUDOCAM_AIORTC_PYTHON.
    static let aiortcPython = ProcessInfo.processInfo.environment["SUDOCAM_AIORTC_PYTHON"]

    init() throws {
        guard let host = Self.host else { throw Failed(description: "no address") }
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        self.descriptor = descriptor
        var name = sockaddr_in()
        name.sin_family = UInt16(AF_INET)
        inet_pton(AF_INET, host, &name.sin_addr)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(descriptor, $0, length)
                _ = getsockname(descriptor, $0, &length)
            }
        }
        guard let address = SocketAddress(host: host, port: UInt16(bigEndian: name.sin_port)) else {
            throw Failed(description: "no address")
        }
        self.address = address
    }
    deinit { close(descriptor) }

    private func send(_ datagram: Datagram) {
        var name = sockaddr_in()
        name.sin_family = UInt16(AF_INET)
        name.sin_port = datagram.remote.port.bigEndian
        inet_pton(AF_INET, datagram.remote.host, &name.sin_addr)
        withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(
                    descriptor, datagram.bytes, datagram.bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
    private func receive() -> Datagram? {
        var bytes = [UInt8](repeating: 0, count: 2048)
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(descriptor, &bytes, bytes.count, Int32(truncatingIfNeeded: MSG_DONTWAIT), $0, &length)
            }
        }
        guard count > 0 else { return nil }
        let host = (0..<4).map { UInt8(truncatingIfNeeded: name.sin_addr.s_addr >> (8 * UInt32($0))) }
        guard let remote = SocketAddress(bytes: host, port: UInt16(bigEndian: name.sin_port)) else { return nil }
        return Datagram(bytes: Array(bytes[..<count]), local: address, remote: remote)
    }

    /// Runs the script to its end, plays `units` in a loop at 30 frames a second, and returns the script's result.
    func run(_ arguments: [String], units: [VideoUnit]) throws -> [String: Any] {
        let process = Process()
        process.executableURL = URL(filePath: arguments[0])
        process.arguments = Array(arguments.dropFirst())
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        defer {
            if process.isRunning { process.terminate() }
            process.waitUntilExit()
        }
        var text = Data()
        func line() throws -> [String: Any]? {
            guard let end = text.firstIndex(of: 10) else { return nil }
            let line = text[..<end]
            text = Data(text[(end + 1)...])
            return try JSONSerialization.jsonObject(with: line) as? [String: Any]
        }
        func readMore() throws {
            let data = output.fileHandleForReading.availableData
            if data.isEmpty {
                throw Failed(description: "the script ended without a result; events \(events), \(statistics)")
            }
            text.append(data)
        }
        var offer: [String: Any]?
        while offer == nil {
            try readMore()
            offer = try line()
        }
        self.offer = offer?["sdp"] as? String ?? ""
        let clock = SystemTime()
        let certificate = try DTLSCertificate(now: clock.wallNow())
        let peer = try Peer(
            offer: offer?["sdp"] as? String ?? "",
            configuration: .init(certificate: certificate, localAddresses: [address]),
            random: SystemRandomNumberGenerator(), now: clock.monotonicNow())
        answer = peer.answer
        var reply = try JSONSerialization.data(withJSONObject: ["sdp": answer])
        reply.append(10)
        input.fileHandleForWriting.write(reply)

        var nextUnit: MonotonicTime?
        var index = 0
        var timestamp: UInt32 = 90_000
        while true {
            let now = clock.monotonicNow()
            peer.handleTimeout(now: now)
            if let due = nextUnit, due <= now, !units.isEmpty {
                var unit = units[index % units.count]
                unit.rtpTimestamp = timestamp
                timestamp &+= 3000
                index += 1
                nextUnit = due + 33_333
                peer.sendVideo(unit, now: now)
            }
            while let output = peer.poll(now: now) {
                switch output {
                case .transmit(let datagram):
                    let isMedia = (128...191).contains(datagram.bytes[0])
                    if !(isMedia && Int.random(in: 0..<100) < lossPercent) { send(datagram) }
                case .event(let event):
                    events.append(event)
                    switch event {
                    case .connected: nextUnit = now
                    case .message(let channel, _, true): try peer.sendMessage("pong", on: channel, now: now)
                    case .message(let channel, let bytes, false): try peer.sendMessage(bytes, on: channel, now: now)
                    case .keyFrameRequested: index = 0
                    default: break
                    }
                }
            }
            statistics = peer.statistics
            let next = min(peer.nextTimeout ?? now + 100_000, nextUnit ?? now + 100_000)
            var polls = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: output.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0),
            ]
            _ = Glibc.poll(&polls, 2, Int32(max(0, min(100, (next - now + 999) / 1000))))
            while let datagram = receive() { peer.handle(datagram, now: clock.monotonicNow()) }
            if polls[1].revents != 0 {
                try readMore()
                if let result = try line() {
                    // The other side's goodbye may still be on its way.
                    usleep(50_000)
                    let now = clock.monotonicNow()
                    while let datagram = receive() { peer.handle(datagram, now: now) }
                    while let output = peer.poll(now: now) {
                        if case .event(let event) = output { events.append(event) }
                    }
                    peer.close(now: now)
                    return result
                }
            }
        }
    }

    /// Access units of ffmpeg's test picture; `options` choose the profile. Parameter sets only in the first unit, as in MP4.
    static func video(_ options: [String], size: String = "640x360", seconds: Int = 2) throws -> [VideoUnit] {
        let file = FileManager.default.temporaryDirectory.appending(path: "sudocam-\(UUID().uuidString).h264")
        defer { try? FileManager.default.removeItem(at: file) }
        let process = Process()
        process.executableURL = URL(filePath: find("ffmpeg") ?? "ffmpeg")
        process.arguments =
            [
                "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=\(size):rate=30:duration=\(seconds)", "-c:v",
                "libx264", "-preset", "ultrafast",
                "-pix_fmt", "yuv420p", "-g", "30", "-bf", "0",
            ] + options + ["-x264-params", "aud=1", "-f", "h264", file.path]
        try process.run()
        process.waitUntilExit()
        return split(Array(try Data(contentsOf: file)))
    }

    static func split(_ stream: [UInt8]) -> [VideoUnit] {
        var starts: [Int] = []
        var index = 0
        while index + 3 <= stream.count {
            if stream[index] == 0, stream[index + 1] == 0, stream[index + 2] == 1 {
                starts.append(index + 3)
                index += 3
            } else {
                index += 1
            }
        }
        var units: [VideoUnit] = []
        var sets: [[UInt8]] = []
        for (number, start) in starts.enumerated() {
            var end = number + 1 < starts.count ? starts[number + 1] - 3 : stream.count
            while end > start, stream[end - 1] == 0 { end -= 1 }
            let unit = Array(stream[start..<end])
            let type = (unit.first ?? 0) & 31
            if type == 9 {
                units.append(
                    VideoUnit(bytes: [], rtpTimestamp: 0, isKey: false, playoutDelay: .init(minimum: 0, maximum: 0)))
            }
            if type == 7 || type == 8 {
                if !sets.contains(unit) { sets.append(unit) }
                continue
            }
            guard !units.isEmpty else { continue }
            if type == 5 { units[units.count - 1].isKey = true }
            units[units.count - 1].bytes +=
                [16, 8, 0].reduce(into: [UInt8(truncatingIfNeeded: unit.count >> 24)]) {
                    $0.append(UInt8(truncatingIfNeeded: unit.count >> $1))
                } + unit
        }
        for index in units.indices { units[index].parameterSets = sets }
        return units
    }
}
