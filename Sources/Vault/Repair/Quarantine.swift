/// The folder for what does not belong where it was found; nothing is ever removed from it.
enum Quarantine {
    /// Moves a file or a folder there, beside what lies there under its name; durable on return. Fine when it is gone already.
    static func move(_ path: String, _ layout: Layout, _ files: any FileSystem) throws(VaultError) {
        guard try files.attributes(path) != nil else { return }
        let name = path.split(separator: "/").last.map(String.init) ?? "file"
        try files.makeDirectory(layout.quarantine)
        var target = layout.quarantine + "/" + name
        var number = 1
        while try files.attributes(target) != nil {
            target = layout.quarantine + "/\(name).\(number)"
            number += 1
        }
        try files.rename(path, to: target)
        try files.syncDirectory(layout.quarantine)
        try files.syncDirectory(parent(of: path))
    }
}
