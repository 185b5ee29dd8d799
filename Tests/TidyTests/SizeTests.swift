import Foundation
import Testing

private let longestFile = 400
private let longestFunction = 70
/// The formatter keeps code to 120 columns; texts and comments, which it does not break, may go a little further.
private let longestLine = 132
private let largestFile = 256 << 10

@Suite struct SizeTests {
    @Test func `no Swift file is longer than 400 lines`() {
        let findings = Repository.swift.filter { $0.lines.count > longestFile }.map {
            Finding(
                path: $0.path, line: longestFile + 1,
                text: "\($0.lines.count) lines; split it by topic (aim at 200)")
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `no function is longer than 70 lines`() {
        let findings = Repository.swift.flatMap { file in
            SwiftText.functions(in: file.code).filter { $0.length > longestFunction }.map {
                Finding(
                    path: file.path, line: $0.line,
                    text: "\($0.name) has \($0.length) lines; give its parts names of their own")
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `no line is longer than 132 columns`() {
        let endings = [".swift", ".py", ".c", ".h", ".sh", ".yaml"]
        let names = Repository.paths.filter { path in endings.contains { path.hasSuffix($0) } }
        let findings = names.map(Repository.read).flatMap { file in
            file.lines.enumerated().filter { $0.element.utf8.count > longestLine && $0.element.count > longestLine }.map
            {
                Finding(path: file.path, line: $0.offset + 1, text: "\($0.element.count) columns; break the line")
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `no file is larger than 256 KiB`() throws {
        var findings: [Finding] = []
        for path in Repository.paths {
            let url = Repository.root.appendingPathComponent(path)
            let size = try url.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
            if size > largestFile {
                findings.append(
                    Finding(path: path, line: 1, text: "\(size) bytes; generate it, or keep it out of the repository"))
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `a function's length is counted from its declaration to its closing brace`() {
        let code = SwiftText.blanked([
            "struct S {", "    func short() { 1 }", "    func long(", "        a: Int", "    ) {", "        // }",
            "        let text = \"}\"", "    }", "}",
        ])
        let functions = SwiftText.functions(in: code)
        #expect(functions.map(\.name) == ["long"])
        #expect(functions.map(\.length) == [6])
    }
}
