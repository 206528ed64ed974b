import Glibc
import Testing

@testable import Vault

@Suite struct S3AddressTests {
    @Test func `an address is taken apart, and the style suits the host`() throws {
        let own = try S3Address(url: "https://Store.example:9000/vault/home//door/")
        #expect(own.host == "store.example" && own.port == 9000 && own.bucket == "vault")
        #expect(own.prefix == "home/door/" && own.style == .path && own.region == "us-east-1")
        #expect(own.hostHeader == "store.example:9000")
        #expect(own.path(own.prefix + "ab") == "/vault/home/door/ab")
        #expect(own.description == "https://store.example:9000/vault/home/door/")

        let amazon = try S3Address(url: "https://s3.eu-central-1.amazonaws.com/vault")
        #expect(amazon.style == .virtualHost && amazon.region == "eu-central-1" && amazon.prefix.isEmpty)
        #expect(amazon.hostHeader == "vault.s3.eu-central-1.amazonaws.com")
        #expect(amazon.path("") == "/" && amazon.path("a/b") == "/a/b")
        #expect(try S3Address(url: "https://s3.amazonaws.com/my.vault").style == .path)
        #expect(try S3Address(url: "https://s3.example/vault", style: .virtualHost).hostHeader == "vault.s3.example")
        #expect(try S3Address(url: "https://s3.example:443/vault", region: "garage").hostHeader == "s3.example")
        #expect(try S3Address(url: "http://[::1]:80/vault").hostHeader == "[::1]")
        #expect(try S3Address(url: "http://127.0.0.1:8333/vault").path("") == "/vault")
    }

    @Test(arguments: [
        "", "https:/", "ftp://a/vault", "store.example/vault", "https://store.example", "https:///vault",
        "https://store.example/", "https://store.example/Vault", "https://store.example/va",
        "https://store.example/v..t",
        "https://a:0/vault", "https://a:65536/vault", "https://a:/vault", "https://a:+1/vault", "https://[::1/vault",
        "https://[x]/vault", "https://u:p@a/vault", "https://a/vault/../x", "https://a/vault?x=1", "https://a/vault#x",
        "https://a/vault/%2e", "https://a b/vault", "https://a/vault/\r\nx", "http://store.example/vault",
        "http://127.example/vault",
    ]) func `an address that is none is an error`(_ url: String) {
        #expect(throws: VaultError(.invalid, "")) { try S3Address(url: url) }
    }

    @Test func `plain http beyond this machine, and odd regions and styles, are asked for in so many words`() throws {
        #expect(try S3Address(url: "http://nas.lan/vault", allowsPlain: true).port == 80)
        #expect(throws: VaultError(.invalid, "")) { try S3Address(url: "https://a/vault", region: "a/b") }
        #expect(throws: VaultError(.invalid, "")) { try S3Address(url: "https://10.0.0.1/vault", style: .virtualHost) }
    }
}

@Suite struct S3CredentialsTests {
    static let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

    private func revealed(_ credentials: S3Credentials) -> [String?] {
        [credentials.accessKey, credentials.secret.revealed(), credentials.sessionToken?.revealed()]
    }

    @Test func `the environment gives both keys or none`() throws {
        #expect(try S3Credentials(environment: ["HOME": "/"])?.accessKey == nil)
        let pair = try #require(
            try S3Credentials(environment: ["AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s=/+"]))
        #expect(revealed(pair) == ["A", "s=/+", nil])
        let session = try #require(
            try S3Credentials(
                environment: ["AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t=="]))
        #expect(revealed(session) == ["A", "s", "t=="])
        for half in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            #expect(throws: VaultError(.invalid, "")) { try S3Credentials(environment: [half: "x"]) }
        }
    }

    private func parse(_ text: String, profile: String = "default") throws -> S3Credentials {
        try S3Credentials(parsing: SecretBytes(text: text), profile: profile, path: "file")
    }

    @Test func `the file of AWS's tools is read`() throws {
        let text = """
            # comment
            [other]
            aws_access_key_id = B
            aws_secret_access_key = b
            aws_session_token = bt
            anything = goes here
            [ default ]\r
            aws_access_key_id=A\r
            AWS_SECRET_ACCESS_KEY =  \(Self.secret)  \r
            region = eu-central-1
            """
        #expect(try revealed(parse(text)) == ["A", Self.secret, nil])
        #expect(throws: VaultError(.invalid, "")) { try parse(text, profile: "other") }
        #expect(throws: VaultError(.invalid, "")) { try parse(text, profile: "third") }
        #expect(try revealed(parse("aws_access_key_id=A\naws_secret_access_key=s\naws_session_token=t"))[2] == "t")
    }

    @Test func `an error names the line and never what stands there`() throws {
        for text in [
            "aws_access_key_id=A\naws_secret_access_key \(Self.secret)", "[default\n\(Self.secret)", "\(Self.secret)",
            "aws_access_key_id=A\naws_secret_acces_key=\(Self.secret)", "aws_access_key_id=A\naws_secret_access_key=",
            "aws_access_key_id=\naws_secret_access_key=\(Self.secret)",
            "aws_access_key_id=A\naws_secret_access_key=\(Self.secret) x",
            "aws_access_key_id=A\naws_secret_access_key=\(Self.secret)\naws_session_token=",
        ] {
            do throws(VaultError) {
                _ = try S3Credentials(parsing: SecretBytes(text: text), path: "file")
                Issue.record("accepted: \(text)")
            } catch {
                #expect(error.code == .invalid)
                #expect(!"\(error)".contains("wJalr"), "\(error)")
            }
        }
    }

    @Test func `a file that others may read is refused, its owner's is not`() throws {
        let path = "/tmp/sudocam-credentials-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        let descriptor = open(path, O_CREAT | O_EXCL | O_WRONLY, 0o600)
        defer {
            close(descriptor)
            unlink(path)
        }
        let text = Array("aws_access_key_id=A\naws_secret_access_key=\(Self.secret)\n".utf8)
        #expect(write(descriptor, text, text.count) == text.count)
        #expect(try revealed(S3Credentials(file: path)) == ["A", Self.secret, nil])
        for mode in [0o640, 0o604, 0o620, 0o666] as [mode_t] {
            fchmod(descriptor, mode)
            #expect(throws: VaultError(.keys, "")) { try S3Credentials(file: path) }
        }
        #expect(throws: VaultError(.notFound, "")) { try S3Credentials(file: path + ".none") }
        #expect(throws: VaultError(.io, "")) { try S3Credentials(file: "/tmp") }
    }

    @Test func `printing and dumping credentials shows no secret`() throws {
        let credentials = try S3Credentials(
            accessKey: "A", secret: SecretBytes(text: Self.secret), sessionToken: SecretBytes(text: "token123"))
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped, "\(Optional(credentials) as Any)"] {
            #expect(!text.contains("wJalr") && !text.contains("token123"), "\(text)")
        }
    }
}
