// swift-tools-version: 6.2
import PackageDescription

// libFuzzer targets, one a parser, outside the root package so that nobody builds them by accident.
// scripts/fuzz NAME SECONDS builds one and runs it over its corpus.
let parsers = ["STUN", "SDP", "RTCP", "RTP", "DCEP", "Control", "ParameterSets", "ClipHead"]

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "sudocam", path: "..")],
    targets: parsers.map { name in
        .executableTarget(
            name: "Fuzz\(name)",
            dependencies: [
                .product(name: "WebRTC", package: "sudocam"), .product(name: "Media", package: "sudocam"),
                .product(name: "Playback", package: "sudocam"),
            ],
            swiftSettings: [.unsafeFlags(["-parse-as-library"])])
    }
)
