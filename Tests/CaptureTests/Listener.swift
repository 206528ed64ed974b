import Core
import Logging
import Media

@testable import Capture

/// What a source said, up to a wanted end.
struct Heard {
    var connected: [CodecParameters] = []
    /// Index of the unit that came next, and what changed.
    var changed: [(before: Int, parameters: CodecParameters)] = []
    var units: [AccessUnit] = []
    var sounds: [(frame: SoundFrame, parameters: SoundParameters)] = []
    var soundLost: [String] = []
    var errors: [CaptureError] = []
    /// The source is over by itself.
    var isOver = false

    /// - Parameters:
    ///   - units: enough of them.
    ///   - errors: enough of them.
    init(_ source: CameraSource, units: Int = .max, errors: Int = .max) async {
        for await event in source.events() {
            switch event {
            case .connected(let parameters): connected.append(parameters)
            case .parametersChanged(let parameters): changed.append((self.units.count, parameters))
            case .unit(let unit): self.units.append(unit)
            case .sound(let frame, let parameters): sounds.append((frame, parameters))
            case .soundLost(let reason): soundLost.append(reason)
            case .lost: break
            case .disconnected(let error): self.errors.append(error)
            }
            if self.units.count >= units || self.errors.count >= errors { return }
        }
        isOver = true
    }
}

extension CameraSource {
    /// - Parameter silence: µs.
    convenience init(
        testing text: String, sound: Bool = true, silence: Int64 = 60_000_000, time: any TimeSource = SystemTime()
    ) throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        self.init(try SourceAddress(text), sound: sound, silence: silence, time: time, logger: logger)
    }
}
