/// One answer to ListObjectVersions.
struct VersionPage: Sendable, Hashable {
    struct Version: Sendable, Hashable {
        var key: String
        /// `null` for what was stored while the bucket kept no versions.
        var id: String
        /// Stands for a deletion; has no bytes.
        var isMarker: Bool
    }
    struct Marker: Sendable, Hashable {
        var key: String
        /// Nil: from the beginning of the next key on.
        var id: String?
    }

    var versions: [Version] = []
    /// How to ask for the next page; nil on the last one.
    var next: Marker?

    /// Errors: `.remoteFault` when it is not a listing of versions, or one that contradicts itself.
    init(parsing bytes: [UInt8]) throws(VaultError) {
        var reading = Reading()
        try ListPage.read(bytes) { (event) throws(VaultError) in try reading.handle(event) }
        versions = reading.versions
        switch (reading.isTruncated, reading.nextKey) {
        case ("false", _): next = nil
        case ("true", let key?) where !key.isEmpty && key.utf8.count <= 1024:
            next = Marker(key: key, id: reading.nextID.flatMap { $0.isEmpty ? nil : $0 })
        case ("true", _): throw ListPage.fault("it goes on, but says not where")
        default: throw ListPage.fault("it does not say whether it is whole")
        }
    }

    /// What was read so far; the document is never kept as a tree.
    private struct Reading {
        static let root = "ListVersionsResult"

        var versions: [Version] = []
        var isTruncated: String?
        var nextKey: String?
        var nextID: String?
        private var path: [String] = []
        private var text = ""
        private var key: String?
        private var id: String?

        mutating func handle(_ event: XMLReader.Event) throws(VaultError) {
            switch event {
            case .open(let name):
                if path.isEmpty, name != Self.root {
                    throw ListPage.fault("it is \(S3ErrorBody.printable(name, limit: 64)), not a listing of versions")
                }
                path.append(name)
                text = ""
                if path.count == 2 { (key, id) = (nil, nil) }
            case .text(let more): text += more
            case .close:
                try leave()
                path.removeLast()
                text = ""
            }
        }

        private mutating func leave() throws(VaultError) {
            switch path.dropFirst() {
            case ["IsTruncated"]: isTruncated = text
            case ["NextKeyMarker"]: nextKey = text
            case ["NextVersionIdMarker"]: nextID = try checked(text)
            case ["Version", "Key"], ["DeleteMarker", "Key"]: key = text
            case ["Version", "VersionId"], ["DeleteMarker", "VersionId"]: id = try checked(text)
            case ["Version"], ["DeleteMarker"]:
                guard let key, !key.isEmpty, key.utf8.count <= 1024, let id, !id.isEmpty else {
                    throw ListPage.fault("a version without a key or an id")
                }
                guard versions.count < 1000 else { throw ListPage.fault("more than 1000 versions on a page") }
                versions.append(Version(key: key, id: id, isMarker: path.last == "DeleteMarker"))
            default: break
            }
        }

        /// S3's version ids are "Unicode, UTF-8 encoded, URL-ready, opaque strings" of at most 1024 bytes (AWS, S3
        /// Versioning); they go into a query here.
        private func checked(_ id: String) throws(VaultError) -> String {
            guard id.utf8.count <= 1024 else { throw ListPage.fault("an id longer than 1024 bytes") }
            return id
        }
    }
}

/// Follows a listing of the versions of one key over its pages, and stops one that never ends (V35). Pure.
struct VersionListingMachine {
    static let versionLimit = 100_000

    private let key: String
    private(set) var versions: [VersionPage.Version] = []
    private var used: Set<VersionPage.Marker> = []
    private var seen: Set<[UInt8]> = []
    private var strayPages = 0

    /// - Parameter key: the whole key; others that begin with it are in the listing too, and are passed over.
    init(key: String) { self.key = key }

    enum Action: Hashable {
        case ask(VersionPage.Marker)
        case done
    }

    /// Errors: `.remoteFault`.
    mutating func handle(_ page: VersionPage) throws(VaultError) -> Action {
        let before = versions.count
        for version in page.versions {
            guard version.key.utf8.starts(with: key.utf8) else {
                throw Self.fault("it names an object outside of what was asked for")
            }
            // Byte by byte: to Swift two strings are equal that differ in how an accent is written.
            guard version.key.utf8.elementsEqual(key.utf8) else { continue }
            guard seen.insert(Array(version.id.utf8)).inserted else { throw Self.fault("it names a version twice") }
            versions.append(version)
        }
        guard versions.count <= Self.versionLimit else {
            throw Self.fault("one object has more than \(Self.versionLimit) versions")
        }
        guard let marker = page.next else { return .done }
        guard used.insert(marker).inserted else { throw Self.fault("it leads back to a page that was seen") }
        strayPages = versions.count == before ? strayPages + 1 : 0
        guard strayPages <= Self.versionLimit / 1000 else { throw Self.fault("it goes on without naming the object") }
        return .ask(marker)
    }

    private static func fault(_ reason: String) -> VaultError {
        VaultError(
            .remoteFault, "The remote's listing of versions cannot be followed: \(reason).",
            hint: "Some servers list wrongly; update the server, or ask its makers.")
    }
}
