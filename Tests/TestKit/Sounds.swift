public import Core
public import Media

/// Sound made by ffmpeg, as a camera sends it.
public enum Sounds {
    /// A beep of 50 ms at each full second, by ffmpeg's expression.
    static let beeps = "aevalsrc=0.8*sin(2*PI*1000*t)*lt(mod(t\\,1)\\,0.05)"

    /// Samples without any container.
    /// - Parameter format: ffmpeg's name of one: `alaw`, `mulaw`, `s16be`.
    public static func raw(_ format: String, seconds: Double, rate: Int, channels: Int = 1) throws -> [UInt8] {
        let expression = channels == 1 ? beeps : beeps + "|0.5*sin(2*PI*440*t)"
        return try outputOfProgram(
            "ffmpeg",
            ["-v", "error", "-f", "lavfi", "-i", "\(expression):s=\(rate):d=\(seconds)", "-f", format, "-"])
    }

    /// Packets of 20 ms (RFC 3551).
    /// - Parameter sampleBytes: of all channels together.
    public static func packets(
        _ raw: [UInt8], rate: Int, sampleBytes: Int
    ) -> [(payload: [UInt8], time: Int64)] {
        let size = rate / 50 * sampleBytes
        return stride(from: 0, to: raw.count, by: size).map {
            (Array(raw[$0..<min(raw.count, $0 + size)]), Int64($0 / sampleBytes))
        }
    }

    /// RFC 3640 section 3.3.6 (AAC-hbr), a frame a packet.
    public static func packets(aac frames: [SoundFrame], rate: Int) -> [(payload: [UInt8], time: Int64)] {
        frames.map { frame in
            let size = frame.data.count << 3
            return (
                [0, 16, UInt8(truncatingIfNeeded: size >> 8), UInt8(truncatingIfNeeded: size)] + frame.data,
                (frame.pts * Int64(rate) + 45_000) / 90_000
            )
        }
    }

    /// What a player hears of a file: the times, seconds, at which the beeps begin. Holes are silence.
    public static func beeps(in film: Film) throws -> [Double] {
        let rate = 8000
        let raw = try outputOfProgram(
            "ffmpeg",
            [
                "-v", "error", "-copyts", "-i", film.path, "-map", "0:a:0", "-af",
                "pan=mono|c0=c0,aresample=\(rate):async=1:min_hard_comp=0.005:first_pts=0", "-f", "s16le", "-",
            ])
        let samples = stride(from: 0, to: raw.count - 1, by: 2).map {
            abs(Int(Int16(bitPattern: UInt16(raw[$0]) | UInt16(raw[$0 + 1]) << 8)))
        }
        var found: [Double] = []
        var last = -rate
        for (index, level) in samples.enumerated() where level > 6000 {
            if index - last > rate / 5 { found.append(Double(index) / Double(rate)) }
            last = index
        }
        return found
    }
}

extension Film {
    /// What ffprobe says of one stream: `a:0`, `v:0`.
    public func stream(_ selection: String, _ entries: [String]) throws -> [String: String] {
        let output = try outputOfProgram(
            "ffprobe",
            [
                "-v", "error", "-select_streams", selection, "-show_entries",
                "stream=" + entries.joined(separator: ","), "-of", "default=noprint_wrappers=1", path,
            ])
        return String(decoding: output, as: UTF8.self).split(separator: "\n").reduce(into: [:]) { fields, line in
            let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { fields[parts[0]] = parts[1] }
        }
    }

    /// Packets of one stream as a player has them, in seconds, in their order in the file.
    public func packets(_ selection: String) throws -> [(time: Double, duration: Double)] {
        let output = try outputOfProgram(
            "ffprobe",
            [
                "-v", "error", "-select_streams", selection, "-show_entries", "packet=pts_time,duration_time", "-of",
                "csv=p=0", path,
            ])
        return String(decoding: output, as: UTF8.self).split(separator: "\n").compactMap { line in
            let fields = line.split(separator: ",").map(String.init)
            guard fields.count >= 2, let time = Double(fields[0]) else { return nil }
            return (time, Double(fields[1]) ?? 0)
        }
    }

    /// Every frame of sound, by SudoCam's demuxer, and why sound is missing.
    public func sounds() throws -> (frames: [SoundFrame], parameters: [SoundParameters], lost: [String]) {
        let demuxer = try Demuxer(url: "file:" + path, source: .file, interrupt: InterruptFlag(), timeout: 60_000_000)
        var found: (frames: [SoundFrame], parameters: [SoundParameters], lost: [String]) = ([], [], [])
        while let item = try demuxer.next() {
            switch item {
            case .sound(let frame, let parameters):
                found.frames.append(frame)
                if found.parameters.last != parameters { found.parameters.append(parameters) }
            case .soundLost(let reason): found.lost.append(reason)
            case .video: break
            }
        }
        return found
    }
}

extension Film {
    /// Its pictures and sound as one clip.
    public func clip(identity: ClipIdentity? = nil) throws -> [UInt8] {
        let demuxer = try Demuxer(url: "file:" + path, source: .file, interrupt: InterruptFlag(), timeout: 60_000_000)
        var items: [Demuxer.Item] = []
        while let item = try demuxer.next() { items.append(item) }
        var parameters: CodecParameters?
        var sound: SoundParameters?
        var start: Int64?
        for item in items {
            switch item {
            case .video(let frame):
                parameters = parameters ?? frame.newParameters
                start = start ?? frame.dts
            case .sound(_, let told): sound = sound ?? told
            case .soundLost: break
            }
        }
        guard let parameters, let start else { throw MediaError(.invalid, "no pictures") }
        let identity =
            identity
            ?? ClipIdentity(
                vault: .random(), camera: .random(), epoch: .random(), run: .random(), sequence: 1,
                start: WallTime(seconds: 1_764_000_000))
        var muxer = ClipMuxer(parameters: parameters, sound: sound, identity: identity, cameraName: "Flur")
        var bytes = try muxer.start()
        for item in items {
            switch item {
            case .video(let frame):
                let unit = AccessUnit(
                    codec: demuxer.codec, data: frame.data, isKey: frame.isKey, dts: frame.dts, pts: frame.pts,
                    capturedWall: identity.start, capturedMonotonic: MonotonicTime(microseconds: 0))
                bytes += try muxer.add(unit, dts: frame.dts - start, pts: frame.pts - start) ?? []
            case .sound(var frame, _):
                frame.pts -= start
                guard muxer.add(frame) || frame.pts < 0 else {
                    throw MediaError(.invalid, "the clip refuses sound at \(frame.pts)")
                }
            case .soundLost: break
            }
        }
        return bytes + (muxer.flush() ?? []) + (muxer.flushSound() ?? []) + muxer.finish()
    }
}
