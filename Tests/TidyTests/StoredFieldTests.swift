import Testing

/// A struct with more is several values that were not told apart.
private let mostFields = 20

@Suite struct StoredFieldTests {
    @Test func `no struct stores more than 20 fields`() {
        let findings = Repository.swift.filter { $0.path.hasPrefix("Sources/") }.flatMap { file in
            Self.structs(in: file.code).filter { $0.fields > mostFields }.map {
                Finding(
                    path: file.path, line: $0.line,
                    text: "\($0.name) stores \($0.fields) fields; give those that belong together a value of their own")
            }
        }
        #expect(findings.isEmpty, "\(report(findings))")
    }

    @Test func `stored fields are counted, computed ones are not`() {
        let code = SwiftText.blanked([
            "struct A {", "    static let none = A()", "    let one: Int", "    private(set) var two = 2",
            "    var three = 3 { didSet { } }", "    var four: Int {", "        didSet { }", "    }",
            "    var computed: Int { 5 }", "    struct B {", "        var inner: Int", "    }",
            "    func f() {", "        let local = 1", "    }", "}",
        ])
        let found = Self.structs(in: code)
        #expect(found.map(\.name) == ["B", "A"])
        #expect(found.map(\.fields) == [1, 4])
    }

    /// The structs of a file as (name, first line, number of stored fields), innermost first.
    private static func structs(in code: [String]) -> [(name: String, line: Int, fields: Int)] {
        var found: [(name: String, line: Int, fields: Int)] = []
        var open: [(name: String?, line: Int, depth: Int, fields: Int)] = []
        var declared: (name: String?, line: Int)?
        var depth = 0
        for (place, line) in code.enumerated() {
            let words = line.split { $0 == " " || $0 == ":" || $0 == "<" || $0 == "(" || $0 == "{" }
            if let keyword = words.firstIndex(where: {
                ["struct", "class", "enum", "extension", "protocol"].contains($0)
            }),
                keyword + 1 < words.count
            {
                declared = (words[keyword] == "struct" ? String(words[keyword + 1]) : nil, place + 1)
            }
            let next = place + 1 < code.count ? code[place + 1] : ""
            if let last = open.last, last.name != nil, depth == last.depth + 1, Self.isStored(line, next) {
                open[open.count - 1].fields += 1
            }
            for character in line {
                if character == "{" {
                    if let type = declared { open.append((type.name, type.line, depth, 0)) }
                    declared = nil
                    depth += 1
                } else if character == "}" {
                    depth -= 1
                    guard let last = open.last, last.depth == depth else { continue }
                    open.removeLast()
                    if let name = last.name { found.append((name, last.line, last.fields)) }
                }
            }
        }
        return found
    }

    private static func isStored(_ line: String, _ next: String) -> Bool {
        let words = line.split(separator: " ")
        guard let keyword = words.firstIndex(where: { $0 == "var" || $0 == "let" }),
            words[..<keyword].allSatisfy({ word in
                word.hasPrefix("@")
                    || ["public", "private", "fileprivate", "internal", "package", "weak"].contains(
                        String(word.prefix { $0 != "(" }))
            })
        else { return false }
        guard let brace = line.firstIndex(of: "{") else { return true }
        return line[..<brace].contains("=") || line.contains("didSet") || next.contains("didSet")
    }
}
