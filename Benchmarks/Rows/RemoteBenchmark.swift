import Core
import Foundation
import Synchronization
import Vault

/// Copies in an S3 server on this machine: sent, brought back, and read from there.
///
/// Server and client share the machine's cores on both sides of every row, so what the server does for an object counts in both.
struct RemoteBenchmark: Benchmark {
    let name = "remote"
    let summary = "upload to, restore from and seek in an S3 server (SeaweedFS)"

    /// As many as `Remote.sync` has under way.
    private static let connections = 4

    func run(_ context: BenchContext) async throws -> [Row] {
        try context.requireSudocam()
        let s3 = try await S3Server(try context.scratch.folder())
        let place = try await BenchVault(context)
        let vault = try await place.open()
        let (camera, run) = (CameraID.random(), RunID.random())
        var clips: [ClipRecord] = []
        for index in 0..<(context.isQuick ? 4 : 12) {
            clips.append(
                try await BenchVault.store(
                    SealBenchmark.pieces, in: vault, camera: camera, run: run,
                    start: WallTime(seconds: 1_764_000_000 + Int64(index) * 60), seconds: 60))
        }
        let owner = place.folder.path + "/owner.age"
        try FileManager.default.copyItem(atPath: place.path + "/keys/owner.age", toPath: owner)
        do {
            var rows = [try await upload(context, s3, place, vault, clips)]
            rows.append(try await seek(context, s3, vault, clips))
            await vault.close()
            rows += try await restore(context, s3, place, clips, owner: owner)
            return rows
        } catch {
            await vault.close()
            throw error
        }
    }

    private func remote(_ vault: Vault, _ s3: S3Server, _ name: String) async throws -> Remote {
        var description = RemoteDescription(
            name: name, url: "\(s3.bucket)/\(name)", credentials: .file(s3.credentials, profile: "default"),
            added: SystemTime().wallNow())
        // Nothing that was read back is kept, so that every seek asks the server.
        description.cacheBytes = 0
        description.eviction = RemoteDescription.Eviction(after: 0, settle: 0)
        try await vault.add(description)
        return try vault.remote(named: name)
    }

    private func path(_ prefix: String, _ clip: ClipRecord, _ s3: S3Server) -> String {
        let object = "\(clip.object)"
        return "\(s3.bucket.dropFirst(s3.server.count))/\(prefix)/objects/\(object.prefix(2))/\(object)"
    }

    // MARK: Upload

    /// A remote that has nothing yet is made level: objects, and the ledger with all that belongs to it. Beside it the same files under other
    /// names with the same headers, so that the server does the same; signed before the clock runs.
    private func upload(
        _ context: BenchContext, _ s3: S3Server, _ place: BenchVault, _ vault: Vault, _ clips: [ClipRecord]
    ) async throws -> Row {
        let signer = BareSigner(server: s3.server)
        let connections = try (0..<Self.connections).map { _ in try BareConnection() }
        var (ours, bare) = (Samples(), Samples())
        let megabytes = Double(clips.reduce(0) { $0 + $1.byteCount }) / 1e6
        for turn in 0...context.runs(8) {
            let remote = try await remote(vault, s3, "sent\(turn)")
            let cost = try await Measurement.cost { try await remote.sync() }
            let status = try await remote.status()
            guard status.objects == clips.count, status.waitingObjects == 0 else {
                throw BenchError(.programFailed, "The remote is not level: \(status)")
            }
            if turn < context.runs(8) { try await vault.removeRemote(remote.name) }
            let requests = clips.map { clip in
                signer.request(
                    "PUT", path("bare\(turn)", clip, s3),
                    [
                        "if-none-match": "*",
                        "x-amz-checksum-sha256": Data(clip.object.digest).base64EncodedString(),
                    ], bodyHash: "\(clip.object)",
                    file: "\(place.path)/objects/\("\(clip.object)".prefix(2))/\(clip.object)", count: clip.byteCount)
            }
            let plain = try await Measurement.cost { try Self.send(requests, connections) }
            guard turn > 0 else { continue }
            ours.add(megabytes / cost.seconds)
            bare.add(megabytes / plain.seconds)
        }
        return Row(
            "upload to S3", unit: "MB/s", better: .higher, ours: ours,
            yardstick: ("libcurl PUTs of the same files, \(Self.connections) connections", bare),
            ratioLimit: .atLeast(0.9), note: "\(clips.count) clips of 30 MB, every PUT synced by the server")
    }

    /// A thread a connection, each takes the next request that nobody has.
    private static func send(_ requests: [BareRequest], _ connections: [BareConnection]) throws {
        let next = Atomic(0)
        let failure = Mutex<(any Error)?>(nil)
        let group = DispatchGroup()
        for connection in connections {
            let lent = Lent(connection)
            group.enter()
            Thread.detachNewThread {
                defer { group.leave() }
                do {
                    while true {
                        let index = next.add(1, ordering: .relaxed).oldValue
                        guard index < requests.count else { return }
                        let status = try lent.connection.send(requests[index])
                        guard status == 200 else { throw Bare.failure("PUT (status \(status))") }
                    }
                } catch {
                    failure.withLock { $0 = error }
                }
            }
        }
        group.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }

    private struct Lent: @unchecked Sendable {  // each goes to one thread, which is over before it is used again
        let connection: BareConnection
        init(_ connection: BareConnection) { self.connection = connection }
    }

    // MARK: Seek

    /// Of clips that lie in the remote only, and of which nothing is kept here.
    private func seek(
        _ context: BenchContext, _ s3: S3Server, _ vault: Vault, _ clips: [ClipRecord]
    ) async throws -> Row {
        let name = "sent\(context.runs(8))"
        let remote = try vault.remote(named: name)
        try await remote.listAgain(after: 0)
        let evicted = try await remote.evict()
        guard evicted.objects == clips.count else {
            throw BenchError(.programFailed, "\(evicted.objects) of \(clips.count) clips were given up.")
        }
        try await BenchVault.unlock(vault)
        let signer = BareSigner(server: s3.server)
        let connection = try BareConnection()
        var random = SystemRandomNumberGenerator()
        func chunk(_ clip: ClipRecord) -> Int { Int.random(in: 0..<400, using: &random) * Bare.chunkSize }
        var (ours, bare) = (Samples(), Samples())
        for turn in 0...context.runs(400) {
            let clip = clips[turn % clips.count]
            let offset = chunk(clip)
            let cost = try await Measurement.cost {
                let source = try await vault.openObject(clip)
                guard try await source.read(at: offset, count: 1).count == 1 else {
                    throw BenchError(.programFailed, "An evicted clip gave no byte.")
                }
            }
            let place = chunk(clip)
            let request = signer.request(
                "GET", path(name, clip, s3), ["range": "bytes=\(place)-\(place + Bare.sealedChunkSize - 1)"],
                bodyHash: BareSigner.emptyHash)
            let plain = try await Measurement.cost {
                guard try connection.send(request) == 206, connection.received == Bare.sealedChunkSize else {
                    throw Bare.failure("a Range GET")
                }
            }
            guard turn > 0 else { continue }
            ours.add(cost.seconds * 1000)
            bare.add(plain.seconds * 1000)
        }
        return Row(
            "seek in an evicted clip, first decrypted byte", unit: "ms", better: .lower, ours: ours,
            yardstick: ("one Range GET of one chunk by libcurl, connection kept", bare), at: .median,
            note: "nothing cached: two requests, the clip's end and the chunk")
    }

    // MARK: Restore

    /// Whole programs, each into an empty folder.
    private func restore(
        _ context: BenchContext, _ s3: S3Server, _ place: BenchVault, _ clips: [ClipRecord], owner: String
    ) async throws -> [Row] {
        let prefix = "sent\(context.runs(8))"
        let megabytes = Double(clips.reduce(0) { $0 + $1.byteCount }) / 1e6
        let folder = try context.scratch.folder()
        let keys = ["AWS_ACCESS_KEY_ID=owner", "AWS_SECRET_ACCESS_KEY=owner-secret"]
        let ours = { (target: String) throws in
            try Program.output(
                context.sudocam,
                [
                    "remote", "restore", "\(s3.bucket)/\(prefix)", "--to", target + "/vault", "--config",
                    target + "/sudocam.yaml", "--credentials", s3.credentials, "--owner-file", owner,
                    "--passphrase-fd", "0",
                ], folder: target, input: BenchVault.passphrase + "\n")
            try Self.check(target + "/vault/objects", clips)
        }
        var rows: [Row] = []
        do {
            try Program.require("restic", package: "restic")
            // The footage is here again, for restic to back it up.
            let source = folder.path + "/source"
            try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
            try ours(source)
            let secret = folder.path + "/password"
            try Data("correct horse\n".utf8).write(to: URL(fileURLWithPath: secret))
            let common = [
                "--repo", "s3:\(s3.bucket)/restic", "--password-file", secret, "--no-cache", "--quiet", "--compression",
                "off",
            ]
            try Program.output("env", keys + ["restic", "init"] + common)
            try Program.output("env", keys + ["restic", "backup", "objects"] + common, folder: source + "/vault")
            try FileManager.default.removeItem(atPath: source)
            let (own, theirs) = try await beside(context, folder, ours) { target in
                try Program.output("env", keys + ["restic", "restore", "latest", "--target", target] + common)
                try Self.check(target + "/objects", clips)
            }
            rows.append(
                Row(
                    "restore from S3, whole program", unit: "MB/s", better: .higher,
                    ours: Samples(own.map { megabytes / $0.seconds }),
                    yardstick: ("restic restore", Samples(theirs.map { megabytes / $0.seconds })),
                    ratioLimit: .atLeast(2), note: "\(clips.count) clips of 30 MB, ledger, keys and index included"))
        } catch let error as BenchError where error.code == .toolMissing {
            context.log("restore beside restic left out: \(error)")
        }
        do {
            try Program.require("rclone", package: "rclone")
            let remote =
                ":s3,provider=Other,endpoint='\(s3.server)',access_key_id=owner,secret_access_key=owner-secret:"
                + "\(s3.bucket.dropFirst(s3.server.count + 1))/\(prefix)/objects"
            let (own, theirs) = try await beside(context, folder, ours) { target in
                try Program.output(
                    "env",
                    // rclone cannot use that variable, and there is no TLS here.
                    [
                        "-u", "AWS_CA_BUNDLE", "rclone", "copy", remote, target + "/objects", "--config", "/dev/null",
                        "--quiet",
                    ], folder: target)
                try Self.check(target + "/objects", clips)
            }
            rows.append(
                Row(
                    "restore from S3, whole program", unit: "MB/s", better: .higher,
                    ours: Samples(own.map { megabytes / $0.seconds }),
                    yardstick: ("rclone copy", Samples(theirs.map { megabytes / $0.seconds })), ratioLimit: .atLeast(1),
                    note: "rclone copies the objects alone"))
        } catch let error as BenchError where error.code == .toolMissing {
            context.log("restore beside rclone left out: \(error)")
        }
        return rows
    }

    /// In turn, each time into a folder that is made before and removed after the clock runs.
    private func beside(
        _ context: BenchContext, _ folder: ScratchFolder, _ ours: (String) throws -> Void,
        _ yardstick: (String) throws -> Void
    ) async throws -> ([Measurement.Cost], [Measurement.Cost]) {
        var costs: ([Measurement.Cost], [Measurement.Cost]) = ([], [])
        for turn in 0...context.runs(8) {
            let (target, other) = (try folder.folder(), try folder.folder())
            let own = try await Measurement.cost { try ours(target.path) }
            let theirs = try await Measurement.cost { try yardstick(other.path) }
            guard turn > 0 else { continue }
            costs.0.append(own)
            costs.1.append(theirs)
        }
        return costs
    }

    /// All of them are there, and whole.
    private static func check(_ objects: String, _ clips: [ClipRecord]) throws {
        for clip in clips {
            let object = "\(clip.object)"
            let path = "\(objects)/\(object.prefix(2))/\(object)"
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
            guard size == clip.byteCount else { throw BenchError(.programFailed, "\(path) was not restored.") }
        }
    }
}
