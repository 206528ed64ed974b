import Core

/// Reading of age's ASCII armor (age.md, "ASCII armor"): strict PEM, 64 columns, LF or CRLF.
enum AgeArmor {
    static let begin = "-----BEGIN AGE ENCRYPTED FILE-----"
    static let end = "-----END AGE ENCRYPTED FILE-----"

    /// Whether, leading white space aside, an armor begins here.
    static func isArmored(_ bytes: [UInt8]) -> Bool {
        bytes.drop(while: isSpace).starts(with: "-----BEGIN".utf8)
    }

    /// The binary file within. Errors: `.armorFailure`. White space may stand before and after the armor.
    static func decode(_ bytes: [UInt8]) throws(VaultError) -> [UInt8] {
        func fail(_ what: String) -> VaultError { VaultError(.armorFailure, "The age armor is malformed: \(what).") }
        var lines = bytes.drop(while: isSpace).split(separator: 10, omittingEmptySubsequences: false).map {
            $0.last == 13 ? $0.dropLast() : $0
        }[...]
        guard lines.popFirst()?.elementsEqual(begin.utf8) == true else { throw fail("first line") }
        var output: [UInt8] = []
        var hasShortLine = false
        while let line = lines.popFirst() {
            if line.elementsEqual(end.utf8) {
                guard lines.allSatisfy({ $0.allSatisfy(isSpace) }) else { throw fail("something behind it") }
                return output
            }
            guard !hasShortLine, (1...64).contains(line.count), let part = Base64.decode(line, padded: true) else {
                throw fail("line of Base64")
            }
            hasShortLine = line.count < 64 || line.last == UInt8(ascii: "=")
            output += part
        }
        throw fail("no last line")
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
}
