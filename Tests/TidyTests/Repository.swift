import Foundation

/// The files of this repository as the tidy tests see them.
enum Repository {
    /// One text file.
    struct File: Sendable {
        /// The path from the root of the repository.
        let path: String
        /// Its lines, without line ends.
        let lines: [String]
        /// Its lines with comments and the contents of string literals blanked out; only for Swift.
        let code: [String]
    }

    static let root: URL = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Folders whose contents are not ours to judge.
    private static let foreign: Set<String> = [".git", ".build", ".swiftpm", "node_modules", "__pycache__"]

    /// The paths of all files, sorted.
    static let paths: [String] = {
        let base = Repository.root.path
        guard let walk = FileManager.default.enumerator(atPath: base) else { return [] }
        var found: [String] = []
        while let path = walk.nextObject() as? String {
            let name = (path as NSString).lastPathComponent
            let isFolder = walk.fileAttributes?[.type] as? FileAttributeType == .typeDirectory
            if isFolder {
                if Repository.foreign.contains(name) || name.hasPrefix(".build")
                    || ["chaos/build", "Benchmarks/results"].contains(path)
                {
                    walk.skipDescendants()
                }
            } else {
                found.append(path)
            }
        }
        return found.sorted()
    }()

    /// All Swift files.
    static let swift: [File] = Repository.paths.filter { $0.hasSuffix(".swift") }.map(Repository.read)
    /// Swift files under `Sources/`.
    static let sources: [File] = Repository.swift.filter { $0.path.hasPrefix("Sources/") }
    /// Swift files under `Tests/`.
    static let tests: [File] = Repository.swift.filter { $0.path.hasPrefix("Tests/") }

    /// Reads one file.
    static func read(_ path: String) -> File {
        let text = (try? String(contentsOf: Repository.root.appendingPathComponent(path), encoding: .utf8)) ?? ""
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        return File(path: path, lines: lines, code: path.hasSuffix(".swift") ? SwiftText.blanked(lines) : lines)
    }
}

/// A finding with its place and remedy.
struct Finding: Comparable, CustomStringConvertible {
    let path: String
    let line: Int
    let text: String

    var description: String { "\(self.path):\(self.line): \(self.text)" }

    static func < (left: Finding, right: Finding) -> Bool {
        (left.path, left.line, left.text) < (right.path, right.line, right.text)
    }
}

/// A list of findings as one text, for a failing test.
func report(_ findings: [Finding]) -> String {
    (["\(findings.count) findings:"] + findings.sorted().map(\.description)).joined(separator: "\n")
}
