// swift-tools-version: 6.2
import PackageDescription

/// One array for every target: a reader need not look up which rules hold where.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

/// Targets that touch bytes from outside through C: each unsafe expression is marked as such.
let strict: [SwiftSetting] = settings + [.strictMemorySafety()]

/// A C library of Debian's, imported by exactly one target.
func library(_ name: String, _ packages: [String]) -> Target {
    .systemLibrary(name: "C\(name)", path: "Sources/C/\(name)", providers: [.apt(packages)])
}

let package = Package(
    name: "sudocam",
    products: [
        .executable(name: "sudocam", targets: ["sudocam"]),
        .executable(name: "sudocam-bench", targets: ["sudocam-bench"]),
        .library(name: "Vault", targets: ["Vault"]),
        .library(name: "WebRTC", targets: ["WebRTC"]),
        .library(name: "Media", targets: ["Media"]),
        .library(name: "Playback", targets: ["Playback"]),
        .library(name: "Server", targets: ["Server"]),
    ],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    ],
    targets: [
        library("Sodium", ["libsodium-dev"]),
        library("Crypto", ["libssl-dev"]),
        library("Curl", ["libcurl4-openssl-dev"]),
        library("OpenSSL", ["libssl-dev"]),
        library("AV", ["libavformat-dev", "libavcodec-dev", "libavutil-dev", "libswscale-dev"]),
        library("SRTP", ["libsrtp2-dev"]),
        library("Usrsctp", ["libusrsctp-dev"]),
        library("QR", ["libqrencode-dev"]),
        library("Process", []),
        library("Files", []),
        .target(name: "CAssets"),

        .target(name: "Core", swiftSettings: settings),
        .target(name: "Media", dependencies: ["Core", "CAV"], swiftSettings: strict),
        .target(
            name: "Vault",
            dependencies: [
                "Core", "CSodium", "CCrypto", "CCurl", "CFiles", "CAssets",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ],
            swiftSettings: strict),
        .target(name: "WebRTC", dependencies: ["Core", "COpenSSL", "CSRTP", "CUsrsctp"], swiftSettings: strict),
        .target(
            name: "Capture",
            dependencies: ["Core", "Media", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings),
        .target(
            name: "Ingest",
            dependencies: ["Core", "Media", "Vault", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings),
        .target(
            name: "Playback",
            dependencies: ["Core", "Media", "Vault", "WebRTC", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings),
        .target(
            name: "Server",
            dependencies: [
                "Core", "Media", "Vault", "WebRTC", "Capture", "Ingest", "Playback", "CAssets", "CProcess",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "sudocam",
            dependencies: [
                "Core", "Vault", "Server", "CQR", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),

        // What it measures beside SudoCam is bare libcrypto, libsodium, libcurl and SQLite: the only target besides Vault to import them.
        .executableTarget(
            name: "sudocam-bench",
            dependencies: [
                "Core", "Vault", "CCrypto", "CSodium", "CCurl", .product(name: "GRDBSQLite", package: "GRDB.swift"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks", exclude: ["browser.py", "rtsp_files.py"], swiftSettings: strict),

        .target(
            name: "TestKit", dependencies: ["Core", "Media", "Vault"], path: "Tests/TestKit", swiftSettings: settings),
        .testTarget(name: "CoreTests", dependencies: ["Core", "TestKit"], swiftSettings: settings),
        .testTarget(name: "MediaTests", dependencies: ["Core", "Media", "TestKit"], swiftSettings: settings),
        .testTarget(
            name: "VaultTests",
            dependencies: ["Core", "Vault", "TestKit", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: settings),
        .testTarget(name: "WebRTCTests", dependencies: ["Core", "WebRTC", "TestKit"], swiftSettings: settings),
        .testTarget(
            name: "CaptureTests",
            dependencies: ["Core", "Media", "Capture", "TestKit", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings),
        .testTarget(
            name: "IngestTests",
            dependencies: [
                "Core", "Media", "Vault", "Ingest", "TestKit", .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "PlaybackTests",
            dependencies: [
                "Core", "Media", "Vault", "Ingest", "Playback", "TestKit",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                "Core", "Vault", "WebRTC", "Server", "TestKit", .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
    ]
)
