import Basis
import Resources

/// What each agent must and may be told.
extension ConfigurationReading {
    /// The parameters of a resource. Those of an OCF agent may also stand under `parameters`, where no name is taken.
    mutating func readParameters(_ fields: Fields, agent: String) -> [ResourcePolicy.Parameter] {
        var parameters: [ResourcePolicy.Parameter] = []
        let known = ConfigurationKeys.parameters(of: agent)
        let isOCF = known == nil
        if isOCF { self.checkOCF(agent, path: fields.path("agent")) }
        for entry in fields.entries where !ConfigurationKeys.resource.contains(entry.key) {
            let path = fields.path(entry.key)
            if let known, !known.contains(entry.key) {
                self.problem(
                    entry.place, path, "the agent `\(agent)` has no such parameter",
                    Suggestion.remedy(
                        for: entry.key, among: known + ConfigurationKeys.anyResource, otherwise: "remove it"))
                continue
            }
            if agent == "exec", entry.key == "environment" {
                parameters += self.readEnvironment(entry.value, path: path)
            } else if isOCF, entry.key == "parameters" {
                parameters += self.readMapping(entry.value, path: path, beside: fields)
            } else if let parameter = self.readParameter(entry, path: path, isOCF: isOCF) {
                parameters.append(parameter)
            }
        }
        self.checkParameters(fields, agent: agent)
        return parameters.sorted { $0.key < $1.key }
    }

    private mutating func readParameter(
        _ entry: DocumentTree.Entry, path: String, isOCF: Bool
    ) -> ResourcePolicy.Parameter? {
        guard NameSyntax.isParameter(entry.key) else {
            self.problem(
                entry.place, path, "`\(entry.key)` cannot be a parameter",
                "use letters, digits and `_`, `-` or `.`, and begin with a letter")
            return nil
        }
        if isOCF { return self.readValue(entry, key: entry.key, path: path) }
        return self.text(entry.value, path: path, example: "\(entry.key): VALUE").map {
            ResourcePolicy.Parameter(entry.key, $0)
        }
    }

    /// `parameters: { … }` of an OCF resource.
    private mutating func readMapping(
        _ tree: DocumentTree, path: String, beside: Fields
    ) -> [ResourcePolicy.Parameter] {
        guard let fields = self.fields(tree, path: path, known: nil, example: "parameters: { KEY: VALUE }")
        else { return [] }
        var parameters: [ResourcePolicy.Parameter] = []
        for entry in fields.entries {
            let path = fields.path(entry.key)
            if ConfigurationKeys.ocf.contains(entry.key)
                || (beside.value(entry.key) != nil && !ConfigurationKeys.resource.contains(entry.key))
            {
                self.problem(
                    entry.place, path, "`\(entry.key)` belongs beside `agent`, not under `parameters`",
                    beside.value(entry.key) == nil ? "move it there" : "it stands there already: remove it here")
            } else if let parameter = self.readParameter(entry, path: path, isOCF: true) {
                parameters.append(parameter)
            }
        }
        return parameters
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
            let path = fields.path(entry.key)
            if let parameter = self.readValue(entry, key: "environment.\(entry.key)", path: path) {
                parameters.append(parameter)
            }
        }
        return parameters
    }

    /// A value that may be empty, or stand in a file on the node: `{ file: PATH }`.
    private mutating func readValue(
        _ entry: DocumentTree.Entry, key: String, path: String
    ) -> ResourcePolicy.Parameter? {
        if case .scalar("", false, _, let place) = entry.value {
            self.note(path, place)
            return ResourcePolicy.Parameter(key, "")
        }
        if case .mapping = entry.value {
            let example = "\(entry.key): { file: /etc/secret }"
            guard let fields = self.fields(entry.value, path: path, known: ["file"], example: example)
            else { return nil }
            if fields.value("file") == nil { self.missing(fields, "file", example: "/etc/secret") }
            return self.absolutePath(fields, "file", example: "/etc/secret").map {
                ResourcePolicy.Parameter(key, $0, isFile: true)
            }
        }
        return self.text(entry.value, path: path, example: "\(entry.key): VALUE").map {
            ResourcePolicy.Parameter(key, $0)
        }
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
        let known = ConfigurationKeys.agents + ["ocf:PROVIDER:TYPE"]
        self.problem(
            at: path, "there is no agent `\(agent)`",
            Suggestion.remedy(for: agent, among: ConfigurationKeys.agents, otherwise: "").replacingKnown(with: known))
    }

    private mutating func checkParameters(_ fields: Fields, agent: String) {
        switch agent {
        case "exec":
            self.require(fields, "command", example: "/usr/bin/web --port 8080")
            if fields.value("directory") != nil { _ = self.absolutePath(fields, "directory", example: "/srv/web") }
        case "address":
            self.require(fields, "address", example: "10.9.0.100/24")
            let example = "10.9.0.100/24"
            if fields.value("address") != nil,
                let network = self.quantity(
                    fields, "address", what: "an address with a prefix length", example: example,
                    parse: Quantities.network),
                let flaw = ServiceAddress.flaw(of: network.address, prefix: network.prefix)
            {
                self.problem(
                    at: fields.path("address"), "no service can be reached at it: \(flaw)",
                    "give it an address of a machine, like `address: \(example)`")
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
        self.checkType(fields)
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

    /// What kernels of these years know; another type may still be there, which the nodes say.
    private static let filesystemTypes = [
        "bcachefs", "btrfs", "ceph", "cifs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuse", "gfs2", "glusterfs",
        "jfs",
        "nfs", "nfs4", "nilfs2", "ntfs", "ocfs2", "reiserfs", "tmpfs", "vfat", "xfs", "zfs",
    ]

    private mutating func checkType(_ fields: Fields) {
        guard let type = self.text(fields, "type", example: "ext4"), !Self.filesystemTypes.contains(type),
            let meant = Suggestion.nearest(to: type, among: Self.filesystemTypes)
        else { return }
        self.problem(at: fields.path("type"), "no kernel has a file system `\(type)`", "did you mean `\(meant)`?")
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
