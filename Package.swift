// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
/// For what is called in small steps from other targets: its bodies are known there. A twentieth of the simulator's time.
let crossModule: [SwiftSetting] =
    strict + [.unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))]
/// For what is simulated. One thread and millions of small steps a second: checks of exclusive access cost a tenth of the time,
/// and reference counts that are safe between threads nearly as much. Both are on in debug builds, which run the same code. A run
/// must not leave its thread.
let oneThread: [SwiftSetting] = [
    .unsafeFlags(
        ["-enforce-exclusivity=unchecked", "-Xfrontend", "-assume-single-threaded"], .when(configuration: .release))
]

let package = Package(
    name: "holdfast",
    products: [
        .executable(name: "holdfast", targets: ["holdfast"]),
        .executable(name: "simulate", targets: ["simulate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        .target(name: "CLinux"),
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .target(name: "CYaml", linkerSettings: [.linkedLibrary(":libyaml.a")]),
        .target(name: "COpenSSL", linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),

        // Pure: values and decisions. No C library, no clock, no thread, no input or output.
        .target(name: "Basis", swiftSettings: crossModule),
        .target(name: "Raft", dependencies: ["Basis"], path: "Sources/Raft/Core", swiftSettings: crossModule),
        .target(
            name: "Resources", dependencies: ["Basis"], path: "Sources/Resources/Planning", swiftSettings: crossModule),
        .target(name: "Mirror", dependencies: ["Basis"], path: "Sources/Mirror/Volume", swiftSettings: crossModule),
        .target(name: "Reports", path: "Sources/Node/Reports", swiftSettings: strict),
        .target(
            name: "Cluster", dependencies: ["Basis", "Raft", "Resources", "Mirror", "Reports"],
            path: "Sources/Node/Cluster", swiftSettings: crossModule),

        // Shells: each knows its core and the floor, and none another one's inside.
        .target(name: "Host", dependencies: ["Basis", "CLinux"], swiftSettings: crossModule),
        .target(name: "SecureLink", dependencies: ["Basis", "Host", "CLinux", "COpenSSL"], swiftSettings: strict),
        .target(
            name: "RaftStorage", dependencies: ["Basis", "Host", "Raft"], path: "Sources/Raft/Storage",
            swiftSettings: crossModule),
        .target(
            name: "Agents", dependencies: ["Basis", "Host", "CLinux", "Resources"], path: "Sources/Resources/Agents",
            swiftSettings: strict),
        .target(
            name: "CopyStorage", dependencies: ["Basis", "Host", "Mirror"], path: "Sources/Mirror/Store",
            swiftSettings: crossModule),
        .target(
            name: "VolumeServer",
            dependencies: ["Basis", "Host", "CLinux", "CLZ4", "SecureLink", "Mirror", "CopyStorage"],
            path: "Sources/Mirror/Server", swiftSettings: strict),
        .target(
            name: "ClusterConfiguration",
            dependencies: ["Basis", "Resources", "Reports", "CYaml"],
            path: "Sources/Node/Configuration", swiftSettings: strict),
        .target(
            name: "API",
            dependencies: [
                "Basis", "Host", "Reports",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/Node/API", swiftSettings: strict),
        .target(
            name: "Daemon",
            dependencies: [
                "Basis", "Host", "CLinux", "SecureLink", "Raft", "RaftStorage", "Resources", "Agents", "Mirror",
                "VolumeServer", "Cluster", "Reports", "ClusterConfiguration", "API",
            ],
            path: "Sources/Node/Daemon", swiftSettings: strict),
        .target(
            name: "CommandLine",
            dependencies: [
                "Basis", "Host", "Resources", "Reports", "ClusterConfiguration", "API",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/Node/CommandLine", swiftSettings: strict),

        // Apart from the simulator, so that who tests a store over disks that fail builds nothing of clusters.
        .target(name: "SimulatedDisks", dependencies: ["Basis", "Host"], swiftSettings: crossModule + oneThread),
        .target(
            name: "Simulator",
            dependencies: [
                "Basis", "Host", "Raft", "RaftStorage", "Resources", "Mirror", "CopyStorage", "Cluster", "Reports",
                "SimulatedDisks",
            ], swiftSettings: strict + oneThread),
        .executableTarget(
            name: "holdfast", dependencies: ["Basis", "Host", "Agents", "Reports", "API", "CommandLine", "Daemon"],
            swiftSettings: strict),
        .executableTarget(name: "simulate", dependencies: ["Simulator", "Basis"], swiftSettings: strict),

        .target(name: "ScenarioKit", path: "Tests/ScenarioKit", swiftSettings: strict),
        .testTarget(name: "BasisTests", dependencies: ["Basis"], swiftSettings: strict),
        .testTarget(
            name: "RaftTests", dependencies: ["Basis", "Host", "Raft", "RaftStorage", "SimulatedDisks", "ScenarioKit"],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(
            name: "ResourcesTests", dependencies: ["Basis", "Host", "Resources", "Agents", "CLinux", "ScenarioKit"],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(
            name: "MirrorTests",
            dependencies: [
                "Basis", "Host", "Mirror", "CopyStorage", "VolumeServer", "SecureLink", "CLinux", "ScenarioKit",
            ],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(
            name: "NodeTests",
            dependencies: [
                "Basis", "Host", "SecureLink", "Raft", "RaftStorage", "Resources", "Agents", "Mirror", "VolumeServer",
                "Cluster", "Reports", "ClusterConfiguration", "API", "Daemon", "CommandLine", "CLinux", "ScenarioKit",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            exclude: ["Scenarios", "Formats"], swiftSettings: strict),
        .testTarget(name: "SecureLinkTests", dependencies: ["Basis", "SecureLink", "CLinux"], swiftSettings: strict),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Basis", "Host", "Cluster", "CopyStorage", "Mirror", "Raft", "Resources", "SimulatedDisks", "Simulator",
            ],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ]
)
