import Basis
import ScenarioKit

@testable import Cluster

/// Machines that say that they are one node. (Rule E5)
extension TrioWorld {
    func twins(_ directive: ScenarioFile.Directive, _ node: NodeID) {
        let words = directive.arguments
        switch directive.command {
        case "met":
            let isLate = directive.options["late"] != nil
            let settledAt = self.trio.supervisors[node]?.state.node(Self.node(words[1]))?.twins.settledAt ?? .zero
            let twins = words.dropFirst(2).map { Twin(bootID: $0, host: "10.0.0.9", fingerprint: [1]) }
            self.trio.step(node, .twins(Self.node(words[1]), Array(twins), after: isLate ? .zero : settledAt))
            self.trio.pass(milliseconds: 100)
        case "original": self.want(.original(node, bootID: words[1]))
        default:
            let record = CertificateRecord(
                fingerprint: [UInt8(words[1]) ?? 0], authority: [9], validity: Validity(from: 1, until: 2),
                trusts: [[9]])
            self.trio.step(node, .client(id: 4, .propose(.certified(node, record))))
            self.trio.pass(milliseconds: 100)
        }
    }
}
