import CProcess
public import Core
import Foundation
import Media
public import Vault

/// `sudocam remote drill`: a restore of an hour chosen by chance, for real and into a folder of its own, so that the day it is needed
/// is not the first one it is tried on. Works beside the recorder, and leaves nothing behind.
public enum DrillCommands {
    public struct Drill: Codable, Sendable {
        public var vault: VaultID
        public var ledgerKey: String
        public var from: String
        public var to: String
        public var clips: Int
        public var frames: Int
        public var bytes: Int
        /// Clips that lie here too, so that their frames could be compared.
        public var comparedClips: Int
        /// What is not as it should be, a line each.
        public var findings: [String]
        /// Ledger, keys and index.
        public var mirrorSeconds: Double
        /// From there to the first frames of the hour's newest clip, from the remote.
        public var firstPictureSeconds: Double
        /// To have the whole hour here.
        public var hourSeconds: Double
        public var bytesPerSecond: Double
    }

    private static let hour: Int64 = 3_600_000_000
    private static var time: any TimeSource { SystemTime { sudocam_wall_clock_is_synchronised() } }

    /// - Parameter folder: where the drill's own folder is made and removed again.
    public static func drill(
        _ configuration: Configuration, _ name: String, passphrase: SecretBytes, folder: String,
        progress: @escaping @Sendable (String) -> Void
    ) async throws -> Drill {
        let known = try Vault.remotes(at: configuration.vault)
        guard let description = known.first(where: { $0.name == name }) else {
            throw ServerError(
                .configuration, "There is no remote \(name).", hint: "`sudocam remote list` shows them.")
        }
        guard description.contents != .onlyEpochKeys else {
            throw ServerError(.configuration, "Remote \(name) has no footage.", hint: "Drill the one that has.")
        }
        let place = "\(folder)/sudocam-drill-\(UUID.random())"
        try FileManager.default.createDirectory(
            atPath: place, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: place) }
        return try await configuration.reading(time: time) { local in
            try await drill(
                description, known.first { $0.contents == .onlyEpochKeys }, local, at: configuration.vault, passphrase,
                place, progress)
        }
    }

    private static func drill(
        _ description: RemoteDescription, _ epochKeys: RemoteDescription?, _ local: Vault, at path: String,
        _ passphrase: SecretBytes, _ place: String, _ progress: @escaping @Sendable (String) -> Void
    ) async throws -> Drill {
        let clock = ContinuousClock()
        var options = RestoreOptions()
        if description.contents == .withoutEpochKeys { options.epochKeys = epochKeys }
        let began = clock.now
        let mirrored = try await Vault.mirror(description, to: place, options, time: time) { done, total in
            progress("\(done) of \(total) ledger entries")
        }
        let mirrorSeconds = (clock.now - began) / .seconds(1)
        guard mirrored.vault == local.id else {
            throw ServerError(.refused, "Remote \(description.name) holds another vault (\(mirrored.vault)).")
        }
        guard let owner = try Vault.ownerFile(at: path) else {
            throw ServerError(.refused, "keys/owner.age is missing in \(path).")
        }
        try await Vault.adoptOwnerFile(owner, at: place)
        let vault = try await Vault.open(at: place, mode: .mirror, time: time)
        do {
            try await vault.unlock(passphrase: passphrase)
            try await local.unlock(passphrase: passphrase)
            var drill = try await restore(vault, local, description.name, progress)
            drill.ledgerKey = mirrored.key
            drill.mirrorSeconds = mirrorSeconds
            if mirrored.missingEpochs > 0 {
                drill.findings.insert(
                    "the keys of \(mirrored.missingEpochs) day(s) of cameras are missing there", at: 0)
            }
            await vault.close()
            return drill
        } catch {
            await vault.close()
            throw error
        }
    }

    private static func restore(
        _ vault: Vault, _ local: Vault, _ name: String, _ progress: @escaping @Sendable (String) -> Void
    ) async throws -> Drill {
        let clock = ContinuousClock()
        let remote = try vault.remote(named: name)
        try await remote.adoptMirrored()
        let range = try await anyHour(vault)
        var clips: [ClipRecord] = []
        for (camera, _, _) in try await vault.recordedSpans() {
            clips += try await vault.clips(camera: camera, overlapping: range, limit: .max).filter {
                range.contains($0.end)
            }
        }
        clips.sort { $0.end > $1.end }
        guard let first = clips.first else { throw ServerError(.refused, "Nothing is recorded in that hour.") }

        let began = clock.now
        _ = try await frames(first, vault, firstGroupOnly: true)
        let firstPicture = (clock.now - began) / .seconds(1)
        let fetching = clock.now
        let report = try await remote.backfill(range) { progress("\($0.objects) objects, \($0.bytes / 1_000_000) MB") }
        let hourSeconds = (clock.now - fetching) / .seconds(1)

        var drill = Drill(
            vault: vault.id, ledgerKey: "", from: FileTime.iso(range.start), to: FileTime.iso(range.end),
            clips: clips.count, frames: 0, bytes: report.bytes, comparedClips: 0,
            findings: report.damaged.map { "\($0): other bytes than were sent" }, mirrorSeconds: 0,
            firstPictureSeconds: firstPicture, hourSeconds: hourSeconds,
            bytesPerSecond: Double(report.bytes) / max(0.000_001, hourSeconds))
        for (number, clip) in clips.enumerated() {
            progress("\(number) of \(clips.count) clips opened")
            do {
                guard try vault.isHere(clip.object) else { throw VaultError(.notFound, "It did not come.") }
                let count = try await frames(clip, vault)
                drill.frames += count
                guard try local.isHere(clip.object) else { continue }
                let ours = try await frames(clip, local)
                drill.comparedClips += 1
                if ours != count { drill.findings.append("\(clip.object): \(count) frames there, \(ours) here") }
            } catch {
                drill.findings.append("\(clip.object): \(error)")
            }
        }
        return drill
    }

    /// Around a clip chosen by chance: of each camera as likely as it has clips.
    private static func anyHour(_ vault: Vault) async throws -> TimeRange {
        let spans = try await vault.recordedSpans()
        var place = Int.random(in: 0..<max(1, spans.reduce(0) { $0 + $1.clips }))
        for (camera, clips, span) in spans {
            guard place < clips else {
                place -= clips
                continue
            }
            let chance = WallTime(
                microseconds: Int64.random(
                    in: span.start.microseconds...max(span.start.microseconds, span.end.microseconds)))
            let at = try await vault.clip(at: chance, camera: camera)
            let before = try await vault.clip(before: chance, camera: camera)
            guard let clip = at ?? before else { break }
            let start = clip.end.microseconds - clip.end.microseconds % hour
            return TimeRange(WallTime(microseconds: start), WallTime(microseconds: start + hour))
        }
        throw ServerError(.refused, "The remote has no footage yet.", hint: "`sudocam remote sync` sends it.")
    }

    /// How many samples a clip has; each group's index is read, and of the first group its pictures too.
    private static func frames(_ clip: ClipRecord, _ vault: Vault, firstGroupOnly: Bool = false) async throws -> Int {
        let reader = try await ClipReader(try await vault.openObject(clip))
        if firstGroupOnly { return reader.groups.isEmpty ? 0 : try await reader.samples(ofGroup: 0).count }
        var count = 0
        for group in reader.groups.indices { count += try await reader.sampleInfos(ofGroup: group).count }
        return count
    }
}
