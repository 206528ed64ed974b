import Core
import Media

/// Live view: the hub's frames as they come.
extension PlayerMachine {
    mutating func goLive(_ camera: CameraID) {
        self.camera = camera
        mode = .live
        rate = 1
        pending = nil
        forgetUpcoming()
        parked = nil
        retryAt = nil
        actions.append(.watch(camera))
    }

    mutating func leaveLive() {
        guard mode == .live else { return }
        mode = cursor == nil ? .idle : .paused
        actions.append(.unwatch)
    }

    mutating func loseCamera() {
        guard mode == .live else { return }
        leaveLive()
        fail(PlaybackError(.unknownCamera, "There is no such camera any more."))
    }

    mutating func startLive(_ group: [TimedUnit]?, _ now: MonotonicTime) {
        guard mode == .live else { return }
        liveRun = nil
        liveWaitsForKey = true
        guard let group else {
            reply(.gap(id: id, from: cursor?.time, to: nil, reason: "offline"))
            retryAt = now + 2_000_000
            return
        }
        let units = group.filter { !isLeftOut($0) }
        guard let first = units.first, let last = units.last, isPlayable(first) else { return }
        liveWaitsForKey = false
        liveRun = last.run
        let start = nextRTP(now)
        let target = start + Int64(units.count - 1) * Self.burstStep
        sendClock(rtp: target, time: last.time, rate: 1, target: target, .live)
        for (offset, unit) in units.enumerated() {
            send(
                unit.unit.data, isKey: unit.unit.isKey, rtp: start + Int64(offset) * Self.burstStep,
                parameters: unit.parameters, now)
        }
        cursor = Cursor(time: last.time, group: nil, index: 0)
        base = Base(rtp: target, wall: last.time, at: now, rate: 1)
    }

    mutating func takeLive(_ unit: TimedUnit, _ now: MonotonicTime) {
        guard mode == .live, isPlayable(unit), !isLeftOut(unit) else { return }
        if liveWaitsForKey || unit.run != liveRun {
            guard unit.unit.isKey else { return }
            liveWaitsForKey = false
            liveRun = unit.run
            base = nil
        }
        let line = base.map { $0.rtp + (unit.time - $0.wall) * 9 / 100 }
        let rtp: Int64
        if let line, line > lastRTP {
            rtp = line
        } else {
            rtp = nextRTP(now)
            base = Base(rtp: rtp, wall: unit.time, at: now, rate: 1)
            sendClock(rtp: rtp, time: unit.time, rate: 1, target: rtp, .live)
        }
        send(unit.unit.data, isKey: unit.unit.isKey, rtp: rtp, parameters: unit.parameters, now)
        cursor = Cursor(time: unit.time, group: nil, index: 0)
    }

    /// B-frames that nothing refers to: left out, since browsers decode in the order of arrival (W38).
    private func isLeftOut(_ unit: TimedUnit) -> Bool {
        unit.parameters.reorderFrames > 0 && !H264NAL.isReference(lengthPrefixed: unit.unit.data)
    }

    private mutating func isPlayable(_ unit: TimedUnit) -> Bool {
        guard unit.unit.codec == .h264 else {
            leaveLive()
            fail(
                PlaybackError(
                    .unsupportedCodec,
                    "This camera records \(unit.parameters.codecString), which a browser's WebRTC does not decode."))
            return false
        }
        return true
    }
}
