import Testing

/// The folders of the targets, and what each may import beside the project's own targets, which Package.swift says and the
/// compiler holds. Nothing means that the target is pure: no C library, no clock, no input or output. Nobody may import the
/// whole of Foundation: it brings the tables of ICU, 45 MB of the program.
private let allowed: [(folder: String, imports: Set<String>)] = [
    ("Sources/Basis", []),
    ("Sources/Raft/Core", []),
    ("Sources/Resources/Planning", []),
    ("Sources/Mirror/Volume", []),
    ("Sources/Node/Reports", []),
    ("Sources/Node/Cluster", []),
    ("Sources/Host", ["CLinux", "FoundationEssentials", "Glibc", "Synchronization"]),
    ("Sources/SecureLink", ["CLinux", "COpenSSL", "FoundationEssentials", "Glibc", "Synchronization"]),
    ("Sources/Raft/Storage", ["FoundationEssentials", "Synchronization"]),
    ("Sources/Mirror/Store", ["Synchronization"]),
    ("Sources/Resources/Agents", ["CLinux", "Dispatch", "FoundationEssentials", "Glibc", "Synchronization"]),
    ("Sources/Mirror/Server", ["CLinux", "CLZ4", "FoundationEssentials", "Glibc", "Synchronization"]),
    ("Sources/Node/Configuration", ["CYaml", "FoundationEssentials", "Glibc"]),
    (
        "Sources/Node/API",
        [
            "FoundationEssentials", "Glibc", "Hummingbird", "HummingbirdCore", "HTTPTypes", "Logging", "NIOCore",
            "NIOPosix",
        ]
    ),
    ("Sources/Node/Daemon", ["CLinux", "Dispatch", "FoundationEssentials", "Glibc", "Synchronization"]),
    ("Sources/Node/CommandLine", ["ArgumentParser", "FoundationEssentials", "Glibc"]),
    ("Sources/Simulator", []),
    ("Sources/SimulatedDisks", []),
    ("Sources/simulate", ["Dispatch", "FoundationEssentials", "Glibc", "Synchronization"]),
    ("Sources/holdfast", ["Glibc"]),
]

/// The project's own targets, and what of them a pure one may know.
private let own: Set<String> = [
    "Basis", "Raft", "Resources", "Mirror", "Reports", "Cluster", "Host", "SecureLink", "RaftStorage", "Agents",
    "CopyStorage", "VolumeServer", "ClusterConfiguration", "API", "Daemon", "CommandLine", "Simulator",
    "SimulatedDisks",
]
private let pureTargets: Set<String> = ["Basis", "Raft", "Resources", "Mirror", "Reports", "Cluster"]

/// The folder of the target that a file belongs to.
private func home(_ path: String) -> (folder: String, imports: Set<String>)? {
    allowed.first { path.hasPrefix($0.folder + "/") }
}

/// Whether a file belongs to a pure target.
func isPure(_ path: String) -> Bool {
    guard let home = home(path) else { return false }
    return home.imports.isEmpty && !home.folder.hasPrefix("Sources/Simulat")
}

/// What a line of Swift imports.
private func imported(_ line: String) -> String? {
    var words = line.split(separator: " ").filter { !$0.hasPrefix("@") }
    if let first = words.first, ["public", "internal", "private", "package", "fileprivate"].contains(first) {
        words.removeFirst()
    }
    guard words.first == "import", words.count >= 2 else { return nil }
    let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
    let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
    return String(name.prefix { $0 != "." })
}

/// What the files import that they may not.
private func breaches(in files: [Repository.File]) -> [Finding] {
    files.flatMap { file in
        guard let home = home(file.path) else {
            return [Finding(path: file.path, line: 1, text: "ImportTests.swift has no row for its folder")]
        }
        let known = isPure(file.path) ? pureTargets : own.union(home.imports)
        return file.code.enumerated().compactMap { index, line in
            guard let name = imported(line), !known.contains(name) else { return nil }
            return Finding(
                path: file.path, line: index + 1,
                text: "a file in \(home.folder) imports \(name); ARCHITECTURE.md says who may know what")
        }
    }
}

@Suite struct ImportTests {
    @Test func `every target imports only what its place in the house allows`() {
        let findings = breaches(in: Repository.sources)
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test(arguments: [
        ("Sources/Node/Cluster/Supervisor/Supervisor.swift", "import Glibc"),
        ("Sources/Node/Cluster/State/ClusterState.swift", "@preconcurrency import Foundation"),
        ("Sources/Node/Cluster/Status/StatusBuilder.swift", "import Daemon"),
        ("Sources/Node/Cluster/Forecast/Forecast.swift", "import ClusterConfiguration"),
        ("Sources/Raft/Core/Consensus.swift", "import CLinux"),
        ("Sources/Mirror/Volume/Volume.swift", "import VolumeServer"),
        ("Sources/Resources/Planning/Planner.swift", "internal import struct Foundation.Date"),
        ("Sources/Node/Reports/StatusReport.swift", "import Host"),
        ("Sources/Node/CommandLine/Console.swift", "import Foundation"),
        ("Sources/Node/CommandLine/Console.swift", "import Hummingbird"),
        ("Sources/Node/Daemon/Loop/Daemon.swift", "import ArgumentParser"),
        ("Sources/Somewhere/New.swift", "import Basis"),
    ]) func `a wall that is climbed is seen`(path: String, line: String) {
        let file = Repository.File(path: path, lines: [line], code: [line])
        #expect(breaches(in: [file]).count == 1)
    }

    @Test func `every row is the folder of a target`() {
        for row in allowed {
            #expect(Repository.sources.contains { $0.path.hasPrefix(row.folder + "/") }, "\(row.folder)")
        }
    }
}
