import Core
import Foundation
import Glibc
import NIOSSL
import Vault
import WebRTC

/// The page's certificate: the owner's own, or one made at first start and kept beside the vault's keys.
struct PageCertificate {
    let configuration: TLSConfiguration
    let fingerprint: String

    init(_ settings: Configuration, now: WallTime) throws(ServerError) {
        do {
            let (certificatePath, keyPath): (String, String)
            if let own = settings.tls {
                (certificatePath, keyPath) = (own.certificate, own.key)
            } else {
                (certificatePath, keyPath) = (settings.vault + "/keys/page.crt", settings.vault + "/keys/page.key")
                if !FileManager.default.fileExists(atPath: certificatePath) {
                    let made = try DTLSCertificate.selfSignedPEM(
                        names: Self.names(settings), validDays: 3650, now: now)
                    try SecretFile.write(made.keyPEM, to: keyPath)
                    try SecretFile.write(made.certificatePEM, to: certificatePath)
                }
            }
            let chain = try NIOSSLCertificate.fromPEMFile(certificatePath)
            guard let leaf = chain.first else {
                throw ServerError(.certificate, "\(certificatePath) holds no certificate.")
            }
            configuration = .makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem)))
            fingerprint = ObjectID.hash(of: try leaf.toDERBytes()).digest.map { byte in
                let text = String(byte, radix: 16, uppercase: true)
                return text.count < 2 ? "0" + text : text
            }.joined(separator: ":")
        } catch let error as ServerError {
            throw error
        } catch {
            throw ServerError(
                .certificate, "The page's certificate cannot be used.",
                hint: "Check `tls` in sudocam.yaml, or delete keys/page.crt and keys/page.key to have new ones made.",
                underlying: error)
        }
    }

    private static func names(_ settings: Configuration) -> [String] {
        var names = settings.hostNames + ["localhost", "127.0.0.1"]
        if !["0.0.0.0", "::"].contains(settings.listen.host) { names.append(settings.listen.host) }
        return names
    }
}
