import Foundation
import Testing

/// What only tests use although it stands among the sources, because it needs what is private there: each with its reason.
private let watched: [String: String] = [
    "connectionCount": "tests of the export wait until it has let a client go",
    "inject": "a fault of the simulated disk at a place that a test chooses",
    "waitForAnswer": "a test that slept instead would be slow or wrong",
]

/// What the language or a library uses by its name.
private let known: Set<String> = [
    "main", "configuration", "description", "errorDescription", "hash", "body", "validate",
]

@Suite struct DeadTests {
    /// A name that is declared but used by nothing, wherever that would be.
    private func unused(in files: [Repository.File]) -> [Finding] {
        var uses: [Substring: Int] = [:]
        var declarations: [Substring: [Finding]] = [:]
        for file in files {
            // What is interpolated into a text is used.
            for line in SwiftText.blanked(file.lines, keepsTexts: true) {
                for word in Self.words(line) { uses[word, default: 0] += 1 }
            }
            for (index, line) in file.code.enumerated() {
                for name in Self.declared(line) {
                    let finding = Finding(
                        path: file.path, line: index + 1,
                        text: "nothing uses `\(name)`; remove it, or move it to the tests")
                    declarations[name, default: []].append(finding)
                }
            }
        }
        return declarations.flatMap { name, findings in
            let isUsed = uses[name, default: 0] > findings.count
            return isUsed || known.contains(String(name)) || watched[String(name)] != nil ? [] : findings
        }
    }

    private static func words(_ line: String) -> [Substring] {
        line.split { !($0.isLetter || $0.isNumber || $0 == "_") }
    }

    /// The names that a line declares for others than its own function: members, types and cases.
    private static func declared(_ line: String) -> [Substring] {
        let trimmed = line.drop { $0 == " " }
        let indent = line.count - trimmed.count
        let words = Self.words(String(trimmed))
        guard let keyword = words.firstIndex(where: { declaring.contains($0) }), keyword + 1 < words.count else {
            return []
        }
        let hasAccess = words[..<keyword].contains { ["public", "package", "private", "static"].contains($0) }
        guard words[..<keyword].allSatisfy({ modifiers.contains($0) || $0.first?.isUppercase == true }) else {
            return []
        }
        switch words[keyword] {
        case "case": return Self.cases(trimmed)
        // A `let` or `var` further in belongs to a function, which the compiler looks after.
        case "let", "var": return hasAccess || indent <= 4 ? [words[keyword + 1]] : []
        default: return [words[keyword + 1]]
        }
    }

    /// The names after `case` in an enumeration; none of a pattern in a switch.
    private static func cases(_ line: Substring) -> [Substring] {
        var depth = 0
        var bare = ""
        for character in line {
            if character == ")" { depth -= 1 }
            if depth == 0, !"()".contains(character) { bare.append(character) }
            if character == "(" { depth += 1 }
        }
        guard !bare.contains(":"), !bare.hasSuffix(","), !bare.contains("case ."), !bare.contains("case let") else {
            return []
        }
        return bare.split(separator: ",").compactMap { part in
            Self.words(String(part.prefix { $0 != "=" })).last { $0 != "case" && $0 != "indirect" }
        }
    }

    @Test func `nothing is declared that nothing uses`() {
        let findings = self.unused(in: Repository.sources)
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `what only tests may use is there, and is used by tests`() {
        func holds(_ files: [Repository.File], _ name: String) -> Bool {
            files.contains { file in file.code.contains { Self.words($0).contains(Substring(name)) } }
        }
        let stale = watched.keys.filter { !holds(Repository.sources, $0) || !holds(Repository.tests, $0) }
        #expect(stale.isEmpty, "\(stale.sorted()) of the list are no longer needed")
    }

    @Test(arguments: [
        "    public func nobodyCallsThis() {}", "    var nobodyReadsThis: Int { 1 }", "struct NobodyMakesThis {}",
        "    case nobodyMeansThis(reason: String)", "    static let nobodyWantsThis = 1",
        "    /// `nobodyReadsThis` is dead.",
    ]) func `a planted declaration that nothing uses is seen`(line: String) {
        let lines = ["enum Planted {", line, "}", "let planted: Planted? = nil"]
        let file = Repository.File(path: "Sources/Basis/Planted.swift", lines: lines, code: SwiftText.blanked(lines))
        let more = Repository.File(
            path: "Sources/Basis/User.swift", lines: ["func use() { _ = planted }", "// nobodyCallsThis()", "use()"],
            code: ["func use() { _ = planted }", "", "use()"])
        #expect(self.unused(in: [file, more]).count == (line.contains("///") ? 0 : 1))
    }

    @Test(arguments: [
        ("    var count: Int { 1 }", #"log("\(value.count) of them")"#),
        ("    case open(Int)", "if case .open = state {}"),
    ]) func `a use in a text or in a pattern is a use`(line: String, use: String) {
        let lines = [line, use]
        let file = Repository.File(path: "Sources/Basis/Planted.swift", lines: lines, code: SwiftText.blanked(lines))
        #expect(self.unused(in: [file]).isEmpty)
    }
}

private let declaring: Set<Substring> = [
    "func", "let", "var", "struct", "enum", "class", "protocol", "typealias", "actor", "case",
]

private let modifiers: Set<Substring> = [
    "public", "package", "private", "fileprivate", "internal", "static", "final", "mutating", "nonmutating",
    "nonisolated",
    "lazy", "weak", "indirect", "override", "borrowing", "consuming", "set", "inlinable", "inline", "__always",
    "discardableResult", "usableFromInline", "unsafe", "unchecked", "never",
]
