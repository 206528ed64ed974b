import Testing

@testable import Server

@Suite struct ConfigurationChangesTests {
    private static let text = """
        vault: ./vault
        listen: 127.0.0.1:8480
        clip-seconds: 60
        retention: { total: 2TB }
        cameras:
          hall: { name: Hall, source: "test:?size=320x240" }
          door: { name: Door, source: "rtsp://u:p@192.0.2.7/s" }
          yard: { name: Yard, source: "test:" }

        """

    /// What it is for the text above to become the one with these replacements.
    private func changes(_ replacements: [(String, String)]) throws -> ConfigurationChanges {
        var text = Self.text
        for (old, new) in replacements {
            try #require(text.contains(old))
            text.replace(old, with: new)
        }
        var old = try ConfigurationReader.parse(Self.text, folder: "/srv").get()
        old.path = "/srv/sudocam.yaml"
        return ConfigurationChanges(from: old, to: try ConfigurationReader.parse(text, folder: "/srv").get())
    }

    private func expect(
        _ changes: ConfigurationChanges, started: [String] = [], restarted: [String] = [], renamed: [String] = [],
        stopped: [String] = [], changed: [String] = [], needsRestart: [String] = [],
        at place: SourceLocation = #_sourceLocation
    ) {
        let report = ReloadReport(
            started: started, restarted: restarted, stopped: stopped, renamed: renamed, changed: changed,
            needsRestart: needsRestart)
        #expect(ReloadReport(changes) == report, sourceLocation: place)
        #expect(changes.isEmpty == report.parts.isEmpty, sourceLocation: place)
    }

    @Test func `the same file, or another way to write the same, is no change`() throws {
        expect(try changes([]))
        expect(
            try changes([
                ("clip-seconds: 60\n", ""), ("total: 2TB", "total: 2000GB"), ("name: Hall, ", "name: \"Hall\", "),
            ]))
    }

    @Test func `a camera's changes concern that camera alone`() throws {
        expect(try changes([("320x240", "640x480")]), restarted: ["hall"])
        expect(try changes([("u:p@", "u:q@")]), restarted: ["door"])
        expect(try changes([("name: Door", "name: Front door")]), renamed: ["door"])
        expect(
            try changes([("name: Yard, source: \"test:\"", "name: Garden, source: \"test:?rate=5\"")]),
            restarted: ["yard"], renamed: ["yard"])
        expect(try changes([("  hall: { name: Hall, source: \"test:?size=320x240\" }\n", "")]), stopped: ["hall"])
        expect(try changes([("name: Yard,", "name: Yard, bytes: 5GB,")]), changed: ["cameras.yard.bytes"])
        expect(try changes([("name: Yard,", "name: Yard, sound: false,")]), restarted: ["yard"])
        expect(try changes([("name: Yard,", "name: Yard, sound: true,")]))
        // Its key is its identity: another key is another camera.
        expect(try changes([("hall:", "lobby:")]), started: ["lobby"], stopped: ["hall"])
    }

    @Test func `cameras that only change places are told as that, those that come and go are not`() throws {
        let hall = "  hall: { name: Hall, source: \"test:?size=320x240\" }\n"
        let yard = "  yard: { name: Yard, source: \"test:\" }\n"
        expect(try changes([(hall, ""), (yard, yard + hall)]), changed: ["order of cameras"])
        expect(try changes([(hall, "  new: { source: \"test:\" }\n" + hall)]), started: ["new"])
        expect(try changes([(hall, "  new: { source: \"test:\" }\n")]), started: ["new"], stopped: ["hall"])
    }

    @Test func `what can be applied is in force afterwards, what cannot keeps its old value and is named`() throws {
        let settings = try changes([
            (
                "clip-seconds: 60",
                "clip-seconds: 10\nlock-after-minutes: 5\nhost-names: [cam.example]\nscrub: { every: never }"
            ),
            ("2TB", "1TB"),
        ])
        expect(settings, changed: ["host-names", "clip-seconds", "lock-after-minutes", "retention", "scrub"])
        #expect(settings.result.clipSeconds == 10 && settings.result.retention.total == 1_000_000_000_000)
        #expect(settings.result.scrub.every == nil && settings.result.hostNames == ["cam.example"])

        let fixed = try changes([
            ("./vault", "./other"), (":8480", ":8481"), ("320x240", "640x480"),
            (
                "clip-seconds: 60",
                "tls: { certificate: a, key: b }\nmedia-port: 9000\nmedia-addresses: [192.0.2.1]\nunlock: { file: u }"
            ),
        ])
        expect(
            fixed, restarted: ["hall"],
            needsRestart: ["vault", "listen", "tls", "media-port", "media-addresses", "unlock"])
        var result = fixed.result
        #expect(result.path == "/srv/sudocam.yaml")
        // But for the camera it is the old one: the next reload tells the same again.
        result.cameras = try changes([]).result.cameras
        #expect(result == (try changes([])).result)
    }
}
