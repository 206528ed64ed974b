import Foundation

/// Files that hold passwords or keys.
package enum SecretFile {
    /// Rights 0600 from the beginning; what stood there is replaced.
    package static func write(_ text: String, to path: String) throws(ServerError) {
        guard
            FileManager.default.createFile(
                atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        else { throw ServerError(.refused, "\(path) cannot be written.") }
    }

    /// A secret that every user of the machine can read is none: refused rather than used.
    static func check(_ path: String, holds what: String) throws(ServerError) {
        let rights = try? FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
        guard let rights, rights.intValue & 0o004 != 0 else { return }
        throw ServerError(
            .configuration, "\(path) holds \(what) and can be read by every user of this machine.",
            hint: "chmod 600 \(path)")
    }
}
