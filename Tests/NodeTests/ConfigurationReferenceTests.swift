import Foundation
import Resources
import Testing

@testable import Node

/// docs/configuration.md cannot lie: each key that the reader knows is in it, and what it shows is read.
@Suite struct ConfigurationReferenceTests {
    private static let root = URL(fileURLWithPath: "\(#filePath)").deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The words in quotation marks of every list that the reader compares keys with.
    private func known() throws -> Set<String> {
        let folder = "Sources/Node/Configuration"
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.root.appendingPathComponent(folder).path)
        let lists = try NSRegularExpression(pattern: #"(?:known(?:: | = )|reservedKeys = )\[([^\]]*)\]"#)
        let words = try NSRegularExpression(pattern: #""([A-Za-z]+)""#)
        var found: Set<String> = []
        for name in names.sorted() where name.hasSuffix(".swift") {
            let source = try self.text("\(folder)/\(name)")
            for list in lists.matches(in: source, range: NSRange(source.startIndex..., in: source)) {
                guard let range = Range(list.range(at: 1), in: source) else { continue }
                for word in words.matches(in: source, range: NSRange(range, in: source)) {
                    if let place = Range(word.range(at: 1), in: source) { found.insert(String(source[place])) }
                }
            }
        }
        return found
    }

    @Test func `every key that the reader knows is explained`() throws {
        let page = try self.text("docs/configuration.md")
        let known = try self.known()
        #expect(known.isSuperset(of: ["cluster", "lease", "backing", "stopTimeout", "command", "mount"]))
        for key in known.sorted() { #expect(page.contains("`\(key)`"), "docs/configuration.md does not name `\(key)`") }
    }

    @Test func `what the page shows is read without a mistake`() throws {
        var document = "cluster: prod\n"
        for line in try self.text("docs/configuration.md").split(separator: "\n", omittingEmptySubsequences: false)
        where line.hasPrefix("    ") {
            document += line.dropFirst(4) + "\n"
        }
        let known = ["tok-1", "osk-1"].map { KnownNode(name: $0, site: "s", role: .member) }
        let outcome = ConfigurationReader.read(document, knownNodes: known, clusterName: "prod", path: "page.yaml")
        #expect(outcome.errors.isEmpty, "\(outcome.errors.map(\.description).joined(separator: "\n"))")
        #expect(outcome.policy?.groups.first?.resources.count == 5)
    }
}
