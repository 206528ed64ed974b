import Core
import Testing

@testable import Vault

/// The signatures AWS publishes: the examples of the S3 API reference ("Authorization header, single chunk") and of the
/// Signature Version 4 test suite, with the keys those documents use.
@Suite struct SignatureV4Tests {
    static let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    struct Vector: Sendable, CustomTestStringConvertible {
        var name: String
        var method = "GET"
        var path = "/"
        var query: [(name: String, value: String)] = []
        var headers: [(name: String, value: String)] = []
        var body = SignatureV4Tests.empty
        var signature: String
        var testDescription: String { name }
    }

    static let documented = [
        Vector(
            name: "GET of an object with Range", path: "/test.txt", headers: [("Range", "bytes=0-9")],
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        Vector(
            name: "PUT of an object", method: "PUT", path: "/test$file.text",
            headers: [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            body: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        Vector(
            name: "GET of the bucket's lifecycle", query: [("lifecycle", "")],
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        Vector(
            name: "a listing", query: [("prefix", "J"), ("max-keys", "2")],
            signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    @Test(arguments: documented) func `V44: the signatures of the S3 reference`(_ vector: Vector) throws {
        let secret = SecretBytes(text: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        let request = SignatureV4.Request(
            method: vector.method, path: vector.path, query: vector.query,
            headers: vector.headers + [
                ("Host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", vector.body),
                ("x-amz-date", "20130524T000000Z"),
            ], bodyHash: vector.body)
        let value = try SignatureV4(accessKey: "AKIAIOSFODNN7EXAMPLE", region: "us-east-1")
            .authorization(of: request, at: WallTime(seconds: 1_369_353_600), secret: secret)
        #expect(
            value.hasPrefix("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "))
        #expect(value.hasSuffix(", Signature=" + vector.signature))
    }

    static let suite = [
        Vector(name: "get-vanilla", signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        Vector(
            name: "get-vanilla-query-order-key-case", query: [("Param2", "value2"), ("Param1", "value1")],
            signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        Vector(
            name: "get-vanilla-query-unreserved",
            query: [
                (
                    "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                    "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                )
            ],
            signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
        Vector(
            name: "get-header-value-trim", headers: [("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        Vector(
            name: "get-utf8", path: "/ሴ",
            signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        Vector(
            name: "post-vanilla", method: "POST",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ]

    @Test(arguments: suite) func `V44: the signatures of the Signature Version 4 test suite`(_ vector: Vector) throws {
        let request = SignatureV4.Request(
            method: vector.method, path: vector.path, query: vector.query,
            headers: vector.headers + [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")],
            bodyHash: vector.body)
        let value = try SignatureV4(accessKey: "AKIDEXAMPLE", region: "us-east-1", service: "service").authorization(
            of: request, at: WallTime(seconds: 1_440_938_160),
            secret: SecretBytes(text: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
        #expect(value.hasSuffix(", Signature=" + vector.signature))
    }

    @Test func `V44: the signing key of the general reference`() throws {
        let key = try SignatureV4(accessKey: "AKIDEXAMPLE", region: "us-east-1", service: "iam").signingKey(
            day: "20150830", secret: SecretBytes(text: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
        #expect(Hex.encode(key) == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9")
    }

    @Test func `V44: what curl's own signer got wrong`() {
        var request = SignatureV4.Request(method: "GET", path: "/a b/=+%2f", bodyHash: Self.empty)
        request.query = [("uploads", ""), ("b", "x/y"), ("b", "a"), ("a-b", "1"), ("a", "2"), ("A", "3")]
        request.headers = [
            ("x-amz-meta-test-two", "2"), ("X-Amz-Meta-Test", "1"), ("Host", "h"), ("x-amz-meta-test", "again"),
        ]
        #expect(request.encodedPath == "/a%20b/%3D%2B%252f")
        #expect(request.encodedQuery == "A=3&a=2&a-b=1&b=a&b=x%2Fy&uploads=")
        #expect(request.signedHeaders == "host;x-amz-meta-test;x-amz-meta-test-two")
        #expect(request.canonicalHeaders[1].value == "1,again")
    }

    @Test func `a wiped secret signs nothing`() {
        let secret = SecretBytes(text: "gone")
        secret.wipe()
        #expect(throws: VaultError(.locked, "")) {
            try SignatureV4(accessKey: "A", region: "r").authorization(
                of: .init(method: "GET", path: "/", bodyHash: Self.empty), at: WallTime(seconds: 0), secret: secret)
        }
    }

    @Test(arguments: [
        (Int64(0), "19700101T000000Z"), (951_782_400, "20000229T000000Z"), (4_107_542_399, "21000228T235959Z"),
        (-1, "19691231T235959Z"),
    ]) func `instants are written as S3 signs them`(_ seconds: Int64, _ text: String) {
        #expect(HTTPDate.basic(WallTime(seconds: seconds)) == text)
        #expect(HTTPDate.basic(WallTime(microseconds: seconds * 1_000_000 + 999_999)) == text)
    }

    @Test func `an HTTP date is read back, and nothing else is`() {
        #expect(HTTPDate.parse("Fri, 24 May 2013 00:00:00 GMT") == WallTime(seconds: 1_369_353_600))
        #expect(HTTPDate.parse("Tue, 29 Feb 2000 23:59:59 GMT") == WallTime(seconds: 951_868_799))
        for text in [
            "", "Fri, 24 May 2013 00:00:00", "Friday, 24-May-13 00:00:00 GMT", "Fri May 24 00:00:00 2013",
            "Fri, 24 May 2013 24:00:00 GMT", "Fri, 00 May 2013 00:00:00 GMT", "Fri, 24 Mai 2013 00:00:00 GMT",
            "Fri, 24 May +013 00:00:00 GMT", "Fri, 24 May 2013 0:0:0 GMT", "Fri, 24 May 2013 00:00 GMT",
        ] { #expect(HTTPDate.parse(text) == nil, "\(text)") }
    }

    @Test func `the end of a lock is read, however finely it is given`() {
        for (text, microseconds) in [
            ("2013-05-24T00:00:00Z", 0), ("2013-05-24T00:00:00.5Z", 500_000), ("2013-05-24T00:00:00.000Z", 0),
            ("2013-05-24T00:00:00.123456789Z", 123_456), ("2013-05-24T00:00:01+00:00", 1_000_000),
        ] {
            #expect(
                HTTPDate.parse(timestamp: text) == WallTime(microseconds: 1_369_353_600_000_000 + Int64(microseconds)),
                "\(text)")
        }
        for text in [
            "", "2013-05-24", "2013-05-24T00:00:00", "2013-05-24T00:00:00+02:00", "2013-13-24T00:00:00Z",
            "2013-05-32T00:00:00Z", "2013-05-24T24:00:00Z", "2013-05-24T00:60:00Z", "2013-05-24T00:00:61Z",
            "2013-05-24T00:00:00.xZ", "2013-05-24T00:00:00,5Z", "1969-05-24T00:00:00Z", "2013-05-24 00:00:00Z",
            "-013-05-24T00:00:00Z", "2013-05-24T00:00:00ZZ", "٢٠١٣-05-24T00:00:00Z",
        ] { #expect(HTTPDate.parse(timestamp: text) == nil, "\(text)") }
    }
}
