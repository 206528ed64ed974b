import Core
import Foundation
import Media
import TestKit
import Testing
import Vault

@testable import Playback

/// Real sealed clips: two that follow one another over midnight UTC (two epochs), a gap, and a third.
@Suite struct FootageReaderTests {
    static let midnight = WallTime(seconds: 1_763_942_400)
    static let starts = [midnight - 2_000_000, midnight, midnight + 12_000_000]

    static func footage() async throws -> (temporary: TemporaryVault, vault: Vault, camera: CameraID) {
        let temporary = try await TemporaryVault()
        let vault = try await temporary.open()
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
        try await vault.recordGap(
            camera: camera, range: TimeRange(midnight + 2_000_000, midnight + 12_000_000), reason: .disconnected)
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
