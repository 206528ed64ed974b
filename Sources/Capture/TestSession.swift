import Core
import Foundation
import Media

/// The test picture by libx264; each unit carries the instant that is drawn in it.
struct TestSession: SourceSession {
    let settings: TestPattern.Settings

    func run(_ outlet: SourceOutlet) throws(CaptureError) {
        do {
            try draw(outlet)
        } catch let error as CaptureError {
            throw error
        } catch {
            throw CaptureError(.unusable, "The test picture cannot be made.", underlying: error)
        }
    }

    private func draw(_ outlet: SourceOutlet) throws {
        var pattern = TestPattern(settings)
        let encoder = try Encoder(
            Encoder.Settings(
                width: settings.width, height: settings.height, rate: settings.rate, keyInterval: settings.keyInterval,
                bitRate: settings.bitRate, bFrames: settings.bFrames, profile: settings.profile))
        outlet.queue.push(.connected(encoder.parameters))
        let time = outlet.time
        let start = (monotonic: time.monotonicNow(), wall: time.wallNow())
        var stamps: [Int64: (WallTime, MonotonicTime)] = [:]
        var frame = 0
        var lastWall = start.wall
        while !outlet.isStopped {
            let due = start.monotonic + Int64(frame) * 1_000_000 / Int64(settings.rate)
            let wait = due - time.monotonicNow()
            if wait > 0 { Thread.sleep(forTimeInterval: Double(wait) / 1_000_000) }
            let (wall, monotonic) = (time.wallNow(), time.monotonicNow())
            // A clock set back must not let timestamps run backwards inside one encoder.
            guard wall >= lastWall else {
                throw CaptureError(.unreachable, "The clock was set back; the test camera starts anew.")
            }
            lastWall = wall
            pattern.draw(wall, frame: frame)
            // Ticks from the drawn time itself, so that the recorded time is the time in the picture.
            let pts = (wall - start.wall) * 9 / 100
            stamps[pts] = (wall, monotonic)
            for packet in try encoder.encode(luma: pattern.luma, cb: pattern.cb, cr: pattern.cr, pts: pts) {
                let stamp = stamps.removeValue(forKey: packet.pts) ?? (wall, monotonic)
                outlet.queue.push(
                    .unit(
                        AccessUnit(
                            codec: .h264, data: packet.data, isKey: packet.isKey, dts: packet.dts, pts: packet.pts,
                            capturedWall: stamp.0, capturedMonotonic: stamp.1, captureTimeIsExact: true)))
            }
            frame += 1
        }
    }
}
