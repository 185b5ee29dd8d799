import Testing

/// Who may import whom, module by module.
private let allowed: [String: Set<String>] = [
    "Basis": [],
    "SecureLink": ["Basis", "CLinux", "COpenSSL", "Foundation", "Glibc", "Synchronization"],
    "Raft": ["Basis", "CLinux", "Foundation", "Glibc", "Synchronization"],
    "Resources": ["Basis", "CLinux", "Dispatch", "Foundation", "Glibc", "Synchronization"],
    "Mirror": ["Basis", "SecureLink", "CLinux", "CLZ4", "Foundation", "Glibc", "Synchronization"],
    "Node": [
        "Basis", "SecureLink", "Raft", "Resources", "Mirror", "CLinux", "Foundation", "FoundationEssentials", "Glibc",
        "Synchronization", "Dispatch", "ArgumentParser", "CYaml", "Hummingbird", "HummingbirdCore", "HTTPTypes",
        "Logging",
        "NIOCore", "NIOPosix",
    ],
    "Simulator": ["Basis", "Raft", "Resources", "Mirror", "Node", "Foundation", "Glibc", "Synchronization"],
    "holdfast": ["Node", "Basis", "Foundation", "Glibc", "ArgumentParser"],
    "simulate": ["Simulator", "Basis", "Foundation", "Glibc", "Dispatch", "Synchronization"],
]

/// The pure part of a module: folders whose own files (not those of folders below) know neither clock nor I/O.
let pureFolders: [String] = [
    "Sources/Basis", "Sources/Raft", "Sources/Resources", "Sources/Resources/Planning", "Sources/Mirror",
    "Sources/Node",
]

/// Whether a file belongs to a pure part.
func isPure(_ path: String) -> Bool {
    pureFolders.contains(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
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

@Suite struct ImportTests {
    @Test func `every module imports only what its place in the house allows`() {
        var findings: [Finding] = []
        for file in Repository.sources {
            let module = String(file.path.split(separator: "/")[1])
            guard let allowed = allowed[module] else {
                findings.append(
                    Finding(
                        path: file.path, line: 1,
                        text: "module \(module) has no row in Tests/TidyTests/ImportTests.swift"))
                continue
            }
            for (index, line) in file.code.enumerated() {
                guard let name = imported(line), !allowed.contains(name) else { continue }
                findings.append(
                    Finding(
                        path: file.path, line: index + 1,
                        text: "\(module) may not import \(name); ARCHITECTURE.md says who may know what"))
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `pure files import only Basis and the pure part of other cores`() {
        var findings: [Finding] = []
        let node: Set<String> = ["Basis", "Raft", "Resources", "Mirror"]
        for file in Repository.sources where isPure(file.path) {
            let pure = file.path.hasPrefix("Sources/Node/") ? node : ["Basis"]
            for (index, line) in file.code.enumerated() {
                guard let name = imported(line), !pure.contains(name) else { continue }
                findings.append(
                    Finding(
                        path: file.path, line: index + 1,
                        text: "a pure file imports \(name); move what needs it into a folder of the shell, or take it "
                            + "as an input"))
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `the pure parts exist`() {
        for folder in ["Sources/Basis", "Sources/Raft", "Sources/Resources", "Sources/Mirror"] {
            #expect(Repository.sources.contains { $0.path.hasPrefix(folder + "/") && isPure($0.path) }, "\(folder)")
        }
    }
}
