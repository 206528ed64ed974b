import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// A request's context: knows who is at the other end.
struct PageContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let remoteAddress: NIOCore.SocketAddress?
    /// The session token, once `SessionGuard` has found it valid.
    var session: String?

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        remoteAddress = source.channel.remoteAddress
    }

    /// The caller's address without its port; what rate limits count by.
    var caller: String { remoteAddress?.ipAddress ?? "local" }
}

/// Refuses what a foreign web page can make a browser send: other host names (DNS rebinding) and other origins (CSRF).
struct OriginGuard: RouterMiddleware {
    typealias Context = PageContext
    /// The machine's own, in lower case.
    let hostNames: Set<String>
    let recorder: RecorderServices
    let isSecure: Bool

    @concurrent func handle(
        _ request: Request, context: PageContext, next: @concurrent (Request, PageContext) async throws -> Response
    ) async throws -> Response {
        guard let authority = request.head.authority, isOurs(authority) else {
            return .problem(
                .misdirectedRequest, "unknown-host",
                "This recorder does not answer to that host name; add it to `host-names` in sudocam.yaml.")
        }
        if ![.get, .head].contains(request.method) {
            let own = (isSecure ? "https://" : "http://") + authority
            if let origin = request.headers[.origin], origin != own {
                return .problem(.forbidden, "foreign-origin", "Requests from other web pages are refused.")
            }
        }
        if let site = request.headers.value("Sec-Fetch-Site"), site != "same-origin", site != "none",
            request.uri.path.hasPrefix("/api/")
        {
            return .problem(.forbidden, "foreign-origin", "Requests from other web pages are refused.")
        }
        return try await next(request, context)
    }

    /// IP addresses cannot be rebound, names can.
    private func isOurs(_ authority: String) -> Bool {
        let host = Self.host(of: authority)
        let name = host.lowercased()
        return host == "localhost" || hostNames.contains(name) || isIPAddress(host)
            || recorder.configuration.hostNames.contains { $0.lowercased() == name }
    }
    static func host(of authority: String) -> String {
        if authority.hasPrefix("[") { return String(authority.dropFirst().prefix { $0 != "]" }) }
        return String(authority.prefix { $0 != ":" })
    }
    private func isIPAddress(_ text: String) -> Bool { (try? NIOCore.SocketAddress(ipAddress: text, port: 0)) != nil }
}

/// Headers every answer carries.
struct SecurityHeaders: RouterMiddleware {
    typealias Context = PageContext
    static let policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        + "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    @concurrent func handle(
        _ request: Request, context: PageContext, next: @concurrent (Request, PageContext) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do {
            response = try await next(request, context)
        } catch let error as any HTTPResponseError {
            // An address that does not exist, a body that is too long: answers too.
            response = try error.response(from: request, context: context)
        }
        response.headers[.contentSecurityPolicy] = Self.policy
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers.set("Referrer-Policy", "no-referrer")
        response.headers.set("Cross-Origin-Opener-Policy", "same-origin")
        response.headers.set("Cross-Origin-Resource-Policy", "same-origin")
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
        return response
    }
}

/// Finds the session a request belongs to, by cookie or as a bearer token (WHEP players).
struct SessionGuard: RouterMiddleware {
    typealias Context = PageContext
    static let cookie = "sudocam"
    let accounts: Accounts

    @concurrent func handle(
        _ request: Request, context: PageContext, next: @concurrent (Request, PageContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        var token = request.cookies[Self.cookie]?.value
        if token == nil, let bearer = request.headers[.authorization], bearer.hasPrefix("Bearer ") {
            token = String(bearer.dropFirst(7))
        }
        if let token, accounts.isValid(token) { context.session = token }
        return try await next(request, context)
    }
}

extension Response {
    /// RFC 9457 problem details.
    static func problem(_ status: HTTPResponse.Status, _ code: String, _ detail: String, hint: String? = nil)
        -> Response
    {
        struct Body: Encodable {
            var code: String
            var detail: String
            var hint: String?
        }
        return json(Body(code: code, detail: detail, hint: hint), status, type: "application/problem+json")
    }

    static func json(
        _ value: some Encodable, _ status: HTTPResponse.Status = .ok, type: String = "application/json"
    ) -> Response {
        var body = ByteBuffer()
        if let bytes = try? JSONBytes.encode(value) { body.writeBytes(bytes) }
        return Response(status: status, headers: [.contentType: type], body: ResponseBody(byteBuffer: body))
    }
}

extension HTTPFields {
    /// A field without a name of its own in swift-http-types.
    func value(_ name: String) -> String? { HTTPField.Name(name).flatMap { self[$0] } }
    mutating func set(_ name: String, _ value: String) {
        if let name = HTTPField.Name(name) { self[name] = value }
    }
}
