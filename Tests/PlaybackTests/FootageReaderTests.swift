import Core
import Foundation
import Media
import Synchronization
import TestKit
import Testing
import Vault

@testable import Playback

/// Real sealed clips: two that follow one another over midnight UTC (two epochs), a gap, and a third.
@Suite struct FootageReaderTests {
    static let midnight = WallTime(seconds: 1_763_942_400)
    static let starts = [midnight - 2_000_000, midnight, midnight + 12_000_000]

    static func footage(
        _ starts: [WallTime] = starts, files: any FileSystem = PosixFileSystem()
    ) async throws -> (temporary: TemporaryVault, vault: Vault, camera: CameraID) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open(files: files)
        let camera = CameraID.random()
        for start in starts {
            let film = try SyntheticClip(frames: 50, keyInterval: 25, start: start)
            let writer = try await vault.beginClip(camera: camera, run: film.identity.run, start: start)
            var muxer = ClipMuxer(parameters: film.parameters, identity: writer.identity, cameraName: "Hall")
            try await writer.append(try muxer.start())
            for unit in film.units {
                guard let fragment = try muxer.add(unit, dts: unit.dts, pts: unit.pts) else { continue }
                try await writer.append(fragment)
            }
            if let last = muxer.flush(nextDTS: 50 * 3600) { try await writer.append(last) }
            try await writer.append(muxer.finish())
            _ = try await writer.finish(end: start + 2_000_000)
        }
        if starts == Self.starts {
            try await vault.recordGap(
                camera: camera, range: TimeRange(midnight + 2_000_000, midnight + 12_000_000), reason: .disconnected)
        }
        try await TemporaryVault.unlock(vault)
        return (temporary, vault, camera)
    }

    @Test func `P3: every recorded instant gives the frame on the screen then`() async throws {
        let (kept, vault, camera) = try await Self.footage()
        defer { withExtendedLifetime(kept) {} }
        let reader = FootageReader(vault: vault)
        for start in Self.starts {
            for offset in stride(from: Int64(0), to: 2_000_000, by: 37_001) {
                let time = start + offset
                guard case .group(let group) = await reader.answer(.at(camera, time)) else {
                    Issue.record("nothing at \(offset) µs")
                    continue
                }
                let shown = group.frames[group.index(showing: time)].time
                #expect(shown - 12 <= time && time - shown < 40_000 + 12)
            }
        }
    }

    /// The sound: `SoundSyncTests`.
    @Test func `I10, the picture: over ten joins of clips every frame follows the last by its own length`() async throws
    {
        let (kept, vault, camera) = try await Self.footage((0..<11).map { Self.midnight + $0 * 2_000_000 })
        defer { withExtendedLifetime(kept) {} }
        let reader = FootageReader(vault: vault)
        var times: [WallTime] = []
        var request = FootageRequest.at(camera, Self.midnight)
        while case .group(let group) = await reader.answer(request) {
            times += group.frames.map(\.time).sorted()
            request = .after(camera, group.range.end)
            if times.count > 600 { break }
        }
        #expect(times.count == 550)
        for (index, time) in times.enumerated() {
            let off = time - (Self.midnight + Int64(index) * 40_000)
            // A tick of 90 kHz is 11 µs.
            guard abs(off) <= 12 else {
                Issue.record("frame \(index) is off by \(off) µs")
                return
            }
        }
    }

    @Test func `R5: what is being watched stays until the viewer goes on`() async throws {
        let (kept, vault, camera) = try await Self.footage()
        defer { withExtendedLifetime(kept) {} }
        var policy = RetentionPolicy()
        policy.rules = [RetentionPolicy.Rule(keep: 1)]
        vault.setRetention(policy)
        let reader = FootageReader(vault: vault)
        guard case .group = await reader.answer(.at(camera, Self.starts[0])) else {
            Issue.record("nothing to watch")
            return
        }
        let watched = try #require(try await vault.clip(at: Self.starts[0], camera: camera))
        _ = try await vault.applyRetention()
        #expect(try await vault.clip(at: Self.starts[0], camera: camera) == watched)
        await reader.forget()
        _ = try await vault.applyRetention()
        #expect(try await vault.clip(at: Self.starts[0], camera: camera) == nil)
        guard case .gap = await reader.answer(.at(camera, Self.starts[0])) else {
            Issue.record("what is deleted is still shown")
            return
        }
    }

    @Test func `R5: when retention wins between finding a clip and opening it, the answer is that it expired`()
        async throws
    {
        let gate = Mutex<GatedFileSystem?>(nil)
        // The reader has found its clip and leased it, and is about to open its file: now the pass may go on, to its end.
        let files = GatedFileSystem(beforeReading: { path in
            guard path.contains("/objects/"), let files = gate.withLock({ $0.take() }) else { return }
            files.open()
            for _ in 0..<2000 where FileManager.default.fileExists(atPath: path) { usleep(5000) }
        })
        let (kept, vault, camera) = try await Self.footage(files: files)
        defer { withExtendedLifetime(kept) {} }
        let last = try #require(try await vault.clip(at: Self.starts[2], camera: camera))
        _ = try await vault.hold(camera: camera, range: last.range, note: "")
        var policy = RetentionPolicy()
        policy.rules = [RetentionPolicy.Rule(keep: 1)]
        vault.setRetention(policy)
        // The pass has seen that nobody reads, and waits for the ledger's disk.
        files.shut()
        let pass = Task { try await vault.applyRetention() }
        for _ in 0..<2000 where files.waiting == 0 { try await Task.sleep(for: .milliseconds(5)) }
        try #require(files.waiting > 0)
        try #require(try await vault.clip(at: Self.starts[0], camera: camera) != nil)
        gate.withLock { $0 = files }
        let reader = FootageReader(vault: vault)
        guard case .gap(let from, let to, let reason, let isEdge) = await reader.answer(.at(camera, Self.starts[0]))
        else {
            Issue.record("what is deleted is shown")
            return
        }
        #expect(gate.withLock { $0 } == nil, "nobody opened the clip")
        #expect(reason == "expired" && from == Self.starts[0] && to == Self.starts[2] && !isEdge)
        #expect(try await pass.value.deletions.count == 2)
        // A file that is gone without an entry that says so is damage, and called that.
        let name = last.object.description
        try FileManager.default.removeItem(atPath: kept.path + "/objects/\(name.prefix(2))/\(name)")
        guard case .gap(_, _, "damaged", _) = await reader.answer(.at(camera, Self.starts[2])) else {
            Issue.record("a missing file is not told")
            return
        }
        await vault.close()
    }

    @Test func `P1: an instant before a clip inside a span gives its first frame`() async throws {
        let (kept, vault, camera) = try await Self.footage()
        defer { withExtendedLifetime(kept) {} }
        let reader = FootageReader(vault: vault)
        guard case .group = await reader.answer(.at(camera, Self.midnight - 1)) else {
            Issue.record("1 µs before the border nothing was found")
            return
        }
    }

    @Test func `groups follow one another over clip and epoch borders, forward and back`() async throws {
        let (kept, vault, camera) = try await Self.footage()
        defer { withExtendedLifetime(kept) {} }
        let reader = FootageReader(vault: vault)
        var starts: [WallTime] = []
        var time = Self.starts[0]
        while case .group(let group) = await reader.answer(.after(camera, time)) {
            starts.append(group.range.start)
            time = group.range.end
        }
        #expect(starts.map { $0 - Self.midnight } == [-2_000_000, -1_000_000, 0, 1_000_000])
        var back: [WallTime] = []
        time = Self.midnight + 2_000_000
        while case .group(let group) = await reader.answer(.before(camera, time)) {
            back.append(group.range.start)
            time = group.range.start
        }
        #expect(back == starts.reversed())
    }

    @Test func `W35: a gap is answered with its edges and reason`() async throws {
        let (kept, vault, camera) = try await Self.footage()
        defer { withExtendedLifetime(kept) {} }
        let reader = FootageReader(vault: vault)
        let inside = await reader.answer(.at(camera, Self.midnight + 5_000_000))
        guard case .gap(let from, let to, let reason, let isEdge) = inside else {
            Issue.record("no gap")
            return
        }
        #expect(from == Self.midnight + 2_000_000 && to == Self.midnight + 12_000_000)
        #expect(reason == "disconnected" && !isEdge)
        guard case .gap(nil, let first, _, _) = await reader.answer(.at(camera, Self.starts[0] - 60_000_000)) else {
            Issue.record("no answer before the first")
            return
        }
        #expect(first == Self.starts[0])
    }

    /// Groups and damage in order, from the first frame to the end, as a player that goes on behind a gap sees them.
    private static func walk(
        _ reader: FootageReader, _ camera: CameraID, from: WallTime
    ) async -> (groups: [WallTime], gaps: [(WallTime, WallTime?)]) {
        var (groups, gaps): ([WallTime], [(WallTime, WallTime?)]) = ([], [])
        var request = FootageRequest.at(camera, from)
        for _ in 0..<100 {
            switch await reader.answer(request) {
            case .group(let group):
                groups.append(group.range.start)
                request = .after(camera, group.range.end)
            case .gap(let from, let to, let reason, _):
                guard reason == "damaged", let from else { return (groups, gaps) }
                gaps.append((from, to))
                guard let to else { return (groups, gaps) }
                request = .at(camera, to)
            case .failure(let error):
                Issue.record("\(error)")
                return (groups, gaps)
            }
        }
        return (groups, gaps)
    }

    @Test(arguments: [0, 3, -1])
    func `V32: one bad block costs what lies in it, the rest plays with a gap that says so`(chunk: Int) async throws {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
        try await TemporaryVault.unlock(vault)
        let camera = CameraID.random()
        let clip = try SyntheticClip(frames: 100, keyInterval: 10, bitRate: 2_000_000)
        let writer = try await vault.beginClip(camera: camera, run: .random(), start: clip.identity.start)
        // The same frames under the vault's own identity.
        var muxer = ClipMuxer(parameters: clip.parameters, identity: writer.identity, cameraName: "x")
        try await writer.append(try muxer.start())
        for unit in clip.units {
            if let bytes = try muxer.add(unit, dts: unit.dts, pts: unit.pts) { try await writer.append(bytes) }
        }
        if let bytes = muxer.flush(nextDTS: 100 * 3600) { try await writer.append(bytes) }
        try await writer.append(muxer.finish())
        let record = try await writer.finish(end: clip.identity.start + 4_000_000)
        let name = record.object.description
        let path = "vault/objects/\(name.prefix(2))/\(name)"
        var sealed = try temporary.folder.contents(path)
        try #require(sealed.count > 6 * 65_552)
        // The header takes some hundred bytes.
        sealed[chunk < 0 ? sealed.count - 10 : 400 + chunk * 65_552 + 30_000] ^= 1
        try temporary.folder.write(sealed, to: path)

        let (groups, gaps) = await Self.walk(FootageReader(vault: vault), camera, from: record.start)
        // The end repeats the head, so the first block is like any other.
        if chunk < 0 {
            // The index at the end is gone, and maybe the last frames: the rest is found by walking.
            #expect(groups.count >= 9 && groups.first == record.start)
        } else {
            #expect(groups.count >= 6 && groups.count < 10 && groups.last == record.start + 3_600_000)
            #expect((1...4).contains(gaps.count))
        }
        // An export is whole or it says that it is not.
        await #expect(throws: (any Error).self) {
            let movie = try await MovieExport(vault: vault, camera: camera, range: record.range)
            for try await _ in movie.chunks() {}
        }
        await vault.close()
    }

    @Test func `locking ends reading at once`() async throws {
        let (kept, vault, camera) = try await Self.footage()
        defer { withExtendedLifetime(kept) {} }
        let reader = FootageReader(vault: vault)
        _ = await reader.answer(.at(camera, Self.midnight))
        vault.lock()
        guard case .failure(let error) = await reader.answer(.at(camera, Self.midnight)) else {
            Issue.record("it was read while locked")
            return
        }
        #expect(error.code == .locked)
    }

    @Test(arguments: [Int64(13), 14])
    func `P7: an export keeps the length of a gap, or says that a movie cannot`(hours: Int64) async throws {
        let later = Self.midnight + hours * 3_600_000_000
        let (temporary, vault, camera) = try await Self.footage([Self.midnight, later])
        let range = TimeRange(Self.midnight, later + 2_000_000)
        guard hours < 14 else {
            await #expect(throws: PlaybackError(.gapTooLong, "")) {
                _ = try await MovieExport(vault: vault, camera: camera, range: range)
            }
            return
        }
        let movie = try await MovieExport(vault: vault, camera: camera, range: range)
        var bytes: [UInt8] = []
        for try await chunk in movie.chunks() { bytes += chunk }
        try temporary.folder.write(bytes, to: "export.mp4")
        let times = String(
            decoding: try outputOfProgram(
                "ffprobe",
                [
                    "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0",
                    temporary.folder.path + "/export.mp4",
                ]), as: UTF8.self
        ).split(separator: "\n").compactMap { Double($0.trimmingCharacters(in: .punctuationCharacters)) }
        #expect(times.count == 100)
        #expect(times.contains { abs($0 - Double(hours) * 3600) < 0.05 })
    }

    @Test func `P7: an export has the asked bounds to the frame`() async throws {
        let (temporary, vault, camera) = try await Self.footage()
        let range = TimeRange(Self.midnight - 500_000, Self.midnight + 700_000)
        let movie = try await MovieExport(vault: vault, camera: camera, range: range)
        var bytes: [UInt8] = []
        for try await chunk in movie.chunks() { bytes += chunk }
        #expect(bytes.count == movie.byteCount)
        try temporary.folder.write(bytes, to: "export.mp4")
        let text = String(
            decoding: try outputOfProgram(
                "ffprobe",
                [
                    "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames,duration", "-of", "csv=p=0",
                    temporary.folder.path + "/export.mp4",
                ]), as: UTF8.self
        ).trimmingCharacters(in: .whitespacesAndNewlines).split(separator: ",")
        let duration = try #require(text.first.flatMap { Double($0) })
        #expect(abs(duration - 1.2) <= 0.04)
    }
}
