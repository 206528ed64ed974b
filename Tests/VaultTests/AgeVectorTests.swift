import Core
import Foundation
import TestKit
import Testing

@testable import Vault

private let vectorFolder = "../shared/vectors/age"
private let vectorNames = ((try? FileManager.default.contentsOfDirectory(atPath: vectorFolder)) ?? []).sorted()

/// The CCTV vectors of age: every file gives the expected class of result. Absent, the suite is skipped.
@Suite(.enabled(if: !vectorNames.isEmpty, "../shared/vectors/age is not there")) struct AgeVectorTests {
    /// age's post-quantum recipients are not supported: those vectors are left out.
    @Test(arguments: vectorNames.filter { !$0.contains("hybrid") })
    func `a vector gives the expected class`(name: String) throws {
        let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: vectorFolder + "/" + name)))
        let gap = try #require(bytes.indices.first { bytes[$0...].starts(with: [10, 10]) })
        var fields: [String: [String]] = [:]
        for line in String(decoding: bytes[..<gap], as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            fields[String(parts[0]), default: []].append(parts[1].trimmingCharacters(in: .whitespaces))
        }
        var file = Array(bytes[(gap + 2)...])
        if fields["compressed"] != nil { file = try Self.inflate(file) }
        let identities = try (fields["identity"] ?? []).map { try AgeIdentity(text: SecretBytes(text: $0)) }
        let passphrase = fields["passphrase"]?.first.map { SecretBytes(text: $0) }
        let digest = try Digest.sha256()
        var result = "success"
        do throws(VaultError) {
            if fields["armored"] != nil { file = try AgeArmor.decode(file) }
            try AgeFile.open(file) { (header) throws(VaultError) in
                if let passphrase,
                    identities.isEmpty || header.stanzas.contains(where: { $0.arguments.first == "scrypt" })
                {
                    return try AgeWrapping.unwrap(header, passphrase: passphrase)
                }
                return try AgeWrapping.unwrap(header, identities: identities)
            } chunk: {
                digest.update(Array($0))
            }
        } catch {
            result =
                switch error.code {
                case .armorFailure: "armor failure"
                case .headerFailure: "header failure"
                case .macFailure: "HMAC failure"
                case .noMatch: "no match"
                case .payloadFailure: "payload failure"
                default: error.description
                }
        }
        #expect(result == fields["expect"]?.first)
        if let payload = fields["payload"]?.first { #expect(Hex.encode(digest.finish()) == payload) }
    }

    static func inflate(_ bytes: [UInt8]) throws -> [UInt8] {
        try outputOfProgram(
            "python3", ["-c", "import sys,zlib; sys.stdout.buffer.write(zlib.decompress(sys.stdin.buffer.read()))"],
            bytes)
    }
}
