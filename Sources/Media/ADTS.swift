/// AAC in MPEG-TS and raw streams has a header before each frame: ISO/IEC 13818-7 section 6.2.
enum ADTS {
    struct Frame: Equatable {
        /// What an MP4 would have instead of the header.
        var configuration: [UInt8]
        var data: [UInt8]
    }

    static func isStart(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.count >= 7 && bytes[bytes.startIndex] == 0xFF && bytes[bytes.startIndex + 1] & 0xF6 == 0xF0
    }

    /// The frames of a packet; nil where it is anything else than frames to its end.
    static func frames(_ packet: [UInt8]) -> [Frame]? {
        var frames: [Frame] = []
        var rest = packet[...]
        while !rest.isEmpty {
            guard isStart(rest) else { return nil }
            let head = Array(rest.prefix(7))
            let header = head[1] & 1 == 1 ? 7 : 9
            let length = Int(head[3] & 3) << 11 | Int(head[4]) << 3 | Int(head[5]) >> 5
            // Several blocks behind one header would have to be decoded to be told apart; nobody sends them.
            guard head[6] & 3 == 0, length > header, length <= rest.count else { return nil }
            let (profile, rate) = (head[2] >> 6, head[2] >> 2 & 15)
            let channels = (head[2] & 1) << 2 | head[3] >> 6
            frames.append(
                Frame(
                    configuration: [(profile + 1) << 3 | rate >> 1, (rate & 1) << 7 | channels << 3],
                    data: Array(rest.dropFirst(header).prefix(length - header))))
            rest = rest.dropFirst(length)
        }
        return frames
    }
}
