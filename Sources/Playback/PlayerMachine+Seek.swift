import Core

/// Seeks, steps and pausing.
extension PlayerMachine {
    mutating func seek(
        to time: WallTime, _ seekMode: ControlRequest.SeekMode, _ then: ControlRequest.Afterwards, _ now: MonotonicTime
    ) {
        guard let camera else { return }
        pending = nil
        // Dragging mostly stays within a group that is already open.
        for group in [cursor?.group, upcoming] {
            guard let group, group.camera == camera, !group.isGrowing, group.range.contains(time) else { continue }
            finishSeek(time, seekMode, then, .group(group), now)
            return
        }
        mode = cursor == nil ? .idle : .paused
        fetch(.at(camera, time), .seek(time: time, seekMode, then))
    }

    mutating func finishSeek(
        _ time: WallTime, _ seekMode: ControlRequest.SeekMode, _ then: ControlRequest.Afterwards,
        _ answer: FootageAnswer, _ now: MonotonicTime
    ) {
        switch answer {
        case .group(let group):
            mode = then == .play ? .playing : .paused
            if cursor?.group?.range != group.range { forgetUpcoming() }
            sendBurst(
                group, upTo: group.index(showing: time), keyOnly: seekMode == .keyframe,
                rate: then == .play ? rate : 0, now)
            if mode == .playing { prefetch() }
        case .gap(let from, let to, let reason, let isLiveEdge):
            reply(.gap(id: id, from: from, to: to, reason: reason))
            mode = cursor == nil ? .idle : .paused
            parked = time
            guard then == .play, let camera else { return }
            if rate > 0, let to {
                fetch(.at(camera, to), .seek(time: to, .exact, .play))
            } else if rate > 0, isLiveEdge {
                goLive(camera)
            } else if rate < 0, let from {
                fetch(.before(camera, from), .seek(time: from, .keyframe, .play))
            } else {
                reply(.end(id: id, at: rate > 0 ? .last : .first))
            }
        case .failure(let error): fail(error)
        }
    }

    mutating func pause(_ now: MonotonicTime) {
        pauseQuietly()
        guard let cursor else { return }
        sendClock(rtp: lastRTP, time: cursor.time, rate: 0, target: lastRTP, .pause)
    }

    mutating func pauseQuietly() {
        leaveLive()
        pending = nil
        retryAt = nil
        if mode != .idle { mode = .paused }
    }

    // MARK: Steps

    mutating func step(_ frames: Int, _ now: MonotonicTime) {
        guard let camera, let cursor, frames != 0 else { return }
        guard let group = cursor.group, !group.isGrowing || frames < 0 else {
            // After live view, or at the growing end: read the group anew, then count from the same frame.
            fetch(.at(camera, cursor.time), .step(frames))
            return
        }
        step(frames, in: group, from: cursor.index, now)
    }

    private mutating func step(_ frames: Int, in group: FrameGroup, from index: Int, _ now: MonotonicTime) {
        guard let camera else { return }
        let target = index + frames
        if target < 0 {
            cursor = Cursor(time: group.frames[0].time, group: group, index: 0)
            fetch(.before(camera, group.range.start), .step(target))
        } else if target >= group.frames.count {
            let last = group.frames.count - 1
            cursor = Cursor(time: group.frames[last].time, group: group, index: last)
            if group.isGrowing {
                // Not recorded yet: stay on the last frame there is.
                show(group, last, previous: index, now)
            } else {
                fetch(.after(camera, group.range.end), .step(target - group.frames.count))
            }
        } else {
            show(group, target, previous: index, now)
        }
    }

    /// One frame on needs no pre-roll: the decoder stands right before it.
    private mutating func show(_ group: FrameGroup, _ index: Int, previous: Int, _ now: MonotonicTime) {
        guard index == previous + 1, cursor?.group?.range.start == group.range.start, cursor?.index == previous else {
            sendBurst(group, upTo: index, keyOnly: false, rate: 0, now)
            return
        }
        let frame = group.frames[index]
        let rtp = nextRTP(now)
        sendClock(rtp: rtp, time: frame.time, rate: 0, target: rtp, .pause)
        send(frame.data, isKey: frame.isKey, rtp: rtp, parameters: group.parameters, now)
        cursor = Cursor(time: frame.time, group: group, index: index)
        base = Base(rtp: rtp, wall: frame.time, at: now, rate: 1)
    }

    mutating func finishStep(_ frames: Int, _ answer: FootageAnswer, _ now: MonotonicTime) {
        switch answer {
        case .group(let group):
            guard let cursor else { return }
            if cursor.group == nil || (cursor.group?.range.start == group.range.start) {
                let index = group.index(showing: cursor.time)
                self.cursor = Cursor(time: group.frames[index].time, group: group, index: index)
                step(frames, in: group, from: index, now)
            } else if group.range.start < cursor.time {
                // Came from the group after: `frames` is −1 for its last frame.
                step(frames, in: group, from: group.frames.count, now)
            } else {
                step(frames, in: group, from: 0, now)
            }
        case .gap(let from, let to, let reason, _):
            reply(.gap(id: id, from: from, to: to, reason: reason))
            guard let camera else { return }
            if frames >= 0, let to {
                fetch(.after(camera, to), .step(frames))
            } else if frames < 0, let from {
                fetch(.before(camera, from), .step(frames))
            } else {
                reply(.end(id: id, at: frames < 0 ? .first : .last))
            }
        case .failure(let error): fail(error)
        }
    }
}
