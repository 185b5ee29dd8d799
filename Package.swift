// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "holdfast",
    products: [
        .executable(name: "holdfast", targets: ["holdfast"]),
        .executable(name: "simulate", targets: ["simulate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        .target(name: "CLinux"),
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .target(name: "COpenSSL", linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),

        .target(name: "Basis", swiftSettings: strict),
        .target(name: "SecureLink", dependencies: ["Basis", "CLinux", "COpenSSL"], swiftSettings: strict),
        .target(name: "Raft", dependencies: ["Basis", "CLinux"], swiftSettings: strict),
        .target(name: "Resources", dependencies: ["Basis", "CLinux"], swiftSettings: strict),
        .target(
            name: "Mirror", dependencies: ["Basis", "SecureLink", "CLinux", "CLZ4"],
            swiftSettings: strict),
        .target(
            name: "Node",
            dependencies: [
                "Basis", "SecureLink", "Raft", "Resources", "Mirror", "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .target(
            name: "Simulator", dependencies: ["Basis", "Raft", "Resources", "Mirror", "Node"],
            // One thread and millions of small steps a second: checks of exclusive access cost a tenth of the time, and
            // reference counts that are safe between threads nearly as much. Both are on in debug builds, which run the
            // same code. A run must not leave its thread.
            swiftSettings: strict + [
                .unsafeFlags(
                    ["-enforce-exclusivity=unchecked", "-Xfrontend", "-assume-single-threaded"],
                    .when(configuration: .release))
            ]),
        .executableTarget(name: "holdfast", dependencies: ["Node"], swiftSettings: strict),
        .executableTarget(name: "simulate", dependencies: ["Simulator", "Basis"], swiftSettings: strict),

        .target(name: "ScenarioKit", path: "Tests/ScenarioKit", swiftSettings: strict),
        .testTarget(name: "BasisTests", dependencies: ["Basis"], swiftSettings: strict),
        .testTarget(
            name: "RaftTests", dependencies: ["Basis", "Raft", "Simulator", "ScenarioKit"],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(
            name: "ResourcesTests", dependencies: ["Basis", "Resources", "CLinux", "ScenarioKit"],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(
            name: "MirrorTests", dependencies: ["Basis", "Mirror", "SecureLink", "CLinux", "ScenarioKit"],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(
            name: "NodeTests",
            dependencies: ["Basis", "SecureLink", "Raft", "Resources", "Mirror", "Node", "CLinux", "ScenarioKit"],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(name: "SecureLinkTests", dependencies: ["Basis", "SecureLink", "CLinux"], swiftSettings: strict),
        .testTarget(
            name: "SimulationTests", dependencies: ["Basis", "Mirror", "Simulator"], swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ]
)
