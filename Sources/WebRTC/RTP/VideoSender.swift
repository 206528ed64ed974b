import Core

/// From access units to paced RTP packets, with their retransmission and reports. Pure: unprotected packets come out of `output`.
///
/// Sequence numbers are given when a packet leaves, so that discarding the queue leaves no gap; a unit whose first packet left is finished.
struct VideoSender {
    enum Output { case rtp([UInt8]), rtcp([UInt8]) }
    private struct Queued {
        var payloads: ArraySlice<[UInt8]>
        var timestamp: UInt32
        var delay: VideoUnit.PlayoutDelay?
        var isStarted = false
    }
    private struct Sent {
        var packet: RTPPacket
        var at: MonotonicTime
        var resentAt: MonotonicTime?
    }
    /// 1200 bytes less RTP header, extensions (24), SRTP tag (16) and RTX's sequence number.
    static let maximumPayload = 1200 - 12 - 24 - 16 - 2
    static let tick: Int64 = 5_000
    static let historyDuration: Int64 = 2_000_000
    static let historyBytes = 4 << 20

    let agreement: VideoAgreement
    let ssrc: UInt32
    let rtxSSRC: UInt32
    private var sequence: UInt16
    private var rtxSequence: UInt16
    private var transportSequence: UInt16 = 1
    private var queue: [Queued] = []
    private(set) var queuedBytes = 0
    private var resends: [UInt16] = []
    private var sent: [UInt16: Sent] = [:]
    private var order: [UInt16] = []
    private var orderHead = 0
    private var sentBytes = 0
    private var budget: Double = 0
    private var lastTick: MonotonicTime
    private var lastRun: MonotonicTime
    private var rate = RateController()
    private var lastReport: MonotonicTime?
    private var lastMedia: (at: MonotonicTime, timestamp: UInt32)?
    private var octets: UInt32 = 0
    private(set) var packets: UInt32 = 0
    private(set) var retransmitted = 0
    var output: [Output] = []

    init(
        _ agreement: VideoAgreement, ssrc: UInt32, rtxSSRC: UInt32, sequence: UInt16, rtxSequence: UInt16,
        now: MonotonicTime
    ) {
        self.agreement = agreement
        self.ssrc = ssrc
        self.rtxSSRC = rtxSSRC
        // Below 2^15, as RFC 3711 §3.3.1 advises against an early wrap.
        self.sequence = sequence & 0x7FFF
        self.rtxSequence = rtxSequence & 0x7FFF
        lastTick = now
        lastRun = now
        budget = burst
    }

    /// Bits a second.
    var bitRate: Int { rate.bitRate }
    private var burst: Double { max(16 * 1200, Double(rate.bitRate) / 8 * Double(Self.tick) / 1_000_000) }

    mutating func enqueue(_ unit: VideoUnit, now: MonotonicTime) {
        let payloads = H264Packetizer.payloads(H264Packetizer.units(of: unit), maximum: Self.maximumPayload)
        guard !payloads.isEmpty else { return }
        queue.append(Queued(payloads: payloads[...], timestamp: unit.rtpTimestamp, delay: unit.playoutDelay))
        queuedBytes += payloads.reduce(0) { $0 + $1.count }
        run(now: now)
    }

    mutating func discard() {
        queue.removeAll { !$0.isStarted }
        queuedBytes = queue.reduce(0) { $0 + $1.payloads.reduce(0) { $0 + $1.count } }
    }

    /// Sends what the time allows.
    mutating func run(now: MonotonicTime) {
        lastRun = now
        let elapsed = now - lastTick
        if elapsed >= Self.tick {
            budget = min(burst, budget + Double(elapsed) * Double(rate.bitRate) / 8_000_000)
            lastTick = now
        }
        while budget > 0, !resends.isEmpty { resend(resends.removeFirst(), now: now) }
        var finished = 0
        while budget > 0, finished < queue.count {
            queue[finished].isStarted = true
            guard let payload = queue[finished].payloads.popFirst() else {
                finished += 1
                continue
            }
            let isLast = queue[finished].payloads.isEmpty
            send(payload, of: queue[finished], marker: isLast, now: now)
            if isLast { finished += 1 }
        }
        queue.removeFirst(finished)
        report(now: now)
        trim(now: now)
    }

    private mutating func send(_ payload: [UInt8], of unit: Queued, marker: Bool, now: MonotonicTime) {
        var packet = RTPPacket(
            payloadType: agreement.payload, marker: marker, sequence: sequence, timestamp: unit.timestamp, ssrc: ssrc,
            extensions: commonExtensions(now: now), payload: payload)
        if let id = agreement.playoutDelayExtension, let delay = unit.delay {
            // 12 and 12 bits in units of 10 ms.
            let minimum = UInt32(min(max(delay.minimum / 10, 0), 4095))
            let maximum = UInt32(min(max(delay.maximum / 10, 0), 4095))
            let value = minimum << 12 | maximum
            packet.extensions[id] = [16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
        }
        emit(packet)
        sent[sequence] = Sent(packet: packet, at: now)
        order.append(sequence)
        sentBytes += payload.count
        queuedBytes -= payload.count
        sequence &+= 1
        packets &+= 1
        octets &+= UInt32(truncatingIfNeeded: payload.count)
        lastMedia = (now, unit.timestamp)
    }

    private mutating func commonExtensions(now: MonotonicTime) -> [UInt8: [UInt8]] {
        var extensions: [UInt8: [UInt8]] = [:]
        if let id = agreement.midExtension { extensions[id] = Array(agreement.mid.utf8) }
        if let id = agreement.transportExtension {
            extensions[id] = [UInt8(transportSequence >> 8), UInt8(truncatingIfNeeded: transportSequence)]
            rate.didSend(transportSequence, at: now)
            transportSequence &+= 1
        }
        return extensions
    }

    private mutating func emit(_ packet: RTPPacket) {
        let bytes = packet.encoded
        budget -= Double(bytes.count + 16)
        output.append(.rtp(bytes))
    }

    /// RFC 4588 §4: the original sequence number, then the payload. Without RTX the packet itself goes again.
    private mutating func resend(_ number: UInt16, now: MonotonicTime) {
        guard let original = sent[number] else { return }
        if let last = original.resentAt, now - last < 20_000 { return }
        sent[number]?.resentAt = now
        var packet = original.packet
        packet.extensions.merge(commonExtensions(now: now)) { $1 }
        if let type = agreement.rtxPayload {
            packet.payload.insert(contentsOf: [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)], at: 0)
            packet.payloadType = type
            packet.ssrc = rtxSSRC
            packet.sequence = rtxSequence
            rtxSequence &+= 1
        }
        retransmitted += 1
        emit(packet)
    }

    private mutating func trim(now: MonotonicTime) {
        while orderHead < order.count, let oldest = sent[order[orderHead]],
            now - oldest.at > Self.historyDuration || sentBytes > Self.historyBytes
        {
            sent[order[orderHead]] = nil
            sentBytes -= oldest.packet.payload.count
            orderHead += 1
        }
        if orderHead > 1024, orderHead * 2 > order.count {
            order.removeFirst(orderHead)
            orderHead = 0
        }
    }

    private mutating func report(now: MonotonicTime) {
        guard let lastMedia, now - lastMedia.at <= 1_000_000 else { return }
        if let lastReport, now - lastReport < 900_000 { return }
        lastReport = now
        let seconds = UInt64(clamping: now.microseconds / 1_000_000)
        let fraction = UInt64(clamping: now.microseconds % 1_000_000) << 32 / 1_000_000
        let timestamp = lastMedia.timestamp &+ UInt32(truncatingIfNeeded: (now - lastMedia.at) * 9 / 100)
        output.append(
            .rtcp(
                RTCPPacket.senderReport(
                    ssrc: ssrc, ntp: seconds << 32 | fraction & 0xFFFF_FFFF, rtpTimestamp: timestamp, packets: packets,
                    octets: octets)))
    }

    /// True when the other side needs a key frame.
    mutating func handle(_ packet: RTCPPacket, now: MonotonicTime) -> Bool {
        switch packet {
        case .senderReport(_, let reports), .receiverReport(_, let reports):
            for report in reports where report.ssrc == ssrc { rate.handle(lost256: report.fractionLost) }
        case .nack(let media, let sequences) where media == ssrc:
            // Libwebrtc asks for at most 1000 at a time.
            resends.append(contentsOf: sequences.prefix(max(0, 2000 - resends.count)))
            run(now: now)
        case .transport(let base, let arrivals): rate.handle(base: base, arrivals: arrivals, now: now)
        case .pictureLoss(let media): return media == ssrc || media == rtxSSRC
        case .fullIntraRequest(let media): return media.contains(ssrc)
        default: break
        }
        return false
    }

    var nextTimeout: MonotonicTime? {
        var times: [MonotonicTime] = []
        if !queue.isEmpty || !resends.isEmpty { times.append(lastTick + Self.tick) }
        // A report whose time passed in a pause is not due any more.
        if let lastReport, lastMedia != nil, lastReport + 900_000 > lastRun { times.append(lastReport + 900_000) }
        return times.min()
    }
}
