public import Core
import FoundationEssentials

/// What a viewer asks for, `schemas/control.schema.json`, client → server.
public enum ControlRequest: Sendable, Equatable {
    public enum SeekMode: String, Sendable { case exact, keyframe }
    public enum Afterwards: String, Sendable { case play, pause }

    case seek(id: UInt32, camera: CameraID, time: WallTime, mode: SeekMode, then: Afterwards)
    case play(id: UInt32, rate: Double)
    case pause(id: UInt32)
    case step(id: UInt32, frames: Int)
    case live(id: UInt32, camera: CameraID?)

    public var id: UInt32 {
        switch self {
        case .seek(let id, _, _, _, _), .play(let id, _), .pause(let id), .step(let id, _), .live(let id, _): id
        }
    }
}

/// What a viewer is told, server → client.
public enum ControlReply: Sendable, Equatable {
    public enum Mode: String, Sendable { case play, pause, live }
    public enum Edge: String, Sendable { case first, last }
    public enum ErrorCode: String, Sendable {
        case badMessage = "bad-message"
        case tooManyMessages = "too-many-messages"
        case unknownCamera = "unknown-camera"
        case unsupportedCodec = "unsupported-codec"
        case locked
        case damaged
        case `internal`
    }

    case clock(
        id: UInt32, track: String, camera: CameraID, rtp: UInt32, time: WallTime, rate: Double, target: UInt32,
        mode: Mode)
    case gap(id: UInt32, from: WallTime?, to: WallTime?, reason: String)
    case end(id: UInt32, at: Edge)
    case resized(id: UInt32, width: Int, height: Int)
    case error(id: UInt32?, code: ErrorCode, message: String)
}

extension ControlRequest {
    /// Longest message that is read at all, in bytes.
    public static let byteLimit = 16 << 10

    private struct Wire: Decodable {
        var type: String
        var id: UInt32
        var track: String?
        var camera: String?
        var time: Int64?
        var mode: String?
        var then: String?
        var rate: Double?
        var frames: Int?
    }

    /// - Throws: `.badMessage` with a sentence that may be shown to whoever sent it.
    public init(parsing bytes: [UInt8]) throws(PlaybackError) {
        guard bytes.count <= Self.byteLimit else {
            throw PlaybackError(.badMessage, "A control message of \(bytes.count) bytes; at most \(Self.byteLimit).")
        }
        let wire: Wire
        do {
            wire = try JSONDecoder().decode(Wire.self, from: Data(bytes))
        } catch {
            throw PlaybackError(.badMessage, "Not a control message: JSON with \"type\" and \"id\" is wanted.")
        }
        switch wire.type {
        case "seek":
            guard let time = wire.time, abs(time == .min ? .max : time) <= 9_007_199_254_740_991 else {
                throw PlaybackError(.badMessage, "seek wants \"time\" in microseconds since the epoch.")
            }
            guard let camera = try Self.camera(wire.camera) else {
                throw PlaybackError(.badMessage, "seek wants \"camera\".")
            }
            guard let mode = SeekMode(rawValue: wire.mode ?? "exact") else {
                throw PlaybackError(.badMessage, "\"mode\" is exact or keyframe.")
            }
            guard let then = Afterwards(rawValue: wire.then ?? "pause") else {
                throw PlaybackError(.badMessage, "\"then\" is play or pause.")
            }
            self = .seek(id: wire.id, camera: camera, time: WallTime(microseconds: time), mode: mode, then: then)
        case "play":
            let rate = wire.rate ?? 1
            guard rate.isFinite, abs(rate) >= 0.1, abs(rate) <= 16 else {
                throw PlaybackError(.badMessage, "\"rate\" lies between −16 and 16, and is at least 0.1 away from 0.")
            }
            self = .play(id: wire.id, rate: rate)
        case "pause": self = .pause(id: wire.id)
        case "step":
            guard let frames = wire.frames, abs(frames == .min ? .max : frames) <= 1000 else {
                throw PlaybackError(.badMessage, "step wants \"frames\" between −1000 and 1000.")
            }
            self = .step(id: wire.id, frames: frames)
        case "live": self = .live(id: wire.id, camera: try Self.camera(wire.camera))
        default: throw PlaybackError(.badMessage, "An unknown type of control message.")
        }
    }

    private static func camera(_ text: String?) throws(PlaybackError) -> CameraID? {
        guard let text else { return nil }
        guard let id = CameraID(text) else { throw PlaybackError(.badMessage, "\"camera\" is no UUID.") }
        return id
    }
}

extension ControlReply {
    private struct Wire: Encodable {
        var type: String
        var id: UInt32?
        var track: String?
        var camera: String?
        var rtp: UInt32?
        var time: Int64?
        var rate: Double?
        var target: UInt32?
        var mode: String?
        var from: Int64?
        var to: Int64?
        var reason: String?
        var at: String?
        var width: Int?
        var height: Int?
        var code: String?
        var message: String?
    }

    /// One line of JSON.
    public var json: String {
        let wire: Wire =
            switch self {
            case .clock(let id, let track, let camera, let rtp, let time, let rate, let target, let mode):
                Wire(
                    type: "clock", id: id, track: track, camera: camera.description, rtp: rtp,
                    time: time.microseconds, rate: rate, target: target, mode: mode.rawValue)
            case .gap(let id, let from, let to, let reason):
                Wire(type: "gap", id: id, from: from?.microseconds, to: to?.microseconds, reason: reason)
            case .end(let id, let at): Wire(type: "end", id: id, at: at.rawValue)
            case .resized(let id, let width, let height): Wire(type: "resized", id: id, width: width, height: height)
            case .error(let id, let code, let message):
                Wire(type: "error", id: id, code: code.rawValue, message: message)
            }
        guard let data = try? JSONEncoder().encode(wire) else { return #"{"type":"error","code":"internal"}"# }
        return String(decoding: data, as: UTF8.self)
    }
}
