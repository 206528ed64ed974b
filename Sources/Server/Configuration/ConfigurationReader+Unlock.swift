import Foundation
import Yams

extension ConfigurationReader {
    mutating func unlock(_ node: Node, _ folder: String) -> Configuration.AutomaticUnlock? {
        let known = ["credential", "file"]
        guard let mapping = node.mapping, mapping.count == 1, let (keyNode, value) = mapping.first else {
            add(node, "`unlock` wants `credential` or `file`, as in `unlock: { credential: vault }`")
            return nil
        }
        switch keyNode.string ?? "" {
        case "credential":
            guard let name = text_(value, "credential") else { return nil }
            guard !name.contains("/"), name != ".", name != ".." else {
                add(
                    value,
                    "`credential` wants a name as LoadCredential gives it, without a slash; a path goes under `file`")
                return nil
            }
            return .credential(name)
        case "file": return text_(value, "file").map { .file(absolute($0, folder)) }
        case let other:
            add(keyNode, "unknown key `\(other)` in `unlock`\(suggestion(other, known))")
            return nil
        }
    }
}
