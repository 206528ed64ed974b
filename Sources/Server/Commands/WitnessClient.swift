import Core
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Vault

/// Asks a recorder for the head of its ledger: one request, one bounded answer, ten seconds for all of it.
struct WitnessClient {
    let url: URL
    /// SHA-256 of the certificate, in hexadecimal without colons; nil: the certificate is checked as browsers do.
    let fingerprint: String?
    private let isSecure: Bool
    private let host: String
    private let port: Int

    /// The recorder's address as we write it, however it was spelled; what is asked there does not depend on a path.
    var name: String {
        let written = host.contains(":") ? "[\(host)]" : host
        return "\(isSecure ? "https" : "http")://\(written)\(port == (isSecure ? 443 : 80) ? "" : ":\(port)")/"
    }

    static let sizeLimit = 1 << 20
    static let patience = TimeAmount.seconds(10)

    /// Errors: `.configuration` for an address that is none.
    init(_ address: String, fingerprint: String?) throws(ServerError) {
        guard let url = URL(string: address), let scheme = url.scheme?.lowercased(),
            ["http", "https"].contains(scheme), url.host?.isEmpty == false
        else {
            throw ServerError(
                .configuration, "\(address) is no address of a recorder.", hint: "Write it as https://192.0.2.5:8480/.")
        }
        let plain = fingerprint?.filter { $0 != ":" }.lowercased()
        if let plain, plain.count != 64 || !plain.allSatisfy(\.isHexDigit) {
            throw ServerError(
                .configuration, "The fingerprint is no SHA-256.", hint: "`sudocam serve` prints it when it starts.")
        }
        guard plain == nil || scheme == "https" else {
            throw ServerError(.configuration, "Over plain HTTP there is no certificate to compare.")
        }
        self.url = url
        isSecure = scheme == "https"
        port = url.port ?? (isSecure ? 443 : 80)
        host = (url.host ?? "").trimmingCharacters(in: ["[", "]"]).lowercased()
        self.fingerprint = plain
    }

    private struct Answer: Decodable {
        var checkpoint: String
        var key: String
        var proof: [Data]
    }

    /// - Parameter size: entries of the pinned head; 0 for none.
    func ask(continuing size: Int) async throws -> CheckpointPin.Shown {
        let body = try await get("/api/v1/ledger?from=\(size)")
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(body)) else {
            throw ServerError(
                .refused, "\(url) gave no ledger.", hint: "Is it a SudoCam of a version that has witnesses?")
        }
        return CheckpointPin.Shown(
            checkpoint: Array(answer.checkpoint.utf8), key: answer.key, proof: answer.proof.map { Array($0) })
    }

    private func get(_ path: String) async throws -> [UInt8] {
        var configuration = TLSConfiguration.makeClientConfiguration()
        // The fingerprint names one certificate; whom it was made out to adds nothing.
        if fingerprint != nil { configuration.certificateVerification = .noHostnameVerification }
        let tls = try isSecure ? NIOSSLContext(configuration: configuration) : nil
        let isAddress = (try? SocketAddress(ipAddress: host, port: port)) != nil
        let fingerprint = fingerprint
        let group = MultiThreadedEventLoopGroup.singleton
        let promise = group.any().makePromise(of: [UInt8].self)
        let bootstrap = ClientBootstrap(group: group).connectTimeout(Self.patience).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                let pipeline = channel.pipeline.syncOperations
                if let tls {
                    let hostname = isAddress ? nil : host
                    try pipeline.addHandler(
                        fingerprint.map { wanted in
                            try NIOSSLClientHandler(context: tls, serverHostname: hostname) { chain, verified in
                                let der = (try? chain.first?.toDERBytes()) ?? []
                                let isSame = ObjectID.hash(of: der).description == wanted
                                verified.succeed(isSame ? .certificateVerified : .failed)
                            }
                        } ?? NIOSSLClientHandler(context: tls, serverHostname: hostname))
                }
                try pipeline.addHTTPClientHandlers()
                try pipeline.addHandler(AnswerHandler(promise: promise, limit: Self.sizeLimit))
            }
        }
        let channel: any Channel
        do {
            channel = try await bootstrap.connect(host: host, port: port).get()
        } catch {
            promise.fail(error)
            throw unreachable(error)
        }
        let timeout = channel.eventLoop.scheduleTask(in: Self.patience) {
            promise.fail(ChannelError.connectTimeout(Self.patience))
        }
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
        head.headers.add(name: "host", value: "\(host.contains(":") ? "[\(host)]" : host):\(port)")
        head.headers.add(name: "connection", value: "close")
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        do {
            let body = try await promise.futureResult.get()
            timeout.cancel()
            try? await channel.close().get()
            return body
        } catch {
            timeout.cancel()
            try? await channel.close().get()
            throw unreachable(error)
        }
    }

    private func unreachable(_ error: any Error) -> any Error {
        if error is ServerError { return error }
        guard error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError else {
            return ServerError(.noService, "\(url) does not answer.", underlying: error)
        }
        // BoringSSL's own words are lines of its source; only what they name is of use to anybody.
        let words = "\(error)"
        if words.contains("WRONG_VERSION_NUMBER") || words.contains("HTTP_REQUEST") {
            return ServerError(
                .noService, "\(url) speaks no TLS.", hint: "Write http://, or the port on which it speaks TLS.")
        }
        if words.contains("CERTIFICATE_VERIFY_FAILED") || error is NIOSSLExtraError {
            return ServerError(
                .noService, "The certificate of \(url) is not the expected one.",
                hint: "Give the fingerprint that `sudocam serve` prints with --fingerprint.")
        }
        return ServerError(.noService, "\(url) broke the TLS connection off.")
    }
}

/// Gathers one answer's body.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    private let promise: EventLoopPromise<[UInt8]>
    private let limit: Int
    private var status = HTTPResponseStatus.ok
    private var body: [UInt8] = []

    init(promise: EventLoopPromise<[UInt8]>, limit: Int) {
        self.promise = promise
        self.limit = limit
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): status = head.status
        case .body(let part):
            guard body.count + part.readableBytes <= limit else {
                promise.fail(ServerError(.refused, "The answer is longer than \(limit) bytes."))
                context.close(promise: nil)
                return
            }
            body += part.readableBytesView
        case .end:
            if status == .ok {
                promise.succeed(body)
            } else {
                promise.fail(ServerError(.refused, "The recorder answered \(status.code)."))
            }
        }
    }
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.close(promise: nil)
    }
    func channelInactive(context: ChannelHandlerContext) { promise.fail(ChannelError.eof) }
}
