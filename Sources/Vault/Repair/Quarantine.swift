/// The folder for what does not belong where it was found; nothing is ever removed from it.
enum Quarantine {
    /// Moves a file or a folder there, beside what lies there under its name; durable on return. Fine when it is gone already.
    static func move(_ path: String, _ layout: Layout, _ files: any FileSystem) throws(VaultError) {
        guard try files.attributes(path) != nil else { return }
        let target = try place(for: path.split(separator: "/").last.map(String.init) ?? "file", layout, files)
        try files.rename(path, to: target)
        try files.syncDirectory(layout.quarantine)
        try files.syncDirectory(parent(of: path))
    }

    /// Puts a file there that stays where it is too, before it is changed; durable on return.
    static func keep(_ bytes: [UInt8], named name: String, _ layout: Layout, _ files: any FileSystem) throws(VaultError)
    {
        try files.replace(try place(for: name, layout, files), with: bytes)
    }

    /// A path that nothing lies at yet.
    private static func place(
        for name: String, _ layout: Layout, _ files: any FileSystem
    ) throws(VaultError) -> String {
        if try files.attributes(layout.quarantine) == nil { try files.makeDirectory(layout.quarantine) }
        var target = layout.quarantine + "/" + name
        var number = 1
        while try files.attributes(target) != nil {
            target = layout.quarantine + "/\(name).\(number)"
            number += 1
        }
        return target
    }
}
