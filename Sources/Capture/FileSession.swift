import Core
import Glibc
import Media

/// A film file, paced like a camera.
struct FileSession: SourceSession {
    let path: String
    let loops: Bool
    /// For opening and for each frame, µs; a file on a network may hang.
    let silence: Int64
    let sound: Bool

    /// Sound that stands before the first picture in a file waits for it.
    private static let mostEarly = 256

    func run(_ outlet: SourceOutlet) throws(CaptureError) {
        var line = FileLine()
        var isFirst = true
        let start = outlet.time.monotonicNow()
        while !outlet.isStopped {
            try checkKind()
            let before = line.frames
            do throws(MediaError) {
                let demuxer = try Demuxer(
                    url: "file:" + path, source: .file, interrupt: outlet.interrupt, timeout: silence, sound: sound)
                var early: [(SoundFrame, SoundParameters)] = []
                while !outlet.isStopped, let item = try demuxer.next() {
                    switch item {
                    case .video(let frame):
                        let place = line.place(dts: frame.dts, pts: frame.pts, duration: frame.duration)
                        let due = Ticks.microseconds(place.dts)
                        outlet.sleep(microseconds: due.subtractingSaturating(outlet.time.monotonicNow() - start))
                        outlet.announce(frame.newParameters, isFirst: &isFirst)
                        outlet.deliver(frame, codec: demuxer.codec, dts: place.dts, pts: place.pts)
                        for (frame, parameters) in early { deliver(frame, parameters, line, outlet) }
                        early = []
                    case .sound(let frame, let parameters):
                        if !deliver(frame, parameters, line, outlet), early.count < Self.mostEarly {
                            early.append((frame, parameters))
                        }
                    case .soundLost(let reason): outlet.lose(sound: reason)
                    }
                }
            } catch {
                throw wrap(error, frames: line.frames - before)
            }
            if outlet.isStopped { return }
            guard line.frames > before else { throw CaptureError(.unusable, "The file \(path) holds no video frame.") }
            guard loops else { throw CaptureError(.ended, "The file \(path) is over.") }
            line.beginAnew()
        }
    }

    /// - Returns: false before the first picture.
    @discardableResult
    private func deliver(
        _ frame: SoundFrame, _ parameters: SoundParameters, _ line: FileLine, _ outlet: SourceOutlet
    ) -> Bool {
        guard let pts = line.place(sound: frame.pts) else { return false }
        outlet.deliver(SoundFrame(data: frame.data, pts: pts, duration: frame.duration), parameters)
        return true
    }

    /// A film that is shown once is not begun anew because its end is damaged; the error of one never begun is another matter.
    func mayRetry(after error: CaptureError) -> Bool {
        guard error.code != .ended else { return false }
        return loops || (error.underlying as? Shown) == nil
    }

    /// Frames were delivered before the failure.
    private struct Shown: Error {
        var frames: Int
        var cause: MediaError
    }

    /// Opening a pipe or a device would block, and libav could not be interrupted.
    private func checkKind() throws(CaptureError) {
        var info = stat()
        guard stat(path, &info) == 0 else {
            throw CaptureError(
                .unreachable, "The file \(path) is not there or not accessible.", hint: "Check path and permissions.")
        }
        guard info.st_mode & S_IFMT == S_IFREG else {
            throw CaptureError(.unusable, "\(path) is no regular file.", hint: "Name a film file.")
        }
    }

    private func wrap(_ error: MediaError, frames: Int) -> CaptureError {
        let reason = "The file \(path): \(error.reason)" + (frames > 0 ? " \(frames) frames came before." : "")
        let underlying: any Error = frames > 0 ? Shown(frames: frames, cause: error) : error
        return switch error.code {
        case .timedOut: CaptureError(.silent, reason, hint: "Does its disk or network hang?", underlying: underlying)
        case .openFailed, .readFailed:
            CaptureError(.unreachable, reason, hint: "Check permissions and disk.", underlying: underlying)
        default: CaptureError(.unusable, reason, hint: error.hint, underlying: underlying)
        }
    }
}
