/// An SDP offer as a browser writes it (RFC 8866, 8829), read leniently: what is not understood is ignored.
public struct SessionDescription: Sendable {
    public struct Media: Sendable {
        public var kind: String
        public var port: String
        public var transport: String
        public var formats: [String]
        public var attributes: [(name: String, value: String)] = []

        public subscript(_ name: String) -> String? { attributes.first { $0.name == name }?.value }
        public func values(_ name: String) -> [String] { attributes.filter { $0.name == name }.map(\.value) }
        /// What follows the payload type in `a=name:payload …`.
        public func parameters(_ name: String, payload: String) -> [String] {
            values(name).compactMap { value in
                let parts = value.split(separator: " ", maxSplits: 1)
                return parts.count == 2 && parts[0] == payload ? String(parts[1]) : nil
            }
        }
        /// Id of a header extension; only the one-byte form's 1–14 are of use (RFC 8285).
        public func headerExtension(_ uri: String) -> UInt8? {
            for value in values("extmap") {
                let parts = value.split(separator: " ")
                guard parts.count >= 2, parts[1] == uri,
                    let id = parts[0].split(separator: "/").first.flatMap({ UInt8($0) }),
                    (1...14).contains(id)
                else { continue }
                return id
            }
            return nil
        }
    }
    public var attributes: [(name: String, value: String)] = []
    public var media: [Media] = []

    /// 256 KiB is far above any browser's offer.
    static let maximumBytes = 262_144

    /// Errors: `.sdp` for too much text, more than 64 media sections, or none of the form `x=…`.
    public init(parsing text: String) throws(WebRTCError) {
        guard text.utf8.count <= Self.maximumBytes else { throw WebRTCError(.sdp, "the description is too long") }
        var isSDP = false
        for line in text.split(whereSeparator: \.isNewline) {
            guard line.utf8.count >= 2, line.dropFirst().first == "=" else { continue }
            let value = line.dropFirst(2)
            switch line.first {
            case "v": isSDP = true
            case "m":
                let parts = value.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
                guard parts.count >= 3, media.count < 64 else { throw WebRTCError(.sdp, "bad media line") }
                media.append(
                    Media(kind: parts[0], port: parts[1], transport: parts[2], formats: Array(parts.dropFirst(3))))
            case "a":
                let parts = value.split(separator: ":", maxSplits: 1)
                guard let name = parts.first else { continue }
                let attribute = (name: String(name), value: parts.count > 1 ? String(parts[1]) : "")
                if media.isEmpty {
                    attributes.append(attribute)
                } else {
                    media[media.count - 1].attributes.append(attribute)
                }
            default: break
            }
        }
        // A trickle fragment has no version line (RFC 8840 §9).
        guard isSDP || !attributes.isEmpty || !media.isEmpty else { throw WebRTCError(.sdp, "this is no SDP") }
    }

    public subscript(_ name: String) -> String? { attributes.first { $0.name == name }?.value }
    /// From the first media section that has it, else from the session.
    public func first(_ name: String) -> String? {
        for section in media {
            if let value = section[name] { return value }
        }
        return self[name]
    }
    public var candidates: [ICECandidate] {
        (attributes + media.flatMap(\.attributes)).filter { $0.name == "candidate" }
            .compactMap { ICECandidate(line: "candidate:" + $0.value) }
    }
    /// Text that goes into an answer must not carry line breaks or blanks of its own.
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 256 && text.utf8.allSatisfy { $0 > 32 && $0 < 127 }
    }
}
