import Foundation
import Testing

/// Rules that no mutation takes out, each with the reason.
private let withoutMutation = [
    "L3": "the clock is read by the shell, which the fast tests leave out; it is read after the queue by construction",
    "L17": "it forbids what is not there: voter and leader are given one clock",
]

/// Looks at `Tests/Mutations/*.txt`, which `scripts/mutants` plays, so that they do not rot between its runs.
@Suite struct MutationTests {
    private struct Mutation {
        let path: String
        var fields: [String: String] = [:]
        var finds: [String] = []

        var rule: String { self.fields["rule"] ?? "" }
        var name: String { (self.path as NSString).lastPathComponent }

        init(_ file: Repository.File) {
            self.path = file.path
            var block: [String]?
            var isFind = false
            func close(_ finds: inout [String]) {
                if isFind, let block { finds.append(block.joined(separator: "\n")) }
            }
            for line in file.lines {
                if line == "---- find" || line == "---- replace" {
                    close(&self.finds)
                    block = []
                    isFind = line == "---- find"
                } else if block != nil {
                    block?.append(line)
                } else if !line.hasPrefix("#"), let space = line.firstIndex(of: " ") {
                    self.fields[String(line[..<space])] = String(line[line.index(after: space)...])
                }
            }
            close(&self.finds)
        }
    }

    private static let mutations = Repository.paths.filter { $0.hasPrefix("Tests/Mutations/") && $0.hasSuffix(".txt") }
        .map { Mutation(Repository.read($0)) }
    /// What only `scripts/hunt` puts back.
    private static let hunted = Repository.paths.filter { $0.hasPrefix("Tests/Hunt/") && $0.hasSuffix(".txt") }
        .map { Mutation(Repository.read($0)) }

    private static func text(_ path: String) -> String { Repository.read(path).lines.joined(separator: "\n") }

    @Test func `every safety rule is taken out by a mutation`() {
        let covered = Set(Self.mutations.map(\.rule)).union(withoutMutation.keys)
        let missing = safetyRules.filter { !covered.contains($0) }
        #expect(missing.isEmpty, "add a file to Tests/Mutations for: \(missing.joined(separator: " "))")
        let unneeded = withoutMutation.keys.filter { rule in Self.mutations.contains { $0.rule == rule } }
        #expect(unneeded.isEmpty, "no longer without a mutation: \(unneeded.sorted().joined(separator: " "))")
    }

    @Test func `what a mutation takes out is in its source exactly once`() {
        var findings: [Finding] = []
        for mutation in Self.mutations + Self.hunted {
            let source = Self.text(mutation.fields["source"] ?? "")
            if mutation.finds.isEmpty { findings.append(Finding(path: mutation.path, line: 1, text: "finds nothing")) }
            for find in mutation.finds {
                let count = source.components(separatedBy: find).count - 1
                guard count != 1 else { continue }
                findings.append(
                    Finding(
                        path: mutation.path, line: 1,
                        text: "its text is \(count) times in \(mutation.fields["source"] ?? "no source"): "
                            + "adapt it, and run scripts/mutants \(mutation.name.dropLast(4))"))
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `the hunt's list names what puts each fault back, and what sees it instead`() {
        var findings: [Finding] = []
        let list = Repository.read("Tests/Hunt/README.md")
        var rows = 0
        for (index, line) in list.lines.enumerated() where line.hasPrefix("| ") && !line.hasPrefix("| ---") {
            func find(_ text: String) { findings.append(Finding(path: list.path, line: index + 1, text: text)) }
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
            let names = line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 }.map { String($0.element) }
            rows += names.isEmpty ? 0 : 1
            for name in names where !name.hasPrefix("--") {
                let isThere =
                    cells.count == 3
                    ? Repository.paths.contains(name)
                    : (Self.mutations + Self.hunted).contains { $0.name == "\(name).txt" }
                if !isThere { find("there is no \(name)") }
            }
        }
        #expect(rows > 30, "the list has only \(rows) rows")
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `a mutation says why, names its rule, and names a test and a scenario that exist`() {
        var findings: [Finding] = []
        for mutation in Self.mutations {
            func find(_ text: String) { findings.append(Finding(path: mutation.path, line: 1, text: text)) }
            if Repository.read(mutation.path).lines.first?.hasPrefix("# ") != true { find("begin with `# ` and why") }
            // A part of a rule, such as L5.1, belongs to it.
            if !safetyRules.contains(String(mutation.rule.prefix { $0 != "." })) { find("no rule \(mutation.rule)") }
            if !mutation.name.hasPrefix(mutation.rule + "-") { find("its name must begin with \(mutation.rule)-") }
            let parts = (mutation.fields["test"] ?? "").components(separatedBy: ": ")
            let wanted = parts.dropFirst().joined(separator: ": ")
            let isThere = Repository.tests.contains { file in
                file.path.hasPrefix("Tests/\(parts[0])/")
                    && file.lines.contains { $0.contains("`") && $0.contains(wanted) }
            }
            if wanted.isEmpty || !isThere { find("no test in \(parts[0]) is called \(wanted)") }
            if let scenario = mutation.fields["scenario"], !Repository.paths.contains(scenario) {
                find("there is no \(scenario)")
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }
}
