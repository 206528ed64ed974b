import Core

/// Whether a file is as long as its own container says: libavformat takes a file that was cut short for one that is over.
///
/// MPEG-TS has no end to miss and is found out only where it is cut inside a packet; the same holds for raw streams.
struct ContainerExtent {
    enum Kind {
        /// MP4, MOV, 3GP (ISO/IEC 14496-12): boxes with sizes.
        case boxes
        /// Matroska, WebM (RFC 9559): a segment with a size.
        case matroska
        /// MPEG-TS (ISO/IEC 13818-1): packets of 188 bytes, of 192 with a time in front, of 204 with parity behind.
        case transportStream
        /// AVI: RIFF chunks.
        case riff

        /// - Parameter format: `AVInputFormat.name`.
        init?(format: String) {
            let names = format.split(separator: ",")
            if names.contains("mov") {
                self = .boxes
            } else if names.contains("matroska") {
                self = .matroska
            } else if names.contains("mpegts") {
                self = .transportStream
            } else if names.contains("avi") {
                self = .riff
            } else {
                return nil
            }
        }
    }

    let kind: Kind
    /// Bytes.
    let fileSize: Int64
    /// Bytes at a place; fewer where there are none.
    let read: (_ offset: Int64, _ count: Int) -> [UInt8]

    /// A fragmented film has a few boxes a second; a file must not keep a thread busy for ever.
    private static let mostParts = 1 << 20

    /// False where the container says that it is or has more than there is.
    var isWhole: Bool {
        switch kind {
        case .boxes: walk(from: 0) { boxEnd($0) }
        case .matroska: isWholeMatroska
        case .transportStream: isWholeTransportStream
        case .riff: walk(from: 0) { chunkEnd($0) }
        }
    }

    private enum Part {
        case ends(at: Int64)
        /// It goes on to the end of the file, or is none of the container's.
        case open
    }

    /// From part to part; false where one ends behind the file.
    private func walk(from start: Int64, _ end: (Int64) -> Part) -> Bool {
        var position = start
        for _ in 0..<Self.mostParts {
            guard position < fileSize, case .ends(let next) = end(position), next > position else { return true }
            if next > fileSize { return false }
            position = next
        }
        return true
    }

    /// ISO/IEC 14496-12 section 4.2.
    private func boxEnd(_ position: Int64) -> Part {
        var reader = ByteReader(read(position, 16))
        guard let short = try? reader.u32(), let type = try? reader.take(4), type.allSatisfy({ $0 >= 0x20 }) else {
            return .open
        }
        switch short {
        case 0: return .open
        case 1:
            guard let long = try? reader.u64() else { return .ends(at: .max) }
            return long < 16 ? .open : .ends(at: position.addingSaturating(Int64(clamping: long)))
        case 2..<8: return .open
        default: return .ends(at: position.addingSaturating(Int64(short)))
        }
    }

    private func chunkEnd(_ position: Int64) -> Part {
        let bytes = read(position, 8)
        guard bytes.count == 8, bytes.starts(with: "RIFF".utf8) else { return .open }
        let size = bytes[4..<8].reversed().reduce(Int64(0)) { $0 << 8 | Int64($1) }
        // Chunks begin at even places.
        return .ends(at: position.addingSaturating(8 + size + size % 2))
    }

    private var isWholeTransportStream: Bool {
        let head = read(0, 204 * 3 + 5)
        for (size, sync) in [(188, 0), (192, 4), (204, 0)] {
            let places = [sync, sync + size, sync + 2 * size]
            guard places.allSatisfy({ head.indices.contains($0) && head[$0] == 0x47 }) else { continue }
            return fileSize % Int64(size) == 0
        }
        return true
    }

    // MARK: EBML (RFC 8794)

    private static let segment: UInt64 = 0x1853_8067
    /// Level 1 of Matroska: what may stand in a segment.
    private static let segmentChildren: Set<UInt64> = [
        0x114D_9B74, 0x1549_A966, 0x1654_AE6B, 0x1F43_B675, 0x1C53_BB6B, 0x1941_A469, 0x1043_A770, 0x1254_C367, 0xEC,
        0xBF,
    ]

    private var isWholeMatroska: Bool {
        guard let header = element(at: 0), header.id == 0x1A45_DFA3, let headerEnd = header.end else { return true }
        guard let segment = element(at: headerEnd), segment.id == Self.segment else { return headerEnd <= fileSize }
        if let end = segment.end { return end <= fileSize }
        // Written as it came (unknown size): its clusters have sizes, or it is not known.
        return walk(from: segment.content) { position in
            guard let child = element(at: position), Self.segmentChildren.contains(child.id), let end = child.end
            else { return .open }
            return .ends(at: end)
        }
    }

    /// - Returns: `end` is nil for an unknown size.
    private func element(at position: Int64) -> (id: UInt64, content: Int64, end: Int64?)? {
        let bytes = read(position, 12)
        guard let first = bytes.first, first.leadingZeroBitCount < 4 else { return nil }
        let idLength = first.leadingZeroBitCount + 1
        guard bytes.count > idLength, bytes[idLength] != 0 else { return nil }
        let sizeLength = bytes[idLength].leadingZeroBitCount + 1
        guard bytes.count >= idLength + sizeLength else { return nil }
        let id = bytes[..<idLength].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let mask = UInt64(1) << UInt64(7 * sizeLength) - 1
        let size = bytes[idLength..<idLength + sizeLength].reduce(UInt64(0)) { $0 << 8 | UInt64($1) } & mask
        let content = position.addingSaturating(Int64(idLength + sizeLength))
        return (id, content, size == mask ? nil : content.addingSaturating(Int64(clamping: size)))
    }
}
