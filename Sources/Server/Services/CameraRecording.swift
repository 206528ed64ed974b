import Capture
import Core
import Ingest
import Logging
import Synchronization

/// One camera while it is recorded: its pipeline, and its source, which may be exchanged for another.
///
///     recording ──new source──▶ the old one says farewell ──▶ recording, in a new run
///         └──end──▶ source says farewell ──▶ queue runs dry ──▶ last clip committed ──▶ over
final class CameraRecording: Sendable {
    let id: CameraID
    let pipeline: Pipeline
    private let settings: Mutex<Configuration.Camera>
    private let time: any TimeSource
    private let logger: Logger
    private struct Order {
        var address: SourceAddress
        var sound: Bool
    }
    /// Where pictures are to come from, the newest only; finished when the camera is to be recorded no longer.
    private let (sources, order) = AsyncStream.makeStream(of: Order.self, bufferingPolicy: .bufferingNewest(1))
    private let (over, tellOver) = AsyncStream.makeStream(of: Never.self)

    init(
        _ id: CameraID, _ configuration: Configuration.Camera, pipeline: Pipeline, time: any TimeSource, logger: Logger
    ) {
        self.id = id
        self.pipeline = pipeline
        self.time = time
        self.logger = logger
        settings = Mutex(configuration)
        order.yield(Order(address: configuration.source, sound: configuration.sound))
    }

    var configuration: Configuration.Camera { settings.withLock { $0 } }

    /// Takes a new name, and a new source where it is another one or its sound is wanted otherwise; neither waits.
    func change(to new: Configuration.Camera) async {
        let old = settings.withLock { settings in
            defer { settings = new }
            return settings
        }
        if old.name != new.name { await pipeline.rename(new.name) }
        if old.source != new.source || old.sound != new.sound {
            order.yield(Order(address: new.source, sound: new.sound))
        }
    }

    /// The source stops; `run` returns once the last clip is committed.
    func end() { order.finish() }

    /// Waits until `run` has returned. For one task.
    func ended() async { for await _ in over {} }

    /// Works until `end` or cancellation.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.pipeline.runRecorder() }
            group.addTask { await self.pipeline.watchPicture() }
            await capture()
        }
        tellOver.finish()
    }

    private func capture() async {
        var orders = sources.makeAsyncIterator()
        var next = await orders.next()
        while let wanted = next {
            next = await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.deliver(wanted) }
                defer { group.cancelAll() }
                return await orders.next()
            }
            if next != nil { await pipeline.sourceChanged() }
        }
        await pipeline.sourceEnded()
        pipeline.hub.close()
        pipeline.stop()
    }

    private func deliver(_ wanted: Order) async {
        let source = CameraSource(wanted.address, sound: wanted.sound, time: time, logger: logger)
        for await event in source.events() {
            switch event {
            case .connected(let parameters): await pipeline.connected(parameters)
            case .parametersChanged(let parameters): await pipeline.parametersChanged(parameters)
            case .unit(let unit): await pipeline.accept(unit)
            case .sound(let frame, let parameters): await pipeline.accept(frame, parameters)
            case .soundLost(let reason): await pipeline.soundLost(reason)
            case .lost(let count): await pipeline.lost(frames: count)
            case .disconnected(let error): await pipeline.disconnected(error.description)
            }
        }
    }
}
