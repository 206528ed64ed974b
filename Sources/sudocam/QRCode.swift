import CQR

/// A QR code as text for a terminal: two modules to a character cell, by half blocks.
struct QRCode {
    /// Rows of dark (true) and light modules, without the quiet zone.
    let modules: [[Bool]]

    /// Nil when the text is too long for a QR code (libqrencode's `QRcode_encodeString`, level M). A text of capitals, digits
    /// and `-` takes the smaller alphanumeric mode by itself.
    init?(_ text: String) {
        guard let code = unsafe QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1) else { return nil }
        defer { unsafe QRcode_free(code) }
        let width = unsafe Int(code.pointee.width)
        guard width > 0, let data = unsafe code.pointee.data else { return nil }
        // The lowest bit says whether a module is dark.
        modules = (0..<width).map { row in (0..<width).map { column in unsafe data[row * width + column] & 1 == 1 } }
        // libqrencode frees without wiping; what is coded here may be a secret.
        for index in 0..<width * width { unsafe data[index] = 0 }
    }

    /// Light modules are drawn, dark ones left: right on a dark terminal, and readers take the inverse too. Each line
    /// begins with `indent`.
    func lines(indent: String) -> [String] {
        let quiet = 2
        let width = modules.count + 2 * quiet
        func isLight(_ row: Int, _ column: Int) -> Bool {
            let (row, column) = (row - quiet, column - quiet)
            guard modules.indices.contains(row), modules.indices.contains(column) else { return row < width - quiet }
            return !modules[row][column]
        }
        return stride(from: 0, to: width, by: 2).map { row in
            indent
                + (0..<width).map { column in
                    switch (isLight(row, column), row + 1 < width && isLight(row + 1, column)) {
                    case (true, true): "█"
                    case (true, false): "▀"
                    case (false, true): "▄"
                    case (false, false): " "
                    }
                }.joined()
        }
    }
}
