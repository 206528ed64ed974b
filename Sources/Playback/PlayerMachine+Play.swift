import Core

/// Playing at a rate, forward and backward.
extension PlayerMachine {
    var playsKeyFramesOnly: Bool { rate < 0 || rate > Self.everyFrameUpTo }

    mutating func play(at newRate: Double, _ now: MonotonicTime) {
        let wasLive = mode == .live
        if wasLive, newRate == 1 { return }
        leaveLive()
        let turned = (newRate < 0) != (rate < 0)
        rate = newRate
        guard let camera, let cursor else {
            reply(.error(id: id, code: .unknownCamera, message: "Seek first, or ask for live view."))
            return
        }
        if turned || playsKeyFramesOnly { forgetUpcoming() }
        pending = nil
        if let parked {
            fetch(.at(camera, parked), .seek(time: parked, .exact, .play))
            return
        }
        mode = .playing
        base = Base(rtp: lastRTP, wall: cursor.time, at: now, rate: rate)
        sendClock(rtp: lastRTP, time: cursor.time, rate: rate, target: lastRTP, .play)
        guard cursor.group != nil else {
            fetch(.at(camera, cursor.time), .resume)
            return
        }
        prefetch()
    }

    /// The frame to send next, if it is known.
    var nextFrame: PlaybackFrame? {
        guard let cursor, let group = cursor.group else { return nil }
        if rate < 0 {
            if cursor.index > 0 { return group.frames[0] }
            return upcoming?.frames[0]
        }
        if rate <= Self.everyFrameUpTo, cursor.index + 1 < group.frames.count { return group.frames[cursor.index + 1] }
        return upcoming?.frames[0]
    }

    func due(_ time: WallTime, _ base: Base) -> MonotonicTime {
        base.at + Int64((Double(time - base.wall) / base.rate).rounded())
    }

    /// Asks for the group that follows, once.
    mutating func prefetch() {
        guard mode == .playing, pending == nil, upcoming == nil, upcomingGap == nil, let camera, let cursor,
            let group = cursor.group
        else {
            return
        }
        if rate < 0 {
            fetch(.before(camera, group.range.start), .next)
        } else if group.isGrowing {
            // Only when its frames run out: until then the disk knows no more.
            if nextFrame == nil { fetch(.at(camera, cursor.time), .resume) }
        } else {
            fetch(.after(camera, group.range.end), .next)
        }
    }

    mutating func tick(_ now: MonotonicTime) {
        if let at = retryAt, at <= now {
            retryAt = nil
            if mode == .live, let camera {
                actions.append(.watch(camera))
                return
            }
            prefetch()
        }
        guard mode == .playing else { return }
        while let frame = nextFrame, let base, let cursor {
            let at = due(frame.time, base)
            guard at <= now else { break }
            // Late by a fetch: go on from here instead of hurrying after the clock.
            if now - at > 300_000 { self.base?.at = base.at + (now - at) }
            advance(frame, cursor, base, now)
        }
        if nextFrame == nil, let gap = upcomingGap, let base, endOfGroup(base) <= now {
            upcomingGap = nil
            leaveAt(gap, now)
            return
        }
        prefetch()
    }

    /// When the last frame before a gap has been on the screen for its time; backwards at once.
    func endOfGroup(_ base: Base) -> MonotonicTime {
        guard rate > 0, let group = cursor?.group else { return lastSent ?? base.at }
        return due(group.range.end, base)
    }

    private mutating func advance(_ frame: PlaybackFrame, _ cursor: Cursor, _ base: Base, _ now: MonotonicTime) {
        guard let group = cursor.group else { return }
        let next: Cursor
        if rate < 0, cursor.index > 0 {
            next = Cursor(time: frame.time, group: group, index: 0)
        } else if rate > 0, !playsKeyFramesOnly, cursor.index + 1 < group.frames.count {
            next = Cursor(time: frame.time, group: group, index: cursor.index + 1)
        } else if let upcoming {
            next = Cursor(time: frame.time, group: upcoming, index: 0)
            self.upcoming = nil
        } else {
            return
        }
        self.cursor = next
        if playsKeyFramesOnly, let lastSent, now - lastSent < Self.keyFrameSpacing { return }
        let exact = base.rtp + Int64((Double(frame.time - base.wall) * 0.09 / base.rate).rounded())
        let rtp = max(lastRTP + 1, exact)
        if rtp - exact > 90 {
            // Whoever watches maps timestamps to time: say so when the line is left.
            self.base = Base(rtp: rtp, wall: frame.time, at: due(frame.time, base), rate: base.rate)
            sendClock(rtp: rtp, time: frame.time, rate: rate, target: rtp, .play)
        }
        if let parameters = next.group?.parameters {
            send(frame.data, isKey: frame.isKey, rtp: rtp, parameters: parameters, now)
        }
    }

    mutating func takeNext(_ answer: FootageAnswer, _ now: MonotonicTime) {
        guard mode == .playing else { return }
        switch answer {
        case .group(let group):
            upcoming = group
            tick(now)
        case .gap:
            upcomingGap = answer
            tick(now)
        case .failure(let error): fail(error)
        }
    }

    /// The footage ends here: on behind the gap, into live view, or the end.
    private mutating func leaveAt(_ gap: FootageAnswer, _ now: MonotonicTime) {
        guard case .gap(let from, let to, let reason, let isLiveEdge) = gap, let camera, let cursor else { return }
        if rate > 0, isLiveEdge, to == nil {
            reachLiveEdge(now)
            return
        }
        reply(.gap(id: id, from: from, to: to, reason: reason))
        if rate > 0, let to {
            fetch(.at(camera, to), .seek(time: to, .exact, .play))
        } else if rate < 0, let from {
            fetch(.before(camera, from), .seek(time: from, .keyframe, .play))
        } else {
            mode = .paused
            sendClock(rtp: lastRTP, time: cursor.time, rate: 0, target: lastRTP, .pause)
            reply(.end(id: id, at: rate > 0 ? .last : .first))
        }
    }

    /// Faster than real time there is nothing more to come but the present.
    mutating func reachLiveEdge(_ now: MonotonicTime) {
        guard let camera else { return }
        if rate >= 1 {
            rate = 1
            goLive(camera)
        } else {
            retryAt = now + Self.edgeRetry
        }
    }

    mutating func finishResume(_ answer: FootageAnswer, _ now: MonotonicTime) {
        guard mode == .playing, let cursor else { return }
        switch answer {
        case .group(let group):
            let index = group.index(showing: cursor.time)
            // What is on the screen may not be on disk yet, or the group may have grown by nothing.
            let isKnown = abs(group.frames[index].time - cursor.time) <= 2000
            self.cursor = Cursor(time: cursor.time, group: group, index: index)
            guard isKnown else {
                if group.isGrowing { reachLiveEdge(now) } else { prefetch() }
                return
            }
            if group.isGrowing, index + 1 >= group.frames.count {
                reachLiveEdge(now)
            } else {
                tick(now)
            }
        case .gap(_, let to, _, let isLiveEdge):
            if isLiveEdge, to == nil { reachLiveEdge(now) } else { takeNext(answer, now) }
        case .failure(let error): fail(error)
        }
    }
}
