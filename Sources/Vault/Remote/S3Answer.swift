/// What S3 says in XML when it refuses, on any status: a 200 may carry it too.
struct S3ErrorBody: Sendable, Hashable {
    var code: String
    /// The server's own words, made safe for a line of a log.
    var message: String
    /// Where it expects the request, when it expects it elsewhere.
    var region: String?

    static let sizeLimit = 64 << 10

    /// Nil when the body is no error document: empty, HTML of a proxy, an object.
    init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.sizeLimit else { return nil }
        var reader = XMLReader(bytes)
        var path: [String] = []
        var code = ""
        var message = ""
        var region = ""
        do throws(XMLReader.Malformed) {
            while let event = try reader.next() {
                switch event {
                case .open(let name):
                    path.append(name)
                    if path.count == 1, name != "Error" { return nil }
                case .text(let text) where path == ["Error", "Code"]: code += text
                case .text(let text) where path == ["Error", "Message"]: message += text
                case .text(let text) where path == ["Error", "Region"]: region += text
                case .text: break
                case .close: path.removeLast()
                }
            }
        } catch { return nil }
        guard !code.isEmpty else { return nil }
        self.code = Self.printable(code, limit: 64)
        self.message = Self.printable(message, limit: 300)
        self.region = region.isEmpty ? nil : Self.printable(region, limit: 64)
    }

    /// One line of plain text: a server is trusted with nothing, and that includes the operator's terminal.
    static func printable(_ text: String, limit: Int) -> String {
        let clean = text.unicodeScalars.prefix(limit).map { scalar -> Character in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: " "
            default: Character(scalar)
            }
        }
        return String(clean).split(separator: " ").joined(separator: " ")
    }
}
