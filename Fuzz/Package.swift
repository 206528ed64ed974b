// swift-tools-version: 6.2
import PackageDescription

// libFuzzer targets, one a parser, outside the root package so that nobody builds them by accident.
// scripts/fuzz SECONDS [NAME…] builds them and runs each over its corpus; -enable-testing opens what is internal.
let targets: [(name: String, product: String)] = [
    ("STUN", "WebRTC"), ("SDP", "WebRTC"), ("RTCP", "WebRTC"), ("RTP", "WebRTC"), ("DCEP", "WebRTC"),
    ("DTLS", "WebRTC"), ("SCTP", "WebRTC"), ("Peer", "WebRTC"), ("Control", "Playback"), ("ParameterSets", "Media"),
    ("Clip", "Media"), ("Age", "Vault"), ("Ledger", "Vault"), ("Listing", "Vault"), ("Versions", "Vault"),
    ("Proof", "Vault"), ("Files", "Vault"), ("Configuration", "Server"),
]

let package = Package(
    name: "fuzz",
    dependencies: [.package(name: "sudocam", path: "..")],
    targets: targets.map { target in
        .executableTarget(
            name: "Fuzz\(target.name)", dependencies: [.product(name: target.product, package: "sudocam")],
            swiftSettings: [.unsafeFlags(["-parse-as-library"])])
    }
)
