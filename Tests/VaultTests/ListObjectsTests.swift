import Testing

@testable import Vault

@Suite struct ListObjectsTests {
    static let page = """
        <?xml version="1.0" encoding="UTF-8"?>
        <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
          <Name>vault</Name><Prefix>a/</Prefix><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys>
          <IsTruncated>true</IsTruncated><!-- a > b -->
          <Contents><Key>a/1</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;x-2&quot;</ETag>
            <Size>0</Size><Owner><ID>Key</ID><Key>inner</Key></Owner><StorageClass>STANDARD</StorageClass></Contents>
          <Contents><Key>a/<![CDATA[<2>]]>&amp;&#x48;&#73;</Key><Size>9007199254740993</Size></Contents>
          <CommonPrefixes><Prefix>a/b/</Prefix></CommonPrefixes>
          <NextContinuationToken>1/+=&lt;</NextContinuationToken>
        </ListBucketResult>
        """

    static func page(_ keys: [String], next: String? = nil) throws -> ListPage {
        try ListPage(
            parsing: Array(
                ("<ListBucketResult><IsTruncated>\(next != nil)</IsTruncated>"
                    + (next.map { "<NextContinuationToken>\($0)</NextContinuationToken>" } ?? "")
                    + keys.map { "<Contents><Key>\($0)</Key><Size>1</Size></Contents>" }.joined()
                    + "</ListBucketResult>").utf8))
    }

    @Test func `a page is read: keys, sizes, where it goes on`() throws {
        let page = try ListPage(parsing: Array(Self.page.utf8))
        #expect(
            page.objects == [.init(key: "a/1", size: 0), .init(key: "a/<2>&HI", size: 9_007_199_254_740_993)])
        #expect(page.next == "1/+=<")
        let prefixed = try ListPage(
            parsing: Array("<s:ListBucketResult a='>'><s:IsTruncated>false</s:IsTruncated></s:ListBucketResult>\n".utf8)
        )
        #expect(prefixed.objects.isEmpty && prefixed.next == nil)
    }

    @Test func `a page cut anywhere is an error, never half a listing`() {
        let bytes = Array(Self.page.utf8)
        for count in 0..<bytes.count {
            #expect(throws: VaultError.self) { try ListPage(parsing: Array(bytes[..<count])) }
        }
    }

    @Test func `a byte changed anywhere gives a listing or an error, never a trap`() {
        var bytes = Array(Self.page.utf8)
        for index in bytes.indices {
            let kept = bytes[index]
            for byte in [0, 0x3C, 0x3E, 0x26, 0x2F, 0x22, 0xFF, kept ^ 1] as [UInt8] {
                bytes[index] = byte
                do throws(VaultError) {
                    _ = try ListPage(parsing: bytes)
                } catch { #expect(error.code == .remoteFault) }
                _ = S3ErrorBody(bytes)
            }
            bytes[index] = kept
        }
    }

    @Test(arguments: [
        "", "not xml", "<html><body>Sign in</body></html>", "<Error><Code>SlowDown</Code></Error>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><ListBucketResult/>", "<ListBucketResult/>",
        "<ListBucketResult/><ListBucketResult/>",
        "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken/></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1e3</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>99999999999999999999</Size></Contents>"
            + "</ListBucketResult>", "<ListBucketResult><IsTruncated>&b;</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>&#xD800;</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated x=\"1\"></ListBucketResult>",
        String(repeating: "<a>", count: 100_000),
        "<ListBucketResult>" + String(repeating: "<a>", count: 100_000),
    ]) func `what is no listing is an error that says so`(_ text: String) {
        #expect(throws: VaultError(.remoteFault, "")) { try ListPage(parsing: Array(text.utf8)) }
    }

    @Test func `more than a page may hold is an error`() {
        #expect(throws: VaultError(.remoteFault, "")) { try Self.page((0...1000).map { "k\($0)" }) }
        #expect(throws: VaultError(.remoteFault, "")) {
            try ListPage(parsing: [UInt8](repeating: 32, count: ListPage.sizeLimit + 1))
        }
    }

    @Test(arguments: [1, 7, 1000]) func `V35: every page size gives the same set`(_ pageSize: Int) throws {
        let keys = (0..<2500).map { "p/" + String(10_000 + $0) }
        var machine = ListingMachine(prefix: "p/")
        var found: [String] = []
        var asked = 0
        while true {
            let page = try Self.page(
                Array(keys[asked..<min(asked + pageSize, keys.count)]),
                next: asked + pageSize < keys.count ? "after \(asked)" : nil)
            found += page.objects.map(\.key)
            asked += pageSize
            if try machine.handle(page) == .done { break }
        }
        #expect(found == keys)
    }

    @Test func `V35: a repeated token, keys seen before, and endless empty pages end with an error`() throws {
        var machine = ListingMachine(prefix: "")
        #expect(try machine.handle(Self.page(["a"], next: "t")) == .ask(token: "t"))
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(Self.page(["b"], next: "t")) }

        machine = ListingMachine(prefix: "")
        _ = try machine.handle(Self.page(["a", "b"], next: "1"))
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(Self.page(["b"], next: "2")) }

        machine = ListingMachine(prefix: "")
        for index in 0..<ListingMachine.emptyPageLimit { _ = try machine.handle(Self.page([], next: "\(index)")) }
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(Self.page([], next: "last")) }

        machine = ListingMachine(prefix: "", objectLimit: 3)
        _ = try machine.handle(Self.page(["a", "b"], next: "1"))
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(Self.page(["c", "d"], next: "2")) }

        machine = ListingMachine(prefix: "a/")
        #expect(throws: VaultError(.remoteFault, "")) { try machine.handle(Self.page(["b/1"])) }
    }

    @Test func `keys in the order of folders, as SeaweedFS lists them, are fine`() throws {
        var machine = ListingMachine(prefix: "")
        #expect(try machine.handle(Self.page(["a/b", "a+b"], next: "1")) == .ask(token: "1"))
        #expect(try machine.handle(Self.page(["a b"])) == .done)
    }

    @Test func `an error body is read, and its words are safe to print`() {
        let text =
            "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>not\u{1B}[31m\nhere\u{202E}</Message></Error>"
        let body = S3ErrorBody(Array(text.utf8))
        #expect(body?.code == "NoSuchKey")
        #expect(body?.message == "not [31m here")
        for other in ["", "<Error/>", "<Error><Code/></Error>", "<a><Code>b</Code></a>", "<Error><Code>a</Code>"] {
            #expect(S3ErrorBody(Array(other.utf8)) == nil, "\(other)")
        }
    }
}
