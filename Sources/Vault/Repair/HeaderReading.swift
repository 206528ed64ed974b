import Core
import Dispatch
import Synchronization

/// The headers of everything in `objects/` and of the parts in `open/`, read on several threads: what costs is opening files.
///
/// Each thread takes the next shard that none has; what they find goes some hundred headers at a time into the scan behind one
/// lock. Memory holds the names of as many shards as there are threads.
final class HeaderReading: Sendable {
    private struct State {
        var scan: ObjectScan
        /// Files that are no objects of this vault.
        var strangers: [String] = []
        /// Files that the disk did not give.
        var unreadable: [String] = []
        var done = 0
        var failure: VaultError?
    }
    /// More than there are cores: a disk that has not read them yet answers several at once.
    private static let threads = 8
    private static let batchSize = 256

    private let layout: Layout
    private let files: any FileSystem
    private let vault: VaultID
    private let progress: @Sendable (Int) -> Void
    private let state: Mutex<State>
    private let nextShard = Atomic(0)

    private init(
        _ layout: Layout, _ files: any FileSystem, _ vault: VaultID, _ progress: @escaping @Sendable (Int) -> Void
    ) {
        self.layout = layout
        self.files = files
        self.vault = vault
        self.progress = progress
        state = Mutex(State(scan: ObjectScan(vault: vault)))
    }

    /// What was found, the paths of files that are no objects of this vault, and of those that the disk did not give, in order.
    /// Errors: the disk's, of folders.
    static func run(
        _ layout: Layout, _ files: any FileSystem, vault: VaultID,
        progress: @escaping @Sendable (_ objects: Int) -> Void
    ) throws(VaultError) -> (scan: ObjectScan, strangers: [String], unreadable: [String]) {
        let reading = HeaderReading(layout, files, vault, progress)
        let ended = DispatchSemaphore(value: 0)
        for thread in 1..<threads {
            Lane.serial("vault.headers.\(thread)").start {
                reading.readShards()
                ended.signal()
            }
        }
        reading.readShards()
        for _ in 1..<threads { ended.wait() }
        try reading.readParts()
        return try reading.state.withLock { (state) throws(VaultError) in
            if let failure = state.failure { throw failure }
            progress(state.done)
            return (state.scan, state.strangers.sorted(), state.unreadable.sorted())
        }
    }

    private func readShards() {
        do throws(VaultError) {
            var batch = Batch()
            while case let shard = nextShard.add(1, ordering: .relaxed).oldValue, shard < Layout.shards.count {
                try read(UInt8(shard), &batch)
            }
            try put(&batch)
        } catch {
            state.withLock { state in if state.failure == nil { state.failure = error } }
            nextShard.store(Layout.shards.count, ordering: .relaxed)
        }
    }

    private struct Batch {
        var headers: [ObjectScan.Header] = []
        var strangers: [String] = []
        var unreadable: [String] = []
        /// Read over for each object: nearly every header fits, and what is longer is read again.
        var buffer = [UInt8](repeating: 0, count: 4096)
        var count: Int { headers.count + strangers.count + unreadable.count }
    }

    private func read(_ shard: UInt8, _ batch: inout Batch) throws(VaultError) {
        let folder = layout.shard(Layout.shards[Int(shard)])
        guard try files.attributes(folder) != nil else { return }
        let prefix = folder + "/"
        for name in try files.list(folder) {
            let path = prefix + name
            do throws(VaultError) {
                guard let object = ObjectID(fileName: name), object.firstByte == shard else {
                    throw VaultError(.damaged, "\(path) is no object's name.")
                }
                batch.headers.append(try header(path, object, isOpen: false, &batch.buffer))
            } catch  where error.code == .io {
                batch.unreadable.append(path)
            } catch {
                batch.strangers.append(path)
            }
            if batch.count >= Self.batchSize { try put(&batch) }
        }
    }

    private func readParts() throws(VaultError) {
        var batch = Batch()
        for name in try files.list(layout.open) where name.hasSuffix(".part") {
            if let header = try? header(layout.open + "/" + name, .zero, isOpen: true, &batch.buffer) {
                batch.headers.append(header)
            }
        }
        try state.withLock { (state) throws(VaultError) in try state.scan.add(batch.headers) }
    }

    private func put(_ batch: inout Batch) throws(VaultError) {
        try state.withLock { (state) throws(VaultError) in
            try state.scan.add(batch.headers)
            state.strangers += batch.strangers
            state.unreadable += batch.unreadable
            state.done += batch.count
            progress(state.done)
        }
        batch.headers.removeAll(keepingCapacity: true)
        batch.strangers = []
        batch.unreadable = []
    }

    /// Errors: the disk's, `.headerFailure`, `.damaged` for one that is no clip of this vault.
    private func header(
        _ path: String, _ object: ObjectID, isOpen: Bool, _ buffer: inout [UInt8]
    ) throws(VaultError) -> ObjectScan.Header {
        let (count, attributes) = try files.head(path, into: &buffer)
        let header =
            if let header = ClipHeader(fixedForm: buffer, count: count) {
                header
            } else {
                ClipHeader(try ObjectReader.header(files.open(path, .read)))
            }
        guard let header, header.identity.vault == vault else {
            throw VaultError(.damaged, "\(path) is no clip of this vault.")
        }
        let identity = header.identity
        let payload = attributes.count - header.count - AgePayload.nonceSize
        return ObjectScan.Header(
            object: object, camera: identity.camera, epoch: identity.epoch, run: identity.run,
            sequence: Int64(clamping: identity.sequence), start: identity.start.microseconds,
            modified: attributes.modified, bytes: attributes.count,
            isSalvaged: payload > 0 && payload % AgePayload.sealedChunkSize == 0, isOpen: isOpen)
    }
}
