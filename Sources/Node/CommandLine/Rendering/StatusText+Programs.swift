import Basis
import Reports

/// Which releases the nodes run: shown where they are not all the same, and when everything is asked for.
extension StatusText {
    /// A build from before versions were said.
    private static let untold = "earlier"

    /// Whether two nodes that are heard run different releases, or everything is to be shown.
    var showsVersions: Bool {
        let heard = self.report.nodes.filter { $0.state == .up }
        return self.isVerbose || Set(heard.map { Self.version(of: $0) }).count > 1
    }

    static func version(of node: NodeReport) -> String {
        node.programs?.version ?? (node.state == .up ? Self.untold : "")
    }

    /// What outlived an upgrade of its daemon.
    var programs: [String] {
        let late = self.report.nodes.flatMap { node -> [String] in
            guard let programs = node.programs else { return [] }
            let helpers =
                [("the guard", programs.guard)]
                + programs.volumeServers.sorted { $0.key < $1.key }.map { ("the server of volume \($0.key)", $0.value) }
            return helpers.compactMap { what, helper in
                guard let helper, !helper.isPresent else { return nil }
                let version = helper.version ?? "an earlier release"
                let which = version == programs.version ? "another build of \(version)" : version
                return "On \(node.name) \(what) runs \(which)."
            }
        }
        return late.flatMap { self.style.wrapped($0) }
    }
}
