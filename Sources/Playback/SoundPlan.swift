import Core
import Media

/// The sound of an export: what lies beside each group of pictures, and when it is heard.
struct SoundPlan {
    private struct Piece {
        /// Ticks from the start of the range.
        var wall: Int64
        var duration: Int64
        var byteCount: Int
        var description: Int
        /// Of the group that it was gathered with.
        var picture: Int
    }

    private var descriptions: [SoundParameters] = []
    private var pieces: [Piece] = []
    private var sections: [(pictures: Int, sounds: Int)] = []

    /// No clip of the range has sound.
    var isEmpty: Bool { pieces.isEmpty }

    /// One group's sound.
    /// - Parameters:
    ///   - base: ticks from the start of the range to the clip's.
    ///   - picture: index of the group's first picture.
    ///   - pictures: how many it has; 0: the sound alone.
    mutating func add(
        _ infos: [ClipReader.SampleInfo], _ parameters: SoundParameters?, base: Int64, besidePicture picture: Int,
        _ pictures: Int
    ) {
        sections.append((pictures, infos.count))
        guard let parameters, !infos.isEmpty else { return }
        let description = descriptions.firstIndex(of: parameters) ?? descriptions.count
        if description == descriptions.count { descriptions.append(parameters) }
        pieces += infos.map {
            Piece(
                wall: base + $0.pts, duration: $0.duration, byteCount: $0.bytes.count, description: description,
                picture: picture)
        }
    }

    /// Sound of the range's last moments that came too late for its own pictures, and lies beside the next ones of the same clip. What
    /// cannot be read there is no part of what was asked for.
    /// - Parameters:
    ///   - group: the first that is no part of the range.
    ///   - end: of the range, ticks from its start.
    /// - Returns: its data.
    mutating func addTail(_ reader: ClipReader, from group: Int, base: Int64, end: Int64) async -> [UInt8] {
        let picture = pieces.last?.picture ?? 0
        var data: [UInt8] = []
        for index in reader.groups.indices.dropFirst(group)
        where base + reader.groups[index].startTicks < end + Self.latest {
            guard let infos = try? await reader.infos(ofGroup: index).sound,
                let samples = try? await reader.soundSamples(ofGroup: index), samples.count == infos.count
            else { break }
            let count = infos.prefix { base + $0.pts < end }.count
            guard count > 0 else { break }
            add(Array(infos.prefix(count)), reader.sound, base: base, besidePicture: picture, 0)
            data += samples.prefix(count).flatMap(\.data)
        }
        return data
    }
    /// How far behind its pictures sound is looked for, ticks.
    private static let latest: Int64 = 180_000

    /// - Parameter samples: the pictures; their durations are those of the movie.
    func track(beside samples: [(wall: Int64, sample: MovieWriter.Sample)]) -> MovieWriter.Sound? {
        guard let first = samples.first?.wall, !pieces.isEmpty else { return nil }
        var places: [Int64] = []
        places.reserveCapacity(samples.count)
        var place: Int64 = 0
        for (_, sample) in samples {
            places.append(place)
            place += sample.duration
        }
        var last = Int64.min
        let heard = pieces.map { piece in
            // Where the clock was set back the pictures follow one another all the same, and their sound stays with them.
            let shift =
                piece.picture < samples.count ? places[piece.picture] - (samples[piece.picture].wall - first) : 0
            let time = max(piece.wall - first + shift, last.addingSaturating(1))
            last = time
            return MovieWriter.Sound.Sample(
                byteCount: piece.byteCount, time: time, duration: piece.duration, description: piece.description)
        }
        return MovieWriter.Sound(descriptions: descriptions, samples: heard, sections: sections)
    }
}
