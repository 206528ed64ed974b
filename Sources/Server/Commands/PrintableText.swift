extension StringProtocol {
    /// On one line of a terminal: what would move its cursor, change its colours or turn its writing round is written out.
    package var printable: String {
        var text = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            switch scalar {
            case "\n": text.append(contentsOf: "\\n".unicodeScalars)
            case "\t": text.append(contentsOf: "\\t".unicodeScalars)
            // Direction marks, embeddings and isolates; separators of lines and paragraphs.
            case "\u{200E}"..."\u{200F}", "\u{2028}"..."\u{202E}", "\u{2066}"..."\u{2069}":
                text.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
            case _ where scalar.properties.generalCategory == .control:
                text.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
            default: text.append(scalar)
            }
        }
        return String(text)
    }
}
