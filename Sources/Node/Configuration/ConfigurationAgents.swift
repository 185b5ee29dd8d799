import Basis
import Resources

/// What each agent must and may be told.
extension ConfigurationReading {
    private static let agentNames = ["exec", "address", "filesystem", "volume"]

    mutating func readParameters(_ fields: Fields, agent: String) -> [ResourcePolicy.Parameter] {
        var parameters: [ResourcePolicy.Parameter] = []
        let known: [String]?
        switch agent {
        case "exec": known = ["command", "stop", "check", "user", "directory", "environment"]
        case "address": known = ["address", "interface"]
        case "filesystem": known = ["volume", "device", "mount", "type", "options", "format"]
        case "volume": known = ["volume"]
        default:
            known = nil
            self.checkOCF(agent, path: fields.path("agent"))
        }
        for entry in fields.entries where !Self.reservedKeys.contains(entry.key) {
            let path = fields.path(entry.key)
            if let known, !known.contains(entry.key) {
                self.problem(
                    entry.place, path, "the agent `\(agent)` has no such parameter",
                    Suggestion.remedy(for: entry.key, among: known + Self.commonKeys, otherwise: "remove it"))
                continue
            }
            if agent == "exec", entry.key == "environment" {
                parameters += self.readEnvironment(entry.value, path: path)
                continue
            }
            guard NameSyntax.isParameter(entry.key) else {
                self.problem(
                    entry.place, path, "`\(entry.key)` cannot be a parameter",
                    "use letters, digits and `_`, `-` or `.`, and begin with a letter")
                continue
            }
            if let text = self.text(entry.value, path: path, example: "\(entry.key): VALUE") {
                parameters.append(ResourcePolicy.Parameter(entry.key, text))
            }
        }
        self.checkParameters(fields, agent: agent)
        return parameters.sorted { $0.key < $1.key }
    }

    private mutating func readEnvironment(_ tree: DocumentTree, path: String) -> [ResourcePolicy.Parameter] {
        guard let fields = self.fields(tree, path: path, known: nil, example: "environment: { KEY: VALUE }")
        else { return [] }
        var parameters: [ResourcePolicy.Parameter] = []
        for entry in fields.entries {
            guard NameSyntax.isVariable(entry.key) else {
                self.problem(
                    entry.place, fields.path(entry.key), "`\(entry.key)` cannot be a variable of the environment",
                    "use letters, digits and `_`, and begin with no digit")
                continue
            }
            // Unlike other parameters a variable may well be empty.
            if case .scalar("", false, _, let place) = entry.value {
                self.note(fields.path(entry.key), place)
                parameters.append(ResourcePolicy.Parameter("environment.\(entry.key)", ""))
            } else if let text = self.text(entry.value, path: fields.path(entry.key), example: "\(entry.key): VALUE") {
                parameters.append(ResourcePolicy.Parameter("environment.\(entry.key)", text))
            }
        }
        return parameters
    }

    private mutating func checkOCF(_ agent: String, path: String) {
        let parts = agent.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.first == "ocf" {
            let allowed = parts.dropFirst().allSatisfy { part in
                !part.isEmpty && !part.hasPrefix(".")
                    && part.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
            }
            if parts.count == 3, allowed { return }
            let filled = parts.filter { !$0.isEmpty }
            let proposal = filled.count == 3 ? filled.joined(separator: ":") : "ocf:heartbeat:\(filled.last ?? "Dummy")"
            let useful = filled.count > 1 && proposal != agent
            let remedy = useful ? "did you mean `\(proposal)`?" : "write it like `ocf:heartbeat:Dummy`"
            self.problem(at: path, "`\(agent)` is not of the form ocf:PROVIDER:TYPE", remedy)
            return
        }
        let known = Self.agentNames + ["ocf:PROVIDER:TYPE"]
        self.problem(
            at: path, "there is no agent `\(agent)`",
            Suggestion.remedy(for: agent, among: Self.agentNames, otherwise: "").replacingKnown(with: known))
    }

    private mutating func checkParameters(_ fields: Fields, agent: String) {
        switch agent {
        case "exec":
            self.require(fields, "command", example: "/usr/bin/web --port 8080")
            if fields.value("directory") != nil { _ = self.absolutePath(fields, "directory", example: "/srv/web") }
        case "address":
            self.require(fields, "address", example: "10.9.0.100/24")
            if fields.value("address") != nil {
                _ = self.quantity(
                    fields, "address", what: "an address with a prefix length", example: "10.9.0.100/24",
                    parse: Quantities.network)
            }
        case "filesystem":
            self.checkFilesystem(fields)
        case "volume":
            self.require(fields, "volume", example: "NAME")
        default:
            if fields.value("checkLevel") != nil {
                _ = self.number(fields, "checkLevel", in: 0...100, example: 10)
            }
        }
    }

    private mutating func checkFilesystem(_ fields: Fields) {
        self.require(fields, "mount", example: "/srv/data")
        if fields.value("mount") != nil { _ = self.absolutePath(fields, "mount", example: "/srv/data") }
        if fields.value("device") != nil { _ = self.absolutePath(fields, "device", example: "/dev/sdb1") }
        if fields.value("format") != nil { _ = self.word(fields, "format", among: ["never", "if-blank"]) }
        switch (fields.value("volume"), fields.value("device")) {
        case (nil, nil):
            self.problem(
                fields.place, fields.path, "it names neither `volume` nor `device`",
                "add `volume: NAME` of a volume resource that comes before it")
        case (.some, .some):
            self.problem(
                at: fields.path("device"), "it names both `volume` and `device`", "keep the one that it should mount")
        default: break
        }
    }

    private mutating func require(_ fields: Fields, _ key: String, example: String) {
        if fields.value(key) == nil { self.missing(fields, key, example: example) }
    }
}

extension NameSyntax {
    /// The key of an agent's parameter.
    static func isParameter(_ key: String) -> Bool {
        guard let first = key.first, first.isASCII, first.isLetter || first == "_" else { return false }
        return key.utf8.count <= 100
            && key.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_-.".contains($0)) }
    }

    /// The name of an environment variable.
    static func isVariable(_ key: String) -> Bool {
        self.isParameter(key) && !key.contains("-") && !key.contains(".")
    }
}

extension String {
    /// A list of known words instead of the one in a remedy that found nothing near.
    fileprivate func replacingKnown(with known: [String]) -> String {
        self.hasPrefix("known are ") ? "known are \(Suggestion.list(known))" : self
    }
}
