/// The XML that S3 servers answer with, read event by event: elements and text, nothing else.
///
/// No DTD, hence no entities but the five predefined ones and character references; prefixes and attributes are
/// dropped. Bounded by the caller's limit on the body and by `depthLimit`; nothing traps on any bytes.
struct XMLReader {
    enum Event: Hashable {
        case open(String)
        case text(String)
        case close(String)
    }
    /// Why reading stopped; the caller says which answer it was.
    struct Malformed: Error, Hashable { var reason: String }

    static let depthLimit = 16

    private let bytes: [UInt8]
    private var position = 0
    private var path: [ArraySlice<UInt8>] = []
    /// `<a/>` is two events; the second waits here.
    private var isEmptyElement = false
    private var hasRoot = false

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// Nil at the end of a whole document.
    mutating func next() throws(Malformed) -> Event? {
        if isEmptyElement {
            isEmptyElement = false
            return .close(localName(path.popLast() ?? []))
        }
        while position < bytes.count {
            if bytes[position] != UInt8(ascii: "<") {
                if let text = try text() { return .text(text) }
            } else if starts("<?") {
                try skip(past: "?>")
            } else if starts("<!--") {
                try skip(past: "-->")
            } else if starts("<![CDATA[") {
                return .text(try characters())
            } else if starts("<!") {
                throw Malformed(reason: "a document type")
            } else if starts("</") {
                return try close()
            } else {
                return try open()
            }
        }
        guard path.isEmpty, hasRoot else { throw Malformed(reason: "it ends too early") }
        return nil
    }

    private func starts(_ text: StaticString) -> Bool {
        let wanted = "\(text)".utf8
        return bytes.count - position >= wanted.count && bytes[position...].starts(with: wanted)
    }

    /// Returns where the delimiter begins, and goes behind it.
    @discardableResult private mutating func skip(past delimiter: String) throws(Malformed) -> Int {
        let wanted = Array(delimiter.utf8)
        var index = position
        while index + wanted.count <= bytes.count {
            if bytes[index] == wanted[0], bytes[index...].starts(with: wanted) {
                position = index + wanted.count
                return index
            }
            index += 1
        }
        throw Malformed(reason: "it ends too early")
    }

    /// Nil for white space outside of the root.
    private mutating func text() throws(Malformed) -> String? {
        let end = bytes[position...].firstIndex(of: UInt8(ascii: "<")) ?? bytes.count
        let slice = bytes[position..<end]
        position = end
        guard !path.isEmpty else {
            guard slice.allSatisfy({ [9, 10, 13, 32].contains($0) }) else { throw Malformed(reason: "text outside") }
            return nil
        }
        return try Self.utf8(try Self.resolve(slice))
    }

    private mutating func characters() throws(Malformed) -> String {
        guard !path.isEmpty else { throw Malformed(reason: "text outside") }
        position += "<![CDATA[".utf8.count
        let start = position
        let end = try skip(past: "]]>")
        return try Self.utf8(Array(bytes[start..<end]))
    }

    private mutating func open() throws(Malformed) -> Event {
        guard path.count < Self.depthLimit else { throw Malformed(reason: "elements are nested too deep") }
        guard !(path.isEmpty && hasRoot) else { throw Malformed(reason: "a second root") }
        position += 1
        let name = try name()
        // Attributes hold no "<"; a ">" inside of a quoted value is not the end.
        var quote: UInt8?
        var last: UInt8 = 0
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if let open = quote {
                if byte == open { quote = nil }
            } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                quote = byte
            } else if byte == UInt8(ascii: ">") {
                hasRoot = true
                path.append(name)
                isEmptyElement = last == UInt8(ascii: "/")
                return .open(localName(name))
            } else if byte == UInt8(ascii: "<") {
                throw Malformed(reason: "a tag inside of a tag")
            }
            last = byte
        }
        throw Malformed(reason: "it ends too early")
    }

    private mutating func close() throws(Malformed) -> Event {
        position += 2
        let name = try name()
        guard path.last == name else { throw Malformed(reason: "an end tag that nothing began") }
        let end = try skip(past: ">")
        guard bytes[..<end].suffix(from: min(end, name.endIndex)).allSatisfy({ [9, 10, 13, 32].contains($0) }) else {
            throw Malformed(reason: "an end tag with attributes")
        }
        path.removeLast()
        return .close(localName(name))
    }

    private mutating func name() throws(Malformed) -> ArraySlice<UInt8> {
        let start = position
        while position < bytes.count, !Self.endsName(bytes[position]) { position += 1 }
        guard position > start, position - start <= 128 else { throw Malformed(reason: "a tag without a name") }
        return bytes[start..<position]
    }

    private static func endsName(_ byte: UInt8) -> Bool {
        byte <= 32 || byte == UInt8(ascii: ">") || byte == UInt8(ascii: "/") || byte == UInt8(ascii: "<")
    }

    private func localName(_ name: ArraySlice<UInt8>) -> String {
        let local = name.lastIndex(of: UInt8(ascii: ":")).map { name[($0 + 1)...] } ?? name
        return String(decoding: local, as: UTF8.self)
    }

    private static func utf8(_ bytes: [UInt8]) throws(Malformed) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Malformed(reason: "text that is not UTF-8")
        }
        return text
    }

    private static func resolve(_ slice: ArraySlice<UInt8>) throws(Malformed) -> [UInt8] {
        guard slice.contains(UInt8(ascii: "&")) else { return Array(slice) }
        var output: [UInt8] = []
        output.reserveCapacity(slice.count)
        var rest = slice
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "&") else {
                output.append(byte)
                continue
            }
            guard let end = rest.prefix(12).firstIndex(of: UInt8(ascii: ";")) else {
                throw Malformed(reason: "an entity without an end")
            }
            output += try entity(String(decoding: rest[..<end], as: UTF8.self))
            rest = rest[(end + 1)...]
        }
        return output
    }

    private static func entity(_ name: String) throws(Malformed) -> [UInt8] {
        switch name {
        case "lt": return [UInt8(ascii: "<")]
        case "gt": return [UInt8(ascii: ">")]
        case "amp": return [UInt8(ascii: "&")]
        case "quot": return [UInt8(ascii: "\"")]
        case "apos": return [UInt8(ascii: "'")]
        default:
            let digits = name.hasPrefix("#x") ? name.dropFirst(2) : name.dropFirst(1)
            guard name.hasPrefix("#"), let first = digits.first, first != "+", first != "-",
                let value = UInt32(digits, radix: name.hasPrefix("#x") ? 16 : 10), value > 0,
                let scalar = Unicode.Scalar(value)
            else { throw Malformed(reason: "an unknown entity") }
            return Array(String(Character(scalar)).utf8)
        }
    }
}
