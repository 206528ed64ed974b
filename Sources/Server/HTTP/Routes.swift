import CAssets
import Core
import Foundation
import HTTPTypes
import Hummingbird
import Ingest
import Logging
import NIOCore
import Playback
import Vault

/// Every address the recorder answers to; `schemas/openapi.yaml` is its description.
struct Routes: Sendable {
    let recorder: RecorderServices
    let isSecure: Bool
    /// The machine's own, besides those of the configuration.
    let hostNames: Set<String>

    func router() -> Router<PageContext> {
        let router = Router(context: PageContext.self)
        router.addMiddleware {
            SecurityHeaders()
            OriginGuard(hostNames: hostNames, recorder: recorder, isSecure: isSecure)
            SessionGuard(accounts: recorder.accounts)
        }
        Self.addAssets(to: router)
        router.get("healthz") { _, _ in await health() }
        router.get("metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: await recorder.metricsText())))
        }
        let api = router.group("api/v1")
        api.get("state") { _, context in
            Response.json(await recorder.report(loggedIn: context.session != nil))
        }
        api.get("events") { _, context in events(context) }
        api.get("ledger") { request, _ in await ledger(request) }
        api.post("unlock") { request, context in try await unlock(request, context) }
        api.post("lock") { _, context in
            guard context.session != nil else { return Response.notLoggedIn }
            await recorder.lock()
            return Response(status: .noContent, headers: [.setCookie: expiredCookie])
        }
        api.get("cameras/:camera/timeline") { request, context in try await timeline(request, context) }
        api.get("cameras/:camera/export") { request, context in try await export(request, context) }
        api.post("sessions") { request, context in try await createSession(request, context) }
        api.patch("sessions/:session") { request, context in try await patchSession(request, context) }
        api.delete("sessions/:session") { _, context in
            guard context.session != nil else { return Response.notLoggedIn }
            guard let id = context.parameters.get("session").flatMap(UUID.init(_:)) else { return Response.noSession }
            return await recorder.media.closeSession(id) ? Response(status: .noContent) : Response.noSession
        }
        return router
    }

    // MARK: The page

    private static func addAssets(to router: Router<PageContext>) {
        for asset in Asset.all where asset.path.hasPrefix("/") {
            let body = ByteBuffer(bytes: asset.bytes)
            let tag = "\"\(asset.tag)\""
            router.get(RouterPath(asset.path)) { request, _ in
                let headers: HTTPFields = [.contentType: asset.type, .eTag: tag, .cacheControl: "no-cache"]
                if request.headers[.ifNoneMatch] == tag { return Response(status: .notModified, headers: headers) }
                return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
            }
        }
    }

    // MARK: State

    private func health() async -> Response {
        let report = await recorder.report(loggedIn: false)
        let isWell = report.alarms.isEmpty && !report.cameras.contains { $0.state == .failing }
        struct Body: Encodable {
            var ok: Bool
            var alarms: [String]
        }
        return .json(Body(ok: isWell, alarms: report.alarms), isWell ? .ok : .serviceUnavailable)
    }

    /// For witnesses, who need no log-in: hashes tell nothing of what was recorded.
    private func ledger(_ request: Request) async -> Response {
        struct Body: Encodable {
            var checkpoint: String
            var key: String
            var proof: [Data]
        }
        guard let from = request.uri.queryParameters["from"].map({ Int($0) }) ?? 0, from >= 0 else {
            return .problem(.badRequest, "bad-request", "`from` is a number of ledger entries.")
        }
        do {
            let head = try await recorder.vault.ledgerHead(continuing: from)
            return .json(
                Body(
                    checkpoint: String(decoding: head.checkpoint, as: UTF8.self), key: head.key,
                    proof: head.proof.map { Data($0) }))
        } catch {
            return .problem(.internalServerError, error.code.rawValue, error.reason, hint: error.hint)
        }
    }

    private func events(_ context: PageContext) -> Response {
        let loggedIn = context.session
        let recorder = recorder
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                func state() async -> ByteBuffer {
                    let known = loggedIn.map { recorder.accounts.isValid($0) } ?? false
                    let bytes = (try? JSONBytes.encode(await recorder.report(loggedIn: known))) ?? []
                    var buffer = ByteBuffer(string: "event: state\ndata: ")
                    buffer.writeBytes(bytes)
                    buffer.writeString("\n\n")
                    return buffer
                }
                try await writer.write(await state())
                for await change in recorder.changesWithHeartbeat() {
                    switch change {
                    case .changed: try await writer.write(await state())
                    case .heartbeat: try await writer.write(ByteBuffer(string: ": alive\n\n"))
                    }
                }
                try await writer.finish(nil)
            })
    }

    // MARK: Log-in

    private var expiredCookie: String { "\(SessionGuard.cookie)=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict" }

    private func unlock(_ request: Request, _ context: PageContext) async throws -> Response {
        if let seconds = recorder.accounts.attempt(address: context.caller) {
            var response = Response.problem(
                .tooManyRequests, ServerError.Code.tooManyAttempts.rawValue,
                "Too many wrong passphrases. Try again in \(seconds) s.")
            response.headers[.retryAfter] = "\(seconds)"
            return response
        }
        var body = try await request.body.collect(upTo: 4096)
        var bytes = Array(body.readableBytesView)
        _ = body.withUnsafeMutableReadableBytes { $0.initializeMemory(as: UInt8.self, repeating: 0) }
        let passphrase = SecretBytes(&bytes)
        do {
            try await recorder.unlock(passphrase: passphrase)
        } catch  where error.code == .wrongPassphrase {
            recorder.accounts.failed(address: context.caller)
            return .problem(.unauthorized, "wrong-passphrase", "That is not the vault's passphrase.")
        } catch {
            return .problem(.internalServerError, error.code.rawValue, error.reason, hint: error.hint)
        }
        recorder.accounts.succeeded(address: context.caller)
        let token = recorder.accounts.logIn()
        recorder.changes.changed()
        let secure = isSecure ? "; Secure" : ""
        return Response(
            status: .noContent,
            headers: [.setCookie: "\(SessionGuard.cookie)=\(token); Path=/; HttpOnly; SameSite=Strict\(secure)"])
    }

    // MARK: Footage

    private func camera(_ context: PageContext) -> CameraID? {
        context.parameters.get("camera").flatMap(CameraID.init(_:)).flatMap { recorder.directory.knows($0) ? $0 : nil }
    }

    private func range(_ request: Request) -> TimeRange? {
        guard let from = request.uri.queryParameters["from"].flatMap({ Int64($0) }),
            let to = request.uri.queryParameters["to"].flatMap({ Int64($0) }), from < to
        else { return nil }
        return TimeRange(WallTime(microseconds: from), WallTime(microseconds: to))
    }

    private func timeline(_ request: Request, _ context: PageContext) async throws -> Response {
        guard let camera = camera(context) else { return .noCamera }
        guard let range = range(request) else { return .badRange }
        let pixels = request.uri.queryParameters["pixels"].map { Int($0) } ?? 1000
        guard let pixels, (1...10_000).contains(pixels) else {
            return .problem(.badRequest, "bad-request", "`pixels` is a whole number from 1 to 10000.")
        }
        struct Gap: Encodable {
            var from: WallTime
            var to: WallTime
            var reason: String
        }
        struct Event: Encodable {
            var from: WallTime
            var to: WallTime
            var label: EventLabel
        }
        struct Body: Encodable {
            var from: WallTime
            var to: WallTime
            var recorded: [[WallTime]]
            var gaps: [Gap]
            var events: [Event]
        }
        do {
            var recorded = try await recorder.vault.timeline(camera: camera, range: range, buckets: pixels)
            if let open = recorder.vault.openClips(camera: camera).last {
                let stretch = TimeRange(max(open.identity.start, range.start), min(open.end, range.end))
                if !stretch.isEmpty { recorded.append(stretch) }
            }
            let narrowest = range.duration / Int64(pixels)
            let gaps = try await recorder.vault.gaps(camera: camera, overlapping: range)
                .filter { $0.range.duration >= narrowest }
            let events = try await recorder.events(camera: camera, overlapping: range)
            return .json(
                Body(
                    from: range.start, to: range.end,
                    recorded: Self.merged(recorded, closer: narrowest).map { [$0.start, $0.end] },
                    gaps: gaps.map { Gap(from: $0.range.start, to: $0.range.end, reason: $0.reason.rawValue) },
                    events: Self.merged(events, closer: narrowest).map {
                        Event(from: $0.range.start, to: $0.range.end, label: $0.label)
                    }))
        } catch {
            return .problem(.internalServerError, error.code.rawValue, error.reason, hint: error.hint)
        }
    }

    /// Of one kind, those that begin no further apart than that are one.
    static func merged(_ events: [EventRecord], closer: Int64) -> [EventRecord] {
        var merged: [EventRecord] = []
        for event in events {
            if let last = merged.last, last.label == event.label, event.range.start - last.range.start < closer {
                merged[merged.count - 1].range.end = max(last.range.end, event.range.end)
            } else {
                merged.append(event)
            }
        }
        return merged
    }

    static func merged(_ ranges: [TimeRange], closer: Int64) -> [TimeRange] {
        var merged: [TimeRange] = []
        for range in ranges.sorted(by: { $0.start < $1.start }) {
            // Half a second hides the seams between clips of one run.
            if let last = merged.last, range.start - last.end <= max(closer, 500_000) {
                merged[merged.count - 1].end = max(last.end, range.end)
            } else {
                merged.append(range)
            }
        }
        return merged
    }

    private func export(_ request: Request, _ context: PageContext) async throws -> Response {
        guard context.session != nil else { return Response.notLoggedIn }
        guard let camera = camera(context) else { return .noCamera }
        guard let range = range(request) else { return .badRange }
        // Retention leaves the range alone until the last byte is gone.
        let lease = recorder.vault.lease(camera: camera, range: range)
        let movie: MovieExport
        do {
            movie = try await MovieExport(vault: recorder.vault, camera: camera, range: range)
        } catch {
            let status: HTTPResponse.Status =
                switch error.code {
                case .nothingRecorded: .notFound
                case .gapTooLong: .badRequest
                default: .internalServerError
                }
            return .problem(status, error.code.rawValue, error.reason, hint: error.hint)
        }
        let name = recorder.fileName(camera: camera, range: range)
        return Response(
            status: .ok,
            headers: [.contentType: "video/mp4", .contentDisposition: "attachment; filename=\"\(name)\""],
            body: ResponseBody(contentLength: movie.byteCount) { writer in
                for try await bytes in movie.chunks() { try await writer.write(ByteBuffer(bytes: bytes)) }
                try await writer.finish(nil)
                withExtendedLifetime(lease) {}
            })
    }

    // MARK: Sessions (WHEP-shaped: draft-ietf-wish-whep)

    private func createSession(_ request: Request, _ context: PageContext) async throws -> Response {
        guard let token = context.session else { return Response.notLoggedIn }
        guard recorder.vault.isUnlocked else { return .locked }
        guard request.headers[.contentType]?.hasPrefix("application/sdp") == true else {
            return .problem(.unsupportedMediaType, "bad-request", "An SDP offer (application/sdp) is wanted.")
        }
        let offer = String(buffer: try await request.body.collect(upTo: 256 << 10))
        let camera = request.uri.queryParameters["camera"].flatMap { CameraID(String($0)) }
        if let camera, !recorder.directory.knows(camera) { return .noCamera }
        do {
            let session = try await recorder.media.openSession(offer: offer, live: camera, account: token)
            var headers: HTTPFields = [
                .contentType: "application/sdp", .location: "/api/v1/sessions/\(session.id)",
                .eTag: "\"\(session.id)\"",
            ]
            headers.set("Sudocam-Video", session.hasVideo ? "h264" : "none")
            return Response(
                status: .created, headers: headers,
                body: ResponseBody(byteBuffer: ByteBuffer(string: session.answer)))
        } catch {
            return .problem(.badRequest, error.code.rawValue, error.description, hint: error.hint)
        }
    }

    private func patchSession(_ request: Request, _ context: PageContext) async throws -> Response {
        guard context.session != nil else { return Response.notLoggedIn }
        guard let id = context.parameters.get("session").flatMap(UUID.init(_:)) else { return Response.noSession }
        let fragment = String(buffer: try await request.body.collect(upTo: 64 << 10))
        do {
            guard let answer = try await recorder.media.addCandidates(fragment, to: id) else {
                return Response.noSession
            }
            return answer.isEmpty
                ? Response(status: .noContent)
                : Response(
                    status: .ok, headers: [.contentType: "application/trickle-ice-sdpfrag"],
                    body: ResponseBody(byteBuffer: ByteBuffer(string: answer)))
        } catch {
            return .problem(.badRequest, error.code.rawValue, error.description, hint: error.hint)
        }
    }
}

extension Response {
    static var notLoggedIn: Response {
        .problem(.unauthorized, "not-logged-in", "Unlock with the vault's passphrase first.")
    }
    static var locked: Response { .problem(.forbidden, "locked", "The vault is locked.") }
    static var noCamera: Response { .problem(.notFound, "unknown-camera", "There is no such camera.") }
    static var noSession: Response { .problem(.notFound, "unknown-session", "There is no such session (any more).") }
    static var badRange: Response {
        .problem(.badRequest, "bad-request", "`from` and `to` are microseconds since the epoch, `from` before `to`.")
    }
}

/// What was put into the binary: the page's files.
struct Asset: Sendable {
    var path: String
    var type: String
    var bytes: [UInt8]
    /// Changes with the content.
    var tag: String

    static let all: [Asset] = {
        var count = 0
        guard let assets = sudocam_assets(&count) else { return [] }
        return (0..<count).map { index in
            let asset = assets[index]
            let bytes = Array(UnsafeBufferPointer(start: asset.bytes, count: asset.count))
            let tag = bytes.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
            return Asset(
                path: String(cString: asset.path), type: String(cString: asset.type), bytes: bytes,
                tag: String(tag, radix: 16))
        }
    }()
}
