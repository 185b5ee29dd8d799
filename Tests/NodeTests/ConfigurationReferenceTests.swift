import Foundation
import Reports
import Resources
import Testing

@testable import ClusterConfiguration

/// docs/configuration.md cannot lie: each key that the reader knows is in it, and what it shows is read.
@Suite struct ConfigurationReferenceTests {
    private static let root = URL(fileURLWithPath: "\(#filePath)").deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
    }

    /// Every key of the reader, without the way to it.
    private func known() -> Set<String> {
        let keys =
            ConfigurationKeys.document + ConfigurationKeys.timing + ConfigurationKeys.volume + ConfigurationKeys.replica
            + ConfigurationKeys.group
        let more =
            ConfigurationKeys.restart + ConfigurationKeys.moves + ConfigurationKeys.resource + ConfigurationKeys.ocf
            + ["parameters"]
        return Set(keys + more + ConfigurationKeys.parameters.flatMap(\.keys))
    }

    @Test func `every key that the reader knows is explained`() throws {
        let page = try self.text("docs/configuration.md")
        let known = self.known()
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
