import Foundation
import Testing

/// The rules of docs/protocols.md.
let safetyRules: [String] =
    [
        ("L", 1...22), ("E", 1...5), ("B", 1...5), ("V", 1...8), ("V", 17...24), ("N", 1...2), ("C", 1...11),
        ("K", 1...2), ("J", 1...7), ("A", 1...2), ("R", 1...6), ("U", 1...2), ("I", 1...2),
    ]
    .flatMap { (letter: String, numbers: ClosedRange<Int>) -> [String] in numbers.map { "\(letter)\($0)" } }
    + ["E2.1", "E2.2", "E2.4", "E2.5", "E2.6", "E2.7", "E2.8", "E2.9", "E2.10", "V3.2", "V7.1", "L12.4"]

@Suite struct DocumentTests {
    @Test func `every safety rule is cited where it is kept and where it is tested`() throws {
        let kept = Repository.sources
        let scenarios = Repository.paths.filter { $0.hasPrefix("Tests/") && $0.hasSuffix(".txt") }.map(Repository.read)
        let tested = Repository.tests.filter { !$0.path.hasPrefix("Tests/TidyTests/") } + scenarios
        let unkept = try self.missing(in: kept)
        let untested = try self.missing(in: tested)
        #expect(unkept.isEmpty, "cited nowhere in Sources: \(unkept.joined(separator: " "))")
        #expect(untested.isEmpty, "cited nowhere in Tests: \(untested.joined(separator: " "))")
    }

    @Test func `relative links in documents lead somewhere`() throws {
        let expression = try NSRegularExpression(pattern: #"\]\(([^)\s]+)\)"#)
        var findings: [Finding] = []
        for file in Repository.paths.filter({ $0.hasSuffix(".md") }).map(Repository.read) {
            for (index, line) in file.lines.enumerated() {
                for match in expression.matches(in: line, range: NSRange(line.startIndex..., in: line)) {
                    guard let range = Range(match.range(at: 1), in: line) else { continue }
                    let target = String(line[range].prefix { $0 != "#" })
                    if target.isEmpty || target.contains("://") || target.hasPrefix("mailto:") { continue }
                    let folder = Repository.root.appendingPathComponent(file.path).deletingLastPathComponent()
                    let place = folder.appendingPathComponent(target.removingPercentEncoding ?? target)
                    if !FileManager.default.fileExists(atPath: place.path) {
                        findings.append(
                            Finding(path: file.path, line: index + 1, text: "the link to \(target) leads nowhere"))
                    }
                }
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `the handbook names files that are there`() throws {
        let expression = try NSRegularExpression(
            pattern: #"`((?:Sources|Tests|chaos|guests|scripts|docs)/[A-Za-z0-9_./+-]+)`"#)
        let file = Repository.read("docs/handbook.md")
        var named = 0
        var findings: [Finding] = []
        for (index, line) in file.lines.enumerated() {
            for match in expression.matches(in: line, range: NSRange(line.startIndex..., in: line)) {
                guard let range = Range(match.range(at: 1), in: line) else { continue }
                named += 1
                let place = Repository.root.appendingPathComponent(String(line[range]))
                if !FileManager.default.fileExists(atPath: place.path) {
                    findings.append(Finding(path: file.path, line: index + 1, text: "there is no \(line[range])"))
                }
            }
        }
        #expect(named > 40)
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `every scenario file says at its head why it exists`() {
        let findings = Repository.paths.filter { $0.hasSuffix(".txt") && $0.lowercased().contains("scenarios/") }
            .map(Repository.read).filter { !($0.lines.first ?? "").hasPrefix("# ") }
            .map { Finding(path: $0.path, line: 1, text: "begin with `# ` and one sentence") }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    /// Rules that no file cites. `L1 to L4`, `L1–L4` and `V1...V3` cite what lies between too.
    private func missing(in files: [Repository.File]) throws -> [String] {
        let letter = "[LEBVNCKJARUI]"
        let single = try NSRegularExpression(
            pattern: #"(?<![A-Za-z0-9])(\#(letter))(\d{1,2}(?:\.\d{1,2})?)(?![A-Za-z0-9])"#)
        let span = try NSRegularExpression(
            pattern: #"(?<![A-Za-z0-9])(\#(letter))(\d{1,2})(?: to |–|\.\.\.|-)\#(letter)?(\d{1,2})(?![A-Za-z0-9])"#)
        var cited: Set<String> = []
        for line in files.lazy.flatMap(\.lines) {
            let range = NSRange(line.startIndex..., in: line)
            func part(_ match: NSTextCheckingResult, _ group: Int) -> String {
                Range(match.range(at: group), in: line).map { String(line[$0]) } ?? ""
            }
            for match in single.matches(in: line, range: range) { cited.insert(part(match, 1) + part(match, 2)) }
            for match in span.matches(in: line, range: range) {
                guard let first = Int(part(match, 2)), let last = Int(part(match, 3)), first < last else { continue }
                for number in first...last { cited.insert(part(match, 1) + String(number)) }
            }
        }
        return safetyRules.filter { !cited.contains($0) }
    }
}
