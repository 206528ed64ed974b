import Testing

@testable import Vault

@Suite struct ListVersionsTests {
    static let page = """
        <?xml version="1.0" encoding="UTF-8"?>
        <ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
          <Name>vault</Name><Prefix>a</Prefix><KeyMarker/><VersionIdMarker/><MaxKeys>3</MaxKeys>
          <IsTruncated>true</IsTruncated><NextKeyMarker>a&amp;b</NextKeyMarker>
          <NextVersionIdMarker>3/L4+</NextVersionIdMarker>
          <DeleteMarker><Owner><ID>Key</ID><Key>inner</Key></Owner><Key>a</Key><VersionId>m1</VersionId>
            <IsLatest>true</IsLatest><LastModified>2026-01-01T00:00:00.000Z</LastModified></DeleteMarker>
          <Version><Key>a</Key><VersionId>null</VersionId><IsLatest>false</IsLatest><Size>7</Size></Version>
          <Version><Key>a&amp;b</Key><VersionId>3/L4+</VersionId><ETag>&quot;x&quot;</ETag><Size>1</Size></Version>
          <CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>
        </ListVersionsResult>
        """

    static func xml(_ versions: [(key: String, id: String)], next: (key: String, id: String)? = nil) -> String {
        "<ListVersionsResult><IsTruncated>\(next != nil)</IsTruncated>"
            + (next.map {
                "<NextKeyMarker>\($0.key)</NextKeyMarker><NextVersionIdMarker>\($0.id)</NextVersionIdMarker>"
            }
                ?? "")
            + versions.map { "<Version><Key>\($0.key)</Key><VersionId>\($0.id)</VersionId></Version>" }.joined()
            + "</ListVersionsResult>"
    }
    private func page(_ versions: [(key: String, id: String)], next: (key: String, id: String)? = nil) throws
        -> VersionPage
    {
        try VersionPage(parsing: Array(Self.xml(versions, next: next).utf8))
    }

    @Test func `a page is read: versions, markers, where it goes on`() throws {
        let page = try VersionPage(parsing: Array(Self.page.utf8))
        #expect(
            page.versions == [
                .init(key: "a", id: "m1", isMarker: true), .init(key: "a", id: "null", isMarker: false),
                .init(key: "a&b", id: "3/L4+", isMarker: false),
            ])
        #expect(page.next == .init(key: "a&b", id: "3/L4+"))
    }

    @Test func `a page cut anywhere is an error, never half a listing`() {
        let bytes = Array(Self.page.utf8)
        for count in 0..<bytes.count {
            #expect(throws: VaultError(.remoteFault, "")) { try VersionPage(parsing: Array(bytes[..<count])) }
        }
    }

    @Test(arguments: [
        "", "<html></html>", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
        "<Error><Code>NotImplemented</Code></Error>", "<ListVersionsResult/>",
        "<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>",
        "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><Key>a</Key></Version></ListVersionsResult>",
        "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><VersionId>a</VersionId></Version></ListVersionsResult>",
        "<ListVersionsResult><IsTruncated>false</IsTruncated><DeleteMarker><Key>a</Key><VersionId/></DeleteMarker>"
            + "</ListVersionsResult>",
        "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><Key>a</Key><VersionId>1</VersionId></Version>"
            + "<Version><VersionId>1</VersionId></Version></ListVersionsResult>",
    ]) func `what is no listing of versions is an error that says so`(_ text: String) {
        #expect(throws: VaultError(.remoteFault, "")) { try VersionPage(parsing: Array(text.utf8)) }
    }

    @Test func `only the key itself counts, over all pages`() throws {
        var machine = VersionListingMachine(key: "e\u{301}")
        #expect(
            try machine.handle(page([("e\u{301}", "1"), ("e\u{301}/b", "2")], next: ("e\u{301}", "1")))
                == .ask(.init(key: "e\u{301}", id: "1")))
        #expect(try machine.handle(page([("e\u{301}", "3"), ("e\u{301}x", "1")])) == .done)
        #expect(machine.versions.map(\.id) == ["1", "3"])
        // The same to a reader, and other bytes: another object.
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(page([("\u{E9}", "4")])) }
    }

    @Test func `V35: a marker seen before, a version twice, and pages without end are errors`() throws {
        var machine = VersionListingMachine(key: "a")
        _ = try machine.handle(page([("a", "1")], next: ("a", "1")))
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(page([("a", "2")], next: ("a", "1"))) }

        machine = VersionListingMachine(key: "a")
        _ = try machine.handle(page([("a", "1")], next: ("a", "1")))
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(page([("a", "1")], next: ("a", "2"))) }

        machine = VersionListingMachine(key: "a")
        #expect(throws: VaultError(.remoteFault, "")) {
            for index in 0...1000 { _ = try machine.handle(page([("ab", "1")], next: ("ab", "\(index)"))) }
        }
        machine = VersionListingMachine(key: "a")
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(page([("b", "1")])) }
    }
}
