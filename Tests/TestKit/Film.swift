public import Core
import Foundation
public import Media

/// Whether a program is installed, for tests that need another's opinion.
public func hasProgram(_ name: String) -> Bool {
    (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":").contains {
        FileManager.default.isExecutableFile(atPath: $0 + "/" + name)
    }
}
public let hasFFmpeg = hasProgram("ffmpeg") && hasProgram("ffprobe")
public let needsFFmpeg = "ffmpeg and ffprobe are not installed"

/// A film made by ffmpeg: a file that SudoCam's own code had no part in.
public struct Film: Sendable {
    public let path: String

    /// - Parameters:
    ///   - name: its ending decides the container.
    ///   - frames: at 25 a second.
    ///   - codec: `libx264` or `libx265`.
    ///   - options: to ffmpeg, before the output's name.
    ///   - sound: how to encode sound of the same length, which beeps at each full second; empty: none.
    public init(
        _ name: String, in folder: TemporaryFolder, frames: Int = 50, size: String = "320x240",
        codec: String = "libx264", bFrames: Int = 0, keyInterval: Int = 25, options: [String] = [],
        sound: [String] = []
    ) throws {
        let seconds = "\(Double(frames) / 25)"
        let beeps = ["-f", "lavfi", "-i", "\(Sounds.beeps):s=48000:d=\(seconds)"]
        path = folder.path + "/" + name
        let distance = "keyint=\(keyInterval):min-keyint=\(keyInterval):scenecut=0"
        let coder = ["-bf", "\(bFrames)", codec == "libx265" ? "-x265-params" : "-x264-params"]
        let parameters = codec == "libx265" ? "bframes=\(bFrames):\(distance):log-level=none" : distance
        _ = try outputOfProgram(
            "ffmpeg",
            ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=\(size):rate=25"]
                + (sound.isEmpty
                    ? ["-frames:v", "\(frames)"] : beeps + ["-map", "0:v", "-map", "1:a"] + sound + ["-t", seconds])
                + ["-c:v", codec, "-preset", "ultrafast", "-pix_fmt", "yuv420p"] + coder + [parameters] + options + [
                    path
                ])
    }
    public init(path: String) { self.path = path }

    /// The same frames in another container.
    public func copied(to name: String, in folder: TemporaryFolder, options: [String] = []) throws -> Film {
        let copy = Film(path: folder.path + "/" + name)
        _ = try outputOfProgram("ffmpeg", ["-v", "error", "-y", "-i", path, "-c", "copy"] + options + [copy.path])
        return copy
    }

    public func bytes() throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

    /// Its beginning, as a file of its own.
    public func cut(to count: Int, name: String, in folder: TemporaryFolder) throws -> Film {
        try folder.write(Array(try bytes().prefix(count)), to: name)
        return Film(path: folder.path + "/" + name)
    }

    /// Frames that ffprobe decodes.
    public func decodedFrames() throws -> Int {
        Int(try probe(["-count_frames", "-show_entries", "stream=nb_read_frames"]).first ?? "") ?? -1
    }
    /// What a player shows, in order: seconds from the beginning.
    public func shownTimes() throws -> [Double] {
        try probe(["-show_entries", "frame=pts_time"]).compactMap { Double($0) }
    }
    public func durationSeconds() throws -> Double {
        Double(try probe(["-show_entries", "format=duration"]).first ?? "") ?? -1
    }
    public func codecName() throws -> String { try probe(["-show_entries", "stream=codec_name"]).first ?? "" }

    /// Luma planes of what a player shows, in order.
    public func shownLuma(width: Int, height: Int) throws -> [[UInt8]] {
        let raw = try outputOfProgram(
            "ffmpeg",
            [
                "-v", "error", "-i", path, "-fps_mode", "passthrough", "-vf", "extractplanes=y", "-f", "rawvideo",
                "-pix_fmt", "gray", "-",
            ])
        let size = width * height
        return (0..<raw.count / size).map { Array(raw[$0 * size..<($0 + 1) * size]) }
    }

    private func probe(_ arguments: [String]) throws -> [String] {
        let output = try outputOfProgram(
            "ffprobe", ["-v", "error", "-select_streams", "v:0"] + arguments + ["-of", "csv=p=0", path])
        return String(decoding: output, as: UTF8.self).split(whereSeparator: { "\n,".contains($0) }).map(String.init)
    }

    /// Every frame, by SudoCam's demuxer.
    public func codedFrames() throws -> (codec: Codec, frames: [CodedFrame]) {
        let demuxer = try Demuxer(url: "file:" + path, source: .file, interrupt: InterruptFlag(), timeout: 60_000_000)
        var frames: [CodedFrame] = []
        while let item = try demuxer.next() { if case .video(let frame) = item { frames.append(frame) } }
        return (demuxer.codec, frames)
    }
}

/// A clock that is always ahead of what anybody waits for: sources that are paced by it deliver at once.
public final class HastyTime: TimeSource {
    private let calls = ManualTime()
    public init() {}
    public func wallNow() -> WallTime { calls.wallNow() }
    public func isWallSynchronised() -> Bool { false }
    public func monotonicNow() -> MonotonicTime {
        calls.advance(microseconds: 3_600_000_000)
        return calls.monotonicNow()
    }
}
