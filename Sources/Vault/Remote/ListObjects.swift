/// One answer to ListObjectsV2.
struct ListPage: Sendable, Hashable {
    struct Object: Sendable, Hashable {
        var key: String
        var size: Int
    }

    var objects: [Object] = []
    /// How to ask for the next page; nil on the last one.
    var next: String?

    /// 1000 keys of 1024 bytes, each written as character references, with room for the rest.
    static let sizeLimit = 8 << 20

    /// Errors: `.remoteFault` when it is not a listing, or one that contradicts itself. ETags are not even read: what
    /// they are depends on the server and on how an object was sent (V40).
    init(parsing bytes: [UInt8]) throws(VaultError) {
        var reading = Reading()
        try Self.read(bytes) { (event) throws(VaultError) in try reading.handle(event) }
        objects = reading.objects
        switch (reading.isTruncated, reading.token) {
        case ("false", _): next = nil
        case ("true", let token?) where !token.isEmpty && token.utf8.count <= 8192: next = token
        case ("true", _): throw Self.fault("it goes on, but says not where")
        default: throw Self.fault("it does not say whether it is whole")
        }
    }

    /// Each event of a listing's document, whatever it lists. Errors: `.remoteFault`, and what `handle` throws.
    static func read(
        _ bytes: [UInt8], handle: (XMLReader.Event) throws(VaultError) -> Void
    ) throws(VaultError) {
        guard bytes.count <= sizeLimit else { throw fault("it is longer than \(sizeLimit) bytes") }
        var reader = XMLReader(bytes)
        while true {
            let event: XMLReader.Event?
            do throws(XMLReader.Malformed) {
                event = try reader.next()
            } catch { throw fault(error.reason) }
            guard let event else { return }
            try handle(event)
        }
    }

    /// What was read so far; the document is never kept as a tree.
    private struct Reading {
        var objects: [Object] = []
        var isTruncated: String?
        var token: String?
        private var path: [String] = []
        private var text = ""
        private var key: String?
        private var size: Int?

        mutating func handle(_ event: XMLReader.Event) throws(VaultError) {
            switch event {
            case .open(let name):
                if path.isEmpty, name != "ListBucketResult" {
                    throw ListPage.fault("it is \(S3ErrorBody.printable(name, limit: 64)), not a listing")
                }
                path.append(name)
                text = ""
                if path == ["ListBucketResult", "Contents"] { (key, size) = (nil, nil) }
            case .text(let more): text += more
            case .close:
                try leave()
                path.removeLast()
                text = ""
            }
        }

        private mutating func leave() throws(VaultError) {
            switch path {
            case ["ListBucketResult", "IsTruncated"]: isTruncated = text
            case ["ListBucketResult", "NextContinuationToken"]: token = text
            case ["ListBucketResult", "Contents", "Key"]: key = text
            case ["ListBucketResult", "Contents", "Size"]:
                size = text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
            case ["ListBucketResult", "Contents"]:
                guard let key, !key.isEmpty, key.utf8.count <= 1024, let size else {
                    throw ListPage.fault("an object without a key or a size")
                }
                guard objects.count < 1000 else { throw ListPage.fault("more than 1000 objects on a page") }
                objects.append(Object(key: key, size: size))
            default: break
            }
        }
    }

    static func fault(_ reason: String) -> VaultError {
        VaultError(
            .remoteFault, "The remote's listing cannot be read: \(reason).",
            hint: "Check that the endpoint is an S3 server and not a proxy or a web site.")
    }
}

/// Follows a listing over its pages, and stops one that never ends (V35). Pure.
///
/// A token that was used already, a key that was given out before, too many empty pages in a row, or more objects than
/// can be end with an error. The order of keys is no help: SeaweedFS lists by folder, `a/b` before `a+b`.
struct ListingMachine {
    static let emptyPageLimit = 16

    private let prefix: String
    private let objectLimit: Int
    private var used: Set<String> = []
    /// Hashes in place of keys, which would be ten times as large; two of a million keys meet once in thirty million listings.
    private var seen: Set<Int> = []
    private var emptyPages = 0

    init(prefix: String, objectLimit: Int = 20_000_000) {
        self.prefix = prefix
        self.objectLimit = objectLimit
    }

    enum Action: Hashable {
        case ask(token: String)
        case done
    }

    /// Errors: `.remoteFault`.
    mutating func handle(_ page: ListPage) throws(VaultError) -> Action {
        for object in page.objects {
            guard object.key.utf8.starts(with: prefix.utf8) else {
                throw Self.fault("it names an object outside of what was asked for")
            }
            // Of the bytes: two strings are equal to Swift that differ in how an accent is written.
            guard seen.insert(Array(object.key.utf8).hashValue).inserted else {
                throw Self.fault("it names an object twice")
            }
        }
        guard seen.count <= objectLimit else { throw Self.fault("it names more than \(objectLimit) objects") }
        guard let token = page.next else { return .done }
        guard used.insert(token).inserted else { throw Self.fault("it leads back to a page that was seen") }
        emptyPages = page.objects.isEmpty ? emptyPages + 1 : 0
        guard emptyPages <= Self.emptyPageLimit else { throw Self.fault("it goes on without naming anything") }
        return .ask(token: token)
    }

    private static func fault(_ reason: String) -> VaultError {
        VaultError(
            .remoteFault, "The remote's listing cannot be followed: \(reason).",
            hint: "Some servers list wrongly; update the server, or ask its makers.")
    }
}
